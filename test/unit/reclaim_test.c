// mm/phys/page_reclaim.c: how long a request tries.
// SPDX-License-Identifier: BSD-2-Clause
#include "fake_shrinker.h"
#include "sync_support.h"

#include <base/bits.h>
#include <base/string.h>
#include <mm/pressure.h>
#include <mm/zone.h>

#define PRIORITIES (SHRINK_PRIORITY_MAX + 1)
#define ROUND_PAGES 32             // with so many a round is over

// From the lowest zone alone, so that its numbers are all that counts.
#define LOW (GFP_KERNEL | GFP_DMA)

static struct fake_shrinker *const fake = &fake_shrinker[0];

// The smallest block that is above 32 KB, and above a page.
static unsigned costly_order(void) { return get_order(KB(64)) > 0 ? get_order(KB(64)) : 1; }

// Has it say that it has plenty, and in its first so many calls that it freed some.
static void pretend(uint64_t calls, uint64_t freed)
{
    struct page_chain stash = fake->stash;

    fake_shrinkers_reset();
    fake->stash = stash;
    fake->pretended_count = 1UL << SHRINK_PRIORITY_MAX;
    fake->pretend_calls = calls;
    fake->pretended_freed = freed;
}

// Calls of the shrinker until a request gives up, or -1 when it succeeds.
static int64_t calls_until_failure(gfp_t gfp, unsigned order)
{
    fake->calls = 0;
    struct page *page = alloc_pages(gfp | __GFP_NOWARN, order);
    if (page == NULL)
        return (int64_t)fake->calls;
    __free_pages(page, order);
    return -1;
}

// Only who may sleep reclaims; without progress once through all priorities, with it as the flags say.
KTEST(reclaim, tries_as_the_flags_say)
{
    struct page_chain chain = { 0 };

    fake_shrinkers_reset();
    chain_fill(&chain, LOW, 0, UINT64_MAX);

    pretend(0, 0);
    EXPECT_EQ(calls_until_failure(LOW, 0), PRIORITIES);
    EXPECT_EQ(calls_until_failure(LOW | __GFP_NORETRY, 0), PRIORITIES);
    EXPECT_EQ(calls_until_failure(LOW | __GFP_RETRY_MAYFAIL, 0), PRIORITIES);
    EXPECT_EQ(calls_until_failure(LOW, costly_order()), PRIORITIES);
    EXPECT_EQ(calls_until_failure(GFP_NOWAIT | GFP_DMA, 0), 0);
    EXPECT_EQ(calls_until_failure(GFP_ATOMIC | GFP_DMA, MAX_ORDER), 0);
    EXPECT_EQ(calls_until_failure(LOW | __GFP_MEMALLOC, MAX_ORDER), 0);

    // Always some progress, never enough.
    pretend(UINT64_MAX, ROUND_PAGES);
    EXPECT_EQ(calls_until_failure(LOW, 0), GFP_ROUNDS_MAX);
    EXPECT_EQ(calls_until_failure(LOW | __GFP_NORETRY, 0), 1);
    EXPECT_EQ(calls_until_failure(GFP_NOWAIT | GFP_DMA, 0), 0);

    // A page at a time: a light request stops with the first, a round presses on to the last priority.
    pretend(UINT64_MAX, 1);
    EXPECT_EQ(calls_until_failure(LOW | __GFP_NORETRY, 0), 1);
    EXPECT_EQ(calls_until_failure(LOW, costly_order()), PRIORITIES);
    EXPECT_EQ(calls_until_failure(LOW, 0), PRIORITIES + GFP_ROUNDS_MAX - 1);
    chain_free(&chain);
    fake_shrinkers_reset();
}

// A costly block is given up after a round, where a cheap one is tried for 16; RETRY_MAYFAIL goes on for as long as
// something comes.
KTEST(reclaim, costly_blocks_give_up_sooner)
{
    unsigned cheap = costly_order() - 1, costly = costly_order();
    struct page_chain chain = { 0 };

    fake_shrinkers_reset();
    chain_fill(&chain, LOW, 0, UINT64_MAX);
    pretend(UINT64_MAX, 1UL << MAX_ORDER);
    EXPECT_EQ(calls_until_failure(LOW, cheap), GFP_ROUNDS_MAX);
    EXPECT_EQ(calls_until_failure(LOW, costly), 1);
    EXPECT_EQ(calls_until_failure(LOW, MAX_ORDER), 1);
    // Forty rounds of progress, and one more through the priorities.
    for (unsigned order = 0; order <= costly; order += costly) {
        pretend(40, 1UL << MAX_ORDER);
        EXPECT_EQ(calls_until_failure(LOW | __GFP_RETRY_MAYFAIL, order), 40 + PRIORITIES);
    }
    chain_free(&chain);
    fake_shrinkers_reset();
}

