// mm/reclaim/kswapd.c: woken below low, works to high, and knows when to give up.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kswapd.h>

#include "../unit/fake_shrinker.h"
#include "contexts.h"

#include <arch/time.h>
#include <mm/page_lists.h>
#include <mm/pressure.h>
#include <mm/zone.h>
#include <task/thread.h>

// From the lowest zone alone, so that its numbers are all that counts.
#define LOW (GFP_NOWAIT | GFP_DMA)

static struct fake_shrinker *const fake = &fake_shrinker[0];
static struct page_chain chain;

static struct zone *zone(void) { return gfp_zone(GFP_DMA); }

static uint64_t pages_left(void)
{
    return __atomic_load_n(&zone()->free_pages, __ATOMIC_RELAXED);
}

// All memory is taken but the low mark and a page, and so many pages lie with the shrinker. kswapd is at work.
static void begin(uint64_t in_stash)
{
    fake_shrinkers_reset();
    // What harts keep in their lists is given out without a look at the marks.
    page_lists_block();
    EXPECT_EQ(chain_fill(&fake->stash, LOW, 0, in_stash), in_stash);
    fake->give_from_call = 1;
    while (pages_left() > zone()->watermark_low + 1 && chain_fill(&chain, LOW, 0, 1) == 1) {
    }
    kswapd_resume();
}

static void end(void)
{
    kswapd_pause();
    chain_free(&fake->stash);
    chain_free(&chain);
    page_lists_unblock();
    fake_shrinkers_reset();
}

// Waits up to a second of the machine's time.
#define WAIT_UNTIL(condition) \
    ({ \
        uint64_t wait_end_ = arch_time() + arch_timer_hz(); \
        while (!(condition) && arch_time() < wait_end_) \
            thread_sleep_us(100); \
        (condition); \
    })

// Down to the low mark nothing happens; the request that finds less wakes it, and it brings the zone to high, by not
// much more than it takes.
KTEST(kswapd, works_from_low_to_high)
{
    uint64_t to_high = zone()->watermark_high - zone()->watermark_low;
    struct kswapd_stats before = kswapd_stats();

    begin(8 * to_high);
    chain_fill(&chain, LOW, 0, 1);
    EXPECT_EQ(pages_left(), zone()->watermark_low);
    thread_sleep_us(1000);
    EXPECT_EQ(kswapd_stats().wake_count, before.wake_count);

    chain_fill(&chain, LOW, 0, 1);
    EXPECT(WAIT_UNTIL(pages_left() >= zone()->watermark_high));
    thread_sleep_us(1000);
    kswapd_pause();
    struct kswapd_stats after = kswapd_stats();
    EXPECT_EQ(after.wake_count - before.wake_count, 1);
    EXPECT_EQ(after.freed_pages - before.freed_pages, fake->freed_pages);
    EXPECT_GE(after.round_count - before.round_count, 1);
    EXPECT_EQ(after.fruitless_count, before.fruitless_count);
    EXPECT_GE(fake->freed_pages, to_high);
    EXPECT_LE(fake->freed_pages, 4 * to_high);
    kswapd_resume();
    end();
}

// With steady demand of those who cannot wait, nobody fails as long as the shrinker has something.
KTEST(kswapd, keeps_pages_for_those_who_cannot_wait)
{
    uint64_t to_high = zone()->watermark_high - zone()->watermark_low, failed = 0;
    // As many as there are between the marks: less time than that it cannot be given.
    uint64_t at_once = max_of((zone()->watermark_low - zone()->watermark_min) / 2, 1UL);

    begin(8 * to_high);
    for (uint64_t i = 0; i < 6 * to_high; i++) {
        failed += chain_fill(&chain, LOW, 0, 1) == 0;
        if (i % at_once == 0)
            EXPECT(WAIT_UNTIL(pages_left() >= zone()->watermark_low));
    }
    EXPECT_EQ(failed, 0);
    end();
}

static void take_a_page(void *unused unused_arg)
{
    chain_fill(&chain, GFP_ATOMIC | GFP_DMA, 0, 1);
}

