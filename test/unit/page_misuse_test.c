// mm/phys/page_alloc.c: everything that must not be asked of it, each with the exact number of reports.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include <ktest/free_pages.h>
#include <ktest/ktest.h>
#include <mm/zone.h>

// Flags that do not exist or contradict each other, and orders there are not: one report each, and NULL.
KTEST(page_alloc, refuses_bad_requests)
{
    static const gfp_t bad[] = {
        GFP_KERNEL | (gfp_t)1 << 15, GFP_KERNEL | (gfp_t)1 << 31, GFP_KERNEL | __GFP_DMA | __GFP_DMA32,
        GFP_HIGHUSER | __GFP_DMA, GFP_KERNEL | __GFP_NOFAIL | __GFP_NORETRY, GFP_NOWAIT | __GFP_NOFAIL,
        GFP_ATOMIC | __GFP_NOFAIL, GFP_KERNEL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL,
        GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOFAIL, GFP_KERNEL | __GFP_MOVABLE | __GFP_RECLAIMABLE,
    };
    uint64_t free = free_pages_now();

    for (size_t i = 0; i < array_count(bad); i++) {
        EXPECT_MISUSE(1, EXPECT_NULL(alloc_page(bad[i])));
        EXPECT_MISUSE(1, EXPECT_NULL(alloc_page(bad[i] | __GFP_NOWARN)));
    }
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages(GFP_KERNEL, MAX_ORDER + 1)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages(GFP_ATOMIC, 64)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages(GFP_KERNEL | __GFP_NOFAIL, UINT32_MAX)));
    EXPECT_MISUSE(1, EXPECT_NULL(__get_free_pages(GFP_KERNEL, MAX_ORDER + 1)));
    EXPECT_MISUSE(1, EXPECT_NULL(__get_free_page(GFP_HIGHUSER)));
    EXPECT_MISUSE(1, EXPECT_NULL(get_zeroed_page(GFP_HIGHUSER)));
    EXPECT_EQ(free_pages_now(), free);
}

// Every flag on its own that there is, with a way to be used, is accepted.
KTEST(page_alloc, accepts_every_flag)
{
    for (gfp_t flag = 1; flag & __GFP_ALL; flag <<= 1) {
        struct page *page = alloc_page(GFP_KERNEL | flag);
        if (!(flag & __GFP_DMA32) || zones[ZONE_DMA32].present_pages > 0)
            EXPECT_NOT_NULL(page);
        __free_pages(page, 0);
    }
}

// A block freed twice, in any of the ways to free, is reported each time and freed once.
KTEST(page_alloc, catches_a_second_free)
{
    uint64_t free = free_pages_now();

    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *block = alloc_pages(GFP_KERNEL, order);
        REQUIRE(block);
        __free_pages(block, order);
        EXPECT_MISUSE(1, __free_pages(block, order));
        EXPECT_MISUSE(1, free_pages(page_to_virt(block), order));
        EXPECT_MISUSE(1, put_page(block));
        EXPECT_EQ(free_pages_now(), free);
    }

    // On its way from the last reference to the free list, when another hart frees it too.
    struct page *page = alloc_page(GFP_KERNEL);
    REQUIRE(page);
    page->type = PAGE_HART;
    EXPECT_MISUSE(1, __free_page(page));
    EXPECT_EQ(page->type, PAGE_HART);
    page->type = PAGE_RAW;
    __free_page(page);

    // With the neighbour alive the page stays a block of its own, so it is found free, not inside another.
    struct page *pair = alloc_pages(GFP_KERNEL, 1);
    REQUIRE(pair);
    split_page(pair, 1);
    __free_page(pair + 1);
    EXPECT_MISUSE(1, __free_page(pair + 1));
    __free_page(pair);
    EXPECT_MISUSE(1, __free_page(pair + 1));
    EXPECT_EQ(free_pages_now(), free);
}

