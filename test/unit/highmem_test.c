// HIGHMEM: out of the direct map, first for those who can do with it, and never for those who cannot.
// SPDX-License-Identifier: BSD-2-Clause
#include "access.h"
#include "highmem_support.h"
#include "page_chain.h"

#include <mm/memblock.h>
#include <mm/vmalloc.h>

// Not a granule of HIGHMEM can be touched where the direct map would show it; the last page below it can.
KTEST(highmem, faults_when_touched_unmapped)
{
    SKIP_WITHOUT_HIGHMEM();
    struct page *page = alloc_page(GFP_HIGHUSER);
    uint64_t start = highmem_start().value, reached = 0;

    REQUIRE(page);
    EXPECT_EQ(page_zone(page), &zones[ZONE_HIGHMEM]);
    volatile char *direct = (char *)(page_to_phys(page).value + ARCH_DIRECT_BASE);
    for (uint64_t offset = 0; offset < PAGE_SIZE; offset += MMU_PAGE_SIZE)
        reached += !access_faults(direct + offset, offset % (2 * MMU_PAGE_SIZE) != 0);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t frame = zones[ZONE_HIGHMEM].start_pfn +
                         ktest_random_below(zones[ZONE_HIGHMEM].end_pfn - zones[ZONE_HIGHMEM].start_pfn);
        reached += !access_faults((char *)((frame << PAGE_SHIFT) + ARCH_DIRECT_BASE), i % 2 == 0);
    }
    reached += !access_faults((char *)(start + ARCH_DIRECT_BASE), false);
    EXPECT_EQ(reached, 0);
    if (zones[ZONE_NORMAL].end_pfn << PAGE_SHIFT == start)
        EXPECT(!access_faults((char *)(start + ARCH_DIRECT_BASE - 1), true));
    __free_page(page);
}

// Who can do without an address is served from HIGHMEM, then NORMAL, then DMA, and turns back once, when all are
// down to their low marks; in the end no zone has more than its reserve.
KTEST(highmem, falls_back_zone_by_zone)
{
    SKIP_WITHOUT_HIGHMEM();
    uint64_t taken[ZONE_COUNT] = { 0 }, turns = 0;
    struct page_chain chain = { 0 };
    unsigned earlier = ZONE_HIGHMEM;

    page_lists_block();
    bool has_some[ZONE_COUNT];
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        has_some[id] = zones[id].free_pages > zones[id].watermark_min + zones[id].lowmem_reserve[ZONE_HIGHMEM];
    for (struct page *page; (page = alloc_page(GFP_NOWAIT | __GFP_HIGHMEM | __GFP_NOWARN)) != NULL;) {
        unsigned id = (unsigned)(page_zone(page) - zones);
        turns += id > earlier;
        earlier = id;
        taken[id]++;
        chain_push(&chain, page);
    }
    EXPECT_LE(turns, 1);
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        EXPECT_EQ(taken[id] > 0, has_some[id]);
    EXPECT_GE(taken[ZONE_HIGHMEM], zones[ZONE_HIGHMEM].managed_pages / 2);
    chain_free(&chain);
    page_lists_unblock();
}

// Who needs an address never gets HIGHMEM, though nothing else is left.
KTEST(highmem, is_not_for_those_who_need_an_address)
{
    SKIP_WITHOUT_HIGHMEM();
    static const gfp_t wishes[] = { GFP_NOWAIT, GFP_ATOMIC, GFP_NOWAIT | GFP_DMA, GFP_NOWAIT | __GFP_MEMALLOC };
    struct page_chain chain = { 0 };
    uint64_t high = 0, free_before = zones[ZONE_HIGHMEM].free_pages;

    for (unsigned i = 0; i < array_count(wishes); i++)
        chain_fill(&chain, wishes[i], 0, UINT64_MAX);
    for (struct page *page = chain.first; page != NULL; page = page->owner)
        high += page_is_high(page);
    EXPECT_EQ(high, 0);
    EXPECT_EQ(zones[ZONE_HIGHMEM].free_pages, free_before);
    struct page *page = alloc_page(GFP_NOWAIT | __GFP_HIGHMEM);
    EXPECT(page != NULL && page_is_high(page));
    __free_page(page);
    chain_free(&chain);
}

