// Idle harts: pulling work from the others, and waiting for an interrupt.
// SPDX-License-Identifier: BSD-2-Clause

#include "run_queue.h"

// A ready thread of that queue which this hart may run, taken off it; NULL when there is none.
static struct thread *take_from(struct run_queue *victim, unsigned self)
{
    struct thread *thread, *taken = NULL;
    irqflags_t flags = spin_lock_irqsave(&victim->lock);

    for (unsigned priority = PRIORITY_COUNT; priority-- > 0 && !taken;)
        list_for_each(thread, &victim->ready[priority], in_queue)
            if (thread->affinity & hart_mask_of(self)) {
                taken = thread;
                break;
            }
    if (taken) {
        run_queue_take_locked(victim, taken);
        store_relaxed(&taken->hart, self);
    }
    spin_unlock_irqrestore(&victim->lock, flags);
    return taken;
}

static bool pull_work(struct run_queue *queue)
{
    unsigned count = arch_hart_count();

    for (unsigned step = 1; step < count; step++) {
        struct run_queue *victim = &run_queues[(queue->hart + step) % count];
        if (__atomic_load_n(&victim->ready_count, __ATOMIC_RELAXED) == 0)
            continue;
        struct thread *thread = take_from(victim, queue->hart);
        if (!thread)
            continue;
        irqflags_t flags = spin_lock_irqsave(&queue->lock);
        queue->stats.pull_count++;
        spin_unlock_irqrestore(&queue->lock, flags);
        run_queue_add(thread);
        return true;
    }
    return false;
}

// Until an interrupt comes, or a little while. A simulator whose harts all wait moves its clock in a thread of its own,
// and which hart goes on first then depends on its host: where a seed is to be one interleaving, idle harts keep their
// turns, and the clock is made of instructions alone.
#define ROUNDS_OF_A_TURN 8

static void wait_masked(void)
{
    if (!run_queue_draws_lots()) {
        arch_wait_for_interrupt();
        return;
    }
    for (unsigned round = 0; round < ROUNDS_OF_A_TURN; round++)
        arch_relax(round);
}

static bool (*idle_work)(void);    // (A)

void sched_set_idle_work(bool (*work)(void))
{
    __atomic_store_n(&idle_work, work, __ATOMIC_RELEASE);
}

static void work_while_idle(struct run_queue *queue)
{
    bool (*work)(void) = __atomic_load_n(&idle_work, __ATOMIC_ACQUIRE);

    while (work && __atomic_load_n(&queue->ready_count, __ATOMIC_RELAXED) == 0 && !pull_work(queue) && work()) {
    }
}

_Noreturn void sched_idle(void)
{
    struct run_queue *queue = run_queue_own();

    for (;;) {
        work_while_idle(queue);
        arch_irq_disable();
        __atomic_fetch_or(&run_queue_idle_harts, hart_mask_of(queue->hart), __ATOMIC_SEQ_CST);
        // Masked between the look and the wait: an interrupt in between stays pending, and ends the wait at once.
        if (queue->ready_count == 0 && !pull_work(queue))
            wait_masked();
        __atomic_fetch_and(&run_queue_idle_harts, ~hart_mask_of(queue->hart), __ATOMIC_RELAXED);
        arch_irq_enable();
        if (__atomic_load_n(&queue->ready_count, __ATOMIC_RELAXED) > 0)
            thread_yield();
    }
}
