// Waking kswapd, and those who wait for memory.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/pressure.h>

#include "phys_private.h"

#include <mm/page_lists.h>
#include <sync/preempt.h>
#include <sync/sched.h>
#include <sync/waitq.h>

// One look keeps interrupts masked: who stands further behind is found by a later one, or by his own deadline.
#define WAITERS_SEEN_MAX 64

struct page_waiter {
    struct list node;              // (L) points at itself while not queued
    struct thread *thread;         // (C)
    gfp_t gfp;                     // (C)
    unsigned order;                // (C)
};

static struct spinlock waiters_lock = SPINLOCK_INIT(PRESSURE);
static struct list waiters = LIST_INIT(waiters);           // (L) in order of arrival

static struct waitq kswapd_queue = WAITQ_INIT(kswapd_queue);
static uint64_t wake_count;        // (A) wakes asked for
static uint64_t seen_wake_count;   // (A) kswapd's: how many it has taken note of
static uint32_t has_given_up;      // (A) a word, which every port can exchange

// --- kswapd

void kswapd_wake(void)
{
    if (kswapd_has_given_up())
        return;
    // Of many wakes before it runs, the first is enough.
    uint64_t before = __atomic_fetch_add(&wake_count, 1, __ATOMIC_SEQ_CST);
    if (before == __atomic_load_n(&seen_wake_count, __ATOMIC_SEQ_CST))
        waitq_wake_one(&kswapd_queue);
}

uint64_t kswapd_wake_count(void)
{
    return __atomic_load_n(&wake_count, __ATOMIC_SEQ_CST);
}

bool kswapd_is_wanted(void)
{
    return kswapd_wake_count() != __atomic_load_n(&seen_wake_count, __ATOMIC_SEQ_CST);
}

void kswapd_wait(void)
{
    wait_event(&kswapd_queue, kswapd_is_wanted());
}

void kswapd_note_wakes(void)
{
    __atomic_store_n(&seen_wake_count, kswapd_wake_count(), __ATOMIC_SEQ_CST);
}

static void count_waiter(struct zone *highest, uint32_t change)
{
    for (struct zone *zone = zones; zone <= highest; zone++)
        __atomic_fetch_add(&zone->waiters, change, __ATOMIC_SEQ_CST);
}

// It counts as somebody who waits in every zone, so that the next free is seen.
void kswapd_give_up(void)
{
    if (!__atomic_exchange_n(&has_given_up, 1, __ATOMIC_SEQ_CST))
        count_waiter(&zones[ZONE_COUNT - 1], 1);
}

bool kswapd_has_given_up(void)
{
    return __atomic_load_n(&has_given_up, __ATOMIC_RELAXED) != 0;
}

void pressure_has_eased(void)
{
    if (kswapd_has_given_up() && __atomic_exchange_n(&has_given_up, 0, __ATOMIC_SEQ_CST))
        count_waiter(&zones[ZONE_COUNT - 1], -1U);
}

// --- Those who wait

// How many pages more than it needs to the zone holds for such a request; false when too few.
static bool holds_enough(const struct zone *zone, uint64_t free_pages, gfp_t gfp, unsigned order)
{
    return zone->present_pages > 0 && free_pages >= page_keep(zone, gfp) + (1UL << order);
}

bool pressure_has_room(gfp_t gfp, unsigned order)
{
    struct zone *highest = gfp_zone(gfp);

    for (struct zone *zone = zones; highest != NULL && zone <= highest; zone++) {
        irqflags_t flags = spin_lock_irqsave(&zone->lock);
        uint64_t free_pages = zone->free_pages;
        spin_unlock_irqrestore(&zone->lock, flags);
        if (holds_enough(zone, free_pages, gfp, order))
            return true;
    }
    return false;
}

static void join(struct page_waiter *waiter)
{
    irqflags_t flags = spin_lock_irqsave(&waiters_lock);

    if (list_is_empty(&waiter->node)) {
        list_add_last(&waiters, &waiter->node);
        count_waiter(gfp_zone(waiter->gfp), 1);
    }
    spin_unlock_irqrestore(&waiters_lock, flags);
}

static void leave_locked(struct page_waiter *waiter)
{
    if (!list_is_empty(&waiter->node)) {
        list_remove(&waiter->node);
        count_waiter(gfp_zone(waiter->gfp), -1U);
    }
}

static void leave(struct page_waiter *waiter)
{
    irqflags_t flags = spin_lock_irqsave(&waiters_lock);

    leave_locked(waiter);
    spin_unlock_irqrestore(&waiters_lock, flags);
}

bool pressure_wait(gfp_t gfp, unsigned order, uint64_t deadline)
{
    struct page_waiter self = { LIST_INIT(self.node), thread_current(), gfp, order };
    bool has_room, is_in_time = true;

    might_sleep();
    // What harts kept for themselves nobody would hear of.
    page_lists_block();
    // Who was woken looks before he queues again, so that nobody's wake is spent on him.
    while (!(has_room = pressure_has_room(gfp, order)) && gfp_zone(gfp) != NULL) {
        join(&self);
        has_room = pressure_has_room(gfp, order);
        if (has_room || !is_in_time || (thread_is_killed() && !(gfp & __GFP_NOFAIL)))
            break;
        is_in_time = thread_block_until(deadline);
    }
    leave(&self);
    page_lists_unblock();
    return has_room;
}

unsigned pressure_waiter_count(void)
{
    irqflags_t flags = spin_lock_irqsave(&waiters_lock);
    unsigned count = 0;

    for (const struct list *node = waiters.next; node != &waiters; node = node->next)
        count++;
    spin_unlock_irqrestore(&waiters_lock, flags);
    return count;
}

// Under the lock a waiter cannot leave, so his thread is still there to be woken.
static void wake_whom_it_serves(struct zone *zone)
{
    uint64_t free_pages = __atomic_load_n(&zone->free_pages, __ATOMIC_RELAXED);
    struct list *node = waiters.next;

    for (unsigned seen = 0; node != &waiters && seen < WAITERS_SEEN_MAX; seen++) {
        struct page_waiter *waiter = container_of(node, struct page_waiter, node);
        node = node->next;
        if (zone > gfp_zone(waiter->gfp) || !holds_enough(zone, free_pages, waiter->gfp, waiter->order))
            continue;
        free_pages -= 1UL << waiter->order;
        leave_locked(waiter);
        thread_wake(waiter->thread);
    }
}

void page_freed_hint(struct zone *zone)
{
    pressure_has_eased();
    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&waiters_lock);
    wake_whom_it_serves(zone);
    spin_unlock_irqrestore(&waiters_lock, flags);
    preempt_enable();
}
