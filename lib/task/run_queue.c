// Run queues: where a thread that becomes ready goes, and who has to know.
// SPDX-License-Identifier: BSD-2-Clause

#include "run_queue.h"

struct run_queue run_queues[MAX_HARTS];
hart_mask_t run_queue_idle_harts;
uint64_t run_queue_slice_ticks, run_queue_jitter_ticks;

unsigned run_queue_choose_hart(struct run_queue *queue, hart_mask_t harts)
{
    if (run_queue_draws_lots())
        for (uint64_t skip = random_below(&queue->random, count_bits(harts)); skip > 0; skip--)
            harts &= harts - 1;
    return lowest_bit(harts);
}

uint64_t run_queue_slice_length(struct run_queue *queue)
{
    uint64_t jitter = __atomic_load_n(&run_queue_jitter_ticks, __ATOMIC_RELAXED);

    return __atomic_load_n(&run_queue_slice_ticks, __ATOMIC_RELAXED) +
           (jitter != 0 ? random_below(&queue->random, jitter + 1) : 0);
}

void run_queue_arm_slice_locked(struct run_queue *queue)
{
    if (queue->is_slice_armed)
        return;
    queue->is_slice_armed = true;
    timer_arm(&queue->slice, arch_time() + run_queue_slice_length(queue));
}

// What a hart has to do about a thread that was added to its queue. This hart's own affairs are settled here; true
// when another hart has to be interrupted for them.
static bool react_locked(struct run_queue *queue, const struct thread *added)
{
    bool is_own = queue == run_queue_own();

    if (added->priority > queue->running->priority) {
        if (is_own)
            run_queue_ask_for_switch();
        return !is_own;
    }
    if (is_own)
        run_queue_arm_slice_locked(queue);
    return !is_own && !queue->is_slice_armed;
}

irqflags_t sched_lock_queue_of(struct thread *thread, struct spinlock **queue_lock)
{
    for (;;) {
        unsigned hart = __atomic_load_n(&thread->hart, __ATOMIC_RELAXED);
        irqflags_t flags = spin_lock_irqsave(&run_queues[hart].lock);
        if (hart == thread->hart) {
            *queue_lock = &run_queues[hart].lock;
            return flags;
        }
        spin_unlock_irqrestore(&run_queues[hart].lock, flags);
    }
}

// Takes an idle hart for a thread, so that the next one goes to another: true for the one who was first. The caller
// interrupts it.
static bool claim_idle_hart(unsigned hart)
{
    hart_mask_t own = hart_mask_of(hart);

    return (__atomic_load_n(&run_queue_idle_harts, __ATOMIC_RELAXED) & own) &&
           (__atomic_fetch_and(&run_queue_idle_harts, ~own, __ATOMIC_RELAXED) & own);
}

// Where a thread that becomes ready goes. `queue` is that of the hart where it ran last, and locked.
static unsigned choose_queue_locked(struct run_queue *queue, const struct thread *thread)
{
    hart_mask_t allowed = thread->affinity & run_queue_harts();

    if (likely(allowed == hart_mask_of(queue->hart)))
        return queue->hart;
    if ((allowed & hart_mask_of(queue->hart)) && queue->running == &queue->idle && queue->ready_count == 0) {
        claim_idle_hart(queue->hart);
        return queue->hart;
    }
    for (hart_mask_t idle; (idle = __atomic_load_n(&run_queue_idle_harts, __ATOMIC_RELAXED) & allowed) != 0;) {
        unsigned hart = run_queue_choose_hart(queue, idle);
        if (claim_idle_hart(hart))
            return hart;
    }
    return allowed & hart_mask_of(queue->hart) ? queue->hart : run_queue_choose_hart(queue, allowed);
}

// A hart that waits for an interrupt could run what waits here. The fence pairs with the one in sched_idle: either we
// see that it is idle, or it sees what waits.
void run_queue_call_idle_hart(hart_mask_t affinity)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    hart_mask_t idle = __atomic_load_n(&run_queue_idle_harts, __ATOMIC_RELAXED) & affinity;

    if (idle != 0 && claim_idle_hart(lowest_bit(idle)))
        arch_ipi_send(lowest_bit(idle), IPI_WAKE);
}

