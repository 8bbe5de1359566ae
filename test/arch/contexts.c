// Running a function in each context that there is.
// SPDX-License-Identifier: BSD-2-Clause

#include "contexts.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <debug/irq_meter.h>
#include <sync/completion.h>
#include <sync/spinlock.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/timer.h>
#include <task/workqueue.h>

enum where where_now;

static struct {
    void (*run)(void *argument);
    void *argument;
    uint32_t is_done;              // (A)
} errand;

static struct spinlock process_lock = SPINLOCK_INIT(TEST_OUTER);
static struct spinlock irq_lock = SPINLOCK_INIT(TEST_IRQ_OUTER);

static void do_errand(void *unused unused_arg)
{
    bool is_masked = !arch_irqs_enabled();

    if (is_masked)
        irq_meter_pause("a test does all that it has to do in one masked context");
    errand.run(errand.argument);
    if (is_masked)
        irq_meter_resume();
    __atomic_store_n(&errand.is_done, 1, __ATOMIC_RELEASE);
}

static void wait_for_errand(void)
{
    for (unsigned round = 0; !__atomic_load_n(&errand.is_done, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
}

static void from_timer(struct timer *timer unused_arg) { do_errand(NULL); }
static void from_tasklet(struct tasklet *tasklet unused_arg) { do_errand(NULL); }

static struct timer errand_timer = TIMER_INIT(from_timer);
static struct tasklet errand_tasklet = TASKLET_INIT(from_tasklet);

static void schedule_by_timer(struct timer *timer unused_arg) { tasklet_schedule(&errand_tasklet); }

static struct timer scheduling_timer = TIMER_INIT(schedule_by_timer);

static void run_by_timer(struct timer *timer)
{
    timer_arm(timer, arch_time());
    wait_for_errand();
    timer_cancel(timer);
    tasklet_wait(&errand_tasklet);
}

struct errand_item {
    struct work work;
    struct completion done;
};

static void from_item(struct work *work)
{
    do_errand(NULL);
    complete(&container_of(work, struct errand_item, work)->done);
}

static void run_by_item(void)
{
    struct errand_item item = { .work = WORK_INIT(from_item) };

    completion_init(&item.done);
    queue_work(&item.work);
    completion_wait(&item.done);
}

static void run_locked(void)
{
    spin_lock(&process_lock);
    do_errand(NULL);
    spin_unlock(&process_lock);
}

static void run_irq_locked(void)
{
    irqflags_t flags = spin_lock_irqsave(&irq_lock);

    do_errand(NULL);
    spin_unlock_irqrestore(&irq_lock, flags);
}

static void run_masked(void)
{
    irqflags_t flags = arch_irq_save();

    do_errand(NULL);
    arch_irq_restore(flags);
}

void run_where(enum where where, void (*run)(void *argument), void *argument)
{
    errand.run = run;
    errand.argument = argument;
    errand.is_done = 0;
    where_now = where;
    switch (where) {
    case IN_THREAD:
        do_errand(NULL);
        break;
    case IN_WORK_ITEM:
        run_by_item();
        break;
    case IN_PREEMPT_OFF:
        preempt_disable();
        do_errand(NULL);
        preempt_enable();
        break;
    case IN_SPIN_LOCK:
        run_locked();
        break;
    case IN_IRQ_SPIN_LOCK:
        run_irq_locked();
        break;
    case IN_MASKED:
        run_masked();
        break;
    case IN_BOTTOM_HALVES_OFF:
        local_bh_disable();
        do_errand(NULL);
        local_bh_enable();
        break;
    case IN_TIMER:
        run_by_timer(&errand_timer);
        break;
    case IN_CALL_HERE:
        hart_call(arch_hart_index(), do_errand, NULL);
        break;
    case IN_CALL_ELSEWHERE:
        hart_call(arch_hart_count() - 1, do_errand, NULL);
        break;
    case IN_TASKLET:
        tasklet_schedule(&errand_tasklet);
        tasklet_wait(&errand_tasklet);
        break;
    case IN_TASKLET_OF_INTERRUPT:
        run_by_timer(&scheduling_timer);
        break;
    case WHERE_COUNT:
        break;
    }
    wait_for_errand();
}

void run_wherever(unsigned set, void (*run)(void *argument), void *argument)
{
    for (enum where where = 0; where < WHERE_COUNT; where++)
        if (set & WHERE_BIT(where))
            run_where(where, run, argument);
}

const char *where_name(enum where where)
{
    static const char *const names[] = {
        [IN_THREAD] = "a thread", [IN_WORK_ITEM] = "a work item", [IN_PREEMPT_OFF] = "preemption disabled",
        [IN_SPIN_LOCK] = "a spin lock held", [IN_IRQ_SPIN_LOCK] = "an irq-saving spin lock held",
        [IN_MASKED] = "interrupts masked", [IN_BOTTOM_HALVES_OFF] = "bottom halves off", [IN_TIMER] = "a timer",
        [IN_CALL_HERE] = "a call to this hart", [IN_CALL_ELSEWHERE] = "a call to the last hart",
        [IN_TASKLET] = "a tasklet", [IN_TASKLET_OF_INTERRUPT] = "a tasklet scheduled by an interrupt",
    };
    return where < WHERE_COUNT ? names[where] : "?";
}
