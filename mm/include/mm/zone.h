// Zones: RAM by what can address it, each with a buddy of its own.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// The zone layout (<mm/zone_layout.h>) says where DMA, DMA32, NORMAL and HIGHMEM lie, if at all. An allocation
// starts at the highest zone that its gfp flags allow and that holds RAM, and falls back to lower ones.
// GFP_DMA is served from the lowest zone, whichever that is.
//
// Watermarks (pages): below `low` kswapd is to be woken, `min` is the emergency pool that only __GFP_HIGH
// (down to half) and __GFP_MEMALLOC (to the last page) may use, up to `high` kswapd works. Together the zones
// keep
//
//     reserve = sqrt(16 * RAM) KB, RAM in KB, not below 128 KB nor above 256 MB
//
// and a zone's min is its share of it by present pages; low and high are 5/4 and 3/2 of min, but at least a page apart
// where the zone has so many: otherwise nobody would be woken for the smallest zones of large pages. (Linux's rule
// for min_free_kbytes, mm/page_alloc.c: four times the square root, because what must be kept for emergencies
// grows with the machine, but slower. 64 MB keep 1 MB, 1 GB keeps 4 MB, 16 GB keep 16 MB.)
//
// A zone's memory is also protected from requests that could have been served higher up: for a request that may
// start at zone i, zone j < i keeps lowmem_reserve[i] pages more, the managed pages of the zones j + 1 .. i
// divided by 256, or by 32 where j is NORMAL (Linux's lowmem_reserve_ratio).
//
// The largest block is 4 MB whatever the page size.
#pragma once

#include <mm/gfp.h>
#include <mm/page.h>
#include <mm/zone_layout.h>
#include <sync/spinlock.h>

enum zone_id {
    ZONE_DMA,
    ZONE_DMA32,
    ZONE_NORMAL,
    ZONE_HIGHMEM,
    ZONE_COUNT,
};

// (Z) zone lock, (C) constant once start-up is over, (A) atomic
struct zone {
    struct spinlock lock;                      // the engine's
    void *engine;                              // (C) the engine's own of the zone
    const char *name;                          // (C)
    uint64_t start_pfn, end_pfn;               // (C) RAM lies within; equal when the zone is empty
    uint64_t present_pages;                    // (C) RAM in the zone
    uint64_t managed_pages;                    // (Z) free, or handed out and able to come back
    uint64_t free_pages;                       // (Z) in the engine; readers without the lock see a hint
    uint64_t reserved_pages;                   // (Z) in page blocks set aside for GFP_ATOMIC
    uint64_t lock_count;                       // (Z) how often the engine was called
    uint64_t watermark_min;                    // (C) pages
    uint64_t watermark_low;                    // (C)
    uint64_t watermark_high;                   // (C)
    uint64_t lowmem_reserve[ZONE_COUNT];       // (C) pages, by the highest zone of the request
    uint32_t waiters;                          // (A) who wants to hear of pages that come back (<mm/pressure.h>)
};

extern struct zone zones[ZONE_COUNT];


// Lays the zones over memblock's RAM and marks every page of the memmap by its owner (reserved ranges), then
// gives all free RAM to the buddies. A page that is reserved in part counts as reserved; one that is RAM in
// part is left out; so are the first 64 page frames. Page tables made so far become pages of granule_tables. The
// memmap is mapped; it may hold anything. Called once, by the boot hart; from then on memblock only records what is
// RAM.
void zones_init(void);

// The zone that holds a page frame by the layout, RAM or not.
static always_inline struct zone *zone_of(pfn_t frame)
{
    if (frame.value < zone_layout.normal_start)
        return zone_layout.low;
    return &zones[frame.value < zone_layout.normal_end ? ZONE_NORMAL : ZONE_HIGHMEM];
}
static inline struct zone *page_zone(const struct page *page) { return zone_of(page_to_pfn(page)); }

// What a block says of where it was taken: 0 for unmovable memory of the zone where GFP_KERNEL starts, so that the
// state of the commonest blocks is a small constant. Names a set of lists that every hart has.
extern unsigned zone_of_kernel;                // (C) enum zone_id
static always_inline unsigned page_home(const struct zone *zone, enum mobility mobility)
{
    return (((unsigned)(zone - zones) ^ zone_of_kernel) * MOBILITY_COUNT) | mobility;
}
static always_inline struct zone *home_zone(unsigned home)
{
    return &zones[(home / MOBILITY_COUNT) ^ zone_of_kernel];
}

// Writes what start-up left unwritten of the memmap (PAGE_FLAG_BLANK): returns the struct pages written. May take
// long; interrupts stay enabled but for a block at a time.
uint64_t zones_settle(void);

// Gives RAM that no allocator manages yet to its zones: [start, end) page frames, any alignment, RAM
// throughout. Blocks that the memmap shows there (reserved memory) are cut at both ends and forgotten within.
// Any context.
void zones_add_range(pfn_t start, pfn_t end);

// Walks the whole pages of RAM: start with *cursor = 0; false when there are no more ranges.
bool zones_next_ram(uint64_t *cursor, pfn_t *start, pfn_t *end);

// The zone that gfp starts at: the highest that it allows and that holds RAM. NULL when there is none
// (GFP_DMA32 on a machine whose RAM lies higher).
struct zone *gfp_zone(gfp_t gfp);

// Sums over the zones; the last one over those that have direct-map addresses, all but HIGHMEM. A snapshot:
// others may allocate meanwhile.
uint64_t zones_free_pages(void);
uint64_t zones_managed_pages(void);
uint64_t zones_free_direct_pages(void);