// Help that comes is used, and nobody presses on when he has what he wanted.
KTEST(reclaim, help_is_used_when_it_comes)
{
    struct page_chain chain = { 0 };

    fake_shrinkers_reset();
    chain_fill(&fake->stash, LOW, 0, 64);
    chain_fill(&chain, LOW, 0, UINT64_MAX);

    pretend(0, 0);
    fake->give_from_call = 1;
    EXPECT_EQ(chain_fill(&chain, LOW, 0, 1), 1);
    EXPECT_EQ(fake->calls, 1);
    EXPECT_EQ(fake->stash.blocks, 63);
    pretend(9, 1);
    fake->give_from_call = 10;
    EXPECT_EQ(chain_fill(&chain, LOW, 0, 1), 1);
    EXPECT_EQ(fake->calls, 10);
    chain_free(&chain);
    chain_free(&fake->stash);
    fake_shrinkers_reset();
}

// What may not fail asks again and again until something comes.
KTEST(reclaim, nofail_outlasts_fruitless_rounds)
{
    struct page_chain chain = { 0 };

    fake_shrinkers_reset();
    chain_fill(&fake->stash, LOW, 0, 1);
    chain_fill(&chain, LOW, 0, UINT64_MAX);
    pretend(0, 0);
    fake->give_from_call = PRIORITIES + 3;
    EXPECT_EQ(chain_fill(&chain, LOW | __GFP_NOFAIL, 0, 1), 1);
    EXPECT_EQ(fake->calls, PRIORITIES + 3);
    chain_free(&chain);
    fake_shrinkers_reset();
}

static struct {
    struct page_chain chain;       // all memory
    struct thread *thread;
    struct page *page;
    gfp_t gfp;
    unsigned order;
    uint32_t is_asking, is_answered;   // (A)
} waiter;

static void ask_and_wait(void)
{
    drop_stale_wake();
    waiter.thread = thread_current();
    STORE(waiter.is_asking, 1);
    waiter.page = alloc_pages(waiter.gfp | __GFP_NOWARN, waiter.order);
    STORE(waiter.is_answered, 1);
}

static void prepare_waiter(gfp_t gfp)
{
    memset(&waiter, 0, sizeof(waiter));
    waiter.gfp = gfp;
    fake_shrinkers_reset();
    chain_fill(&waiter.chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
}

static void clean_up_waiter(void)
{
    __free_pages(waiter.page, waiter.order);
    chain_free(&waiter.chain);
    fake_shrinkers_reset();
}

static void nofail_and_freer(unsigned index, void *threshold)
{
    if (index == 1)
        ask_and_wait();
    if (index != 0)
        return;
    SPIN_UNTIL(LOAD(waiter.is_asking) && pressure_waiter_count() == 1);
    for (uint64_t i = 1; i < *(uint64_t *)threshold; i++)
        __free_page(chain_pop(&waiter.chain));
    let_others_run();
    EXPECT_EQ(LOAD(waiter.is_answered), 0);
    __free_page(chain_pop(&waiter.chain));
    SPIN_UNTIL(LOAD(waiter.is_answered));
}

// What may not fail waits until another hart frees: at exactly the page that makes it a page above the mark.
KTEST(reclaim, nofail_waits_for_another_hart)
{
    struct zone *zone = gfp_zone(LOW);
    uint64_t threshold = zone->watermark_min + 1;

    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    prepare_waiter(LOW | __GFP_NOFAIL);
    ktest_run_on_harts(nofail_and_freer, &threshold);
    EXPECT_NOT_NULL(waiter.page);
    clean_up_waiter();
}

static void endless_and_killer(unsigned index, void *unused unused_arg)
{
    if (index == 1) {
        ask_and_wait();
        revive_current();
    }
    if (index != 0)
        return;
    SPIN_UNTIL(LOAD(waiter.is_asking) && LOAD(fake->calls) > 3 * GFP_ROUNDS_MAX);
    kill_on_hart(1, waiter.thread);
    SPIN_UNTIL(LOAD(waiter.is_answered));
}

// With endless progress RETRY_MAYFAIL goes on for ever, but for a kill.
KTEST(reclaim, killed_request_gives_up)
{
    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    prepare_waiter(LOW | __GFP_RETRY_MAYFAIL);
    pretend(UINT64_MAX, ROUND_PAGES);
    ktest_run_on_harts(endless_and_killer, NULL);
    EXPECT_NULL(waiter.page);
    clean_up_waiter();
}

static void stubborn_and_killer(unsigned index, void *unused unused_arg)
{
    if (index == 1) {
        ask_and_wait();
        EXPECT(thread_is_killed());
        revive_current();
    }
    if (index != 0)
        return;
    SPIN_UNTIL(LOAD(waiter.is_asking) && pressure_waiter_count() == 1);
    kill_on_hart(1, waiter.thread);
    let_others_run();
    EXPECT_EQ(LOAD(waiter.is_answered), 0);
    while (!LOAD(waiter.is_answered) && waiter.chain.first != NULL)
        __free_page(chain_pop(&waiter.chain));
    SPIN_UNTIL(LOAD(waiter.is_answered));
}

// NOFAIL gets its page, killed or not.
KTEST(reclaim, nofail_outlasts_a_kill)
{
    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    prepare_waiter(LOW | __GFP_NOFAIL);
    ktest_run_on_harts(stubborn_and_killer, NULL);
    EXPECT_NOT_NULL(waiter.page);
    clean_up_waiter();
}