// It is woken from any context.
KTEST(kswapd, woken_from_anywhere)
{
    for (enum where where = 0; where < WHERE_COUNT; where++) {
        uint64_t wakes = kswapd_stats().wake_count;
        begin(2 * (zone()->watermark_high - zone()->watermark_low) + 2);
        chain_fill(&chain, LOW, 0, 1);
        run_where(where, take_a_page, NULL);
        if (!EXPECT(WAIT_UNTIL(pages_left() >= zone()->watermark_high)))
            ktest_note("  in %s", where_name(where));
        EXPECT_GE(kswapd_stats().wake_count - wakes, 1);
        end();
    }
}

// A pause keeps it from freeing, and what it was woken for is forgotten.
KTEST(kswapd, pause_holds)
{
    begin(32);
    kswapd_pause();
    chain_fill(&chain, LOW, 0, 4);
    thread_sleep_us(2000);
    EXPECT_EQ(fake->calls, 0);
    kswapd_resume();
    thread_sleep_us(2000);
    EXPECT_EQ(fake->calls, 0);
    end();
}

// When nothing can be freed it tries a number of times, and then no more until something is.
KTEST(kswapd, gives_up_when_nothing_comes)
{
    uint64_t fruitless = kswapd_stats().fruitless_count, wakes;

    begin(0);
    chain_fill(&chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
    for (unsigned i = 0; i < 10 * KSWAPD_FRUITLESS_MAX && !kswapd_has_given_up(); i++) {
        EXPECT_NULL(alloc_page(LOW | __GFP_NOWARN));
        thread_sleep_us(200);
    }
    EXPECT(kswapd_stats().has_given_up);
    EXPECT_GE(kswapd_stats().fruitless_count - fruitless, 1);
    EXPECT_LE(kswapd_stats().fruitless_count - fruitless, KSWAPD_FRUITLESS_MAX);
    wakes = kswapd_stats().wake_count;
    EXPECT_NULL(alloc_page(LOW | __GFP_NOWARN));
    thread_sleep_us(2000);
    EXPECT_EQ(kswapd_stats().wake_count, wakes);

    __free_page(chain_pop(&chain));
    page_lists_drain();
    EXPECT(!kswapd_has_given_up());
    EXPECT_EQ(zone()->waiters, 0);
    chain_fill(&chain, LOW | __GFP_MEMALLOC, 0, 1);
    EXPECT(WAIT_UNTIL(kswapd_stats().wake_count > wakes));
    end();
    EXPECT(!kswapd_has_given_up());
}

struct asker {
    struct page *page;
    uint32_t may_ask, is_over;     // (A)
};

static void ask_for_ever(void *argument)
{
    struct asker *asker = argument;

    while (!__atomic_load_n(&asker->may_ask, __ATOMIC_ACQUIRE))
        thread_sleep_us(50);
    asker->page = alloc_page(GFP_KERNEL | GFP_DMA | __GFP_NOFAIL);
    __atomic_store_n(&asker->is_over, 1, __ATOMIC_RELEASE);
}

// A thread whose request may not fail sleeps until another frees; killed or not.
KTEST(kswapd, nofail_sleeps_until_another_frees)
{
    for (unsigned is_killed = 0; is_killed < 2; is_killed++)
        for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
            struct asker asker = { NULL, 0, 0 };
            struct thread *thread = thread_create_on(hart, "asker", ask_for_ever, &asker);
            REQUIRE(thread);
            fake_shrinkers_reset();
            chain_fill(&chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
            __atomic_store_n(&asker.may_ask, 1, __ATOMIC_RELEASE);
            EXPECT(WAIT_UNTIL(pressure_waiter_count() == 1));
            thread_sleep_us(1000);
            EXPECT_EQ(__atomic_load_n(&asker.is_over, __ATOMIC_ACQUIRE), 0);
            if (is_killed)
                thread_kill(thread);
            chain_free(&chain);
            page_lists_drain();
            thread_join(thread);
            EXPECT_NOT_NULL(asker.page);
            __free_pages(asker.page, 0);
        }
}
