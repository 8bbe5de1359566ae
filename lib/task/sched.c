// The scheduler.
// SPDX-License-Identifier: BSD-2-Clause

#include "sched_private.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <base/assert.h>
#include <base/bits.h>
#include <base/random.h>
#include <base/string.h>
#include <sync/seqlock.h>
#include <task/timer.h>
#include <task/watchdog.h>

struct run_queue {
    struct spinlock lock;
    unsigned hart;                         // (C)
    struct list ready[PRIORITY_COUNT];     // (L)
    unsigned ready_count;                  // (L) written; read without it as a hint
    struct thread *running;                // (L)
    struct thread *previous;               // (L) who has just left, for whoever comes
    uint64_t switched_at;                  // (L)
    struct timer slice;                    // armed while somebody waits, or by jitter
    bool is_slice_armed;                   // (L)
    struct random random;                  // (L)
    struct sched_stats stats;              // (L) but for idle_time
    struct seqcount idle_seq;              // for readers of the two below; writers have the lock
    uint64_t idle_time, idle_since;        // (L) up to then, and when it became idle; 0: it is not
    struct thread idle;
} aligned_to(CACHE_LINE_BYTES);

static struct run_queue queues[MAX_HARTS];

static hart_mask_t idle_harts;             // (A) harts that have nothing to do and may wait for an interrupt
static bool is_running;                    // (A)
static uint64_t slice_ticks, jitter_ticks; // (A)
static uint64_t choice_seed;               // (C)

bool sched_is_running(void) { return __atomic_load_n(&is_running, __ATOMIC_RELAXED); }

static struct run_queue *own_queue(void) { return hart_local_read(run_queue); }

static hart_mask_t harts_there(void)
{
    return low_bits(arch_hart_count());
}

// --- Choices: the first of several, or one drawn by lot.

static bool is_drawing_lots(void)
{
    return __atomic_load_n(&jitter_ticks, __ATOMIC_RELAXED) != 0;
}

// One hart of a set that is not empty.
static unsigned choose_hart(struct run_queue *queue, hart_mask_t harts)
{
    if (is_drawing_lots())
        for (uint64_t skip = random_below(&queue->random, count_bits(harts)); skip > 0; skip--)
            harts &= harts - 1;
    return lowest_bit(harts);
}

static uint64_t slice_length(struct run_queue *queue)
{
    uint64_t jitter = __atomic_load_n(&jitter_ticks, __ATOMIC_RELAXED);

    return __atomic_load_n(&slice_ticks, __ATOMIC_RELAXED) +
           (jitter != 0 ? random_below(&queue->random, jitter + 1) : 0);
}

// --- Queues

static void lock_own_masked(struct run_queue *queue)
{
    lockdep_acquire_spinlock(&queue->lock);
    spin_acquire(&queue->lock);
}

static void unlock_own_masked(struct run_queue *queue)
{
    lockdep_release_spinlock(&queue->lock);
    spin_release(&queue->lock);
}

static void ask_for_switch(void)
{
    hart_local_write(preempt.is_unwanted, 0);
}

static void arm_slice_locked(struct run_queue *queue)
{
    if (queue->is_slice_armed)
        return;
    queue->is_slice_armed = true;
    timer_arm(&queue->slice, arch_time() + slice_length(queue));
}

static void enqueue_locked(struct run_queue *queue, struct thread *thread)
{
    struct list *ready = &queue->ready[thread->priority];

    thread->state = THREAD_READY;
    if (unlikely(is_drawing_lots()) && random_below(&queue->random, 2))
        list_add_first(ready, &thread->in_queue);
    else
        list_add_last(ready, &thread->in_queue);
    store_relaxed(&queue->ready_count, queue->ready_count + 1);
}

static void dequeue_locked(struct run_queue *queue, struct thread *thread)
{
    list_remove(&thread->in_queue);
    store_relaxed(&queue->ready_count, queue->ready_count - 1);
}

