// Counting semaphores: a number of permits, and threads that sleep for one, in order of arrival.
// SPDX-License-Identifier: BSD-2-Clause
//
// semaphore_up hands its permit to the thread that has waited longest, if there is one; otherwise the count grows. So
// no permit is taken before one's turn. Anybody may give a permit, in any context; there is no owner.
//
// Ordering: up is a release and down an acquire, by way of the lock (<sync/spinlock.h>).
#pragma once

#include <base/list.h>
#include <sync/sched.h>
#include <sync/spinlock.h>

struct semaphore {
    struct spinlock lock;
    uint64_t count;                // (L) permits to be had; 0 while anybody waits
    struct list waiters;           // (L)
};

#define SEMAPHORE_INIT(name, permits) { SPINLOCK_INIT(WAIT), (permits), LIST_INIT((name).waiters) }

void semaphore_init(struct semaphore *semaphore, uint64_t permits);

// Takes a permit. Process context that may sleep.
void semaphore_down(struct semaphore *semaphore);

// False, without a permit, when the thread is asked to end, or the moment of arch_time() has come.
must_check bool semaphore_down_killable(struct semaphore *semaphore);
must_check bool semaphore_down_until(struct semaphore *semaphore, uint64_t deadline);

// False when there is none to be had at once. Any context.
must_check bool semaphore_try_down(struct semaphore *semaphore);

// Gives a permit. Any context.
void semaphore_up(struct semaphore *semaphore);
