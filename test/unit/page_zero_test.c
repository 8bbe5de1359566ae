// mm/phys/page_zero.c: what is cleared in advance is zero when it is handed out, bounded, counted and never lost.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_zero.h>

#include "page_chain.h"

#include <base/string.h>
#include <mm/page_depot.h>
#include <mm/page_lists.h>
#include <sync/preempt.h>

static void switch_zeroing(bool on)
{
    page_zero_init(on);
    page_depots_init(true);
    page_lists_drain_all();
}

// Clears as much as is wanted; the caller stays on its hart meanwhile.
static uint64_t clear_in_advance(void)
{
    uint64_t before = page_zero_stats().cleared;

    while (page_zero_one()) {
    }
    return page_zero_stats().cleared - before;
}

static bool is_zero(const uint64_t *words)
{
    for (uint64_t i = 0; i < PAGE_SIZE / sizeof(*words); i++)
        if (words[i] != 0)
            return false;
    return true;
}

// Pages that were written to are cleared, held in the list and the depot, handed out zero by every way of asking for
// zero pages, and all there again after a drain.
KTEST(page_zero, cleared_in_advance_is_zero_when_served)
{
    struct page_chain chain = { 0 };
    uint64_t free = free_pages_now(), served = page_zero_stats().served;
    void *page[3];

    chain_fill(&chain, GFP_KERNEL, 0, 3 * PAGE_LIST_SLOTS(0));
    for (const struct page *dirty = chain.first; dirty != NULL; dirty = dirty->owner)
        memset(page_to_virt(dirty), 0xa5, PAGE_SIZE);
    chain_free(&chain);
    switch_zeroing(true);
    preempt_disable();
    uint64_t cleared = clear_in_advance();
    EXPECT_EQ(page_zero_stats().held, cleared);
    EXPECT_LE(cleared, PAGE_LIST_SMALL_SLOTS(0) + PAGE_DEPOT_BATCHES * PAGE_DEPOT_ZEROED_BATCH);
    gfp_t gfp = GFP_ATOMIC;
    page[0] = get_zeroed_page(GFP_ATOMIC);
    page[1] = get_zeroed_page(gfp);
    struct page *third = alloc_page(GFP_ATOMIC | __GFP_ZERO);
    page[2] = third != NULL ? page_to_virt(third) : NULL;
    preempt_enable();
    EXPECT_EQ(page_zero_stats().served - served, min_of(cleared, 3UL));
    for (unsigned i = 0; i < 3; i++) {
        EXPECT(page[i] != NULL && is_zero(page[i]));
        free_page(page[i]);
    }
    switch_zeroing(false);
    EXPECT_EQ(page_zero_stats().held, 0);
    EXPECT_EQ(free_pages_now(), free);
}

// Served past what was cleared, pages are cleared on the spot, and the depot is emptied on the way.
KTEST(page_zero, more_than_was_cleared_is_zero_too)
{
    struct page_chain chain = { 0 };
    uint64_t free = free_pages_now(), dirty = 0;

    switch_zeroing(true);
    preempt_disable();
    uint64_t cleared = clear_in_advance(), served = page_zero_stats().served;
    for (uint64_t i = 0; i < cleared + 5; i++) {
        struct page *page = alloc_page(GFP_ATOMIC | __GFP_ZERO);
        if (page != NULL) {
            dirty += !is_zero(page_to_virt(page));
            chain_push(&chain, page);
        }
    }
    preempt_enable();
    EXPECT_EQ(page_zero_stats().served - served, cleared);
    EXPECT_EQ(dirty, 0);
    chain_free(&chain);
    switch_zeroing(false);
    EXPECT_EQ(free_pages_now(), free);
}

// Nothing is cleared when it is off, while lists are blocked, or where memory is short.
KTEST(page_zero, clears_only_what_is_to_spare)
{
    struct page_chain chain = { 0 };

    EXPECT(!page_zero_one());
    switch_zeroing(true);
    page_lists_block();
    EXPECT(!page_zero_one());
    page_lists_unblock();
    chain_fill(&chain, GFP_NOWAIT, 0, UINT64_MAX);
    EXPECT(!page_zero_one());
    EXPECT_EQ(page_zero_stats().held, 0);
    chain_free(&chain);
    switch_zeroing(false);
}
