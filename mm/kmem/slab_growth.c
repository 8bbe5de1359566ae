// Before slabs are more than lately: what nobody uses in magazines, depots and empty slabs is used first.
// SPDX-License-Identifier: BSD-2-Clause
//
// A cache that grows although free objects wait elsewhere makes the peak higher than it need be. So there is a mark,
// and where all slabs together reach it, free objects are recalled: of caches whose magazines are still of the first
// size all of them; of others, which harts share, what was not used since the last time: magazines of harts whose stack
// stands where it stood, and full ones that the depots did not need; and empty slabs. What is left then, and a part
// more, is the next mark if that is above this one; and if recalls come too soon after each other, what they give back
// is needed all the time, and the mark moves by that part, too. So while nothing can be recalled, recalls are as few as
// the logarithm of the growth, and harts that hand each other objects keep their magazines: where that was not so,
// eight that free each other's objects paid twice as much for each.
//
// Who asks waits for the other harts' answer wherever it may, whatever his flags say: else slabs are more before the
// objects come.

#include "slab_internal.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <mm/magazine.h>
#include <mm/page_lists.h>
#include <sync/preempt.h>

// The part, as a shift: so much more than was needed may be held at the peak for the sake of speed.
#define GROWTH_SHIFT 8

// A recall takes some 50,000 instructions of all harts together.
#define RECALLS_PER_SECOND 5000

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

bool slab_recall(void)
{
    uint64_t mark = __atomic_load_n(&high_pages, __ATOMIC_RELAXED), now = arch_time();

    // A recall takes longer than interrupts may be kept out.
    if (likely(slab_pages() < mark) || in_interrupt() || !arch_irqs_enabled() || !claim(mark))
        return false;
    bool is_soon = now - last_recall < arch_timer_hz() / RECALLS_PER_SECOND;
    last_recall = now;
    // Who holds a lock may be what another hart waits for: there the others answer later.
    bool may_wait = !in_atomic();
    page_lists_trim_upper(may_wait);
    magazines_trim_depots();
    if (may_wait)
        slab_reap_empty(UINT64_MAX);
    set_mark(max_of(is_soon ? mark_above(mark) : mark, mark_above(slab_pages())));
    return true;
}

void slab_growth_trim(void)
{
    uint64_t mark = __atomic_load_n(&high_pages, __ATOMIC_RELAXED);

    if (mark != UINT64_MAX && claim(mark))
        set_mark(min_of(mark, max_of(mark_above(slab_pages()), LEAST_PAGES)));
}
