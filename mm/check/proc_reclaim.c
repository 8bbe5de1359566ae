// The console command reclaim: kswapd, those who wait, and what the shrinkers have and gave.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/kswapd.h>
#include <mm/page_holder.h>
#include <mm/pressure.h>
#include <mm/shrinker.h>

static void print_shrinker(const struct shrinker *shrinker, void *unused unused_arg)
{
    console_print("shrinker %-14s has %lu asked %lu freed %lu\n", shrinker->name, shrinker->count(),
                  __atomic_load_n(&shrinker->asked_pages, __ATOMIC_RELAXED),
                  __atomic_load_n(&shrinker->freed_pages, __ATOMIC_RELAXED));
}

static void print_holder(const struct page_holder *holder, void *unused unused_arg)
{
    console_print("holder   %-14s %lu\n", holder->name, holder->pages());
}

static int command_reclaim(int argc unused_arg, char **argv unused_arg)
{
    struct kswapd_stats stats = kswapd_stats();

    console_print("kswapd   wakes %lu rounds %lu freed %lu fruitless %lu%s\n", stats.wake_count, stats.round_count,
                  stats.freed_pages, stats.fruitless_count, stats.has_given_up ? ", has given up" : "");
    console_print("waiters  %u\n", pressure_waiter_count());
    shrinkers_for_each(print_shrinker, NULL);
    page_holders_for_each(print_holder, NULL);
    return 0;
}

SHELL_COMMAND(reclaim, "", "kswapd, waiters, shrinkers and holders of pages, in pages", command_reclaim);
