// The seam behind the page allocator: what keeps a zone's free memory. The buddy is one such engine.
// SPDX-License-Identifier: BSD-2-Clause
//
// Above it lie the watermarks, the fall-back from zone to zone and the harts' lists (<mm/page_alloc.h>). An
// engine answers for free memory alone: it hands out blocks, takes them back and merges them. It has a lock of
// its own, or none; every operation may be called in any context, and keeps interrupts masked for at most
// PAGE_BATCH_MAX blocks.
//
// Free memory is the engine's: it keeps zone->free_pages and decides what struct pages of free blocks say, as
// long as page_run_free and <mm/page.h> stay true.
#pragma once

#include <mm/zone.h>

#define PAGE_BATCH_MAX 64

struct page_request {
    uint8_t order;
    uint8_t mobility;              // enum mobility, but MOBILITY_ATOMIC
    bool may_use_reserve;          // blocks set aside for GFP_ATOMIC, too
    uint64_t keep_pages;           // what has to stay free behind the request
    uint64_t state;                // what each head's state is to be
};

// Free blocks by order: neighbours count as the largest naturally aligned blocks that they make.
struct free_counts {
    uint64_t blocks[MAX_ORDER + 1];
    uint64_t pages;
};

struct page_engine {
    const char *name;

    // Start-up, before memory is added: sets zone->engine.
    void (*init)(struct zone *zone);

    // RAM for the zone: [start, end) page frames, in no block so far. `is_blank`: the struct pages are not
    // written yet; at start-up only.
    void (*add)(struct zone *zone, pfn_t start, pfn_t end, bool is_blank);

    // Up to `count` (at most PAGE_BATCH_MAX) blocks into blocks[]; returns how many, 0 when there is none or fewer
    // than keep_pages would stay. -EAGAIN: it took too long to know; to be asked again, with interrupts unmasked in
    // between where they can be.
    int (*take)(struct zone *zone, const struct page_request *request, unsigned count,
                     struct page **blocks);

    // Blocks of one order back, 1 to PAGE_BATCH_MAX, their heads of type PAGE_HART: the last of them, at least one, as
    // many as can be taken without keeping interrupts waiting. Returns how many; the others are still the caller's.
    unsigned (*give)(struct zone *zone, unsigned order, unsigned count, struct page **blocks);

    // One block of an order that no hart keeps a list of, and back: what callers of large blocks wait for. The block's
    // head has `state` then; NULL where take would have to look further than at the mobility's own blocks.
    struct page *(*take_large)(struct zone *zone, unsigned order, enum mobility mobility, uint64_t keep_pages,
                               uint64_t state);
    void (*give_large)(struct zone *zone, struct page *head, unsigned order);

    // Exact while nobody allocates.
    void (*count)(struct zone *zone, struct free_counts *counts);

    // Sets the page block around `page`, just taken for GFP_ATOMIC, aside for its like, when the zone has fewer set
    // aside than it may; takes one back and says whether there was one.
    void (*reserve)(struct zone *zone, struct page *page);
    bool (*unreserve)(struct zone *zone);

    // Writes what start-up left unwritten of the memmap in the block at `at`, adds the struct pages to *written and
    // returns where to go on.
    pfn_t (*settle)(struct zone *zone, pfn_t at, uint64_t *written);
};

extern const struct page_engine buddy_engine;

// The engine in use.
extern const struct page_engine *page_engine;

// All of them back.
static inline void page_engine_give_all(struct zone *zone, unsigned order, unsigned count, struct page **blocks)
{
    while (count > 0)
        count -= page_engine->give(zone, order, count, blocks);
}
