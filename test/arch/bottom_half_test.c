// Tasklets: when they run, how often, and what they cannot keep from running.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/smp.h>
#include <arch/time.h>
#include <ktest/ktest.h>
#include <sync/preempt.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/thread.h>
#include <task/timer.h>

struct probe {
    struct tasklet tasklet;
    uint32_t runs;                 // (A)
    uint32_t is_inside, overlaps;  // (A)
    unsigned hart, wrong, again;
    uint32_t runs_in_handler;      // as the interrupt handler saw it
};

static void note_run(struct tasklet *tasklet)
{
    struct probe *probe = container_of(tasklet, struct probe, tasklet);

    probe->hart = arch_hart_index();
    if (in_irq() || !in_bottom_half() || !in_atomic() || !arch_irqs_enabled())
        probe->wrong++;
    if (probe->again > 0) {
        probe->again--;
        if (!tasklet_schedule(tasklet))
            probe->wrong++;
    }
    __atomic_fetch_add(&probe->runs, 1, __ATOMIC_RELEASE);
}

static uint32_t runs_of(const struct probe *probe)
{
    return __atomic_load_n(&probe->runs, __ATOMIC_ACQUIRE);
}

static void schedule_from_interrupt(void *argument)
{
    struct probe *probe = argument;

    tasklet_schedule(&probe->tasklet);
    probe->runs_in_handler = runs_of(probe);
}

// A tasklet that an interrupt handler schedules runs on that hart behind the handler, with interrupts enabled.
KTEST(bottom_half, runs_after_the_interrupt)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct probe probe = { .tasklet = TASKLET_INIT(note_run) };
        uint64_t before = bottom_half_stats_of(hart).run_count;

        hart_call(hart, schedule_from_interrupt, &probe);
        for (unsigned round = 0; runs_of(&probe) == 0; round++)
            arch_relax(round);
        tasklet_wait(&probe.tasklet);
        EXPECT_EQ(probe.runs_in_handler, 0);
        EXPECT_EQ(probe.runs, 1);
        EXPECT_EQ(probe.hart, hart);
        EXPECT_EQ(probe.wrong, 0);
        EXPECT_GE(bottom_half_stats_of(hart).run_count - before, 1);
    }
}

// The interrupt that scheduled it has run it before the thread goes on.
KTEST(bottom_half, runs_before_the_interrupted_thread_goes_on)
{
    struct probe probe = { .tasklet = TASKLET_INIT(note_run) };

    hart_call(arch_hart_index(), schedule_from_interrupt, &probe);
    EXPECT_EQ(runs_of(&probe), 1);
    // From a thread it runs at once.
    tasklet_schedule(&probe.tasklet);
    EXPECT_EQ(runs_of(&probe), 2);
    tasklet_wait(&probe.tasklet);
}

// With bottom halves off it waits until they are on again, from wherever it was scheduled; scheduled twice, runs once.
KTEST(bottom_half, waits_while_bottom_halves_are_off)
{
    struct probe probe = { .tasklet = TASKLET_INIT(note_run) }, other = { .tasklet = TASKLET_INIT(note_run) };

    local_bh_disable();
    EXPECT(tasklet_schedule(&probe.tasklet));
    EXPECT(!tasklet_schedule(&probe.tasklet));
    hart_call(arch_hart_index(), schedule_from_interrupt, &other);
    hart_call(arch_hart_index(), schedule_from_interrupt, &probe);
    local_bh_disable();
    local_bh_enable();
    EXPECT_EQ(runs_of(&probe) + runs_of(&other), 0);
    local_bh_enable();
    EXPECT_EQ(runs_of(&probe), 1);
    EXPECT_EQ(runs_of(&other), 1);
    EXPECT_EQ(probe.wrong + other.wrong, 0);
    tasklet_wait(&probe.tasklet);
    tasklet_wait(&other.tasklet);
}

