// Before slabs are more than lately: what waits in magazines and in empty slabs is used first.
// SPDX-License-Identifier: BSD-2-Clause
//
// A cache that grows although free objects wait elsewhere makes the peak higher than it need be. So there is a mark,
// and where all slabs together reach it, magazines and empty slabs are recalled. What is left then, and a part more,
// is the next mark if that is above this one: while nothing can be recalled, recalls are as few as the logarithm of
// the growth. Where a recall helps the mark stays; but if they come too soon after each other, what they give back is
// needed all the time, and the mark moves by a page.

#include "slab_internal.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <mm/magazine.h>
#include <mm/page_lists.h>
#include <sync/preempt.h>

// The part, as a shift: so much more than was needed may be held at the peak for the sake of speed.
#define GROWTH_SHIFT 6

// A recall takes some 50,000 instructions of all harts together.
#define RECALLS_PER_SECOND 2000

// Below this there is too little to be had.
#define LEAST_PAGES (KB(256) / PAGE_SIZE)

static uint64_t high_pages = LEAST_PAGES;      // (A) the mark; UINT64_MAX: somebody recalls
static uint64_t last_recall;                   // arch_time(); of who recalls

static uint64_t mark_above(uint64_t pages) { return pages + (pages >> GROWTH_SHIFT) + 1; }

// True: the caller recalls, and sets the mark.
static bool claim(uint64_t mark)
{
    return __atomic_compare_exchange_n(&high_pages, &mark, UINT64_MAX, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void set_mark(uint64_t mark) { __atomic_store_n(&high_pages, mark, __ATOMIC_RELEASE); }

bool slab_recall(gfp_t gfp)
{
    uint64_t mark = __atomic_load_n(&high_pages, __ATOMIC_RELAXED), now = arch_time();

    // A recall takes longer than interrupts may be kept out.
    if (likely(slab_pages() < mark) || in_interrupt() || !arch_irqs_enabled() || !claim(mark))
        return false;
    bool is_soon = now - last_recall < arch_timer_hz() / RECALLS_PER_SECOND;
    last_recall = now;
    if (gfp_may_sleep(gfp)) {
        page_lists_drain_all();
        kmem_cache_reap(UINT64_MAX);
    } else {
        // The others answer later: what that gives is not known yet.
        page_lists_request_drain();
        magazines_drain_hart();
    }
    uint64_t needed = gfp_may_sleep(gfp) || is_soon ? mark_above(slab_pages()) : 0;
    set_mark(max_of(mark + is_soon, needed));
    return true;
}

void slab_growth_trim(void)
{
    uint64_t mark = __atomic_load_n(&high_pages, __ATOMIC_RELAXED);

    if (mark != UINT64_MAX && claim(mark))
        set_mark(min_of(mark, max_of(mark_above(slab_pages()), LEAST_PAGES)));
}