// What a hart has to do about a thread that was added to its queue. This hart's own affairs are settled here; true
// when another hart has to be interrupted for them.
static bool react_locked(struct run_queue *queue, const struct thread *added)
{
    bool is_own = queue == own_queue();

    if (added->priority > queue->running->priority) {
        if (is_own)
            ask_for_switch();
        return !is_own;
    }
    if (is_own)
        arm_slice_locked(queue);
    return !is_own && !queue->is_slice_armed;
}

irqflags_t sched_lock_queue_of(struct thread *thread, struct spinlock **queue_lock)
{
    for (;;) {
        unsigned hart = __atomic_load_n(&thread->hart, __ATOMIC_RELAXED);
        irqflags_t flags = spin_lock_irqsave(&queues[hart].lock);
        if (hart == thread->hart) {
            *queue_lock = &queues[hart].lock;
            return flags;
        }
        spin_unlock_irqrestore(&queues[hart].lock, flags);
    }
}

// Where a thread that becomes ready goes. `queue` is that of the hart where it ran last, and locked.
static unsigned choose_queue_locked(struct run_queue *queue, const struct thread *thread)
{
    hart_mask_t allowed = thread->affinity & harts_there();

    if (likely(allowed == hart_mask_of(queue->hart)) ||
        ((allowed & hart_mask_of(queue->hart)) && queue->running == &queue->idle && queue->ready_count == 0))
        return queue->hart;
    hart_mask_t idle = __atomic_load_n(&idle_harts, __ATOMIC_RELAXED) & allowed;
    if (idle != 0)
        return choose_hart(queue, idle);
    return allowed & hart_mask_of(queue->hart) ? queue->hart : choose_hart(queue, allowed);
}

// A hart that waits for an interrupt could run what waits here. The fence pairs with the one in sched_idle: either we
// see that it is idle, or it sees what waits.
static void call_idle_hart(struct run_queue *queue, hart_mask_t affinity)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    hart_mask_t idle = __atomic_load_n(&idle_harts, __ATOMIC_RELAXED) & affinity;

    if (idle != 0 && !(idle & hart_mask_of(queue->hart)))
        arch_ipi_send(lowest_bit(idle), IPI_WAKE);
}

// Puts a thread that is on no queue and no hart onto its hart's queue; or onto another's, if it has lost the right to
// that hart meanwhile.
static void add_to_queue(struct thread *thread)
{
    struct run_queue *queue;
    hart_mask_t affinity;
    irqflags_t flags;

    for (;;) {
        queue = &queues[thread->hart];
        flags = spin_lock_irqsave(&queue->lock);
        affinity = thread->affinity;
        if (likely(affinity & hart_mask_of(queue->hart)))
            break;
        store_relaxed(&thread->hart, choose_hart(queue, affinity & harts_there()));
        spin_unlock_irqrestore(&queue->lock, flags);
    }
    enqueue_locked(queue, thread);
    bool must_interrupt = react_locked(queue, thread);
    spin_unlock_irqrestore(&queue->lock, flags);
    if (must_interrupt)
        arch_ipi_send(queue->hart, IPI_WAKE);
    call_idle_hart(queue, affinity);
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
        dequeue_locked(queue, thread);
    must_leave &= is_queued || thread->state == THREAD_RUNNING;
    spin_unlock_irqrestore(lock, flags);
    if (must_leave && is_queued)
        add_to_queue(thread);
    else if (must_leave && thread != thread_current())
        arch_ipi_send(queue->hart, IPI_WAKE);
    return must_leave && !is_queued;
}

// After threads were made ready on this hart: switches now, or sees to it that somebody will.
static void preempt_soon(void)
{
    if (hart_local_preempt_word() == 0)
        sched_preempt();
}

