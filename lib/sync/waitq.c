// Wait queues.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/waitq.h>

void waitq_init(struct waitq *queue)
{
    spin_lock_init(&queue->lock, WAIT);
    list_init(&queue->waiters);
}

void waitq_join(struct waitq *queue, struct waiter *waiter)
{
    irqflags_t flags = spin_lock_irqsave(&queue->lock);

    if (list_is_empty(&waiter->node))
        list_add_last(&queue->waiters, &waiter->node);
    spin_unlock_irqrestore(&queue->lock, flags);
}

// Under the lock a waiter cannot leave, so his thread is still there to be woken.
static void wake_first_locked(struct waitq *queue)
{
    struct waiter *first = list_first(&queue->waiters, struct waiter, node);

    list_remove(&first->node);
    thread_wake(first->thread);
}

void waitq_leave(struct waitq *queue, struct waiter *waiter, bool is_satisfied)
{
    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    bool was_woken = list_is_empty(&waiter->node);

    list_remove(&waiter->node);
    if (was_woken && !is_satisfied && !list_is_empty(&queue->waiters))
        wake_first_locked(queue);
    spin_unlock_irqrestore(&queue->lock, flags);
    preempt_enable();
}

void waitq_wake_all(struct waitq *queue)
{
    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);

    while (!list_is_empty(&queue->waiters))
        wake_first_locked(queue);
    spin_unlock_irqrestore(&queue->lock, flags);
    preempt_enable();
}

void waitq_wake_one(struct waitq *queue)
{
    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);

    if (!list_is_empty(&queue->waiters))
        wake_first_locked(queue);
    spin_unlock_irqrestore(&queue->lock, flags);
    preempt_enable();
}
