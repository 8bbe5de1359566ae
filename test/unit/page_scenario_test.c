// The page allocator under the loads that other kernels' tests set: every size, bulk, all harts at the last page.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "memory_left.h"

#include <arch/irq.h>
#include <arch/smp.h>
#include <arch/time.h>

#define SCENARIO_PAGES 1024
#define LARGEST_PAGES min_of((uint64_t)SCENARIO_PAGES, 1UL << MAX_ORDER)

// Blocks of any number of pages, chained by their first struct pages.
static uint64_t take_exact(struct page **chain, uint64_t pages, uint64_t most)
{
    uint64_t taken = 0;

    for (void *block; taken < most && (block = alloc_pages_exact(pages * PAGE_SIZE, GFP_KERNEL | __GFP_NOWARN)) != NULL;
         taken++) {
        virt_to_page(block)->owner = *chain;
        *chain = virt_to_page(block);
    }
    return taken;
}

static void free_exact(struct page **chain, uint64_t pages)
{
    for (struct page *page; (page = *chain) != NULL;) {
        *chain = page->owner;
        free_pages_exact(page_to_virt(page), pages * PAGE_SIZE);
    }
}

// 1024 / n blocks of n pages, for every n from 1 to 1024 that there are blocks for, all given back after each n: the
// second time through there are just as many of each.
KTEST(page_scenario, every_size_twice)
{
    // A block of n pages is cut from one of up to 2 n.
    (void)free_pages_now();
    if (zones_free_direct_pages() < 5 * SCENARIO_PAGES / 2)
        ktest_skip("fewer free pages than twice what is held at once");
    uint64_t got = 0, missing = 0, step = ktest_rounds(1UL, 13UL);

    for (unsigned round = 0; round < 2; round++)
        for (uint64_t pages = 1; pages <= LARGEST_PAGES; pages += step) {
            struct page *chain = NULL;
            uint64_t taken = take_exact(&chain, pages, SCENARIO_PAGES / pages);
            free_exact(&chain, pages);
            got += taken;
            missing += SCENARIO_PAGES / pages - taken;
            if (round == 1 && taken != SCENARIO_PAGES / pages)
                ktest_note("%lu blocks of %lu pages, not %lu", taken, pages, SCENARIO_PAGES / pages);
        }
    EXPECT_EQ(got % 2, 0);
    EXPECT_EQ(missing, 0);
}

// An exact block keeps the pages asked for and no more, each a block of its own.
KTEST(page_scenario, exact_keeps_no_more)
{
    uint64_t free = free_pages_now();

    for (uint64_t pages = 1; pages <= LARGEST_PAGES; pages = 2 * pages + 1) {
        char *block = alloc_pages_exact(pages * PAGE_SIZE - 5, GFP_KERNEL);
        REQUIRE(block);
        EXPECT(is_aligned((uintptr_t)block, PAGE_SIZE));
        EXPECT_EQ(free_pages_now(), free - pages);
        // The last page is given back on its own, and then the others.
        free_page(block + (pages - 1) * PAGE_SIZE);
        free_pages_exact(block, (pages - 1) * PAGE_SIZE);
        EXPECT_EQ(free_pages_now(), free);
    }
    free_pages_exact(NULL, 5 * PAGE_SIZE);
}

// Pages in bulk are as many as asked, each a page of its own, no two the same; at the end of memory what there is.
KTEST(page_scenario, bulk_gives_different_pages)
{
    static struct page *pages[600];
    struct frame_set frames = frame_set_open();
    uint64_t free = free_pages_now(), twice = 0, taken = 0;
    unsigned got;

    REQUIRE(frames.block);
    for (unsigned count = 0; count <= array_count(pages); count = 2 * count + 1) {
        EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, count, pages), count);
        for (unsigned i = 0; i < count; i++) {
            twice += !frame_set_add(&frames, pages[i]);
            EXPECT(pages[i]->type == PAGE_RAW && pages[i]->order == 0);
        }
        for (unsigned i = 0; i < count; i++) {
            frame_set_remove(&frames, pages[i]);
            __free_page(pages[i]);
        }
        EXPECT_EQ(free_pages_now(), free);
    }
    EXPECT_EQ(twice, 0);

    struct page_chain chain = { 0 };
    while ((got = alloc_pages_bulk(GFP_HIGHUSER | __GFP_MEMALLOC | __GFP_NOWARN, array_count(pages), pages)) > 0)
        for (unsigned i = 0; i < got; i++)
            taken += frame_set_add(&frames, pages[i]), chain_push(&chain, pages[i]);
    EXPECT_EQ(taken, free);
    chain_free(&chain);
    EXPECT_EQ(free_pages_now(), free);
    frame_set_close(&frames);
}

// --- Lists of harts and the last pages