// Whether a thread that was put on the queue could run at once on another hart.
static bool is_crowded_locked(const struct run_queue *queue, const struct thread *thread)
{
    return thread->affinity != hart_mask_of(queue->hart) &&
           (queue->running != &queue->idle || queue->ready_count > 1);
}

void run_queue_add(struct thread *thread)
{
    struct run_queue *queue;
    hart_mask_t affinity;
    irqflags_t flags;

    for (;;) {
        queue = &run_queues[thread->hart];
        flags = spin_lock_irqsave(&queue->lock);
        affinity = thread->affinity;
        if (likely(affinity & hart_mask_of(queue->hart)))
            break;
        store_relaxed(&thread->hart, run_queue_choose_hart(queue, affinity & run_queue_harts()));
        spin_unlock_irqrestore(&queue->lock, flags);
        // It may have been claimed, and waits for an interrupt: back among the idle ones.
        arch_ipi_send(queue->hart, IPI_WAKE);
    }
    run_queue_put_locked(queue, thread);
    bool must_interrupt = react_locked(queue, thread), is_crowded = is_crowded_locked(queue, thread);
    spin_unlock_irqrestore(&queue->lock, flags);
    if (must_interrupt)
        arch_ipi_send(queue->hart, IPI_WAKE);
    if (is_crowded)
        run_queue_call_idle_hart(affinity);
}

// After threads were made ready on this hart: switches now, or sees to it that somebody will.
static void preempt_soon(void)
{
    if (hart_local_preempt_word() == 0)
        sched_preempt();
}

bool sched_set_affinity(struct thread *thread, hart_mask_t affinity)
{
    struct spinlock *lock;
    irqflags_t flags = sched_lock_queue_of(thread, &lock);
    struct run_queue *queue = container_of(lock, struct run_queue, lock);
    bool must_leave = !(affinity & hart_mask_of(queue->hart));
    bool is_queued = thread->state == THREAD_READY && !list_is_empty(&thread->in_queue);

    thread->affinity = affinity;
    if (must_leave && is_queued)
        run_queue_take_locked(queue, thread);
    must_leave &= is_queued || thread->state == THREAD_RUNNING;
    spin_unlock_irqrestore(lock, flags);
    if (must_leave && is_queued) {
        run_queue_add(thread);
        preempt_soon();
    } else if (must_leave && thread != thread_current()) {
        arch_ipi_send(queue->hart, IPI_WAKE);
    }
    return must_leave && !is_queued;
}

void sched_add(struct thread *thread)
{
    irqflags_t flags = arch_irq_save();
    struct run_queue *queue = run_queue_own();

    run_queue_lock_masked(queue);
    list_init(&thread->in_queue);
    thread->hart = queue->hart;
    thread->hart = choose_queue_locked(queue, thread);
    run_queue_unlock_masked(queue);
    arch_irq_restore(flags);
    run_queue_add(thread);
    preempt_soon();
}

bool thread_wake(struct thread *thread)
{
    struct spinlock *lock;
    irqflags_t flags = sched_lock_queue_of(thread, &lock);
    struct run_queue *queue = container_of(lock, struct run_queue, lock);

    if (thread->state != THREAD_BLOCKED) {
        thread->has_token = true;
        spin_unlock_irqrestore(lock, flags);
        return false;
    }
    unsigned target = choose_queue_locked(queue, thread);
    if (likely(target == queue->hart)) {
        run_queue_put_locked(queue, thread);
        bool is_crowded = is_crowded_locked(queue, thread);
        hart_mask_t affinity = thread->affinity;
        bool must_interrupt = react_locked(queue, thread);
        spin_unlock_irqrestore(lock, flags);
        if (must_interrupt)
            arch_ipi_send(target, IPI_WAKE);
        if (is_crowded)
            run_queue_call_idle_hart(affinity);
    } else {
        // On no queue for a moment: whoever wakes it now leaves the token.
        thread->state = THREAD_READY;
        store_relaxed(&thread->hart, target);
        spin_unlock_irqrestore(lock, flags);
        run_queue_add(thread);
    }
    preempt_soon();
    return true;
}
