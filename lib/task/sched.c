// Switching: who runs next on this hart, the slice, and what others may know.
// SPDX-License-Identifier: BSD-2-Clause

#include "run_queue.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <base/assert.h>
#include <base/string.h>
#include <task/timer.h>
#include <task/watchdog.h>

static bool is_running;                    // (A)
static uint64_t choice_seed;               // (C)

bool sched_is_running(void) { return __atomic_load_n(&is_running, __ATOMIC_RELAXED); }

// --- Switching

static struct thread *pick_locked(struct run_queue *queue)
{
    if (queue->ready_count == 0)
        return &queue->idle;
    unsigned priority = list_is_empty(&queue->ready[PRIORITY_HIGH]) ? PRIORITY_NORMAL : PRIORITY_HIGH;
    struct thread *thread = list_first(&queue->ready[priority], struct thread, in_queue);

    run_queue_take_locked(queue, thread);
    return thread;
}

// A thread has left that will not come back to this hart: it has ended, or may stay here no longer.
static cold void part_with(struct run_queue *queue, struct thread *previous)
{
    struct thread *joiner = NULL;
    bool is_exile = false, is_buried = false;

    if (previous->state == THREAD_EXITING) {
        joiner = previous->joiner;
        is_buried = previous->is_detached;
        previous->state = THREAD_DEAD;
    } else {
        is_exile = true;
        store_relaxed(&previous->hart, run_queue_choose_hart(queue, previous->affinity & run_queue_harts()));
    }
    run_queue_unlock_masked(queue);
    if (joiner) {
        thread_wake(joiner);
        // The last touch: the joiner waits for it before it frees the thread.
        __atomic_store_n(&previous->joiner, NULL, __ATOMIC_RELEASE);
    }
    if (is_buried)
        thread_bury(previous);
    if (is_exile)
        run_queue_add(previous);
}

// The first thing that runs after every switch: on the new stack, with the queue's lock taken by the thread that left.
static void finish_switch(void)
{
    struct run_queue *queue = run_queue_own();
    struct thread *previous = queue->previous;

    if (unlikely(previous->state == THREAD_EXITING) ||
        (previous->state == THREAD_READY && unlikely(list_is_empty(&previous->in_queue)) && previous != &queue->idle))
        part_with(queue, previous);
    else
        run_queue_unlock_masked(queue);
}

static void note_idle_locked(struct run_queue *queue, bool becomes_idle, uint64_t now)
{
    write_seqcount_begin(&queue->idle_seq);
    if (!becomes_idle)
        store_relaxed(&queue->idle_time, queue->idle_time + (now - queue->idle_since));
    store_relaxed(&queue->idle_since, becomes_idle ? now : 0);
    write_seqcount_end(&queue->idle_seq);
}

// Leaves the current thread, whose state the caller has changed, for the best one that is ready. Called with the
// queue's lock held and interrupts masked; returns on this thread's next turn, perhaps on another hart, without.
static void switch_locked(struct run_queue *queue, uint64_t now)
{
    struct thread *from = queue->running, *to = pick_locked(queue);

    lockdep_check_block();
    hart_local_write(preempt.is_unwanted, 1);
    to->state = THREAD_RUNNING;
    from->run_time += now - queue->switched_at;
    if (to == from) {
        queue->switched_at = now;
        run_queue_unlock_masked(queue);
        return;
    }
    if (from == &queue->idle || to == &queue->idle)
        note_idle_locked(queue, to == &queue->idle, now);
    queue->stats.switch_count++;
    queue->switched_at = now;
    to->switch_count++;
    queue->running = to;
    queue->previous = from;
    hart_local_write(current, to);
    if (from == &queue->idle)
        watchdog_note_busy();
    if (to != &queue->idle && (queue->ready_count > 0 || unlikely(run_queue_draws_lots())))
        run_queue_arm_slice_locked(queue);
    arch_context_switch(&from->context, &to->context);
    finish_switch();
}

