// mm/phys/zone.c: which RAM lies in which zone, who may take it, and how much of it stays.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/zone.h>

#include "page_chain.h"

#include <mm/ledger.h>
#include <mm/memblock.h>

#define DMA32_PAGES (GB(4) >> PAGE_SHIFT)

static bool is_dma32(const struct page *page)
{
    return page_to_pfn(page).value < DMA32_PAGES;
}

// The zones' pages are all of RAM, and lie where the layout says; zones that it does not name are empty.
KTEST(zone, pages_lie_by_the_layout)
{
    const uint64_t bound[] = { 0, zone_layout.normal_start, zone_layout.normal_end, MAX_PFN };
    struct zone *const place[] = { zone_layout.low, &zones[ZONE_NORMAL], &zones[ZONE_HIGHMEM] };
    uint64_t present = 0, in_layout = 0;

    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        EXPECT_LE(zones[id].present_pages, zones[id].end_pfn - zones[id].start_pfn);
        EXPECT_LE(zones[id].managed_pages, zones[id].present_pages);
        present += zones[id].present_pages;
    }
    for (unsigned i = 0; i < array_count(place); i++) {
        in_layout += place[i]->present_pages;
        if (place[i]->present_pages == 0)
            continue;
        EXPECT_GE(place[i]->start_pfn, bound[i]);
        EXPECT_LE(place[i]->end_pfn, bound[i + 1]);
    }
    EXPECT_EQ(present, ledger_take().total);
    EXPECT_EQ(present, in_layout);
    EXPECT_STREQ(zones[ZONE_DMA32].name, "DMA32");
    EXPECT_STREQ(zones[ZONE_NORMAL].name, "NORMAL");
}

// Each frame's zone changes at the bounds, and nowhere within a largest block.
KTEST(zone, bounds_fall_between_blocks)
{
    const uint64_t bound[] = { zone_layout.normal_start, zone_layout.normal_end };

    for (unsigned i = 0; i < array_count(bound); i++) {
        EXPECT(is_aligned(bound[i], 1UL << MAX_ORDER));
        if (bound[i] != 0 && bound[i] != MAX_PFN)
            EXPECT_NE(zone_of(pfn(bound[i] - 1)), zone_of(pfn(bound[i])));
    }
    EXPECT_EQ(zone_of(pfn(zone_layout.normal_start)), &zones[ZONE_NORMAL]);
    EXPECT_EQ(zone_of(pfn(zone_layout.normal_end - 1)), &zones[ZONE_NORMAL]);
}

// No byte that was reserved by the firmware or the loader lies in a page that anybody could be given.
KTEST(zone, reserved_memory_is_never_handed_out)
{
    for (unsigned i = 0; i < memblock_reserved.count; i++) {
        const struct memblock_range *range = &memblock_reserved.range[i];
        uint64_t ram_start, ram_end, wrong = 0;
        pfn_t start, end;

        if (range->owner != PAGE_FIRMWARE && range->owner != PAGE_INITRD && range->owner != PAGE_MEMMAP)
            continue;
        for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);) {
            ram_start = max_of(start.value, range->start >> PAGE_SHIFT);
            ram_end = min_of(end.value, align_up(range->start + range->size, PAGE_SIZE) >> PAGE_SHIFT);
            for (uint64_t frame = ram_start; frame < ram_end; frame++) {
                // The head that covers the frame.
                uint64_t head = frame, size = 1;
                while (pfn_to_page(pfn(head))->type == PAGE_TAIL && size <= 1UL << MAX_ORDER)
                    head = align_down(frame, size *= 2);
                wrong += pfn_to_page(pfn(head))->type < PAGE_MEMMAP;
            }
        }
        EXPECT_EQ(wrong, 0);
    }
}

// min^2 is 16 times RAM (both in KB) within rounding, split by the zones' shares; low and high stand in
// proportion, and in no zone at the same page.
KTEST(zone, watermarks_follow_the_rule)
{
    uint64_t ram_kb = ledger_take().total << PAGE_SHIFT >> 10, reserve_kb = 0, low = 128, high = KB(256);

    // The root by bisection: not the way the code under test finds it.
    while (low < high) {
        reserve_kb = (low + high + 1) / 2;
        if (reserve_kb * reserve_kb <= 16 * ram_kb)
            low = reserve_kb;
        else
            high = reserve_kb - 1;
    }
    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        const struct zone *zone = &zones[id];
        uint64_t share = (low << 10 >> PAGE_SHIFT) * zone->present_pages / (ram_kb << 10 >> PAGE_SHIFT);

        EXPECT_EQ(zone->watermark_min, share);
        uint64_t low_at_least = zone->managed_pages > share + 2 ? share + 1 : 0;
        EXPECT_EQ(zone->watermark_low, max_of(share * 5 / 4, low_at_least));
        EXPECT_EQ(zone->watermark_high, max_of(share * 3 / 2, low_at_least + (low_at_least > 0)));
    }
}

// Each flag's zone is the highest that it allows and that has RAM; GFP_DMA takes the lowest there is.
KTEST(zone, flags_choose_the_zone)
{
    static const struct { gfp_t gfp; enum zone_id highest; } wishes[] = {
        { GFP_KERNEL, ZONE_NORMAL }, { GFP_ATOMIC, ZONE_NORMAL }, { GFP_HIGHUSER, ZONE_HIGHMEM },
        { GFP_KERNEL | GFP_DMA32, ZONE_DMA32 },
    };
    struct zone *lowest = NULL;

    for (unsigned i = 0; i < array_count(wishes); i++) {
        struct zone *expected = NULL;
        for (unsigned id = 0; id <= wishes[i].highest; id++)
            if (zones[id].present_pages > 0)
                expected = &zones[id];
        EXPECT_EQ(gfp_zone(wishes[i].gfp), expected);
    }
    for (unsigned id = ZONE_COUNT; id-- > 0;)
        if (zones[id].present_pages > 0)
            lowest = &zones[id];
    EXPECT_EQ(gfp_zone(GFP_KERNEL | GFP_DMA), lowest);
}

