// What the host test program and host-only tests ask of the fake port, beyond the arch contract.
// SPDX-License-Identifier: BSD-2-Clause
//
// Physical memory is a sparse memory file whose offsets are physical addresses; RAM ranges of it are mapped
// at the direct map's constant address. Addresses of no RAM are still backed in the file (device memory for
// ioremap), but not in the direct map.
//
// Every hart has an exact TLB, and the vmalloc space behaves like memory behind it, made of real mappings:
//
//     access --> granule in the TLB? --yes--> rights suffice? --yes--> done
//                    | no                        | no
//                    v                           v
//                walk the tables of          a real fault: an arch_probe_ call returns false,
//                the active root --no leaf-> any other access ends the program with a report
//                    | leaf
//                    v
//                fill: map that one granule with the leaf's rights; try again
//
// What was filled stays until a flush names that granule, and so does the knowledge that there was no leaf.
// So a flush that is missing, too short, at the wrong address or on too few harts shows: as a stale value, a missing
// fault or a spurious one. The mappings are the process's, though: a plain access by one hart where another one has
// mapped something already goes unnoticed. Accesses by arch_probe_ go by the own hart's TLB always. An entry carries
// the number of the hart's address space, and counts in that one alone unless it is global.
// Of a run (arch_pte_napot) a hart learns all granules by an access to one.
#pragma once

#include <base/addr.h>

// Reserves the windows and installs the fault handler. Called once, before anything else; the caller becomes
// hart 0.
void fake_arch_init(unsigned hart_count);

// Makes [start, start + bytes) RAM. Multiples of MMU_PAGE_SIZE, below ARCH_PHYS_LIMIT.
void fake_ram_add(paddr_t start, uint64_t bytes);

// Takes RAM from that address on out of the direct map. After all RAM was added.
void fake_direct_map_end(paddr_t end);

// Runs fn(index, argument) on harts 0 .. count - 1 at once, hart 0 being the caller; returns when all are
// done.
void fake_harts_run(unsigned count, void (*fn)(unsigned index, void *argument), void *argument);

// Asks the thread of that hart to end, as thread_kill does, or takes that back.
void fake_thread_kill(unsigned hart, bool is_killed);

struct fake_tlb_stats {
    uint64_t kernel_flushes, local_flushes;    // calls
    uint64_t granules_named;                   // sum of their operands
    uint64_t granules_dropped;                 // entries that they really hit
    uint64_t fills, faults;
    vaddr_t last_start;                        // operands of the last flush
    uint64_t last_bytes;
    uint64_t fetching_harts;                   // that were last told to fetch anew
};
struct fake_tlb_stats fake_tlb_stats(void);

// While true, flushes are counted but drop nothing: for tests that prove that a missing flush is seen.
void fake_tlb_ignore_flushes(bool ignore);

// Whether any hart has an entry for the granule of that address now (a leaf's).
bool fake_tlb_holds(vaddr_t address);

// What a hart that guesses ahead may do at any time, without an access: learn what the tables say, or have learnt
// earlier that there was nothing. All addresses from the direct map's to the vmalloc space's end.
void fake_tlb_load(unsigned hart, vaddr_t start, uint64_t bytes);
void fake_tlb_load_nothing(unsigned hart, vaddr_t start, uint64_t bytes);

// Granules of which the hart knows something that the tables do not say now.
uint64_t fake_tlb_stale_granules(unsigned hart, vaddr_t start, uint64_t bytes);

// The address space that the hart runs in from now on; 0 at first.
void fake_tlb_use_asid(unsigned hart, uint32_t asid);

// Whether the machine knows runs of neighbouring entries. False at first; tests that set it undo it behind them, with
// no run left.
extern bool fake_has_napot;
