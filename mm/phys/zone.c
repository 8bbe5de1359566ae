// Zones: laid over RAM once, at start-up, with their watermarks.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/zone.h>

#include "phys_private.h"

#include <mm/memblock.h>

_Static_assert(MAX_PFN - 1 <= UINT32_MAX, "links are 32-bit page frame numbers");

struct zone zones[ZONE_COUNT] = {
    [ZONE_DMA] = { .lock = SPINLOCK_INIT(ZONE), .name = "DMA" },
    [ZONE_DMA32] = { .lock = SPINLOCK_INIT(ZONE), .name = "DMA32" },
    [ZONE_NORMAL] = { .lock = SPINLOCK_INIT(ZONE), .name = "NORMAL" },
    [ZONE_HIGHMEM] = { .lock = SPINLOCK_INIT(ZONE), .name = "HIGHMEM" },
};

bool zones_next_ram(uint64_t *cursor, pfn_t *start, pfn_t *end)
{
    while (*cursor < memblock_ram.count) {
        const struct memblock_range *ram = &memblock_ram.range[(*cursor)++];

        // Page frame 0 ends our lists, so it is nobody's.
        start->value = max_of(align_up(ram->start, PAGE_SIZE) >> PAGE_SHIFT, 1UL);
        end->value = (ram->start + ram->size) >> PAGE_SHIFT;
        if (start->value < end->value)
            return true;
    }
    return false;
}

// The end of the zone that holds the frame, by the layout.
static init_code uint64_t zone_end(uint64_t frame)
{
    return frame < zone_layout.normal_start ? zone_layout.normal_start
           : frame < zone_layout.normal_end ? zone_layout.normal_end
                                            : MAX_PFN;
}

// Ranges come in ascending order; one may lie in several zones, and a zone in several ranges.
static init_code void stretch_zones(pfn_t start, pfn_t end)
{
    for (uint64_t at = start.value, past; at < end.value; at = past) {
        struct zone *zone = zone_of(pfn(at));

        past = min_of(zone_end(at), end.value);
        if (zone->present_pages == 0)
            zone->start_pfn = at;
        zone->end_pfn = past;
        zone->present_pages += past - at;
    }
}

// Newton's method from above: stops at the floor of the root.
static init_code uint64_t square_root(uint64_t value)
{
    uint64_t root = value, next = value / 2 + 1;

    while (next < root) {
        root = next;
        next = (root + value / root) / 2;
    }
    return root;
}

static init_code void set_watermarks(void)
{
    uint64_t ram_pages = 0, reserve_kb;

    for (unsigned id = 0; id < ZONE_COUNT; id++)
        ram_pages += zones[id].present_pages;
    reserve_kb = square_root(16 * (ram_pages << PAGE_SHIFT >> 10));
    reserve_kb = min_of(max_of(reserve_kb, KB(128) >> 10), MB(256) >> 10);
    for (unsigned id = 0; id < ZONE_COUNT && ram_pages > 0; id++) {
        struct zone *zone = &zones[id];
        uint64_t min = (reserve_kb << 10 >> PAGE_SHIFT) * zone->present_pages / ram_pages;

        zone->watermark_min = min;
        zone->watermark_low = min * 5 / 4;
        zone->watermark_high = min * 3 / 2;
    }
}

static init_code void mark_reserved(pfn_t start, pfn_t end, enum page_type owner)
{
    struct granule_pool *pool = owner == PAGE_TABLE   ? &granule_tables
                                : owner == PAGE_STACK ? &granule_stacks
                                                      : NULL;

    if (pool == NULL) {
        memmap_mark(start, end, owner);
        return;
    }
    for (pfn_t at = start; at.value < end.value; at.value++) {
        memmap_mark(at, pfn(at.value + 1), owner);
        granule_adopt(pool, pfn_to_page(at));
    }
}

// Gives every page of [start, end) to its owner: the first reserved range that touches it, or else the buddy.
static init_code void hand_out_range(pfn_t start, pfn_t end)
{
    pfn_t at = start;

    for (unsigned i = 0; i < memblock_reserved.count && at.value < end.value; i++) {
        const struct memblock_range *range = &memblock_reserved.range[i];
        pfn_t first = pfn(max_of(range->start >> PAGE_SHIFT, at.value));
        pfn_t past = pfn(min_of(align_up(range->start + range->size, PAGE_SIZE) >> PAGE_SHIFT, end.value));

        if (first.value >= past.value)
            continue;
        buddy_add_blank(at, first);
        mark_reserved(first, past, range->owner);
        at = past;
    }
    buddy_add_blank(at, end);
}

init_code void zones_init(void)
{
    pfn_t start, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);)
        stretch_zones(start, end);
    set_watermarks();
    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);)
        hand_out_range(start, end);
}

struct zone *gfp_zone(gfp_t gfp)
{
    enum zone_id highest = gfp & __GFP_HIGHMEM ? ZONE_HIGHMEM : gfp & __GFP_DMA32 ? ZONE_DMA32 : ZONE_NORMAL;

    if (gfp & __GFP_DMA) {
        for (unsigned id = 0; id < ZONE_COUNT; id++)
            if (zones[id].present_pages > 0)
                return &zones[id];
        return NULL;
    }
    for (unsigned id = highest + 1; id-- > 0;)
        if (zones[id].present_pages > 0)
            return &zones[id];
    return NULL;
}

static uint64_t locked_sum(size_t field_offset, unsigned past_id)
{
    uint64_t sum = 0;

    for (unsigned id = 0; id < past_id; id++) {
        irqflags_t flags = spin_lock_irqsave(&zones[id].lock);
        sum += *(uint64_t *)((char *)&zones[id] + field_offset);
        spin_unlock_irqrestore(&zones[id].lock, flags);
    }
    return sum;
}

uint64_t zones_free_pages(void)
{
    return locked_sum(offsetof(struct zone, free_pages), ZONE_COUNT);
}

uint64_t zones_managed_pages(void)
{
    return locked_sum(offsetof(struct zone, managed_pages), ZONE_COUNT);
}

uint64_t zones_free_direct_pages(void)
{
    return locked_sum(offsetof(struct zone, free_pages), ZONE_HIGHMEM);
}
