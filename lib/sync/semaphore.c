// Counting semaphores.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/semaphore.h>

struct semaphore_waiter {
    struct list node;              // (L) points at itself once a permit was handed over
    struct thread *thread;         // (C)
    bool has_permit;               // (L)
};

void semaphore_init(struct semaphore *semaphore, uint64_t permits)
{
    spin_lock_init(&semaphore->lock, WAIT);
    semaphore->count = permits;
    list_init(&semaphore->waiters);
}

static bool take_locked(struct semaphore *semaphore)
{
    if (semaphore->count == 0)
        return false;
    semaphore->count--;
    return true;
}

bool semaphore_try_down(struct semaphore *semaphore)
{
    irqflags_t flags = spin_lock_irqsave(&semaphore->lock);
    bool is_taken = take_locked(semaphore);

    spin_unlock_irqrestore(&semaphore->lock, flags);
    return is_taken;
}

static bool down(struct semaphore *semaphore, uint64_t deadline, bool is_killable)
{
    struct semaphore_waiter self = { .thread = thread_current() };
    bool is_in_time = true;

    might_sleep();
    irqflags_t flags = spin_lock_irqsave(&semaphore->lock);
    if (take_locked(semaphore))
        self.has_permit = true;
    else
        list_add_last(&semaphore->waiters, &self.node);
    while (!self.has_permit && is_in_time && !(is_killable && thread_is_killed())) {
        spin_unlock_irqrestore(&semaphore->lock, flags);
        is_in_time = thread_block_until(deadline);
        flags = spin_lock_irqsave(&semaphore->lock);
    }
    if (!self.has_permit)
        list_remove(&self.node);
    spin_unlock_irqrestore(&semaphore->lock, flags);
    return self.has_permit;
}

void semaphore_down(struct semaphore *semaphore)
{
    down(semaphore, NO_DEADLINE, false);
}

bool semaphore_down_killable(struct semaphore *semaphore)
{
    return down(semaphore, NO_DEADLINE, true);
}

bool semaphore_down_until(struct semaphore *semaphore, uint64_t deadline)
{
    return down(semaphore, deadline, false);
}

void semaphore_up(struct semaphore *semaphore)
{
    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&semaphore->lock);

    if (list_is_empty(&semaphore->waiters)) {
        semaphore->count++;
    } else {
        struct semaphore_waiter *first = list_first(&semaphore->waiters, struct semaphore_waiter, node);
        list_remove(&first->node);
        first->has_permit = true;
        thread_wake(first->thread);
    }
    spin_unlock_irqrestore(&semaphore->lock, flags);
    preempt_enable();
}