// The current thread is ready to go on, here or, if it may not stay, elsewhere.
static void requeue_self_locked(struct run_queue *queue, struct thread *self)
{
    if (unlikely(!(self->affinity & hart_mask_of(queue->hart))))
        self->state = THREAD_READY;
    else
        run_queue_put_locked(queue, self);
}

void thread_yield(void)
{
    might_sleep();
    BUG_ON(in_atomic());
    irqflags_t flags = arch_irq_save();
    struct run_queue *queue = run_queue_own();

    run_queue_lock_masked(queue);
    struct thread *self = queue->running;
    uint64_t now = arch_time();
    self->voluntary_at = self->run_time + (now - queue->switched_at);
    if (unlikely(self == &queue->idle))
        self->state = THREAD_READY;
    else
        requeue_self_locked(queue, self);
    switch_locked(queue, now);
    arch_irq_restore(flags);
}

void thread_block(void)
{
    might_sleep();
    BUG_ON(in_atomic());
    irqflags_t flags = arch_irq_save();
    struct run_queue *queue = run_queue_own();

    run_queue_lock_masked(queue);
    struct thread *self = queue->running;
    ASSERT(self != &queue->idle);
    uint64_t now = arch_time();
    self->voluntary_at = self->run_time + (now - queue->switched_at);
    if (self->has_token) {
        self->has_token = false;
        run_queue_unlock_masked(queue);
        arch_irq_restore(flags);
        return;
    }
    self->state = THREAD_BLOCKED;
    switch_locked(queue, now);
    arch_irq_restore(flags);
}

void sched_preempt(void)
{
    irqflags_t flags = arch_irq_save();
    struct run_queue *queue = run_queue_own();

    if (!arch_irq_was_enabled(flags)) {
        // As soon as interrupts are unmasked, one comes and ends with the switch.
        arch_ipi_send(queue->hart, IPI_WAKE);
        return;
    }
    sched_preempt_masked();
    arch_irq_restore(flags);
}

void sched_preempt_masked(void)
{
    struct run_queue *queue = run_queue_own();

    run_queue_lock_masked(queue);
    struct thread *self = queue->running;
    if (self == &queue->idle) {
        self->state = THREAD_READY;
    } else {
        queue->stats.preempt_count++;
        requeue_self_locked(queue, self);
        if (queue->ready_count > 1 && self->affinity != hart_mask_of(queue->hart))
            run_queue_call_idle_hart(self->affinity);
    }
    switch_locked(queue, arch_time());
}

_Noreturn void sched_exit(void)
{
    arch_irq_disable();
    struct run_queue *queue = run_queue_own();

    run_queue_lock_masked(queue);
    ASSERT(queue->running != &queue->idle);
    queue->running->state = THREAD_EXITING;
    switch_locked(queue, arch_time());
    panic("thread %s runs after its end", queue->running->name);
}

void sched_begin_thread(void)
{
    finish_switch();
    arch_irq_enable();
}

static void end_of_slice(struct timer *timer)
{
    struct run_queue *queue = container_of(timer, struct run_queue, slice);
    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    uint64_t now = arch_time(), end = queue->switched_at + __atomic_load_n(&run_queue_slice_ticks, __ATOMIC_RELAXED);

    queue->stats.tick_count++;
    queue->is_slice_armed = false;
    if (queue->ready_count > 0) {
        // A thread that came in the middle of a slice has a whole one.
        bool is_over = now >= end || run_queue_draws_lots();
        if (is_over)
            run_queue_ask_for_switch();
        queue->is_slice_armed = true;
        timer_arm(timer, is_over ? now + run_queue_slice_length(queue) : end);
    } else if (run_queue_draws_lots() && queue->running != &queue->idle) {
        run_queue_arm_slice_locked(queue);
    }
    spin_unlock_irqrestore(&queue->lock, flags);
}

