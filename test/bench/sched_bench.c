// Rows of locks, threads and interrupts. All on one hart.
// SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <arch/smp.h>
#include <port/csr.h>
#include <sync/completion.h>
#include <sync/mutex.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/thread.h>
#include <task/timer.h>
#include <task/workqueue.h>

#define ROUNDS 10000

enum { SPIN, SPIN_IRQSAVE, PREEMPT, MUTEX, SEMAPHORE };

static struct spinlock spin = SPINLOCK_INIT(TEST_OUTER), irq_spin = SPINLOCK_INIT(TEST_IRQ_OUTER);
static struct mutex mutex = MUTEX_INIT(mutex);
static struct semaphore semaphore = SEMAPHORE_INIT(semaphore, 1);

static void lock_pair(struct bench *bench, unsigned size, unsigned variant)
{
    irqflags_t flags;

    for (unsigned i = 0; i < size; i++)
        switch (variant) {
        case SPIN:
            BENCH_TIME(bench, spin_lock(&spin); spin_unlock(&spin));
            break;
        case SPIN_IRQSAVE:
            BENCH_TIME(bench, flags = spin_lock_irqsave(&irq_spin); spin_unlock_irqrestore(&irq_spin, flags));
            break;
        case PREEMPT:
            BENCH_TIME(bench, preempt_disable(); preempt_enable());
            break;
        case MUTEX:
            BENCH_TIME(bench, mutex_lock(&mutex); mutex_unlock(&mutex));
            break;
        default:
            BENCH_TIME(bench, semaphore_down(&semaphore); semaphore_up(&semaphore));
        }
}
BENCH_ROW(lock_spin, "lock.spin.pair", lock_pair, ROUNDS, SPIN);
BENCH_ROW(lock_spin_irqsave, "lock.spin_irqsave.pair", lock_pair, ROUNDS, SPIN_IRQSAVE);
BENCH_ROW(preempt_pair, "preempt.pair", lock_pair, ROUNDS, PREEMPT);
BENCH_ROW(lock_mutex, "lock.mutex.pair", lock_pair, ROUNDS, MUTEX);
BENCH_ROW(lock_semaphore, "lock.semaphore.pair", lock_pair, ROUNDS, SEMAPHORE);

// What the two sides of a row share; one hart, so plain words will do.
static struct {
    struct bench *bench;
    uint64_t before;
    unsigned left;
    bool is_over;
    struct thread *main;
} shared;

static void record_since(uint64_t after)
{
    bench_record(shared.bench, shared.before, after);
}

static void yield_rounds(void *unused)
{
    (void)unused;
    while (shared.left > 0) {
        shared.left--;
        shared.before = arch_instructions();
        thread_yield();
        record_since(arch_instructions());
    }
}

// From the call of thread_yield in one thread to its return in the other.
static void yield_row(struct bench *bench, unsigned size, unsigned variant)
{
    (void)variant;
    shared.bench = bench;
    shared.left = size;
    struct thread *other = thread_create_on(arch_hart_index(), "yields", yield_rounds, NULL);
    if (!other) {
        bench->out_of_memory = true;
        return;
    }
    // The other one starts with the first yield, and that one is no switch back.
    thread_yield();
    yield_rounds(NULL);
    thread_join(other);
}
BENCH_ROW(sched_yield, "sched.yield", yield_row, ROUNDS, 0);

static void sleep_rounds(void *unused)
{
    (void)unused;
    for (;;) {
        thread_block();
        uint64_t after = arch_instructions();
        if (shared.is_over)
            return;
        record_since(after);
        thread_wake(shared.main);
    }
}

static void complete_rounds(void *completion)
{
    for (;;) {
        completion_wait(completion);
        uint64_t after = arch_instructions();
        if (shared.is_over)
            return;
        record_since(after);
        thread_wake(shared.main);
    }
}

enum { WAKE_HIGH, WAKE_NORMAL, WAKE_COMPLETION };