static void fill_lists_on_hart(unsigned index, void *hart)
{
    struct page_chain chain = { 0 };

    if (index != *(unsigned *)hart)
        return;
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        chain_fill(&chain, GFP_KERNEL, order, order < 4 ? 64U : 1U);
    chain_fill(&chain, GFP_HIGHUSER_MOVABLE, 0, 64);
    chain_fill(&chain, GFP_KERNEL | __GFP_RECLAIMABLE, 1, 64);
    chain_free(&chain);
}

// Takes blocks to the last one. A request that fails asks the other harts to give back what they keep: soon it is
// there.
static uint64_t take_to_the_last(struct page_chain *chain, unsigned order, uint64_t expected)
{
    uint64_t taken = 0, deadline = arch_time() + arch_timer_hz();

    for (unsigned round = 0; taken < expected && arch_time() < deadline; round++) {
        taken += chain_fill(chain, GFP_HIGHUSER | __GFP_MEMALLOC, order, UINT64_MAX);
        arch_relax(round);
    }
    return taken;
}

// What lies in a hart's lists, of whatever order and kind, is still for all: on the same hart at once, on another as
// soon as it was asked for.
KTEST(page_scenario, lists_do_not_keep_the_last_pages)
{
    uint64_t free = free_pages_now();

    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct page_chain chain = { 0 };
        ktest_run_on_harts(fill_lists_on_hart, &hart);
        if (hart == 0)
            EXPECT_EQ(chain_fill(&chain, GFP_HIGHUSER | __GFP_MEMALLOC, 0, UINT64_MAX), free);
        else
            EXPECT_EQ(take_to_the_last(&chain, 0, free), free);
        chain_free(&chain);
        EXPECT_EQ(free_pages_now(), free);
    }
}

// Nor do they keep the last large blocks: what lies in lists merges when it is asked for.
KTEST(page_scenario, lists_do_not_keep_large_blocks)
{
    struct page_chain large = { 0 };
    uint64_t blocks;

    free_pages_now();
    blocks = chain_fill(&large, GFP_HIGHUSER | __GFP_MEMALLOC, MAX_ORDER, UINT64_MAX);
    EXPECT_LE(1, blocks);
    chain_free(&large);
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        ktest_run_on_harts(fill_lists_on_hart, &hart);
        EXPECT_EQ(take_to_the_last(&large, MAX_ORDER, blocks), blocks);
        chain_free(&large);
    }
}

// --- All harts at the last page, again and again

static struct {
    struct page_chain chain[MAX_HARTS];
    uint64_t failures_missed;      // (A) requests that succeeded behind the last page
} race;

static void take_all_on_hart(unsigned index, void *unused unused_arg)
{
    race.chain[index] = (struct page_chain){ 0 };
    chain_fill(&race.chain[index], GFP_HIGHUSER | __GFP_MEMALLOC, 0, UINT64_MAX);
}

static void fail_on_hart(unsigned index unused_arg, void *unused unused_arg)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *page = alloc_pages(GFP_ATOMIC | __GFP_HIGHMEM | __GFP_MEMALLOC | __GFP_NOWARN, order);
        if (page == NULL)
            continue;
        __atomic_fetch_add(&race.failures_missed, 1, __ATOMIC_RELAXED);
        __free_pages(page, order);
    }
}

static void give_back_on_hart(unsigned index, void *unused unused_arg)
{
    chain_free(&race.chain[index]);
}

// All harts take pages at once until there are none: together they have every one that was free, each once; all further
// requests fail, on all harts at once; and then they give all of them back at once. A thousand times.
KTEST(page_scenario, exhaustion_a_thousand_times)
{
    struct frame_set frames = frame_set_open();
    struct page_chain rest = { 0 };
    uint64_t free, twice = 0, lost = 0;

    REQUIRE(frames.block);
    free = leave_memory(&rest, MB(8));
    race.failures_missed = 0;
    for (unsigned round = 0; round < ktest_rounds(1000, 20); round++) {
        uint64_t taken = 0;
        unsigned harts = ktest_run_on_harts(take_all_on_hart, NULL);

        for (unsigned index = 0; index < harts; index++) {
            taken += race.chain[index].pages;
            for (const struct page *page = race.chain[index].first; page != NULL; page = page->owner)
                twice += !frame_set_add(&frames, page);
        }
        lost += free - taken;
        ktest_run_on_harts(fail_on_hart, NULL);
        for (unsigned index = 0; index < harts; index++)
            for (const struct page *page = race.chain[index].first; page != NULL; page = page->owner)
                frame_set_remove(&frames, page);
        ktest_run_on_harts(give_back_on_hart, NULL);
    }
    EXPECT_EQ(twice, 0);
    EXPECT_EQ(lost, 0);
    EXPECT_EQ(race.failures_missed, 0);
    EXPECT_EQ(free_pages_now(), free);
    chain_free(&rest);
    frame_set_close(&frames);
}