// What is asked for below 4 GB lies there, and is refused rather than taken from above.
KTEST(zone, dma32_never_comes_from_normal)
{
    struct page_chain chain = { 0 };

    if (zone_layout.low != &zones[ZONE_DMA32])
        ktest_skip("the layout has no DMA32");
    uint64_t taken = chain_fill(&chain, GFP_NOWAIT | GFP_DMA32, 0, UINT64_MAX), outside = 0;

    EXPECT_EQ(taken == 0, zones[ZONE_DMA32].present_pages == 0);
    for (const struct page *page = chain.first; page != NULL; page = page->owner)
        outside += !is_dma32(page);
    EXPECT_EQ(outside, 0);
    if (zones[ZONE_NORMAL].present_pages > 0) {
        struct page *page = alloc_page(GFP_NOWAIT);
        EXPECT_NOT_NULL(page);
        __free_pages(page, 0);
    }
    chain_free(&chain);
}

// What a zone keeps from requests that could have come from `highest`, down to a mark.
static uint64_t kept_pages(const struct zone *zone, const struct zone *highest, uint64_t mark)
{
    return zone->present_pages == 0 ? 0 : min_of(mark + zone->lowmem_reserve[highest - zones], zone->managed_pages);
}

// A request without wishes is served from the highest zone first, from the lower one when that is down to its low mark,
// and then from what is above the min marks; the lower zone keeps its protection.
KTEST(zone, falls_back_to_lower_zones)
{
    struct page_chain chain = { 0 };
    struct zone *normal = &zones[ZONE_NORMAL], *low = zone_layout.low;

    if (normal->present_pages == 0 || low->present_pages == 0)
        ktest_skip("RAM in one zone only");
    (void)free_pages_now();
    uint64_t low_before = low->free_pages, above_low = normal->free_pages - normal->watermark_low;
    EXPECT_EQ(chain_fill(&chain, GFP_NOWAIT, 0, above_low), above_low);
    (void)free_pages_now();
    EXPECT_EQ(normal->free_pages, normal->watermark_low);
    EXPECT_EQ(low->free_pages, low_before);
    EXPECT_EQ(chain_fill(&chain, GFP_NOWAIT, 0, 1), 1);
    EXPECT_EQ(page_zone(chain.first), low);
    chain_fill(&chain, GFP_NOWAIT, 0, UINT64_MAX);
    (void)free_pages_now();
    EXPECT_EQ(normal->free_pages, normal->watermark_min);
    EXPECT_EQ(low->free_pages, kept_pages(low, normal, low->watermark_min));
    EXPECT_GE(low->lowmem_reserve[ZONE_NORMAL], normal->managed_pages / 256);
    // Who may only have the lower zone's memory still gets it.
    gfp_t low_only = GFP_NOWAIT | (low == &zones[ZONE_DMA32] ? GFP_DMA32 : GFP_DMA);
    EXPECT_EQ(chain_fill(&chain, low_only, 0, 1), low->lowmem_reserve[ZONE_NORMAL] > 0);
    chain_free(&chain);
}

// Everybody stops at min, GFP_ATOMIC at half of it, __GFP_MEMALLOC at nothing, in each zone exactly.
KTEST(zone, watermarks_stop_each_in_turn)
{
    struct page_chain chain = { 0 };
    const struct zone *highest = gfp_zone(GFP_HIGHUSER);

    uint64_t free[ZONE_COUNT];

    (void)free_pages_now();
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        free[id] = zones[id].free_pages;
    chain_fill(&chain, GFP_NOWAIT | __GFP_HIGHMEM, 0, UINT64_MAX);
    (void)free_pages_now();
    for (const struct zone *zone = zones; zone <= highest; zone++)
        EXPECT_EQ(zone->free_pages, min_of(free[zone - zones], kept_pages(zone, highest, zone->watermark_min)));
    EXPECT_NULL(alloc_page(GFP_NOWAIT | __GFP_HIGHMEM | __GFP_NOWARN));
    chain_fill(&chain, GFP_ATOMIC | __GFP_HIGHMEM, 0, UINT64_MAX);
    (void)free_pages_now();
    for (const struct zone *zone = zones; zone <= highest; zone++)
        EXPECT_EQ(zone->free_pages, min_of(free[zone - zones], kept_pages(zone, highest, zone->watermark_min / 2)));
    EXPECT_NULL(alloc_page(GFP_ATOMIC | __GFP_HIGHMEM | __GFP_NOWARN));
    chain_fill(&chain, GFP_NOWAIT | __GFP_HIGHMEM | __GFP_MEMALLOC, 0, UINT64_MAX);
    (void)free_pages_now();
    for (const struct zone *zone = zones; zone <= highest; zone++)
        EXPECT_EQ(zone->free_pages, 0);
    EXPECT_NULL(alloc_page(GFP_NOWAIT | __GFP_HIGHMEM | __GFP_MEMALLOC | __GFP_NOWARN));
    chain_free(&chain);
}
