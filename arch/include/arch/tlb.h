// Contract: the fences that a port can do. Who needs which, and why, is <mm/tlb.h>'s.
// SPDX-License-Identifier: BSD-2-Clause
//
// When one is needed (RISC-V privileged specification 20211203, section 4.2.1, SFENCE.VMA): after a valid entry was
// removed, moved or given fewer rights, before the memory or the address is used for something else; on this hart
// also after a new entry, because an implementation may cache that there was none. Ranges are in granules: start and
// bytes are multiples of MMU_PAGE_SIZE, and bytes may be 0.
// A range is one of leaves: what is remembered of tables goes with everything only.
#pragma once

#include <base/addr.h>

struct tlb_range {
    vaddr_t start;
    uint64_t bytes;
};

#define TLB_EVERY_ASID UINT32_MAX
#define TLB_EVERY_HART UINT64_MAX

struct tlb_request {
    const struct tlb_range *range; // read by other harts, too
    unsigned range_count;          // 0: everything
    uint32_t asid;                 // entries of that address space, global ones apart; TLB_EVERY_ASID: all there are
    uint64_t harts;                // bit i: the hart of index i; bits of harts that do not run are ignored
    bool fetches;                  // also what was fetched as instructions, and may have been stored to since
    const char *cause;             // for the report of harts that do not answer
};

static inline uint64_t tlb_request_granules(const struct tlb_request *request)
{
    uint64_t granules = 0;

    for (unsigned i = 0; i < request->range_count; i++)
        granules += request->range[i].bytes / MMU_PAGE_SIZE;
    return granules;
}

// On this hart only, for every address space.
void arch_tlb_flush_local(vaddr_t start, uint64_t bytes);

// On the harts that are named. Returns when all of them have done it; panics, and names them, when some do not within
// spin_lock_limit. May be called with interrupts masked, but not while holding a lock that an interrupt handler of
// another hart wants.
void arch_tlb_flush(const struct tlb_request *request);

// Beyond this many granules the port flushes everything.
uint64_t arch_tlb_flush_all_granules(void);

// Bits of an address space's number, 0 where there are none. After arch_mmu_activate.
unsigned arch_tlb_asid_bits(void);

// How other harts are reached: by interrupts of the kernel's own, or through the firmware; in the order of the words of
// the boot argument tlb=. The first is the default; may be changed while no other hart flushes. 0; -ENODEV when the
// firmware cannot.
enum arch_tlb_remote { ARCH_TLB_BY_INTERRUPT, ARCH_TLB_BY_FIRMWARE };
int arch_tlb_set_remote(enum arch_tlb_remote remote);
