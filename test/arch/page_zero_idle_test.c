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
    uint64_t free = free_pages_now(), cleared = page_zero_stats().cleared, room, last;

    page_zero_init(true);
    page_depots_init(true);
    page_lists_drain_all();
    // What one hart can put by; in a small zone that is a few pages, and no batch for the depot.
    const struct page_list *list = page_list_of(PAGE_LIST_ZEROED, 0);
    room = (uint64_t)(list->limit - list->bottom);
    EXPECT_GE(room, 1);
    if (room >= PAGE_DEPOT_ZEROED_BATCH)
        room += page_depot_zeroed.most * PAGE_DEPOT_ZEROED_BATCH;
    sched_set_idle_work(page_zero_one);
    do {
        last = page_zero_stats().cleared;
        thread_sleep_us(2000);
    } while (page_zero_stats().cleared > last);
    sched_set_idle_work(NULL);
    EXPECT_GE(page_zero_stats().cleared - cleared, min_of(room, PAGE_LIST_SMALL_SLOTS(0)));
    EXPECT_GE(page_zero_stats().instructions, 1);
    page_zero_init(false);
    page_depots_init(true);
    page_lists_drain_all();
    EXPECT_EQ(free_pages_now(), free);
}