// Scheduled with interrupts masked it runs as soon as they are not; with preemption disabled, by the next interrupt.
KTEST(bottom_half, waits_for_interrupts_to_be_unmasked)
{
    struct probe probe = { .tasklet = TASKLET_INIT(note_run) };

    irqflags_t flags = arch_irq_save();
    EXPECT(tasklet_schedule(&probe.tasklet));
    EXPECT_EQ(runs_of(&probe), 0);
    arch_irq_restore(flags);
    for (unsigned round = 0; runs_of(&probe) == 0; round++)
        arch_relax(round);

    preempt_disable();
    EXPECT(tasklet_schedule(&probe.tasklet));
    for (unsigned round = 0; runs_of(&probe) == 1; round++)
        arch_relax(round);
    EXPECT_EQ(preempt_count(), PREEMPT_ONE);
    preempt_enable();
    EXPECT_EQ(runs_of(&probe), 2);
    EXPECT_EQ(probe.wrong, 0);
    tasklet_wait(&probe.tasklet);
}

// One that schedules itself while it runs is run again, once for each time.
KTEST(bottom_half, runs_again_when_scheduled_while_it_runs)
{
    struct probe probe = { .tasklet = TASKLET_INIT(note_run), .again = 3 * BOTTOM_HALF_ROUNDS };

    tasklet_schedule(&probe.tasklet);
    tasklet_wait(&probe.tasklet);
    EXPECT_EQ(probe.runs, 3 * BOTTOM_HALF_ROUNDS + 1);
    EXPECT_EQ(probe.wrong, 0);
}

struct endless {
    struct tasklet tasklet;
    uint32_t must_stop, runs;      // (A)
};

static void run_again(struct tasklet *tasklet)
{
    struct endless *endless = container_of(tasklet, struct endless, tasklet);

    __atomic_fetch_add(&endless->runs, 1, __ATOMIC_RELAXED);
    if (!__atomic_load_n(&endless->must_stop, __ATOMIC_RELAXED))
        tasklet_schedule(tasklet);
}

// One that schedules itself for ever is left to the hart's thread, which takes turns with the others of the hart: this
// one comes to its next turn again and again, and the tasklet goes on.
KTEST(bottom_half, endless_one_does_not_starve_threads)
{
    struct endless endless = { .tasklet = TASKLET_INIT(run_again) };
    struct bottom_half_stats before = bottom_half_stats_of(0);
    unsigned turns = 0;

    tasklet_schedule(&endless.tasklet);
    while (bottom_half_stats_of(0).thread_run_count - before.thread_run_count < 20) {
        thread_yield();
        turns++;
    }
    uint64_t ran = bottom_half_stats_of(0).run_count - before.run_count;
    __atomic_store_n(&endless.must_stop, 1, __ATOMIC_RELAXED);
    tasklet_wait(&endless.tasklet);

    EXPECT_GE(turns, 2);
    EXPECT_GE(ran, BOTTOM_HALF_ROUNDS + 20);
    EXPECT_GE(bottom_half_stats_of(0).run_count - before.run_count, endless.runs);
}

static void note_overlap(struct tasklet *tasklet)
{
    struct probe *probe = container_of(tasklet, struct probe, tasklet);

    if (__atomic_fetch_add(&probe->is_inside, 1, __ATOMIC_ACQ_REL) != 0)
        __atomic_fetch_add(&probe->overlaps, 1, __ATOMIC_RELAXED);
    for (unsigned round = 0; round < 10; round++)
        arch_relax(round);
    __atomic_fetch_add(&probe->runs, 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&probe->is_inside, 1, __ATOMIC_ACQ_REL);
}

struct crowd {
    struct probe probe;
    uint32_t scheduled;            // (A) times that it was not queued already
};

static void schedule_often(unsigned index unused_arg, void *argument)
{
    struct crowd *crowd = argument;

    for (unsigned round = 0; round < 200; round++) {
        if (tasklet_schedule(&crowd->probe.tasklet))
            __atomic_fetch_add(&crowd->scheduled, 1, __ATOMIC_RELAXED);
        arch_relax(round);
    }
}