// Memory zeroed on request is zero to its last byte, in blocks of every size, although it was dirty.
KTEST(highmem, is_zeroed_on_request)
{
    SKIP_WITHOUT_HIGHMEM();
    for (unsigned order = 0; order <= 5; order++) {
        for (unsigned round = 0; round < 2; round++) {
            struct page *block = alloc_pages(GFP_HIGHUSER | (round == 1 ? __GFP_ZERO : 0), order);
            uint64_t nonzero = 0;

            REQUIRE(block);
            EXPECT(page_is_high(block));
            for (uint64_t i = 0; i < 1UL << order; i++) {
                uint64_t *words = kmap_local_page(block + i);
                for (uint64_t k = 0; round == 1 && k < PAGE_SIZE / sizeof(*words); k++)
                    nonzero += words[k] != 0;
                memset(words, 0xcd, PAGE_SIZE);
                kunmap_local(words);
            }
            EXPECT_EQ(nonzero, 0);
            __free_pages(block, order);
        }
    }
}

// vmalloc leaves what has an address to others.
KTEST(highmem, serves_vmalloc_first)
{
    SKIP_WITHOUT_HIGHMEM();
    char *area = vmalloc(PAGE_SIZE * 9);

    REQUIRE(area);
    for (unsigned i = 0; i < 9; i++)
        EXPECT(page_is_high(vmalloc_to_page(area + i * PAGE_SIZE)));
    vfree(area);
}

// An address is refused of memory that has none.
KTEST(highmem, has_no_address_to_ask_for)
{
    EXPECT_MISUSE(1, EXPECT_NULL(__get_free_page(GFP_KERNEL | __GFP_HIGHMEM)));
    EXPECT_MISUSE(1, EXPECT_NULL(get_zeroed_page(GFP_ATOMIC | __GFP_HIGHMEM)));
}

// Whether a range that start-up took lies where it may take.
static bool is_in_window(const struct memblock_range *range)
{
    paddr_t low, high;

    zone_layout_boot_window(&zone_layout, &low, &high);
    return range->start >= low.value && range->start + range->size <= high.value;
}

// Memmap and tables of start-up lie neither in DMA nor in HIGHMEM.
KTEST(highmem, boot_memory_lies_in_normal)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < memblock_reserved.count; i++) {
        const struct memblock_range *range = &memblock_reserved.range[i];
        if (range->owner != PAGE_MEMMAP && range->owner != PAGE_TABLE && range->owner != PAGE_BOOT)
            continue;
        taken++;
        EXPECT(is_in_window(range));
    }
    EXPECT_GE(taken, 2);
}

// Of HIGHMEM everything is for use but an initrd: these machines keep nothing else there, and the device tree was
// copied.
KTEST(highmem, is_free_but_for_what_is_reserved)
{
    SKIP_WITHOUT_HIGHMEM();
    const struct zone *high = &zones[ZONE_HIGHMEM];
    uint64_t reserved = 0, behind = high->start_pfn;
    pfn_t start, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);)
        for (unsigned i = 0; i < memblock_reserved.count; i++) {
            const struct memblock_range *range = &memblock_reserved.range[i];
            uint64_t lowest = max_of(start.value, behind), first = max_of(range->start >> PAGE_SHIFT, lowest);
            uint64_t past = min_of(align_up(range->start + range->size, PAGE_SIZE) >> PAGE_SHIFT, end.value);
            if (first < past) {
                EXPECT_EQ(range->owner, PAGE_INITRD);
                reserved += past - first;
                behind = past;
            }
        }
    EXPECT_EQ(high->managed_pages, high->present_pages - reserved);
}

// Pages that are asked for at once come from HIGHMEM while there is plenty, and are zero where that is asked for,
// whatever they held before.
KTEST(highmem, bulk_serves_it_and_zeros)
{
    enum { COUNT = 70 };
    struct page *pages[COUNT];

    for (unsigned round = 0; round < 2; round++) {
        unsigned high = 0;
        REQUIRE(alloc_pages_bulk(GFP_HIGHUSER | __GFP_ZERO, COUNT, pages) == COUNT);
        uint64_t nonzero = 0;
        for (unsigned i = 0; i < COUNT; i++) {
            uint64_t *words = kmap_local_page(pages[i]);
            for (unsigned k = 0; k < PAGE_SIZE / sizeof *words; k++)
                nonzero += words[k] != 0;
            memset(words, 0xee, PAGE_SIZE);
            kunmap_local(words);
            high += page_is_high(pages[i]);
        }
        EXPECT_EQ(nonzero, 0);
        EXPECT_EQ(high, has_highmem() ? COUNT : 0);
        for (unsigned i = 0; i < COUNT; i++)
            __free_page(pages[i]);
    }
}
