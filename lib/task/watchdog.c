// The watchdog.
// SPDX-License-Identifier: BSD-2-Clause

#include "sched_private.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <base/assert.h>
#include <base/bits.h>
#include <sync/preempt.h>
#include <task/timer.h>
#include <task/watchdog.h>

#define FIRINGS_PER_LIMIT 4

struct watch {
    struct timer timer;
    uint64_t heartbeat;            // (A)
    uint64_t seen_heartbeat;       // (O) of the next hart
    unsigned missed;               // (O) own firings since that had moved last, or did not have to
} aligned_to(CACHE_LINE_BYTES);

static struct watch watches[MAX_HARTS];
static uint64_t limit_ticks;       // (C) 0: no watch

uint64_t watchdog_paused;          // (A)

static bool are_all_idle(void)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        if (!sched_hart_is_idle(hart))
            return false;
    return true;
}

static uint64_t seconds_of(uint64_t ticks)
{
    return ticks / arch_timer_hz();
}

// Whether the next hart is known to take interrupts, or does not have to. Counted in firings, not by the clock: where
// the whole machine was stopped for a while, that is one.
static bool check_next_hart(struct watch *own, unsigned self)
{
    unsigned next = (self + 1) % arch_hart_count();
    uint64_t heartbeat = __atomic_load_n(&watches[next].heartbeat, __ATOMIC_RELAXED);
    bool is_paused = __atomic_load_n(&watchdog_paused, __ATOMIC_RELAXED) >> next & 1;

    if (next == self)
        return true;
    if (is_paused || heartbeat != own->seen_heartbeat) {
        own->seen_heartbeat = heartbeat;
        own->missed = 0;
        return true;
    }
    if (++own->missed > FIRINGS_PER_LIMIT)
        panic("watchdog: hart %u, thread %s, takes no interrupts since %lu s", next, thread_name_on(next),
              seconds_of(limit_ticks));
    return false;
}

static void check_own_thread(void)
{
    struct thread *thread = thread_current();
    uint64_t ran = sched_run_time_of_current() - thread->voluntary_at;

    if (thread->seen_voluntary_at != thread->voluntary_at)
        thread->seen_count = 0;
    thread->seen_voluntary_at = thread->voluntary_at;
    // Seen at it more than once: a stop of the whole machine is time that it ran, too.
    if (++thread->seen_count > FIRINGS_PER_LIMIT / 2 && thread->priority != PRIORITY_IDLE && ran > limit_ticks)
        panic("watchdog: thread %s on hart %u runs since %lu s and neither sleeps nor yields", thread->name,
              arch_hart_index(), seconds_of(ran));
}

static void watch(struct timer *timer)
{
    struct watch *own = container_of(timer, struct watch, timer);
    unsigned self = arch_hart_index();

    __atomic_store_n(&own->heartbeat, own->heartbeat + 1, __ATOMIC_RELAXED);
    bool is_neighbour_well = check_next_hart(own, self);
    check_own_thread();
    // An idle hart that hangs in a handler counts as idle: so none pauses without having heard of the next one.
    if (is_neighbour_well && are_all_idle()) {
        __atomic_fetch_or(&watchdog_paused, hart_mask_of(self), __ATOMIC_SEQ_CST);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        // Whoever was not idle any more before that has not seen us pause.
        if (are_all_idle() ||
            !(__atomic_fetch_and(&watchdog_paused, ~hart_mask_of(self), __ATOMIC_RELAXED) & hart_mask_of(self)))
            return;
    }
    timer_arm(timer, arch_time() + limit_ticks / FIRINGS_PER_LIMIT);
}

void watchdog_interrupt(void)
{
    struct watch *own = &watches[arch_hart_index()];

    own->missed = 0;
    timer_arm(&own->timer, arch_time() + limit_ticks / FIRINGS_PER_LIMIT);
}

void watchdog_resume(void)
{
    uint64_t paused = __atomic_exchange_n(&watchdog_paused, 0, __ATOMIC_ACQ_REL);

    for (; paused != 0; paused &= paused - 1)
        arch_ipi_send(lowest_bit(paused), IPI_WATCH);
}

void watchdog_touch(void)
{
    irqflags_t flags = arch_irq_save();

    thread_current()->voluntary_at = sched_run_time_of_current();
    arch_irq_restore(flags);
}

void watchdog_init(uint64_t limit_seconds)
{
    limit_ticks = limit_seconds * arch_timer_hz();
    if (limit_ticks == 0)
        return;
    spin_lock_limit = limit_ticks;
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        watches[hart].timer = (struct timer)TIMER_INIT(watch);
        arch_ipi_send(hart, IPI_WATCH);
    }
}
