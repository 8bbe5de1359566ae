// mm/phys/page_alloc.c: what callers are promised.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "page_chain.h"

#include <base/string.h>
#include <mm/memblock.h>
#include <mm/page_engine.h>
#include <mm/slab.h>
#include <mm/zone.h>

#define SCENARIO_PAGES 1024

// Blocks of 1, 2, 4 ... 1024 pages, 1024 / n of each, all given back: the second time around there are just
// as many.
KTEST(page_alloc, second_round_gives_as_much)
{
    uint64_t got[2][MAX_ORDER + 1] = { 0 };

    for (unsigned round = 0; round < 2; round++)
        for (unsigned order = 0; order <= MAX_ORDER; order++) {
            struct page_chain chain = { 0 };
            got[round][order] = chain_fill(&chain, GFP_KERNEL, order, SCENARIO_PAGES >> order);
            chain_free(&chain);
        }
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        EXPECT_EQ(got[0][order], got[1][order]);
        EXPECT_GE(got[0][order], 1);
    }
}

// Whether the zone has a block for a plain request.
static bool has_block(struct zone *zone, unsigned order)
{
    struct free_counts counts;
    bool is_there = false;

    page_engine->count(zone, &counts);
    for (unsigned k = order; k <= MAX_ORDER; k++)
        is_there |= counts.blocks[k] > 0;
    return is_there && counts.pages >= zone->watermark_min + zone->reserved_pages + (1UL << order);
}

// Blocks of any number of pages from 1 to 1024 by their order, all alive at once as far as memory goes, twice: none is
// refused while the zone has a block for it, and from one piece of RAM in one zone there are as many, but for the last:
// whether it fits depends on which of equal blocks was cut. (Of several pieces the last few do.) Each time the lists
// are empty at first: what lies in them is given out without a look at the marks.
KTEST(page_alloc, mixed_sizes_twice)
{
    uint64_t got[2] = { 0 }, refused = 0, step = 2 * ktest_random_below(SCENARIO_PAGES / 2) + 1;
    struct zone *zone = gfp_zone(GFP_KERNEL);

    // What slabs give up when memory runs out must not come back in the second round only.
    (void)free_pages_now();
    kmem_cache_reap(UINT64_MAX);
    for (unsigned round = 0; round < 2; round++) {
        struct page_chain chain = { 0 };
        unsigned seen = 0;
        (void)free_pages_now();
        for (uint64_t i = 0, at = 0; i < SCENARIO_PAGES; i++, at += step) {
            unsigned order = get_order((at % SCENARIO_PAGES + 1) * PAGE_SIZE);
            if (order > MAX_ORDER)
                continue;
            uint64_t taken = chain_fill(&chain, GFP_KERNEL, order, 1);
            // The first refusal of each order is looked at: all later ones find no more than that.
            if (taken == 0 && !(seen & 1U << order))
                refused += has_block(zone, order);
            seen |= taken == 0 ? 1U << order : 0;
            got[round] += taken;
        }
        chain_free(&chain);
    }
    EXPECT_EQ(refused, 0);
    if (zone == gfp_zone(GFP_KERNEL | GFP_DMA) && memblock_ram.count == 1)
        EXPECT_LE(max_of(got[0], got[1]) - min_of(got[0], got[1]), 1);
    EXPECT_GE(got[0], 1);
    EXPECT_GE(got[1], 1);
}

// Taken to the last page, the pages are all that were free, each one once; then a request fails and harms
// nothing.
KTEST(page_alloc, exhaustion_gives_every_frame_once)
{
    struct frame_set frames = frame_set_open();
    struct page_chain chain = { 0 };
    uint64_t free = free_pages_now(), twice = 0;

    REQUIRE(frames.block);
    EXPECT_EQ(chain_fill(&chain, GFP_HIGHUSER | __GFP_MEMALLOC, 0, UINT64_MAX), free);
    EXPECT_EQ(free_pages_now(), 0);
    for (const struct page *page = chain.first; page != NULL; page = page->owner)
        twice += !frame_set_add(&frames, page);
    EXPECT_EQ(twice, 0);
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        EXPECT_NULL(alloc_pages(GFP_HIGHUSER | __GFP_MEMALLOC | __GFP_NOWARN, order));
    __free_page(chain_pop(&chain));
    EXPECT_EQ(chain_fill(&chain, GFP_HIGHUSER | __GFP_MEMALLOC, 0, UINT64_MAX), 1);
    chain_free(&chain);
    EXPECT_EQ(free_pages_now(), free);
    frame_set_close(&frames);
}

