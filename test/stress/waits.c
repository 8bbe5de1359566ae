// What threads wait for: mutexes, semaphores, wait queues, completions that come from every context.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <arch/smp.h>
#include <sync/completion.h>
#include <sync/mutex.h>
#include <sync/waitq.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/thread.h>
#include <task/timer.h>
#include <task/workqueue.h>

#define MUTEXES 3
#define PERMITS 3
#define LONGEST_WAIT_US 3000

// Two words that only the mutex keeps equal.
static struct {
    struct mutex mutex;
    uint64_t first, second;        // (L)
} guarded[MUTEXES];

static struct semaphore permits;
static uint64_t permits_used;      // (A)
static struct waitq event_queue;
static uint64_t event_count;       // (A)

void waits_init(void)
{
    for (unsigned i = 0; i < MUTEXES; i++)
        mutex_init(&guarded[i].mutex);
    semaphore_init(&permits, PERMITS);
    waitq_init(&event_queue);
}

void waits_note_event(void)
{
    if (__atomic_add_fetch(&event_count, 1, __ATOMIC_RELAXED) % 2)
        waitq_wake_one(&event_queue);
    else
        waitq_wake_all(&event_queue);
}

static void some_work(struct actor *actor)
{
    stress_operate(actor, STRESS_THREAD);
    if (draw(actor, 2))
        thread_sleep_us(draw(actor, 200));
}

static void with_mutex(struct actor *actor)
{
    unsigned which = (unsigned)draw(actor, MUTEXES);

    if (draw(actor, 4) == 0) {
        if (!mutex_trylock(&guarded[which].mutex))
            return;
    } else {
        mutex_lock(&guarded[which].mutex);
    }
    uint64_t before = guarded[which].first++;
    some_work(actor);
    if (guarded[which].second++ != before)
        stress_fail("two threads held one mutex");
    mutex_unlock(&guarded[which].mutex);
}

static void with_semaphore(struct actor *actor)
{
    if (draw(actor, 2)) {
        if (!semaphore_down_until(&permits, timer_after_us(draw(actor, LONGEST_WAIT_US))))
            return;
    } else {
        semaphore_down(&permits);
    }
    if (__atomic_add_fetch(&permits_used, 1, __ATOMIC_RELAXED) > PERMITS)
        stress_fail("a semaphore of %u permits gave one more", PERMITS);
    some_work(actor);
    __atomic_fetch_sub(&permits_used, 1, __ATOMIC_RELAXED);
    semaphore_up(&permits);
}

static void with_event(struct actor *actor)
{
    uint64_t seen = __atomic_load_n(&event_count, __ATOMIC_RELAXED);

    (void)wait_event_until(&event_queue, __atomic_load_n(&event_count, __ATOMIC_RELAXED) != seen,
                           timer_after_us(draw(actor, LONGEST_WAIT_US)));
}

// What completes stands on the waiter's stack, and is gone as soon as he goes on.
struct promise {
    struct completion done;
    struct timer timer;
    struct hart_call call;
    struct tasklet tasklet;
    struct work work;
};

static void keep_by_timer(struct timer *timer) { complete(&container_of(timer, struct promise, timer)->done); }
static void keep_by_call(void *promise) { complete(&((struct promise *)promise)->done); }
static void keep_by_tasklet(struct tasklet *tasklet)
{
    complete(&container_of(tasklet, struct promise, tasklet)->done);
}
static void keep_by_work(struct work *work) { complete(&container_of(work, struct promise, work)->done); }

static void with_completion(struct actor *actor)
{
    unsigned hart = (unsigned)draw(actor, arch_hart_count()), way = (unsigned)draw(actor, 4);
    struct promise promise = {
        .timer = TIMER_INIT(keep_by_timer),
        .call = HART_CALL_INIT(keep_by_call, &promise),
        .tasklet = TASKLET_INIT(keep_by_tasklet),
        .work = WORK_INIT(keep_by_work),
    };

    completion_init(&promise.done);
    if (way == 0)
        timer_arm(&promise.timer, timer_after_us(draw(actor, 300)));
    else if (way == 1)
        hart_call_post(hart, &promise.call);
    else if (way == 2)
        tasklet_schedule(&promise.tasklet);
    else
        queue_work_on(hart, &promise.work);
    completion_wait(&promise.done);
    // Completed, but whoever called may still hold what he was called by.
    if (way == 0 && timer_cancel(&promise.timer))
        stress_fail("a timer was armed after its function had run");
    if (way == 1)
        hart_call_wait(&promise.call);
    if (way == 2)
        tasklet_wait(&promise.tasklet);
}

void wait_for_something(struct actor *actor)
{
    switch (draw(actor, 4)) {
    case 0: with_mutex(actor); break;
    case 1: with_semaphore(actor); break;
    case 2: with_event(actor); break;
    case 3: with_completion(actor); break;
    }
}
