// Timers.
// SPDX-License-Identifier: BSD-2-Clause

#include <task/timer.h>

#include <arch/smp.h>
#include <arch/time.h>
#include <base/assert.h>
#include <sync/sched.h>
#include <sync/spinlock.h>

struct timer_queue {
    struct spinlock lock;
    struct heap heap;              // (L)
    struct timer *running;         // (A) whose function is under way; set under the lock
    uint64_t programmed;           // (L) what the hardware's timer is set to
    uint64_t fired_count;          // (L)
} aligned_to(CACHE_LINE_BYTES);

static bool is_earlier(const struct heap_node *a, const struct heap_node *b)
{
    return container_of(a, struct timer, node)->deadline < container_of(b, struct timer, node)->deadline;
}

static struct timer_queue queues[MAX_HARTS] = {
    [0 ... MAX_HARTS - 1] = {
        .lock = SPINLOCK_INIT(TIMER_QUEUE), .heap = { .is_less = is_earlier }, .programmed = UINT64_MAX,
    },
};

static struct timer *first_of(const struct timer_queue *queue)
{
    return queue->heap.root ? container_of(queue->heap.root, struct timer, node) : NULL;
}

static void program_locked(struct timer_queue *queue)
{
    struct timer *first = first_of(queue);
    uint64_t wanted = first ? first->deadline : UINT64_MAX;

    if (wanted == queue->programmed)
        return;
    queue->programmed = wanted;
    arch_timer_set(wanted);
}

static void disarm_locked(struct timer_queue *queue, struct timer *timer)
{
    heap_remove(&queue->heap, &timer->node);
    timer->is_armed = false;
}

// Locks the queue that the timer is in; it may move until the lock is held.
static struct timer_queue *lock_queue_of(struct timer *timer, irqflags_t *flags)
{
    for (;;) {
        unsigned hart = __atomic_load_n(&timer->hart, __ATOMIC_RELAXED);
        *flags = spin_lock_irqsave(&queues[hart].lock);
        if (hart == timer->hart)
            return &queues[hart];
        spin_unlock_irqrestore(&queues[hart].lock, *flags);
    }
}

void timer_arm(struct timer *timer, uint64_t deadline)
{
    irqflags_t outer = arch_irq_save(), flags;
    unsigned self = arch_hart_index();

    // The common case first: armed on this hart before, or never.
    if (unlikely(timer->hart != self)) {
        struct timer_queue *other = lock_queue_of(timer, &flags);
        if (timer->is_armed)
            disarm_locked(other, timer);
        __atomic_store_n(&timer->hart, self, __ATOMIC_RELAXED);
        spin_unlock_irqrestore(&other->lock, flags);
    }
    struct timer_queue *queue = &queues[self];
    flags = spin_lock_irqsave(&queue->lock);
    BUG_ON(timer->hart != self);
    if (timer->is_armed)
        disarm_locked(queue, timer);
    timer->deadline = deadline;
    timer->is_armed = true;
    heap_add(&queue->heap, &timer->node);
    program_locked(queue);
    spin_unlock_irqrestore(&queue->lock, flags);
    arch_irq_restore(outer);
}

// Its function may still run on a hart that it was in the queue of before.
static bool is_running_anywhere(const struct timer *timer)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        if (__atomic_load_n(&queues[hart].running, __ATOMIC_ACQUIRE) == timer)
            return true;
    return false;
}

bool timer_cancel(struct timer *timer)
{
    bool was_armed = false;

    for (unsigned round = 0;; round++) {
        irqflags_t flags;
        struct timer_queue *queue = lock_queue_of(timer, &flags);

        if (timer->is_armed) {
            disarm_locked(queue, timer);
            was_armed = true;
        }
        // The hardware's timer is only this hart's to set; elsewhere an interrupt too many does no harm.
        if (queue == &queues[arch_hart_index()])
            program_locked(queue);
        // Whoever moved the timer here has held the lock of the queue that it came from: so what runs there is seen.
        bool is_running = is_running_anywhere(timer);
        spin_unlock_irqrestore(&queue->lock, flags);
        // A function that is under way may arm its timer again.
        if (!is_running)
            return was_armed;
        arch_relax(round);
    }
}

// Functions called by one interrupt. When more are due, the hardware's timer is set to a moment that is past, so that
// interrupts of other kinds get their turn in between: they would be kept waiting for all of them otherwise.
#define FIRED_AT_ONCE 8

void timer_interrupt(void)
{
    struct timer_queue *queue = &queues[arch_hart_index()];
    struct timer *timer;
    unsigned left = FIRED_AT_ONCE;
    // What becomes due meanwhile has an interrupt of its own, so that this one ends.
    uint64_t now = arch_time();

    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    // The port has turned the hardware's timer off.
    queue->programmed = UINT64_MAX;
    while (left-- > 0 && (timer = first_of(queue)) && timer->deadline <= now) {
        disarm_locked(queue, timer);
        queue->fired_count++;
        __atomic_store_n(&queue->running, timer, __ATOMIC_RELAXED);
        spin_unlock_irqrestore(&queue->lock, flags);
        timer->function(timer);
        flags = spin_lock_irqsave(&queue->lock);
        __atomic_store_n(&queue->running, NULL, __ATOMIC_RELEASE);
    }
    program_locked(queue);
    spin_unlock_irqrestore(&queue->lock, flags);
}

uint64_t timer_after_us(uint64_t microseconds)
{
    uint64_t now = arch_time();

    // Beyond that it would be past the end of time.
    if (microseconds >= (NO_DEADLINE - now) / arch_timer_hz())
        return NO_DEADLINE;
    return now + microseconds * arch_timer_hz() / 1000000;
}

uint64_t timer_fired_count(unsigned hart)
{
    return __atomic_load_n(&queues[hart].fired_count, __ATOMIC_RELAXED);
}