// From the call that wakes a sleeping thread of this hart until it runs: one of higher priority preempts the waker; one
// of the same runs when the waker sleeps.
static void wake_row(struct bench *bench, unsigned size, unsigned variant)
{
    static struct completion completion = COMPLETION_INIT(completion);
    enum thread_priority priority = variant == WAKE_NORMAL ? PRIORITY_NORMAL : PRIORITY_HIGH;
    void (*function)(void *) = variant == WAKE_COMPLETION ? complete_rounds : sleep_rounds;

    shared.bench = bench;
    shared.main = thread_current();
    shared.is_over = false;
    struct thread *sleeper = thread_create_in(hart_mask_of(arch_hart_index()), priority, "sleeps", function,
                                              &completion);
    if (!sleeper) {
        bench->out_of_memory = true;
        return;
    }
    thread_yield();
    for (unsigned i = 0; i < size; i++) {
        shared.before = arch_instructions();
        if (variant == WAKE_COMPLETION)
            complete(&completion);
        else
            thread_wake(sleeper);
        thread_block();
    }
    shared.is_over = true;
    if (variant == WAKE_COMPLETION)
        complete(&completion);
    else
        thread_wake(sleeper);
    thread_join(sleeper);
}
BENCH_ROW(wake_high, "sched.wake", wake_row, ROUNDS, WAKE_HIGH);
BENCH_ROW(wake_normal, "sched.wake_normal", wake_row, ROUNDS, WAKE_NORMAL);
BENCH_ROW(wake_completion, "sched.complete", wake_row, ROUNDS, WAKE_COMPLETION);

static void nothing(void *unused)
{
    (void)unused;
}

static void thread_row(struct bench *bench, unsigned size, unsigned variant)
{
    (void)variant;
    for (unsigned i = 0; i < size; i++) {
        struct thread *thread = NULL;
        BENCH_TIME(bench, thread = thread_create_on(0, "short", nothing, NULL); if (thread) thread_join(thread));
        if (!thread)
            bench->out_of_memory = true;
    }
}
BENCH_ROW(thread_pair, "thread.create_join", thread_row, 1000, 0);

static void record_timer(struct timer *timer)
{
    (void)timer;
    record_since(arch_instructions());
}

static void record_tasklet(struct tasklet *tasklet)
{
    (void)tasklet;
    record_since(arch_instructions());
}

static void record_work(struct work *work)
{
    (void)work;
    record_since(arch_instructions());
}

static void record_call(void *unused)
{
    (void)unused;
    record_since(arch_instructions());
}

static void null_timer(struct timer *timer)
{
    (void)timer;
}

enum { IRQ_NULL, IRQ_TIMER, TO_TIMER, TO_TASKLET, TO_WORK, TO_CALL };

// irq.null: from the instruction that raises an interrupt, which finds nothing to do, to the one behind it.
// irq.timer: the same for a timer that is due, with its arming. The others: from the request to the first instruction
// of the function.
static void irq_row(struct bench *bench, unsigned size, unsigned variant)
{
    static struct timer quiet_timer = TIMER_INIT(null_timer), loud_timer = TIMER_INIT(record_timer);
    static struct tasklet tasklet = TASKLET_INIT(record_tasklet);
    static struct work work = WORK_INIT(record_work);

    shared.bench = bench;
    for (unsigned i = 0; i < size; i++) {
        shared.before = arch_instructions();
        switch (variant) {
        case IRQ_NULL:
            csr_set(sip, SIE_SSIE);
            record_since(arch_instructions());
            break;
        case IRQ_TIMER:
            timer_arm(&quiet_timer, 0);
            record_since(arch_instructions());
            break;
        case TO_TIMER:
            timer_arm(&loud_timer, 0);
            break;
        case TO_TASKLET:
            tasklet_schedule(&tasklet);
            break;
        case TO_WORK:
            queue_work(&work);
            break;
        default:
            hart_call(arch_hart_index(), record_call, NULL);
        }
    }
}
BENCH_ROW(irq_null, "irq.null", irq_row, ROUNDS, IRQ_NULL);
BENCH_ROW(irq_timer, "irq.timer", irq_row, ROUNDS, IRQ_TIMER);
BENCH_ROW(to_timer, "irq.to_timer", irq_row, ROUNDS, TO_TIMER);
BENCH_ROW(to_tasklet, "bottom_half.tasklet", irq_row, ROUNDS, TO_TASKLET);
BENCH_ROW(to_work, "work.queue", irq_row, ROUNDS, TO_WORK);
BENCH_ROW(to_call, "hart_call.self", irq_row, ROUNDS, TO_CALL);
