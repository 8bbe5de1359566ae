// mm/phys/page_lists.c and page_depot.c: what harts keep and leave for each other is never lost and always reachable.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_lists.h>

#include "page_chain.h"

#include <mm/page_depot.h>
#include <mm/page_engine.h>
#include <mm/zone.h>

// Frees enough pages at once to fill this hart's list and leave something in the depot; the chain is empty before and
// after. False where the zone is too small for a depot.
static bool fill_depot(struct page_chain *chain)
{
    chain_fill(chain, GFP_KERNEL, 0, 4 * PAGE_LIST_SLOTS(0));
    chain_free(chain);
    return page_depot_pages(&page_depot) > 0;
}

// A full list leaves batches in the depot, and an empty one takes them from there and not from the zone.
KTEST(page_lists, batches_go_through_the_depot)
{
    const struct zone *zone = gfp_zone(GFP_KERNEL);
    struct page_chain chain = { 0 };
    uint64_t free = free_pages_now(), batches;

    if (!fill_depot(&chain))
        ktest_skip("the zone is too small for a depot");
    batches = page_depot_pages(&page_depot) / PAGE_DEPOT_BATCH;
    // A full list gave away a batch at most.
    const struct page_list *list = page_list_of(0, 0);
    EXPECT_GE(page_lists_pages(zone) - page_depot_pages(&page_depot),
              (uint64_t)(list->limit - list->bottom) - PAGE_DEPOT_BATCH);
    uint64_t calls = page_alloc_stats().depot_calls;
    chain_fill(&chain, GFP_KERNEL, 0, page_lists_pages(zone));
    EXPECT_EQ(page_depot_pages(&page_depot), 0);
    EXPECT_EQ(page_alloc_stats().depot_calls - calls, batches);
    chain_free(&chain);
    EXPECT_EQ(free_pages_now(), free);
    EXPECT_EQ(page_lists_pages(zone), 0);
}

// What lies in the depot counts as free memory of the last resort: every page can be had, each one once.
KTEST(page_lists, depot_is_emptied_before_a_request_fails)
{
    struct page_chain chain = { 0 };
    struct frame_set frames = frame_set_open();
    uint64_t free = free_pages_now();

    REQUIRE(frames.block);
    if (fill_depot(&chain)) {
        // Of another home, so that it is not simply the next batch.
        EXPECT_EQ(chain_fill(&chain, GFP_HIGHUSER_MOVABLE | __GFP_MEMALLOC, 0, UINT64_MAX), free);
        for (const struct page *page = chain.first; page != NULL; page = page->owner)
            EXPECT(frame_set_add(&frames, page));
        EXPECT_EQ(page_depot_pages(&page_depot), 0);
        chain_free(&chain);
    }
    EXPECT_EQ(free_pages_now(), free);
    frame_set_close(&frames);
}

// While lists are blocked nothing stays in them or in the depot.
KTEST(page_lists, blocked_lists_leave_nothing_in_the_depot)
{
    const struct zone *zone = gfp_zone(GFP_KERNEL);
    struct page_chain chain = { 0 };
    uint64_t free = free_pages_now();

    (void)fill_depot(&chain);
    page_lists_block();
    EXPECT_EQ(page_lists_pages(zone), 0);
    EXPECT(!fill_depot(&chain));
    EXPECT_EQ(page_lists_pages(zone), 0);
    EXPECT_EQ(zones_free_pages(), free);
    page_lists_unblock();
}

// An engine as others leave it: what a request is about to get they take before it, twice; then they have this hart's
// lists emptied, as they may at any time.
static struct {
    const struct page_engine *engine;
    struct page *taken[2];
    unsigned count;
} others;

static int take_after_others(struct zone *zone, const struct page_request *request, unsigned count,
                             struct page **blocks)
{
    if (others.count == array_count(others.taken))
        return others.engine->take(zone, request, count, blocks);
    int taken = others.engine->take(zone, request, 1, &others.taken[others.count]);
    if (taken == 1 && ++others.count == array_count(others.taken))
        page_lists_drain();
    return min_of(taken, 0);
}

// A page that this hart keeps for other requests is found even if it goes back to the zone just after that was looked
// at.
KTEST(page_lists, drain_amid_a_request_hides_no_page)
{
    struct page *spare[array_count(others.taken)], *kept = alloc_page(GFP_NOWAIT);
    struct page_engine engine = *page_engine;
    struct page_chain chain = { 0 };

    // The kernel's zone at its min mark and as many pages above it as others will take.
    for (unsigned i = 0; i < array_count(spare); i++)
        spare[i] = alloc_page(GFP_NOWAIT);
    (void)free_pages_now();
    chain_fill(&chain, GFP_NOWAIT, 0, UINT64_MAX);
    for (unsigned i = 0; i < array_count(spare); i++)
        __free_page(spare[i]);
    page_lists_drain();
    __free_page(kept);

    others.engine = page_engine;
    others.count = 0;
    engine.take = take_after_others;
    page_engine = &engine;
    struct page *page = alloc_page(GFP_NOWAIT | __GFP_MOVABLE | __GFP_NOWARN);
    page_engine = others.engine;
    EXPECT_EQ(others.count, array_count(others.taken));
    EXPECT_NOT_NULL(page);
    page_engine_give_all(&zones[zone_of_kernel], 0, others.count, others.taken);
    __free_pages(page, 0);
    chain_free(&chain);
}

// A bulk takes what the list lacks from the zone, and gets single pages that are freed one by one.
KTEST(page_lists, bulk_goes_past_an_empty_list)
{
    static struct page *pages[200];
    struct frame_set frames = frame_set_open();
    uint64_t free = free_pages_now();

    REQUIRE(frames.block);
    unsigned got = alloc_pages_bulk(GFP_KERNEL, 3, pages);
    EXPECT_EQ(got, 3);
    page_lists_drain_all();
    got += alloc_pages_bulk(GFP_KERNEL | __GFP_NOWARN, 150, pages + got);
    EXPECT_GE(got, 4);
    for (unsigned i = 0; i < got; i++) {
        EXPECT(frame_set_add(&frames, pages[i]));
        EXPECT_EQ(pages[i]->state, PAGE_STATE(PAGE_RAW, 0, pages[i]->home));
        __free_page(pages[i]);
    }
    EXPECT_EQ(free_pages_now(), free);
    frame_set_close(&frames);
}