// Of a block of every order that was dirty, __GFP_ZERO gives zeros, and get_zeroed_page too.
KTEST(page_alloc, zeroed_means_zero)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        uint64_t *words = __get_free_pages(GFP_KERNEL, order), stray = 0;
        REQUIRE(words);
        memset(words, 0xa5, PAGE_SIZE << order);
        free_pages(words, order);
        words = __get_free_pages(GFP_KERNEL | __GFP_ZERO, order);
        REQUIRE(words);
        for (uint64_t i = 0; i < (PAGE_SIZE << order) / sizeof(*words); i++)
            stray |= words[i];
        EXPECT_EQ(stray, 0);
        free_pages(words, order);
    }
    uint8_t *dirty = __get_free_page(GFP_KERNEL), *clean;
    REQUIRE(dirty);
    memset(dirty, 0xa5, PAGE_SIZE);
    free_page(dirty);
    clean = get_zeroed_page(GFP_KERNEL);
    REQUIRE(clean);
    EXPECT_EQ(clean, dirty);
    EXPECT_EQ(clean[0] | clean[PAGE_SIZE / 2] | clean[PAGE_SIZE - 1], 0);
    free_page(clean);
}

// A fresh block is raw, has one reference and no flags, whatever it was before.
KTEST(page_alloc, fresh_block_has_no_past)
{
    struct page *page = alloc_pages(GFP_KERNEL, 1);

    REQUIRE(page);
    __free_pages(page, 1);
    page = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);
    REQUIRE(page);
    page_get(page);
    put_page(page);
    page_set_type(page, PAGE_KMALLOC);
    page_set_type(page, PAGE_RAW);
    __free_pages(page, 1);
    page = alloc_pages(GFP_KERNEL, 1);
    REQUIRE(page);
    EXPECT_EQ(page->type, PAGE_RAW);
    EXPECT_EQ(page->order, 1);
    EXPECT_EQ(page_count(page), 1);
    EXPECT_EQ(page->flags, 0);
    EXPECT_EQ(page[1].type, PAGE_TAIL);
    EXPECT_EQ(page[1].refcount, 0);
    __free_pages(page, 1);
}

// The four names of a page lead to each other.
KTEST(page_alloc, names_agree)
{
    char *address = __get_free_pages(GFP_KERNEL, 1);
    struct page *page = virt_to_page(address);

    REQUIRE(address);
    EXPECT_EQ(page_to_virt(page), address);
    EXPECT_EQ(pfn_to_page(page_to_pfn(page)), page);
    EXPECT_EQ(page_to_phys(page).value, virt_to_phys(address).value);
    EXPECT_EQ(virt_to_page(address + PAGE_SIZE + 5), page + 1);
    EXPECT(virt_is_direct(address));
    EXPECT(!virt_is_direct(NULL));
    EXPECT(!virt_is_direct(page));
    free_pages(address, 1);
}

// --- References, compound blocks, splitting ---

// A block lives as long as somebody holds a reference, whoever lets go last.
KTEST(page_alloc, last_reference_frees)
{
    uint64_t free = free_pages_now();
    struct page *page = alloc_pages(GFP_KERNEL, 2);

    REQUIRE(page);
    page_get(page);
    page_get(page);
    __free_pages(page, 2);
    EXPECT_EQ(page_count(page), 2);
    put_page(page);
    EXPECT_EQ(page_count(page), 1);
    EXPECT_EQ(free_pages_now(), free - 4);
    put_page(page);
    EXPECT_EQ(free_pages_now(), free);
}

