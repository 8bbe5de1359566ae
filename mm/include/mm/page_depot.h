// Where harts leave single pages for each other: a batch at a time, past the engine.
// SPDX-License-Identifier: BSD-2-Clause
//
// A hart that frees what another allocated has its list full again and again, while the other's is empty. Through the
// engine each such page is sought in a mask and put back into one. Here a full list leaves a batch of pointers and an
// empty one takes it, under a lock of its own: a copy, and nothing per page besides (the depot of Bonwick and Adams,
// USENIX 2001, section 3.1).
//
// One depot serves the commonest list: single pages of the kernel's own home. Another one passes on what idle harts
// have zeroed (<mm/page_zero.h>). Each holds at most 8 batches and 1/64 of the zone; what it holds is of type PAGE_HART
// and counts with the harts' lists, and goes back to the engine when these do.
#pragma once

#include <mm/page_engine.h>
#include <mm/page_lists.h>

#define PAGE_DEPOT_BATCHES 8

// Pages in a batch: half of a list at most.
#define PAGE_DEPOT_BATCH ((unsigned)(PAGE_LIST_SLOTS(0) / 2 < PAGE_BATCH_MAX ? PAGE_LIST_SLOTS(0) / 2 : PAGE_BATCH_MAX))
#define PAGE_DEPOT_ZEROED_BATCH ((unsigned)PAGE_LIST_SMALL_SLOTS(0) / 2)

struct page_depot {
    struct spinlock lock;          // a leaf; with interrupts masked
    unsigned batch_pages;          // (C)
    unsigned most;                 // (C) batches
    unsigned count;                // (D) the lock above
    uint64_t calls;                // (D) batches put and taken since boot
    struct page *pages[PAGE_DEPOT_BATCHES][PAGE_DEPOT_BATCH];      // (D)
};

extern struct page_depot page_depot, page_depot_zeroed;

// After zones_init: how much they may hold on this machine. `enabled` false: nothing, for ever (pcp=off).
void page_depots_init(bool enabled);

// A batch into pages[], or from there; false when there is none, or no room for it. Any context.
bool page_depot_take(struct page_depot *depot, struct page **pages);
bool page_depot_put(struct page_depot *depot, struct page *const *pages);

// Whether a batch could be put, a moment ago.
bool page_depot_has_room(const struct page_depot *depot);

// A batch back to the engine; false when there is none. Any context.
bool page_depot_give_some(struct page_depot *depot);

// Pages in it; exact while nobody allocates.
uint64_t page_depot_pages(const struct page_depot *depot);
