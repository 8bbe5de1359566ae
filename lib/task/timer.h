// Timers: a function to be called at a moment, in an interrupt of the hart that armed it.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each hart keeps its timers in a heap by their moment, and the hardware's timer is set to the first of them, or to
// never: there is no periodic tick. The function runs as an interrupt handler; it may arm its own timer again.
//
// Ordering: what was written before the timer was armed is seen by its function, and what the function wrote, by
// whoever has taken the timer back: the queue's lock is released and acquired in between (<sync/spinlock.h>).
#pragma once

#include <base/heap.h>

struct timer {
    struct heap_node node;         // (L) the lock of the hart's queue
    uint64_t deadline;             // (L) moment of arch_time()
    void (*function)(struct timer *timer);     // (C)
    unsigned hart;                 // (L) whose queue it is in, or was in last
    bool is_armed;                 // (L)
};

#define TIMER_INIT(timer_function) { .function = (timer_function) }

// Has the function called on this hart at the deadline, or as soon as may be after it. A timer that is armed already
// is moved. Any context; not for one timer on two harts at once.
void timer_arm(struct timer *timer, uint64_t deadline);

// Takes the timer back, and waits until its function, if it runs on another hart, has returned; afterwards nobody
// touches the timer. True when the function had still to be called. Any context but the function itself, and not with
// a lock held that the function takes.
bool timer_cancel(struct timer *timer);

// For the interrupt: calls what is due on this hart.
void timer_interrupt(void);

// Moments from now; NO_DEADLINE when that is further than the clock goes.
uint64_t timer_after_us(uint64_t microseconds);

// Calls of functions since the start, on that hart.
uint64_t timer_fired_count(unsigned hart);