void sched_add(struct thread *thread)
{
    irqflags_t flags = arch_irq_save();
    struct run_queue *queue = own_queue();

    lock_own_masked(queue);
    list_init(&thread->in_queue);
    thread->hart = queue->hart;
    thread->hart = choose_queue_locked(queue, thread);
    unlock_own_masked(queue);
    arch_irq_restore(flags);
    add_to_queue(thread);
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
        enqueue_locked(queue, thread);
        bool is_crowded = queue->running != &queue->idle && thread->affinity != hart_mask_of(target);
        hart_mask_t affinity = thread->affinity;
        bool must_interrupt = react_locked(queue, thread);
        spin_unlock_irqrestore(lock, flags);
        if (must_interrupt)
            arch_ipi_send(target, IPI_WAKE);
        if (is_crowded)
            call_idle_hart(queue, affinity);
    } else {
        // On no queue for a moment: whoever wakes it now leaves the token.
        thread->state = THREAD_READY;
        store_relaxed(&thread->hart, target);
        spin_unlock_irqrestore(lock, flags);
        add_to_queue(thread);
    }
    preempt_soon();
    return true;
}

// --- Switching

static struct thread *pick_locked(struct run_queue *queue)
{
    if (queue->ready_count == 0)
        return &queue->idle;
    unsigned priority = list_is_empty(&queue->ready[PRIORITY_HIGH]) ? PRIORITY_NORMAL : PRIORITY_HIGH;
    struct thread *thread = list_first(&queue->ready[priority], struct thread, in_queue);

    dequeue_locked(queue, thread);
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
        store_relaxed(&previous->hart, choose_hart(queue, previous->affinity & harts_there()));
    }
    unlock_own_masked(queue);
    if (joiner) {
        thread_wake(joiner);
        // The last touch: the joiner waits for it before it frees the thread.
        __atomic_store_n(&previous->joiner, NULL, __ATOMIC_RELEASE);
    }
    if (is_buried)
        thread_bury(previous);
    if (is_exile)
        add_to_queue(previous);
}

// The first thing that runs after every switch: on the new stack, with the queue's lock taken by the thread that left.
static void finish_switch(void)
{
    struct run_queue *queue = own_queue();
    struct thread *previous = queue->previous;

    if (unlikely(previous->state == THREAD_EXITING) ||
        (previous->state == THREAD_READY && unlikely(list_is_empty(&previous->in_queue)) && previous != &queue->idle))
        part_with(queue, previous);
    else
        unlock_own_masked(queue);
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
        unlock_own_masked(queue);
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
    if (to != &queue->idle && (queue->ready_count > 0 || unlikely(is_drawing_lots())))
        arm_slice_locked(queue);
    arch_context_switch(&from->context, &to->context);
    finish_switch();
}

// The current thread is ready to go on, here or, if it may not stay, elsewhere.
static void requeue_self_locked(struct run_queue *queue, struct thread *self)
{
    if (unlikely(!(self->affinity & hart_mask_of(queue->hart))))
        self->state = THREAD_READY;
    else
        enqueue_locked(queue, self);
}

void thread_yield(void)
{
    might_sleep();
    irqflags_t flags = arch_irq_save();
    struct run_queue *queue = own_queue();

    lock_own_masked(queue);
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
    struct run_queue *queue = own_queue();

    lock_own_masked(queue);
    struct thread *self = queue->running;
    ASSERT(self != &queue->idle);
    uint64_t now = arch_time();
    self->voluntary_at = self->run_time + (now - queue->switched_at);
    if (self->has_token) {
        self->has_token = false;
        unlock_own_masked(queue);
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
    struct run_queue *queue = own_queue();

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
    struct run_queue *queue = own_queue();

    lock_own_masked(queue);
    struct thread *self = queue->running;
    if (self == &queue->idle) {
        self->state = THREAD_READY;
    } else {
        queue->stats.preempt_count++;
        requeue_self_locked(queue, self);
    }
    switch_locked(queue, arch_time());
}

_Noreturn void sched_exit(void)
{
    arch_irq_disable();
    struct run_queue *queue = own_queue();

    lock_own_masked(queue);
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
    uint64_t now = arch_time(), end = queue->switched_at + __atomic_load_n(&slice_ticks, __ATOMIC_RELAXED);

    queue->stats.tick_count++;
    queue->is_slice_armed = false;
    if (queue->ready_count > 0) {
        // A thread that came in the middle of a slice has a whole one.
        bool is_over = now >= end || is_drawing_lots();
        if (is_over)
            ask_for_switch();
        queue->is_slice_armed = true;
        timer_arm(timer, is_over ? now + slice_length(queue) : end);
    } else if (is_drawing_lots() && queue->running != &queue->idle) {
        arm_slice_locked(queue);
    }
    spin_unlock_irqrestore(&queue->lock, flags);
}

void sched_interrupt(void)
{
    struct run_queue *queue = own_queue();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);

    if (queue->ready_count > 0) {
        if (queue->running == &queue->idle || (queue->running->priority < PRIORITY_HIGH &&
                                               !list_is_empty(&queue->ready[PRIORITY_HIGH])))
            ask_for_switch();
        else
            arm_slice_locked(queue);
    }
    if (queue->running != &queue->idle && !(queue->running->affinity & hart_mask_of(queue->hart)))
        ask_for_switch();
    spin_unlock_irqrestore(&queue->lock, flags);
}