void sched_interrupt(void)
{
    struct run_queue *queue = run_queue_own();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);

    if (queue->ready_count > 0) {
        if (queue->running == &queue->idle || (queue->running->priority < PRIORITY_HIGH &&
                                               !list_is_empty(&queue->ready[PRIORITY_HIGH])))
            run_queue_ask_for_switch();
        else
            run_queue_arm_slice_locked(queue);
    }
    if (queue->running != &queue->idle && !(queue->running->affinity & hart_mask_of(queue->hart)))
        run_queue_ask_for_switch();
    spin_unlock_irqrestore(&queue->lock, flags);
}

void sched_init_hart(void *stack)
{
    struct run_queue *queue = &run_queues[arch_hart_index()];
    struct thread *idle = &queue->idle;

    spin_lock_init(&queue->lock, RUN_QUEUE);
    queue->hart = arch_hart_index();
    for (unsigned priority = 0; priority < PRIORITY_COUNT; priority++)
        list_init(&queue->ready[priority]);
    queue->slice = (struct timer)TIMER_INIT(end_of_slice);
    queue->random = random_seeded(choice_seed * MAX_HARTS + queue->hart);
    queue->switched_at = queue->idle_since = arch_time();

    string_copy(idle->name, "idle", sizeof idle->name);
    idle->hart = queue->hart;
    idle->priority = PRIORITY_IDLE;
    idle->affinity = hart_mask_of(queue->hart);
    idle->state = THREAD_RUNNING;
    idle->stack = stack;
    list_init(&idle->in_queue);
    hart_local_write(run_queue, queue);
    hart_local_write(current, idle);
    thread_list_add(idle);
    __atomic_store_n(&queue->running, idle, __ATOMIC_RELEASE);
}

bool sched_hart_is_there(unsigned hart)
{
    return __atomic_load_n(&run_queues[hart].running, __ATOMIC_ACQUIRE) != NULL;
}

void sched_configure(uint64_t slice_us, uint64_t jitter_us, uint64_t seed)
{
    uint64_t hz = arch_timer_hz();

    store_relaxed(&run_queue_slice_ticks, max_of(slice_us * hz / 1000000, (uint64_t)1));
    store_relaxed(&run_queue_jitter_ticks, jitter_us * hz / 1000000);
    choice_seed = seed;
    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        run_queues[hart].random = random_seeded(seed * MAX_HARTS + hart);
}

void sched_start(void)
{
    store_relaxed(&is_running, true);
}

// --- What others may know

struct sched_stats sched_stats_of(unsigned hart)
{
    const struct run_queue *queue = &run_queues[hart];
    struct sched_stats stats = *(const volatile struct sched_stats *)&queue->stats;
    uint64_t idle_since;
    uint32_t start;

    do {
        start = read_seqcount_begin(&queue->idle_seq);
        stats.idle_time = __atomic_load_n(&queue->idle_time, __ATOMIC_RELAXED);
        idle_since = __atomic_load_n(&queue->idle_since, __ATOMIC_RELAXED);
    } while (read_seqcount_retry(&queue->idle_seq, start));
    if (idle_since != 0)
        stats.idle_time += arch_time() - idle_since;
    return stats;
}

unsigned sched_ready_count(unsigned hart)
{
    return __atomic_load_n(&run_queues[hart].ready_count, __ATOMIC_RELAXED);
}

bool sched_hart_is_idle(unsigned hart)
{
    return run_queues[hart].running == &run_queues[hart].idle;
}

uint64_t sched_run_time_of_current(void)
{
    struct run_queue *queue = run_queue_own();

    return queue->running->run_time + (arch_time() - queue->switched_at);
}

const char *thread_name_on(unsigned hart)
{
    struct thread *running = run_queues[hart].running;
    return running ? running->name : "starting";
}

void *thread_stack_on(unsigned hart)
{
    struct thread *running = run_queues[hart].running;
    return running ? running->stack : NULL;
}