// A wrong order, the middle of a block and a block that was cut up are refused, and the block is still whole.
KTEST(page_alloc, catches_the_wrong_block)
{
    struct page *page = alloc_pages(GFP_KERNEL, 2);

    REQUIRE(page);
    for (unsigned order = 0; order <= MAX_ORDER + 1; order++)
        if (order != 2)
            EXPECT_MISUSE(1, __free_pages(page, order));
    EXPECT_MISUSE(1, __free_pages(page, 1000));
    EXPECT_MISUSE(1, __free_page(page + 1));
    EXPECT_MISUSE(1, __free_pages(page + 2, 1));
    EXPECT_MISUSE(1, put_page(page + 3));
    EXPECT_MISUSE(1, free_page((char *)page_to_virt(page) + PAGE_SIZE));
    EXPECT_EQ(page_count(page), 1);
    split_page(page, 2);
    EXPECT_MISUSE(1, __free_pages(page, 2));
    for (unsigned i = 0; i < 4; i++)
        __free_page(page + i);
}

// Pointers that name no page, or one that was never to be had.
KTEST(page_alloc, catches_strangers)
{
    struct page *page = alloc_page(GFP_KERNEL);
    char *address, local;

    REQUIRE(page);
    address = page_to_virt(page);
    EXPECT_MISUSE(1, __free_page((struct page *)((char *)page + 8)));
    EXPECT_MISUSE(1, __free_page((struct page *)address));
    EXPECT_MISUSE(1, __free_page(MEMMAP + MAX_PFN));
    EXPECT_MISUSE(1, __free_page(MEMMAP - 1));
    EXPECT_MISUSE(1, __free_page(MEMMAP));
    EXPECT_MISUSE(1, __free_page(MEMMAP + MAX_PFN - 1));
    EXPECT_MISUSE(1, put_page((struct page *)((char *)page + 1)));
    EXPECT_MISUSE(1, put_page(NULL));
    EXPECT_MISUSE(1, free_page(address + 1));
    EXPECT_MISUSE(1, free_page(address + PAGE_SIZE - 1));
    EXPECT_MISUSE(1, free_page(&local));
    EXPECT_MISUSE(1, free_page(page));
    EXPECT_MISUSE(1, free_page((void *)ARCH_DIRECT_BASE));
    EXPECT_MISUSE(1, free_page((void *)(ARCH_DIRECT_BASE + ARCH_PHYS_LIMIT)));
    __free_pages(NULL, 0);
    __free_pages(NULL, 77);
    free_pages(NULL, 3);
    __free_page(page);
}

// Memory with an owner is the owner's: slabs, large objects, tables, stacks, and what is reserved for ever.
KTEST(page_alloc, catches_pages_of_others)
{
    static const enum page_type owned[] = { PAGE_SLAB, PAGE_KMALLOC, PAGE_VMALLOC, PAGE_TABLE, PAGE_STACK };
    struct page *page = alloc_page(GFP_KERNEL);
    unsigned reserved = 0;
    pfn_t at, end;

    REQUIRE(page);
    for (size_t i = 0; i < array_count(owned); i++) {
        page_set_type(page, owned[i]);
        EXPECT_MISUSE(1, __free_page(page));
        EXPECT_MISUSE(1, put_page(page));
        EXPECT_MISUSE(1, split_page(page, 0));
    }
    page_set_type(page, PAGE_RAW);
    __free_page(page);

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &at, &end);)
        while (at.value < end.value) {
            page = pfn_to_page(at);
            if (page->type >= PAGE_MEMMAP && reserved++ < 20)
                EXPECT_MISUSE(1, __free_pages(page, page->order));
            at.value += 1UL << page->order;
        }
    EXPECT_GE(reserved, 1);
}

// Only a plain block of that order with one reference can be split.
KTEST(page_alloc, catches_bad_splits)
{
    struct page *page = alloc_pages(GFP_KERNEL, 2), *compound = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);

    REQUIRE(page);
    REQUIRE(compound);
    EXPECT_MISUSE(1, split_page(page, 1));
    EXPECT_MISUSE(1, split_page(page + 1, 0));
    EXPECT_MISUSE(1, split_page(compound, 1));
    EXPECT_MISUSE(1, split_page((struct page *)page_to_virt(page), 2));
    page_get(page);
    EXPECT_MISUSE(1, split_page(page, 2));
    put_page(page);
    EXPECT_EQ(page->order, 2);
    __free_pages(page, 2);
    EXPECT_MISUSE(1, split_page(page, 2));
    __free_pages(compound, 1);
}