// Every page of a compound block names its head; once the block is gone, no tail names anything.
KTEST(page_alloc, compound_tails_know_their_head)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, order);
        uint64_t pages = 1UL << order, last = pages - 1;

        REQUIRE(head);
        EXPECT_EQ(page_head(head), head);
        EXPECT_EQ(page_head(head + pages / 2), head);
        EXPECT_EQ(page_head(head + last), head);
        put_page(head + last);
        EXPECT_EQ(page_head(head + last), head + last);
    }

    // Stale names: the same memory again as a plain block, and as a smaller compound one (which it is made
    // for a moment).
    struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
    REQUIRE(head);
    __free_pages(head, 2);
    head = alloc_pages(GFP_KERNEL, 2);
    REQUIRE(head);
    EXPECT_EQ(page_head(head + 3), head + 3);
    __free_pages(head, 2);
    head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
    REQUIRE(head);
    head->order = 1;
    EXPECT_EQ(page_head(head + 1), head);
    EXPECT_EQ(page_head(head + 2), head + 2);
    EXPECT_EQ(page_head(head + 3), head + 3);
    head->order = 2;
    __free_pages(head, 2);
}

// The pages of a split block are freed one by one, and all of them come back.
KTEST(page_alloc, split_makes_single_pages)
{
    uint64_t free = free_pages_now();
    struct page *head = alloc_pages(GFP_KERNEL, 3);

    REQUIRE(head);
    split_page(head, 3);
    for (unsigned i = 0; i < 8; i++) {
        EXPECT_EQ(head[i].type, PAGE_RAW);
        EXPECT_EQ(head[i].order, 0);
        EXPECT_EQ(page_count(&head[i]), 1);
        EXPECT(page_zone(&head[i]) == page_zone(head));
    }
    for (unsigned i = 0; i < 8; i++)
        __free_page(&head[i ^ 5]);
    EXPECT_EQ(free_pages_now(), free);
    split_page(head = alloc_page(GFP_KERNEL), 0);
    __free_page(head);
}

// --- Failure ---

static uint64_t countdown, questions;

static bool fail_at_zero(enum fault_site site, gfp_t gfp unused_arg)
{
    questions += site == FAULT_PAGE;
    return site == FAULT_PAGE && countdown-- == 0;
}

// The hook makes just the request fail that it picks, is not asked by what may not fail, and leaves no trace.
KTEST(page_alloc, fault_hook_picks_the_request)
{
    struct page_alloc_stats before = page_alloc_stats();
    struct page_chain chain = { 0 };

    countdown = 3;
    questions = 0;
    mm_set_fault_hook(fail_at_zero);
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL, 0, 100), 3);
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL, 1, 2), 2);
    EXPECT_EQ(questions, 6);
    countdown = 0;
    EXPECT_NULL(get_zeroed_page(GFP_KERNEL));
    countdown = 0;
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL | __GFP_NOFAIL, 0, 1), 1);
    mm_set_fault_hook(NULL);
    EXPECT_EQ(questions, 7);
    EXPECT_EQ(page_alloc_stats().failed_count - before.failed_count, 2);
    chain_free(&chain);
}

// A failed request is counted, whoever asked, and NULL is all that happens. (One report a second goes to the
// log.)
KTEST(page_alloc, failure_is_counted)
{
    struct page_alloc_stats before = page_alloc_stats();
    struct page_chain chain = { 0 };

    chain_fill(&chain, GFP_NOWAIT | __GFP_MEMALLOC, 0, UINT64_MAX);
    EXPECT_NULL(alloc_page(GFP_KERNEL));
    EXPECT_NULL(__get_free_pages(GFP_ATOMIC, 1));
    EXPECT_NULL(get_zeroed_page(GFP_NOWAIT));
    chain_free(&chain);
    EXPECT_EQ(page_alloc_stats().failed_count - before.failed_count, 4);
}
