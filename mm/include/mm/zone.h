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
// and a zone's min is its share of it by present pages; low and high are 5/4 and 3/2 of min. (Linux's rule
// for min_free_kbytes, mm/page_alloc.c: four times the square root, because what must be kept for emergencies
// grows with the machine, but slower. 64 MB keep 1 MB, 1 GB keeps 4 MB, 16 GB keep 16 MB.)
//
// The buddy allocator (Knowlton, CACM 8(10), 1965; Knuth, TAOCP 1, 2.5) keeps for each order a list of free
// blocks. A block of order k starts at a multiple of 2^k pages; its buddy is the block whose number differs
// in bit k. Taking a block splits the smallest that fits, freeing one merges with its buddy as long as that
// is free too. The largest block is 4 MB whatever the page size.
#pragma once

#include <mm/gfp.h>
#include <mm/page.h>
#include <mm/zone_layout.h>
#include <sync/spinlock.h>

#define MAX_BLOCK_SHIFT 22
#define MAX_ORDER (MAX_BLOCK_SHIFT - PAGE_SHIFT)       // the largest order itself: 10, 9, 8 or 6

enum zone_id {
    ZONE_DMA,
    ZONE_DMA32,
    ZONE_NORMAL,
    ZONE_HIGHMEM,
    ZONE_COUNT,
};

struct free_area {
    uint32_t first;            // (Z) page frame number of the first free block, 0 when there is none
    uint32_t last;             // (Z)
    uint64_t block_count;      // (Z)
};

// (Z) zone lock, (C) constant once start-up is over
struct zone {
    struct spinlock lock;
    const char *name;                          // (C)
    uint64_t start_pfn, end_pfn;               // (C) RAM lies within; equal when the zone is empty
    uint64_t present_pages;                    // (C) RAM in the zone
    uint64_t managed_pages;                    // (Z) free, or handed out and able to come back
    uint64_t free_pages;                       // (Z) = sum over orders of block_count << order
    uint64_t alloc_count, free_count;          // (Z) blocks handed out and come back; the difference is alive
    uint64_t watermark_min;                    // (C) pages
    uint64_t watermark_low;                    // (C)
    uint64_t watermark_high;                   // (C)
    struct free_area free_area[MAX_ORDER + 1];
};

extern struct zone zones[ZONE_COUNT];

static always_inline struct zone *page_zone(const struct page *page) { return &zones[page->zone]; }

// Lays the zones over memblock's RAM and marks every page of the memmap by its owner (reserved ranges), then
// gives all free RAM to the buddies. A page that is reserved in part counts as reserved; one that is RAM in
// part is left out; so is page frame 0. Page tables made so far become pages of granule_tables. The memmap is
// mapped and zeroed. Called once, by the boot hart; from then on memblock only records what is RAM.
void zones_init(void);

// The zone that holds a page frame by the layout, RAM or not.
static always_inline struct zone *zone_of(pfn_t frame)
{
    if (frame.value < zone_layout.normal_start)
        return zone_layout.low;
    return &zones[frame.value < zone_layout.normal_end ? ZONE_NORMAL : ZONE_HIGHMEM];
}

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
