// The rain: on every hart timers that arm themselves again, calls from other harts, tasklets and work items, all of
// which operate as threads do, as far as their context allows.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <mm/kmalloc.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/thread.h>
#include <task/timer.h>
#include <task/workqueue.h>

#define PER_HART_EACH 2
#define ACTORS_FROM 0x10000
#define TIMER_US 600
// A timer pauses for this many times as long as it took, at least: interrupts leave time for threads, however many
// harts share a processor.
#define TIMER_PAUSES 8
#define WORK_US 4000

// Each is used by one hart at a time, as its kind sees to: so it needs no lock for its actor.
struct drop {
    struct actor actor;
    unsigned hart;                 // (C) where work is queued, and timers start
    union {
        struct timer timer;
        struct hart_call call;
        struct tasklet tasklet;
        struct delayed_work delayed;
    };
};

static struct {
    struct drop timers[PER_HART_EACH], calls[PER_HART_EACH], tasklets[PER_HART_EACH], works[PER_HART_EACH];
} *drops;                          // one for each hart

void rain_more(struct actor *actor)
{
    unsigned hart = (unsigned)draw(actor, arch_hart_count()), which = (unsigned)draw(actor, PER_HART_EACH);

    switch (draw(actor, 4)) {
    case 0: hart_call_post((unsigned)draw(actor, arch_hart_count()), &drops[hart].calls[which].call); break;
    case 1: tasklet_schedule(&drops[hart].tasklets[which].tasklet); break;
    case 2: queue_work_on(hart, &drops[hart].works[which].delayed.work); break;
    case 3: waits_note_event(); break;
    }
}

static void operate(struct drop *drop, enum stress_context context)
{
    for (uint64_t left = 1 + draw(&drop->actor, 2); left > 0; left--)
        stress_operate(&drop->actor, context);
}

static void on_timer(struct timer *timer)
{
    struct drop *drop = container_of(timer, struct drop, timer);
    uint64_t started = arch_time();

    operate(drop, STRESS_INTERRUPT);
    if (stress_is_stopping())
        return;
    if (draw(&drop->actor, 3) == 0)
        rain_more(&drop->actor);
    timer_arm(timer, timer_after_us(20 + draw(&drop->actor, TIMER_US)) + TIMER_PAUSES * (arch_time() - started));
}

static void on_call(void *argument)
{
    struct drop *drop = argument;

    STRESS_COUNT(calls);
    operate(drop, STRESS_INTERRUPT);
    tasklet_schedule(&drops[drop->hart].tasklets[draw(&drop->actor, PER_HART_EACH)].tasklet);
}

static void on_tasklet(struct tasklet *tasklet)
{
    struct drop *drop = container_of(tasklet, struct drop, tasklet);

    operate(drop, STRESS_BOTTOM_HALF);
    if (draw(&drop->actor, 4) == 0)
        queue_work_on(drop->hart, &drops[drop->hart].works[0].delayed.work);
}

// Always on the same hart, and so never twice at a time.
static void on_work(struct work *work)
{
    struct drop *drop = container_of(work, struct drop, delayed.work);

    operate(drop, STRESS_THREAD);
    if (draw(&drop->actor, 4) == 0)
        thread_sleep_us(draw(&drop->actor, 300));
    if (!stress_is_stopping())
        queue_delayed_work(&drop->delayed, timer_after_us(draw(&drop->actor, WORK_US)));
}

static void start_on_hart(void *argument)
{
    unsigned hart = *(unsigned *)argument;

    for (unsigned i = 0; i < PER_HART_EACH; i++) {
        timer_arm(&drops[hart].timers[i].timer, timer_after_us(TIMER_US));
        queue_delayed_work(&drops[hart].works[i].delayed, timer_after_us(WORK_US));
    }
}

static void prepare(unsigned hart, unsigned i)
{
    struct drop *of_kind[] = { &drops[hart].timers[i], &drops[hart].calls[i], &drops[hart].tasklets[i],
                               &drops[hart].works[i] };

    for (unsigned kind = 0; kind < array_count(of_kind); kind++) {
        actor_init(&of_kind[kind]->actor, ACTORS_FROM + (hart * PER_HART_EACH + i) * array_count(of_kind) + kind);
        of_kind[kind]->hart = hart;
    }
    of_kind[0]->timer = (struct timer)TIMER_INIT(on_timer);
    of_kind[1]->call = (struct hart_call)HART_CALL_INIT(on_call, of_kind[1]);
    of_kind[2]->tasklet = (struct tasklet)TASKLET_INIT(on_tasklet);
    delayed_work_init(&of_kind[3]->delayed, on_work);
}

bool rain_start(void)
{
    drops = kcalloc(arch_hart_count(), sizeof *drops, GFP_KERNEL);
    if (!drops)
        return false;
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        for (unsigned i = 0; i < PER_HART_EACH; i++)
            prepare(hart, i);
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        hart_call(hart, start_on_hart, &hart);
    return true;
}

// In the order in which they start each other.
void rain_stop(void)
{
    if (!drops)
        return;
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        for (unsigned i = 0; i < PER_HART_EACH; i++)
            timer_cancel(&drops[hart].timers[i].timer);
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        for (unsigned i = 0; i < PER_HART_EACH; i++)
            hart_call_wait(&drops[hart].calls[i].call);
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        for (unsigned i = 0; i < PER_HART_EACH; i++)
            tasklet_wait(&drops[hart].tasklets[i].tasklet);
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        for (unsigned i = 0; i < PER_HART_EACH; i++)
            cancel_delayed_work(&drops[hart].works[i].delayed);
        flush_work_on(hart);
    }
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        for (unsigned i = 0; i < PER_HART_EACH; i++) {
            actor_retire(&drops[hart].timers[i].actor);
            actor_retire(&drops[hart].calls[i].actor);
            actor_retire(&drops[hart].tasklets[i].actor);
            actor_retire(&drops[hart].works[i].actor);
        }
    kfree(drops);
}
