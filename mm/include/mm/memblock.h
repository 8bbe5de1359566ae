// memblock: which physical memory there is and which of it is taken, before the page allocator exists.
// SPDX-License-Identifier: BSD-2-Clause
//
// Two sorted lists of disjoint ranges, RAM and reserved, in bytes. Ranges of the same owner that touch are
// merged; RAM ranges that overlap are united. Allocation is top-down from the highest free RAM below a limit,
// within a window that the zone layout sets: what start-up takes for the kernel must have an address.
// Used by one hart, during start-up only. Physical addresses stay below ARCH_PHYS_LIMIT.
#pragma once

#include <base/addr.h>
#include <mm/page.h>

#define MEMBLOCK_RANGES 128

struct memblock_range {
    uint64_t start;        // bytes, physical
    uint64_t size;         // bytes, not 0
    enum page_type owner;  // of a reserved range; PAGE_FREE in RAM ranges
};

struct memblock_list {
    struct memblock_range range[MEMBLOCK_RANGES];
    unsigned count;
};

extern struct memblock_list memblock_ram, memblock_reserved;

// Forgets everything, the window too (tests start afresh with it).
void memblock_reset(void);

// 0; -ERANGE when start + size wraps or ends past ARCH_PHYS_LIMIT; -ENOSPC when the list is full, which is
// then as it was. Size 0 is fine. Overlaps are allowed: RAM is united; the later reservation keeps what the
// earlier one did not hold.
int memblock_add(paddr_t start, uint64_t size_bytes);
int memblock_reserve(paddr_t start, uint64_t size_bytes, enum page_type owner);

// Makes reserved memory free again. 0; -ERANGE as above; -ENOSPC (a hole splits a range).
int memblock_release(paddr_t start, uint64_t size_bytes);

// Allocations from now on lie in [low, high).
void memblock_set_window(paddr_t low, paddr_t high);

// The highest free range in RAM of that size and alignment (power of two) that ends at or below `limit` and
// lies in the window; reserved for `owner` and cleared to zero through the direct map. False, with nothing
// changed, when there is none.
must_check bool memblock_alloc(uint64_t size_bytes, uint64_t alignment, paddr_t limit, enum page_type owner,
                               paddr_t *result);

// The same, with whatever the memory holds.
must_check bool memblock_alloc_unwritten(uint64_t size_bytes, uint64_t alignment, paddr_t limit,
                                         enum page_type owner, paddr_t *result);

// Total bytes of RAM, and the end of the highest RAM range.
uint64_t memblock_ram_bytes(void);
paddr_t memblock_ram_end(void);

// Walks the parts of RAM that are free: start with *cursor = 0; false when there are no more.
bool memblock_next_free(uint64_t *cursor, paddr_t *start, uint64_t *size_bytes);
