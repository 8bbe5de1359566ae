// mm/phys/pressure.c: who waits for memory is woken by the page that he needs, and by no earlier one.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/pressure.h>

#include "page_chain.h"
#include "sync_support.h"

#include <arch/time.h>
#include <base/string.h>
#include <mm/page_lists.h>

// From the lowest zone alone, so that its numbers are all that counts.
#define LOW (GFP_KERNEL | GFP_DMA)

// Nobody who is woken as he should be waits so long.
#define WAIT_SECONDS 20

static struct {
    struct page_chain chain;
    struct thread *thread;
    unsigned order;
    uint32_t is_over, has_room;    // (A)
} scene;

static void wait_for_room(void)
{
    drop_stale_wake();
    scene.thread = thread_current();
    bool has_room = pressure_wait(LOW, scene.order, arch_time() + WAIT_SECONDS * arch_timer_hz());
    STORE(scene.has_room, has_room);
    STORE(scene.is_over, 1);
}

static void give_one_back(void)
{
    __free_page(chain_pop(&scene.chain));
    page_lists_drain();
}

static void wait_and_free(unsigned index, void *unused unused_arg)
{
    uint64_t threshold = gfp_zone(LOW)->watermark_min + (1UL << scene.order);

    if (index == 1)
        wait_for_room();
    if (index != 0)
        return;
    SPIN_UNTIL(pressure_waiter_count() == 1);
    for (uint64_t i = 1; i < threshold; i++) {
        give_one_back();
        if (i + 4 >= threshold)
            let_others_run();
        EXPECT_EQ(pressure_waiter_count(), 1);
    }
    EXPECT_EQ(LOAD(scene.is_over), 0);
    give_one_back();
    // Whoever frees takes the waiter off the queue, whenever that one gets to run.
    EXPECT_EQ(pressure_waiter_count(), 0);
    SPIN_UNTIL(LOAD(scene.is_over));
}

// The waiter stays through every free but the one that brings the zone to its mark and the block above it.
KTEST(pressure, woken_at_the_exact_threshold)
{
    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    for (unsigned order = 0; order <= 3; order++) {
        memset(&scene, 0, sizeof(scene));
        scene.order = order;
        chain_fill(&scene.chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
        ktest_run_on_harts(wait_and_free, NULL);
        EXPECT_EQ(scene.has_room, 1);
        EXPECT_EQ(gfp_zone(LOW)->waiters, 0);
        chain_free(&scene.chain);
    }
}

static void wait_and_kill(unsigned index, void *is_early)
{
    if (index == 1) {
        SPIN_UNTIL(!*(bool *)is_early || thread_is_killed());
        wait_for_room();
        revive_current();
    }
    if (index != 0)
        return;
    if (*(bool *)is_early)
        SPIN_UNTIL(LOAD(scene.thread) != NULL);
    else
        SPIN_UNTIL(pressure_waiter_count() == 1);
    kill_on_hart(1, scene.thread);
    SPIN_UNTIL(LOAD(scene.is_over));
}

static void tell_thread(unsigned index, void *unused unused_arg)
{
    if (index == 1)
        scene.thread = thread_current();
}

// A kill ends the wait, whether it comes before or in it.
KTEST(pressure, killed_waiter_stops)
{
    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    for (unsigned i = 0; i < 2; i++) {
        bool is_early = i == 1;
        memset(&scene, 0, sizeof(scene));
        if (is_early)
            ktest_run_on_harts(tell_thread, NULL);
        chain_fill(&scene.chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
        ktest_run_on_harts(wait_and_kill, &is_early);
        EXPECT_EQ(scene.has_room, 0);
        EXPECT_EQ(pressure_waiter_count(), 0);
        EXPECT_EQ(gfp_zone(LOW)->waiters, 0);
        chain_free(&scene.chain);
    }
}

// A deadline ends it too; with room there is no wait.
KTEST(pressure, wait_ends_at_its_deadline)
{
    EXPECT(pressure_wait(LOW, 0, 0));
    EXPECT(pressure_wait(LOW, MAX_ORDER, NO_DEADLINE));
    memset(&scene, 0, sizeof(scene));
    chain_fill(&scene.chain, LOW, 0, UINT64_MAX);
    uint64_t deadline = arch_time() + arch_timer_hz() / 1000;
    EXPECT(!pressure_wait(LOW, 0, deadline));
    EXPECT_GE(arch_time(), deadline);
    // The reserve is room for GFP_ATOMIC; a small zone has no share of it.
    EXPECT_EQ(pressure_wait(GFP_ATOMIC | GFP_DMA, 0, deadline), gfp_zone(LOW)->watermark_min > 0);
    EXPECT_EQ(pressure_waiter_count(), 0);
    chain_free(&scene.chain);
}

static void wait_in_crowd(unsigned index, void *unused unused_arg)
{
    if (index != 0) {
        wait_for_room();
        return;
    }
    unsigned waiters = arch_hart_count() - 1;
    SPIN_UNTIL(pressure_waiter_count() == waiters);
    for (uint64_t i = 0; i < gfp_zone(LOW)->watermark_min; i++)
        give_one_back();
    EXPECT_EQ(pressure_waiter_count(), waiters);
    // Nobody takes the pages that the earlier ones were woken for, so more than one may be served.
    for (unsigned left = waiters, now; left > 0; left = now) {
        give_one_back();
        now = pressure_waiter_count();
        if (!EXPECT_LT(now, left))
            break;
    }
    while (pressure_waiter_count() > 0)
        give_one_back();
}

// Of several waiters each page above the mark serves one, and none is left behind.
KTEST(pressure, crowd_is_woken_by_and_by)
{
    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    memset(&scene, 0, sizeof(scene));
    chain_fill(&scene.chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
    ktest_run_on_harts(wait_in_crowd, NULL);
    EXPECT_EQ(pressure_waiter_count(), 0);
    chain_free(&scene.chain);
}
