// kswapd's loop.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kswapd.h>

#include <arch/time.h>
#include <mm/page_lists.h>
#include <mm/pressure.h>
#include <mm/shrinker.h>
#include <mm/zone.h>
#include <sync/preempt.h>
#include <sync/sched.h>

// A round that frees fewer is followed by one of higher pressure.
#define ENOUGH_PAGES 32

static struct kswapd_stats stats;  // written by kswapd alone
static uint32_t pause_count;       // (A)
static bool is_at_work;            // (A) from before it takes note of its wakes
static bool has_started;           // (A)

static bool is_paused(void)
{
    return __atomic_load_n(&pause_count, __ATOMIC_SEQ_CST) != 0;
}

static bool zones_are_high(void)
{
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        if (zones[id].present_pages > 0 &&
            __atomic_load_n(&zones[id].free_pages, __ATOMIC_RELAXED) < zones[id].watermark_high)
            return false;
    return true;
}

// Returns the pages freed.
static uint64_t work_to_high(void)
{
    unsigned priority = SHRINK_PRIORITY_MAX;
    uint64_t total = 0, freed;

    page_lists_drain_all();
    while (!zones_are_high() && !is_paused()) {
        freed = shrinkers_run(priority);
        page_lists_drain();
        total += freed;
        store_relaxed(&stats.freed_pages, stats.freed_pages + freed);
        store_relaxed(&stats.round_count, stats.round_count + 1);
        if (priority == 0 && freed == 0)
            break;
        if (priority > 0 && freed < ENOUGH_PAGES)
            priority--;
        // Who is to use what came need not wait for the rest.
        thread_yield();
    }
    return total;
}

static void run_once(void)
{
    static unsigned fruitless_in_a_row;

    if (zones_are_high())
        return;
    store_relaxed(&stats.wake_count, stats.wake_count + 1);
    if (work_to_high() > 0 || zones_are_high() || is_paused()) {
        fruitless_in_a_row = 0;
        return;
    }
    store_relaxed(&stats.fruitless_count, stats.fruitless_count + 1);
    if (++fruitless_in_a_row >= KSWAPD_FRUITLESS_MAX) {
        fruitless_in_a_row = 0;
        kswapd_give_up();
    }
}

void kswapd_main(void *unused unused_arg)
{
    __atomic_store_n(&has_started, true, __ATOMIC_SEQ_CST);
    for (;;) {
        kswapd_wait();
        __atomic_store_n(&is_at_work, true, __ATOMIC_SEQ_CST);
        kswapd_note_wakes();
        // It may have been woken once more just before it gave up.
        if (!is_paused() && !kswapd_has_given_up())
            run_once();
        __atomic_store_n(&is_at_work, false, __ATOMIC_SEQ_CST);
    }
}

static void nap(void)
{
    (void)thread_block_until(arch_time() + arch_timer_hz() / 10000);
}

void kswapd_pause(void)
{
    might_sleep();
    __atomic_fetch_add(&pause_count, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&is_at_work, __ATOMIC_SEQ_CST))
        nap();
}

void kswapd_resume(void)
{
    might_sleep();
    // In this order: it is at work before it is wanted no more.
    while (__atomic_load_n(&has_started, __ATOMIC_SEQ_CST) &&
           (kswapd_is_wanted() || __atomic_load_n(&is_at_work, __ATOMIC_SEQ_CST)))
        nap();
    __atomic_fetch_sub(&pause_count, 1, __ATOMIC_SEQ_CST);
}

struct kswapd_stats kswapd_stats(void)
{
    return (struct kswapd_stats){
        .wake_count = __atomic_load_n(&stats.wake_count, __ATOMIC_RELAXED),
        .round_count = __atomic_load_n(&stats.round_count, __ATOMIC_RELAXED),
        .freed_pages = __atomic_load_n(&stats.freed_pages, __ATOMIC_RELAXED),
        .fruitless_count = __atomic_load_n(&stats.fruitless_count, __ATOMIC_RELAXED),
        .has_given_up = kswapd_has_given_up(),
    };
}
