// Sleeping up to a moment: a timer that wakes the thread.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/time.h>
#include <task/thread.h>
#include <task/timer.h>

struct alarm {
    struct timer timer;
    struct thread *thread;
    bool has_rung;                 // (A)
};

static void ring(struct timer *timer)
{
    struct alarm *alarm = container_of(timer, struct alarm, timer);

    __atomic_store_n(&alarm->has_rung, true, __ATOMIC_RELAXED);
    thread_wake(alarm->thread);
}

bool thread_block_until(uint64_t deadline)
{
    if (deadline == NO_DEADLINE) {
        thread_block();
        return true;
    }
    struct alarm alarm = { .timer = TIMER_INIT(ring), .thread = thread_current() };

    timer_arm(&alarm.timer, deadline);
    thread_block();
    timer_cancel(&alarm.timer);
    return !__atomic_load_n(&alarm.has_rung, __ATOMIC_RELAXED);
}

bool thread_sleep_until(uint64_t deadline)
{
    while (arch_time() < deadline && !thread_is_killed())
        thread_block_until(deadline);
    return !thread_is_killed();
}

bool thread_sleep_us(uint64_t microseconds)
{
    return thread_sleep_until(timer_after_us(microseconds));
}