// --- Idle harts

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
        dequeue_locked(victim, taken);
        store_relaxed(&taken->hart, self);
    }
    spin_unlock_irqrestore(&victim->lock, flags);
    return taken;
}

static bool pull_work(struct run_queue *queue)
{
    unsigned count = arch_hart_count();

    for (unsigned step = 1; step < count; step++) {
        struct run_queue *victim = &queues[(queue->hart + step) % count];
        if (__atomic_load_n(&victim->ready_count, __ATOMIC_RELAXED) == 0)
            continue;
        struct thread *thread = take_from(victim, queue->hart);
        if (!thread)
            continue;
        irqflags_t flags = spin_lock_irqsave(&queue->lock);
        queue->stats.pull_count++;
        spin_unlock_irqrestore(&queue->lock, flags);
        add_to_queue(thread);
        return true;
    }
    return false;
}

_Noreturn void sched_idle(void)
{
    struct run_queue *queue = own_queue();

    for (;;) {
        arch_irq_disable();
        __atomic_fetch_or(&idle_harts, hart_mask_of(queue->hart), __ATOMIC_SEQ_CST);
        // Masked between the look and the wait: an interrupt in between stays pending, and ends the wait at once.
        if (queue->ready_count == 0 && !pull_work(queue))
            arch_wait_for_interrupt();
        __atomic_fetch_and(&idle_harts, ~hart_mask_of(queue->hart), __ATOMIC_RELAXED);
        arch_irq_enable();
        if (__atomic_load_n(&queue->ready_count, __ATOMIC_RELAXED) > 0)
            thread_yield();
    }
}

void sched_init_hart(void *stack)
{
    struct run_queue *queue = &queues[arch_hart_index()];
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
    return __atomic_load_n(&queues[hart].running, __ATOMIC_ACQUIRE) != NULL;
}

void sched_configure(uint64_t slice_us, uint64_t jitter_us, uint64_t seed)
{
    uint64_t hz = arch_timer_hz();

    store_relaxed(&slice_ticks, max_of(slice_us * hz / 1000000, (uint64_t)1));
    store_relaxed(&jitter_ticks, jitter_us * hz / 1000000);
    choice_seed = seed;
    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        queues[hart].random = random_seeded(seed * MAX_HARTS + hart);
}

void sched_start(void)
{
    store_relaxed(&is_running, true);
}

// --- What others may know

struct sched_stats sched_stats_of(unsigned hart)
{
    const struct run_queue *queue = &queues[hart];
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
    return __atomic_load_n(&queues[hart].ready_count, __ATOMIC_RELAXED);
}

bool sched_hart_is_idle(unsigned hart)
{
    return queues[hart].running == &queues[hart].idle;
}

uint64_t sched_run_time_of_current(void)
{
    struct run_queue *queue = own_queue();

    return queue->running->run_time + (arch_time() - queue->switched_at);
}

const char *thread_name_on(unsigned hart)
{
    struct thread *running = queues[hart].running;
    return running ? running->name : "starting";
}

void *thread_stack_on(unsigned hart)
{
    struct thread *running = queues[hart].running;
    return running ? running->stack : NULL;
}
