// Zones: laid over RAM once, at start-up, with their watermarks.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/zone.h>

#include "phys_private.h"

#include <base/string.h>
#include <mm/memblock.h>
#include <mm/page_engine.h>
#include <mm/page_group.h>
#include <mm/page_lists.h>

// Linux's sysctl_lowmem_reserve_ratio: one page kept for so many above.
#define LOW_RATIO 256
#define NORMAL_RATIO 32

_Static_assert(MAX_PFN - 1 <= UINT32_MAX, "links are 32-bit page frame numbers");

struct zone zones[ZONE_COUNT] = {
    [ZONE_DMA] = { .lock = SPINLOCK_INIT(ZONE), .name = "DMA" },
    [ZONE_DMA32] = { .lock = SPINLOCK_INIT(ZONE), .name = "DMA32" },
    [ZONE_NORMAL] = { .lock = SPINLOCK_INIT(ZONE), .name = "NORMAL" },
    [ZONE_HIGHMEM] = { .lock = SPINLOCK_INIT(ZONE), .name = "HIGHMEM" },
};

unsigned zone_of_kernel;

bool zones_next_ram(uint64_t *cursor, pfn_t *start, pfn_t *end)
{
    while (*cursor < memblock_ram.count) {
        const struct memblock_range *ram = &memblock_ram.range[(*cursor)++];

        // Group 0 stands for the end of a list, so its frames are nobody's.
        start->value = max_of(align_up(ram->start, PAGE_SIZE) >> PAGE_SHIFT, GROUP_PAGES);
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
        if (zone->managed_pages > min + 2) {
            zone->watermark_low = max_of(zone->watermark_low, min + 1);
            zone->watermark_high = max_of(zone->watermark_high, min + 2);
        }
    }
}

// What lower zones keep for requests that have nowhere else to go, by Linux's ratios.
static init_code void set_lowmem_reserves(void)
{
    for (unsigned low = 0; low < ZONE_COUNT; low++) {
        uint64_t above = 0;
        for (unsigned high = low + 1; high < ZONE_COUNT; high++) {
            above += zones[high].managed_pages;
            zones[low].lowmem_reserve[high] =
                zones[low].managed_pages == 0 ? 0 : above / (low == ZONE_NORMAL ? NORMAL_RATIO : LOW_RATIO);
        }
    }
}

static init_code void mark_reserved(pfn_t start, pfn_t end, enum page_type owner)
{
    struct granule_pool *pool = owner == PAGE_TABLE   ? &granule_tables
                                : owner == PAGE_STACK ? &granule_stacks
                                                      : NULL;

    memmap_clear(start, end);
    if (pool == NULL) {
        memmap_mark(start, end, owner);
        return;
    }
    for (pfn_t at = start; at.value < end.value; at.value++) {
        memmap_mark(at, pfn(at.value + 1), owner);
        granule_adopt(pool, pfn_to_page(at));
    }
}

// Gives [start, end) to the engine, a zone at a time.
static void add_blank(pfn_t start, pfn_t end, bool is_unwritten)
{
    while (start.value < end.value) {
        struct zone *zone = zone_of(start);
        pfn_t past = pfn(min_of(end.value, zone->end_pfn));
        page_engine->add(zone, start, past, is_unwritten);
        start = past;
    }
}

// Every page of [start, end) has an owner: the first reserved range that touches it, or else the engine. The reserved
// ones first, since a free block's neighbour may be looked at.
static init_code void hand_out_range(pfn_t start, pfn_t end, bool is_free_wanted)
{
    pfn_t at = start;

    for (unsigned i = 0; i < memblock_reserved.count && at.value < end.value; i++) {
        const struct memblock_range *range = &memblock_reserved.range[i];
        pfn_t first = pfn(max_of(range->start >> PAGE_SHIFT, at.value));
        pfn_t past = pfn(min_of(align_up(range->start + range->size, PAGE_SIZE) >> PAGE_SHIFT, end.value));

        if (first.value >= past.value)
            continue;
        if (is_free_wanted)
            add_blank(at, first, true);
        else
            mark_reserved(first, past, range->owner);
        at = past;
    }
    if (is_free_wanted)
        add_blank(at, end, true);
}

// The granules at the ends of a range's part of the memmap: what of them lies outside of RAM is no page either.
static init_code void clear_edges(pfn_t start, pfn_t end)
{
    char *first = (char *)align_down((uintptr_t)pfn_to_page(start), MMU_PAGE_SIZE);
    char *last = (char *)align_down((uintptr_t)pfn_to_page(pfn(end.value - 1)), MMU_PAGE_SIZE);

    memset(first, 0, MMU_PAGE_SIZE);
    memset(last, 0, MMU_PAGE_SIZE);
}

init_code void zones_init(void)
{
    pfn_t start, end;

    for (unsigned id = 0; id < ZONE_COUNT; id++)
        page_engine->init(&zones[id]);
    page_lists_init_hart();
    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);) {
        stretch_zones(start, end);
        clear_edges(start, end);
    }
    zone_of_kernel = (unsigned)(gfp_zone(GFP_KERNEL) - zones);
    for (unsigned is_free_wanted = 0; is_free_wanted <= 1; is_free_wanted++)
        for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);)
            hand_out_range(start, end, is_free_wanted);
    set_watermarks();
    set_lowmem_reserves();
}

void zones_add_range(pfn_t start, pfn_t end)
{
    memmap_erase(start, end);
    add_blank(start, end, false);
}

uint64_t zones_settle(void)
{
    uint64_t written = 0;
    pfn_t start, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);)
        for (pfn_t at = start; at.value < end.value;)
            at = page_engine->settle(zone_of(at), at, &written);
    return written;
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
