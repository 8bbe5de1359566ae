// Wait queues: threads that sleep until somebody says that what they wait for may have come.
// SPDX-License-Identifier: BSD-2-Clause
//
// The condition belongs to the callers. Who changes it wakes the queue afterwards; who waits stands in the queue
// before he looks:
//
//     waiter: join the queue --> look --> not yet: sleep --> join again --> look ...
//     waker:  make it true --> waitq_wake
//
// so one of the two sees the other: joining and waking take the queue's lock, and either the waiter joined first, and
// is woken, or the waker was first, and what he wrote is seen (the lock's acquire and release, <sync/spinlock.h>).
// That is why waitq_wake_ always takes the lock: an unlocked look at an empty queue could pass a waiter by.
//
// wait_event and its kin: process context that may sleep. The condition itself does not sleep: that would take the
// token (<sync/sched.h>) of a wake that came meanwhile. `condition` is looked at again and again, also after a wake
// that was meant for another. Waking: any context.
#pragma once

#include <base/list.h>
#include <sync/sched.h>
#include <sync/spinlock.h>

struct waitq {
    struct spinlock lock;
    struct list waiters;           // (L) in order of arrival
};

#define WAITQ_INIT(name) { SPINLOCK_INIT(WAIT), LIST_INIT((name).waiters) }

void waitq_init(struct waitq *queue);

// Wakes all who wait, or the one who has waited longest.
void waitq_wake_all(struct waitq *queue);
void waitq_wake_one(struct waitq *queue);

// Waits until the condition holds.
#define wait_event(queue, condition) \
    ((void)WAIT_FOR(queue, condition, NO_DEADLINE, false))

// The same up to a moment of arch_time(); the value of the condition.
#define wait_event_until(queue, condition, deadline) \
    WAIT_FOR(queue, condition, deadline, false)

// The same, also over when the thread is asked to end (thread_kill); the value of the condition.
#define wait_event_killable(queue, condition) \
    WAIT_FOR(queue, condition, NO_DEADLINE, true)

// For the macros above.
struct waiter {
    struct list node;              // (L) points at itself while not queued
    struct thread *thread;         // (C)
};

void waitq_join(struct waitq *queue, struct waiter *waiter);

// Leaves the queue. One who leaves without what he waited for hands a wake that was his alone to the next.
void waitq_leave(struct waitq *queue, struct waiter *waiter, bool is_satisfied);

#define WAIT_FOR(queue, condition, deadline, is_killable) ({ \
    struct waitq *wait_queue_ = (queue); \
    struct waiter wait_self_ = { LIST_INIT(wait_self_.node), thread_current() }; \
    bool wait_holds_, wait_in_time_ = true; \
    might_sleep(); \
    for (;;) { \
        waitq_join(wait_queue_, &wait_self_); \
        wait_holds_ = (condition); \
        if (wait_holds_ || !wait_in_time_ || ((is_killable) && thread_is_killed())) \
            break; \
        wait_in_time_ = thread_block_until(deadline); \
    } \
    waitq_leave(wait_queue_, &wait_self_, wait_holds_); \
    wait_holds_; })
