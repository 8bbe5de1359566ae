// Bottom halves.
// SPDX-License-Identifier: BSD-2-Clause

#include <task/bottom_half.h>

#include <base/assert.h>
#include <base/format.h>
#include <debug/stack_meter.h>
#include <sync/preempt.h>
#include <task/thread.h>
#include <task/timer.h>

// How long a thread sleeps between two looks at a tasklet that it waits for.
#define LOOK_AGAIN_US 100

// Of this hart; touched with interrupts masked.
static PER_HART struct tasklet *first_tasklet;
static PER_HART struct tasklet **last_link;
static PER_HART struct bottom_half_stats stats;

static struct thread *runners[MAX_HARTS];          // (C)

static void append_masked(struct tasklet *tasklet)
{
    tasklet->next = NULL;
    if (this_hart(first_tasklet))
        *this_hart(last_link) = tasklet;
    else
        this_hart(first_tasklet) = tasklet;
    this_hart(last_link) = &tasklet->next;
    hart_local_write(bottom_halves, 1);
}

bool tasklet_schedule(struct tasklet *tasklet)
{
    // Masked, so that whoever finds it queued finds it on a list.
    irqflags_t flags = arch_irq_save();
    if (__atomic_fetch_or(&tasklet->state, TASKLET_QUEUED, __ATOMIC_ACQ_REL) & TASKLET_QUEUED) {
        arch_irq_restore(flags);
        return false;
    }
    append_masked(tasklet);
    // From an interrupt, or with bottom halves off, it runs when that ends; with interrupts masked it waits for one.
    if (!in_interrupt() && arch_irq_was_enabled(flags))
        sched_run_bottom_halves();
    else if (!in_interrupt())
        arch_ipi_send(arch_hart_index(), IPI_WAKE);
    arch_irq_restore(flags);
    // It may have woken a thread of higher priority.
    if (unlikely(hart_local_preempt_word() == 0))
        sched_preempt();
    return true;
}

// Runs what is queued now. Interrupts are masked, but for the functions themselves.
static void run_once_masked(void)
{
    struct tasklet *tasklet = this_hart(first_tasklet), *next;

    this_hart(first_tasklet) = NULL;
    hart_local_write(bottom_halves, 0);
    for (; tasklet; tasklet = next) {
        next = tasklet->next;
        if (__atomic_fetch_or(&tasklet->state, TASKLET_RUNS, __ATOMIC_ACQUIRE) & TASKLET_RUNS) {
            // Another hart is at it: once more, later.
            append_masked(tasklet);
            continue;
        }
        // Whoever schedules it from here on wants another run.
        __atomic_fetch_and(&tasklet->state, ~TASKLET_QUEUED, __ATOMIC_ACQ_REL);
        this_hart(stats).run_count++;
        arch_irq_enable();
        tasklet->function(tasklet);
        arch_irq_disable();
        __atomic_fetch_and(&tasklet->state, ~TASKLET_RUNS, __ATOMIC_RELEASE);
    }
}

void sched_run_bottom_halves(void)
{
    irqflags_t flags = arch_irq_save();
    struct stack_visit visit;

    preempt_count_add(BOTTOM_HALF_RUNS);
    stack_visit_begin(&visit, (uintptr_t)__builtin_frame_address(0));
    for (unsigned round = 0; hart_local_read(bottom_halves) != 0 && round < BOTTOM_HALF_ROUNDS; round++)
        run_once_masked();
    stack_visit_end(&visit, STACK_PATH_BOTTOM_HALF);
    preempt_count_sub(BOTTOM_HALF_RUNS);
    if (unlikely(hart_local_read(bottom_halves) != 0) && runners[arch_hart_index()])
        thread_wake(runners[arch_hart_index()]);
    arch_irq_restore(flags);
}

static void run_bottom_halves(void *unused unused_arg)
{
    for (;;) {
        while (hart_local_read(bottom_halves) == 0)
            thread_block();
        irqflags_t flags = arch_irq_save();
        preempt_count_add(BOTTOM_HALF_RUNS);
        uint64_t before = this_hart(stats).run_count;
        run_once_masked();
        this_hart(stats).thread_run_count += this_hart(stats).run_count - before;
        preempt_count_sub(BOTTOM_HALF_RUNS);
        arch_irq_restore(flags);
        thread_yield();
    }
}

void tasklet_wait(struct tasklet *tasklet)
{
    // Asleep, since it may be left to a thread of lower priority.
    while (__atomic_load_n(&tasklet->state, __ATOMIC_ACQUIRE) != 0)
        thread_block_until(timer_after_us(LOOK_AGAIN_US));
}

void bottom_half_init(void)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        char name[THREAD_NAME_BYTES];

        format_text(name, sizeof name, "bottom/%u", hart);
        runners[hart] = thread_create_on(hart, name, run_bottom_halves, NULL);
        if (!runners[hart])
            panic("no memory for the thread %s", name);
    }
}

struct bottom_half_stats bottom_half_stats_of(unsigned hart)
{
    return *(const volatile struct bottom_half_stats *)per_hart_of(stats, hart);
}
