// What the host test program and host-only tests ask of the fake port, beyond the arch contract.
// SPDX-License-Identifier: BSD-2-Clause
//
// Physical memory is a sparse memory file whose offsets are physical addresses; RAM ranges of it are mapped
// at the direct map's constant address. Addresses of no RAM are still backed in the file (device memory for
// ioremap), but not in the direct map.
//
// The vmalloc space behaves like memory behind an exact TLB, made of real mappings:
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
// Of a run (arch_pte_napot) all granules are filled by an access to one. What was filled stays until a flush names that
// granule, and so does the knowledge that there was no leaf.
// So a flush that is missing, too short or at the wrong address shows: as a stale value, a missing fault or a
// spurious one. All harts share this TLB; a TLB of each hart's own would only need the state per hart behind
// the same functions.
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
};
struct fake_tlb_stats fake_tlb_stats(void);

// While true, flushes are counted but drop nothing: for tests that prove that a missing flush is seen.
void fake_tlb_ignore_flushes(bool ignore);

// Whether the granule of that address has an entry now (a leaf's).
bool fake_tlb_holds(vaddr_t address);

// Whether the machine knows runs of neighbouring entries. False at first; tests that set it undo it behind them, with
// no run left.
extern bool fake_has_napot;
