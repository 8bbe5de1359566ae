// kswapd: the thread that frees memory before anybody has to wait for it.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A request that finds a zone below its low watermark goes on, and wakes kswapd (<mm/pressure.h>). That asks the
// shrinkers with growing pressure (<mm/shrinker.h>) until every zone is at its high watermark, or nobody frees anything
// more, and sleeps again. Between low and high lies what is taken meanwhile; so those who may not sleep find pages as
// long as there is something to free.
//
//     pages of a zone
//     high  - - - - - - - - - - - - - - - - - - - - kswapd stops
//     low   - - - - - - kswapd is woken - - - - - -
//     min   - - - - - - who may sleep reclaims for himself; who may not, fails
//     min/2 - - - - - - GFP_ATOMIC fails
//     0     - - - - - - __GFP_MEMALLOC fails
//
// A run that frees nothing is fruitless. After KSWAPD_FRUITLESS_MAX in a row kswapd gives up, and is not woken until
// somebody frees pages: else it would run for every request of a full system, and find nothing. (The number is that of
// Linux, MAX_RECLAIM_RETRIES in mm/internal.h.)
//
// It frees, and allocates nothing. What it ever calls that does has to pass __GFP_MEMALLOC, since it is what the others
// wait for.
#pragma once

#include <base/compiler.h>

#define KSWAPD_FRUITLESS_MAX 16

// The thread's function; never returns. Start-up makes one thread of it.
void kswapd_main(void *unused);

// While paused it frees nothing, and forgets what it was woken for; pauses nest. kswapd_pause returns when it has
// stopped, and kswapd_resume when it has forgotten; both may sleep. For tests and measurements that want memory to
// themselves.
void kswapd_pause(void);
void kswapd_resume(void);

struct kswapd_stats {
    uint64_t wake_count;           // runs begun
    uint64_t round_count;          // times that the shrinkers were asked
    uint64_t freed_pages;
    uint64_t fruitless_count;      // runs that freed nothing although a zone was short
    bool has_given_up;
};
struct kswapd_stats kswapd_stats(void);