// Scheduled by all harts at once it never runs on two of them at a time, and once for each schedule that was accepted.
KTEST(bottom_half, never_runs_on_two_harts_at_once)
{
    struct crowd crowd = { .probe = { .tasklet = TASKLET_INIT(note_overlap) } };

    ktest_run_on_harts(schedule_often, &crowd);
    tasklet_wait(&crowd.probe.tasklet);
    EXPECT_EQ(crowd.probe.overlaps, 0);
    EXPECT_EQ(crowd.probe.runs, crowd.scheduled);
    EXPECT_NE(crowd.scheduled, 0);
}

struct slow {
    struct tasklet tasklet;
    uint32_t has_begun, is_let_go, has_ended;      // (A)
};

static void take_long(struct tasklet *tasklet)
{
    struct slow *slow = container_of(tasklet, struct slow, tasklet);

    __atomic_store_n(&slow->has_begun, 1, __ATOMIC_RELEASE);
    for (unsigned round = 0; !__atomic_load_n(&slow->is_let_go, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
    for (unsigned round = 0; round < 200; round++)
        arch_relax(round);
    __atomic_store_n(&slow->has_ended, 1, __ATOMIC_RELEASE);
}

static void schedule_slow(void *slow)
{
    tasklet_schedule(&((struct slow *)slow)->tasklet);
}

// tasklet_wait returns only when a run on another hart is over.
KTEST(bottom_half, wait_waits_for_a_run_on_another_hart)
{
    struct slow slow = { .tasklet = TASKLET_INIT(take_long) };

    if (arch_hart_count() == 1)
        ktest_skip("needs a second hart");
    hart_call(arch_hart_count() - 1, schedule_slow, &slow);
    for (unsigned round = 0; !__atomic_load_n(&slow.has_begun, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
    __atomic_store_n(&slow.is_let_go, 1, __ATOMIC_RELEASE);
    tasklet_wait(&slow.tasklet);
    EXPECT_EQ(slow.has_ended, 1);
}

// With interrupts masked local_bh_enable runs nothing, and unmasks nothing: what waits runs after the next interrupt.
KTEST(bottom_half, masked_interrupts_hold_it_back_too)
{
    struct probe probe = { .tasklet = TASKLET_INIT(note_run) };

    irqflags_t flags = arch_irq_save();
    local_bh_disable();
    tasklet_schedule(&probe.tasklet);
    local_bh_enable();
    EXPECT_EQ(runs_of(&probe), 0);
    EXPECT(!arch_irqs_enabled());
    arch_irq_restore(flags);
    tasklet_wait(&probe.tasklet);
    EXPECT_EQ(runs_of(&probe), 1);
}

struct waker {
    struct tasklet tasklet;
    struct thread *thread;
    uint32_t has_run;              // (A)
};

static void wake_thread(struct tasklet *tasklet)
{
    thread_wake(container_of(tasklet, struct waker, tasklet)->thread);
}

static void note_wake(void *argument)
{
    thread_block();
    __atomic_store_n(&((struct waker *)argument)->has_run, 1, __ATOMIC_RELEASE);
}

// A thread of higher priority that a tasklet wakes runs before tasklet_schedule returns.
KTEST(bottom_half, woken_thread_runs_at_once)
{
    struct waker waker = { .tasklet = TASKLET_INIT(wake_thread) };

    waker.thread = thread_create_in(hart_mask_of(arch_hart_index()), PRIORITY_HIGH, "woken", note_wake, &waker);
    REQUIRE(waker.thread);
    tasklet_schedule(&waker.tasklet);
    EXPECT_EQ(__atomic_load_n(&waker.has_run, __ATOMIC_ACQUIRE), 1);
    thread_join(waker.thread);
}
