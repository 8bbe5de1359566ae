// Direct reclaim: what a request that may wait does when the zones have nothing for it.
// SPDX-License-Identifier: BSD-2-Clause
//
//     a round:   harts' lists given back -- take? -- shrinkers, priority 12, then lower: take? after each that gave
//                over with RECLAIM_PAGES, or with what priority 0 gives
//     between:   others run; and when nothing came: give up, or wait (<mm/pressure.h>), as the flags say
//
// The priority stays where a round ends: memory does not become less short by asking again.

#include "phys_private.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <mm/page_lists.h>
#include <mm/pressure.h>
#include <mm/shrinker.h>
#include <sync/sched.h>

#define COSTLY_BYTES KB(32)        // above this, and above a page, nobody counts on success: less is done for it
#define RECLAIM_PAGES 32           // asked for at least, so that the next requests need not ask again

// Parts of a second. Who can give up waits once for the first; who cannot asks the shrinkers again after the second;
// with enough pages that do not lie together there is nothing to be woken by.
#define PATIENCE_DIVISOR 10
#define ASK_AGAIN_DIVISOR 100
#define NAP_DIVISOR 1000

struct effort {
    gfp_t gfp;
    unsigned order;
    struct page *(*take)(void *request);
    void *request;
    unsigned priority;
    uint64_t freed_pages;          // by shrinkers, in the last round
};

static struct page *ask_shrinkers(struct effort *effort, uint64_t goal)
{
    for (;; effort->priority--) {
        uint64_t freed = shrinkers_run(effort->priority);

        if (freed > 0) {
            effort->freed_pages += freed;
            pressure_has_eased();
            page_lists_drain();
            struct page *page = effort->take(effort->request);
            if (page != NULL)
                return page;
        }
        if (effort->freed_pages >= goal || effort->priority == 0)
            return NULL;
    }
}

static struct page *run_round(struct effort *effort, enum gfp_patience patience)
{
    uint64_t pages = 1UL << effort->order, goal = max_of(pages, (uint64_t)RECLAIM_PAGES);

    effort->freed_pages = 0;
    page_lists_drain_all();
    struct page *page = effort->take(effort->request);
    // Who frees more than he takes is not to wait for himself.
    if (page == NULL && !(effort->gfp & __GFP_MEMALLOC))
        page = ask_shrinkers(effort, patience == GFP_TRIES_LIGHTLY ? pages : goal);
    return page;
}

// Nothing came: waits for what others free. True when a zone got enough by that.
static bool wait_for_others(const struct effort *effort, unsigned round)
{
    bool is_for_ever = (effort->gfp & __GFP_NOFAIL) != 0;
    uint64_t now = arch_time(), second = arch_timer_hz();

    if (!sched_is_running()) {
        arch_relax(round);
        return false;
    }
    if (!pressure_has_room(effort->gfp, effort->order))
        return pressure_wait(effort->gfp, effort->order,
                             now + second / (is_for_ever ? ASK_AGAIN_DIVISOR : PATIENCE_DIVISOR));
    (void)thread_block_until(now + second / NAP_DIVISOR);
    return false;
}

static bool is_killed(void)
{
    return sched_is_running() && thread_is_killed();
}

struct page *page_reclaim_and_retry(gfp_t gfp, unsigned order, struct page *(*take)(void *request), void *request)
{
    struct effort effort = { gfp, order, take, request, SHRINK_PRIORITY_MAX, 0 };
    enum gfp_patience patience = gfp_patience(gfp, order > 0 && (PAGE_SIZE << order) > COSTLY_BYTES);

    for (unsigned round = 1; patience != GFP_TRIES_ONCE; round++) {
        struct page *page = run_round(&effort, patience);
        bool has_progress = effort.freed_pages > 0;

        if (page == NULL && !has_progress && patience >= GFP_TRIES_WITH_PROGRESS &&
            (patience == GFP_TRIES_FOR_EVER || !is_killed())) {
            has_progress = wait_for_others(&effort, round);
            page = take(request);
        }
        if (page != NULL || patience < GFP_TRIES_SOME_ROUNDS)
            return page;
        if (patience != GFP_TRIES_FOR_EVER &&
            (!has_progress || is_killed() || (patience == GFP_TRIES_SOME_ROUNDS && round == GFP_ROUNDS_MAX)))
            return NULL;
        // Whoever could free more may wait for this hart.
        if (sched_is_running())
            thread_yield();
    }
    return NULL;
}
