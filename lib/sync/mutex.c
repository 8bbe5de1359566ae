// Mutexes.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/mutex.h>

#include <base/assert.h>

#define HAS_WAITERS ((uintptr_t)1)

struct mutex_waiter {
    struct list node;              // (L)
    struct thread *thread;         // (C)
    bool is_owner;                 // (A) handed over to
};

void mutex_init_class(struct mutex *mutex, enum lock_class class)
{
    *mutex = (struct mutex){ .lock = SPINLOCK_INIT(WAIT), .class = class };
    list_init(&mutex->waiters);
}

static bool take_free(struct mutex *mutex)
{
    uintptr_t free = 0;

    return __atomic_compare_exchange_n(&mutex->owner, &free, (uintptr_t)thread_current(), false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

bool mutex_trylock(struct mutex *mutex)
{
    if (!take_free(mutex))
        return false;
    lockdep_acquire_sleeping(mutex, mutex->class, false);
    return true;
}

// Marks the mutex as waited for, or takes it when it is free by now: then true.
static bool take_or_mark_locked(struct mutex *mutex)
{
    uintptr_t owner = __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);

    for (;;) {
        uintptr_t wanted = owner == 0 ? (uintptr_t)thread_current() : owner | HAS_WAITERS;
        if (__atomic_compare_exchange_n(&mutex->owner, &owner, wanted, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return owner == 0;
    }
}

// Takes the waiter out of line; false when the mutex has been handed to him already.
static bool give_up(struct mutex *mutex, struct mutex_waiter *self)
{
    irqflags_t flags = spin_lock_irqsave(&mutex->lock);
    bool has_given_up = !self->is_owner;

    if (has_given_up) {
        list_remove(&self->node);
        if (list_is_empty(&mutex->waiters))
            __atomic_fetch_and(&mutex->owner, ~HAS_WAITERS, __ATOMIC_RELAXED);
    }
    spin_unlock_irqrestore(&mutex->lock, flags);
    return has_given_up;
}

static bool wait_in_line(struct mutex *mutex, bool is_killable)
{
    struct mutex_waiter self = { .thread = thread_current() };

    irqflags_t flags = spin_lock_irqsave(&mutex->lock);
    bool is_taken = take_or_mark_locked(mutex);
    if (!is_taken)
        list_add_last(&mutex->waiters, &self.node);
    spin_unlock_irqrestore(&mutex->lock, flags);
    if (is_taken)
        return true;

    while (!__atomic_load_n(&self.is_owner, __ATOMIC_ACQUIRE)) {
        if (is_killable && thread_is_killed() && give_up(mutex, &self))
            return false;
        thread_block();
    }
    // The unlocker may still be about to leave the lock: only then is our stack ours alone.
    flags = spin_lock_irqsave(&mutex->lock);
    spin_unlock_irqrestore(&mutex->lock, flags);
    return true;
}

static bool lock(struct mutex *mutex, bool is_killable)
{
    lockdep_acquire_sleeping(mutex, mutex->class, true);
    if (likely(take_free(mutex)) || wait_in_line(mutex, is_killable))
        return true;
    lockdep_release_sleeping(mutex);
    return false;
}

void mutex_lock(struct mutex *mutex)
{
    lock(mutex, false);
}

bool mutex_lock_killable(struct mutex *mutex)
{
    return lock(mutex, true);
}

void mutex_unlock(struct mutex *mutex)
{
    uintptr_t self = (uintptr_t)thread_current(), owner = self;

    lockdep_release_sleeping(mutex);
    if (likely(__atomic_compare_exchange_n(&mutex->owner, &owner, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)))
        return;
    if ((owner & ~HAS_WAITERS) != self)
        panic("mutex %p is released by a thread that does not own it", (void *)mutex);

    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&mutex->lock);
    if (list_is_empty(&mutex->waiters)) {
        // The last one who waited has given up meanwhile.
        __atomic_store_n(&mutex->owner, 0, __ATOMIC_RELEASE);
    } else {
        struct mutex_waiter *first = list_first(&mutex->waiters, struct mutex_waiter, node);
        struct thread *thread = first->thread;

        list_remove(&first->node);
        __atomic_store_n(&mutex->owner, (uintptr_t)thread | (list_is_empty(&mutex->waiters) ? 0 : HAS_WAITERS),
                         __ATOMIC_RELAXED);
        __atomic_store_n(&first->is_owner, true, __ATOMIC_RELEASE);
        thread_wake(thread);
    }
    spin_unlock_irqrestore(&mutex->lock, flags);
    preempt_enable();
}
