// Idle harts clear pages while there is nothing else to do.
// SPDX-License-Identifier: BSD-2-Clause
#include <ktest/free_pages.h>
#include <ktest/ktest.h>
#include <mm/page_depot.h>
#include <mm/page_lists.h>
#include <mm/page_zero.h>
#include <task/sched.h>
#include <task/thread.h>

// While the case sleeps, all harts idle: pages are cleared until there are enough, and then no more.
KTEST(page_zero, idle_harts_clear_pages)
{
    uint64_t free = free_pages_now(), cleared = page_zero_stats().cleared, last;

    page_zero_init(true);
    page_depots_init(true);
    page_lists_drain_all();
    sched_set_idle_work(page_zero_one);
    do {
        last = page_zero_stats().cleared;
        thread_sleep_us(2000);
    } while (page_zero_stats().cleared > last);
    sched_set_idle_work(NULL);
    EXPECT_GE(page_zero_stats().cleared - cleared, PAGE_LIST_SMALL_SLOTS(0));
    EXPECT_GE(page_zero_stats().instructions, 1);
    page_zero_init(false);
    page_depots_init(true);
    page_lists_drain_all();
    EXPECT_EQ(free_pages_now(), free);
}
