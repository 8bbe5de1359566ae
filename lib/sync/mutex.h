// Mutexes: one thread at a time, the others asleep, in order of arrival.
// SPDX-License-Identifier: BSD-2-Clause
//
// A free mutex is taken, and one that nobody waits for is given back, by one compare-and-swap of its owner word. With
// threads waiting, mutex_unlock hands it to the one who has waited longest: he owns it before he runs, so nobody slips
// in, and each waits for at most those who came before. (That costs a switch for each handover; sleeping locks here
// guard long sections, where fairness is worth more.)
//
//     owner word:  thread | 1 if there are waiters;  0: free
//
// Ordering: taking is an acquire and giving back a release, on the owner word, or by way of the wait lock for a
// handover (RVWMO, RISC-V unprivileged specification 20191213, chapter 14, preserved program order rules 5 to 7).
//
// Context: process context that may sleep, for all but mutex_trylock and mutex_unlock, which do not sleep but belong
// to process context too. The owner, and nobody else, gives it back; taking it twice is a violation in checked builds,
// and a deadlock.
#pragma once

#include <base/list.h>
#include <sync/sched.h>
#include <sync/spinlock.h>

struct mutex {
    uintptr_t owner;               // (A) set to or from 0 by anybody, between others under the lock
    struct spinlock lock;
    struct list waiters;           // (L)
    enum lock_class class;         // (C)
};

#define MUTEX_INIT_CLASS(name, lock_class) \
    { 0, SPINLOCK_INIT(WAIT), LIST_INIT((name).waiters), LOCK_CLASS_##lock_class }
#define MUTEX_INIT(name) MUTEX_INIT_CLASS(name, SLEEPING)

#define mutex_init(mutex) mutex_init_class(mutex, LOCK_CLASS_SLEEPING)
void mutex_init_class(struct mutex *mutex, enum lock_class class);

void mutex_lock(struct mutex *mutex);

// False, without the mutex, when the thread is asked to end meanwhile.
must_check bool mutex_lock_killable(struct mutex *mutex);

must_check bool mutex_trylock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

static inline bool mutex_is_locked(const struct mutex *mutex)
{
    return __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED) != 0;
}

// The thread that holds it, NULL for none; a hint, but for the owner himself.
static inline struct thread *mutex_owner(const struct mutex *mutex)
{
    return (struct thread *)(__atomic_load_n(&mutex->owner, __ATOMIC_RELAXED) & ~(uintptr_t)1);
}
