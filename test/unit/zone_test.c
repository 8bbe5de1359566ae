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

// The zones' pages are all of RAM; DMA32 ends at 4 GB, where NORMAL starts; the others are empty.
KTEST(zone, riscv64_layout)
{
    uint64_t present = 0;

    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        EXPECT_LE(zones[id].present_pages, zones[id].end_pfn - zones[id].start_pfn);
        EXPECT_LE(zones[id].managed_pages, zones[id].present_pages);
        present += zones[id].present_pages;
    }
    EXPECT_EQ(present, ledger_take().total);
    EXPECT_EQ(zones[ZONE_DMA].present_pages, 0);
    EXPECT_EQ(zones[ZONE_HIGHMEM].present_pages, 0);
    EXPECT_LE(zones[ZONE_DMA32].end_pfn, DMA32_PAGES);
    if (zones[ZONE_NORMAL].present_pages > 0)
        EXPECT_GE(zones[ZONE_NORMAL].start_pfn, DMA32_PAGES);
    EXPECT_STREQ(zones[ZONE_DMA32].name, "DMA32");
    EXPECT_STREQ(zones[ZONE_NORMAL].name, "NORMAL");
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
// proportion.
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
        EXPECT_EQ(zone->watermark_low, share * 5 / 4);
        EXPECT_EQ(zone->watermark_high, share * 3 / 2);
    }
}

// Each flag's zone is the highest that it allows and that has RAM; GFP_DMA takes the lowest there is.
KTEST(zone, flags_choose_the_zone)
{
    struct zone *dma32 = zones[ZONE_DMA32].present_pages > 0 ? &zones[ZONE_DMA32] : NULL;
    struct zone *normal = zones[ZONE_NORMAL].present_pages > 0 ? &zones[ZONE_NORMAL] : NULL;
    struct zone *highest = normal != NULL ? normal : dma32, *lowest = dma32 != NULL ? dma32 : normal;

    EXPECT_EQ(gfp_zone(GFP_KERNEL), highest);
    EXPECT_EQ(gfp_zone(GFP_ATOMIC), highest);
    EXPECT_EQ(gfp_zone(GFP_HIGHUSER), highest);
    EXPECT_EQ(gfp_zone(GFP_KERNEL | GFP_DMA32), dma32);
    EXPECT_EQ(gfp_zone(GFP_KERNEL | GFP_DMA), lowest);
}

// What is asked for below 4 GB lies there, and is refused rather than taken from above.
KTEST(zone, dma32_never_comes_from_normal)
{
    struct page_chain chain = { 0 };
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

// A request without wishes is served from the highest zone first, from the lower one when that is down to its low
// mark, and from the highest again, down to its min, when both are.
KTEST(zone, falls_back_to_lower_zones)
{
    struct page_chain chain = { 0 };
    struct zone *normal = &zones[ZONE_NORMAL], *dma32 = &zones[ZONE_DMA32];
    uint64_t expected_normal = normal->free_pages - normal->watermark_low, dma32_before = dma32->free_pages;

    if (normal->present_pages == 0 || dma32->present_pages == 0)
        ktest_skip("RAM on one side of 4 GB only");
    EXPECT_EQ(chain_fill(&chain, GFP_NOWAIT, 0, expected_normal), expected_normal);
    EXPECT_EQ(normal->free_pages, normal->watermark_low);
    EXPECT_EQ(dma32->free_pages, dma32_before);
    EXPECT_EQ(chain_fill(&chain, GFP_NOWAIT, 0, 1), 1);
    EXPECT(is_dma32(chain.first));
    EXPECT_EQ(dma32->free_pages, dma32_before - 1);
    chain_fill(&chain, GFP_NOWAIT, 0, dma32->free_pages - dma32->watermark_low);
    EXPECT_EQ(normal->free_pages, normal->watermark_low);
    EXPECT_EQ(dma32->free_pages, dma32->watermark_low);
    EXPECT_EQ(chain_fill(&chain, GFP_NOWAIT, 0, 1), 1);
    EXPECT_EQ(normal->free_pages, normal->watermark_low - 1);
    chain_free(&chain);
}

// Everybody stops at min, GFP_ATOMIC at half of it, __GFP_MEMALLOC at nothing, in each zone exactly.
KTEST(zone, watermarks_stop_each_in_turn)
{
    struct page_chain chain = { 0 };

    chain_fill(&chain, GFP_NOWAIT, 0, UINT64_MAX);
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        EXPECT_EQ(zones[id].free_pages, zones[id].watermark_min);
    EXPECT_NULL(alloc_page(GFP_NOWAIT | __GFP_NOWARN));
    chain_fill(&chain, GFP_ATOMIC, 0, UINT64_MAX);
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        EXPECT_EQ(zones[id].free_pages, zones[id].watermark_min / 2);
    EXPECT_NULL(alloc_page(GFP_ATOMIC | __GFP_NOWARN));
    chain_fill(&chain, GFP_NOWAIT | __GFP_MEMALLOC, 0, UINT64_MAX);
    EXPECT_EQ(zones_free_pages(), 0);
    EXPECT_NULL(alloc_page(GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOWARN));
    chain_free(&chain);
}
