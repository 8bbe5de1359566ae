// Threads that threads make: they end by themselves or are killed, where they work or where they wait, and are joined
// or left to themselves.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <base/bits.h>
#include <mm/kmalloc.h>
#include <sync/completion.h>
#include <sync/mutex.h>
#include <sync/waitq.h>
#include <task/thread.h>

#define OPERATIONS 20
#define ALONE_MAX (4 * MAX_HARTS)
#define FOR_EVER_US 3600000000UL

enum task { TASK_SOME, TASK_ENDLESS, TASK_MUTEX, TASK_SEMAPHORE, TASK_COMPLETION, TASK_WAITQ, TASK_SLEEP, TASK_COUNT };

struct child {
    struct actor actor;
    enum task task;
    bool is_alone;                 // (C) frees itself
    struct mutex mutex;            // the parent's, as long as the child lives
    struct semaphore semaphore;    // and these never come
    struct completion completion;
    struct waitq waitq;
};

static uint64_t alone_count;       // (A)

static void work_until_killed(struct child *child)
{
    while (!thread_is_killed()) {
        stress_operate(&child->actor, STRESS_THREAD);
        thread_sleep_us(draw(&child->actor, 300));
    }
}

// True if it was given what nobody gives.
static bool wait_in_vain(struct child *child)
{
    switch (child->task) {
    case TASK_MUTEX:      return mutex_lock_killable(&child->mutex);
    case TASK_SEMAPHORE:  return semaphore_down_killable(&child->semaphore);
    case TASK_COMPLETION: return completion_wait_killable(&child->completion);
    case TASK_WAITQ:      return wait_event_killable(&child->waitq, child->task != TASK_WAITQ);
    default:              return thread_sleep_us(FOR_EVER_US);
    }
}

static void run_child(void *argument)
{
    struct child *child = argument;
    bool is_alone = child->is_alone;

    if (child->task == TASK_SOME)
        for (uint64_t left = draw(&child->actor, OPERATIONS); left > 0 && !thread_is_killed(); left--)
            stress_operate(&child->actor, STRESS_THREAD);
    else if (child->task == TASK_ENDLESS)
        work_until_killed(child);
    else if (wait_in_vain(child))
        stress_fail("a wait of kind %u ended by what nobody gave", child->task);
    actor_retire(&child->actor);
    if (is_alone) {
        kfree(child);
        __atomic_fetch_sub(&alone_count, 1, __ATOMIC_RELEASE);
    }
}

static struct child *prepare(struct actor *parent)
{
    struct child *child = kzalloc(sizeof *child, stress_gfp(STRESS_THREAD));

    if (!child) {
        STRESS_COUNT(failed_objects);
        return NULL;
    }
    // Numbers above those of the actors that stay, and a generator of the parent's making: the same in every run.
    child->actor.number = random_next(&parent->random) | 1UL << 63;
    child->actor.random = random_seeded(random_next(&parent->random));
    child->task = (enum task)draw(parent, TASK_COUNT);
    child->is_alone = draw(parent, 3) == 0 && __atomic_load_n(&alone_count, __ATOMIC_RELAXED) < ALONE_MAX;
    mutex_init(&child->mutex);
    semaphore_init(&child->semaphore, 0);
    completion_init(&child->completion);
    waitq_init(&child->waitq);
    // A mutex whose owner leaves it for ever would be a loan that nobody returns.
    if (child->is_alone && child->task == TASK_MUTEX)
        child->task = TASK_SOME;
    return child;
}

static hart_mask_t some_harts(struct actor *actor)
{
    unsigned harts = arch_hart_count();
    hart_mask_t mask = random_next(&actor->random) & low_bits(harts);

    return mask ? mask : hart_mask_of((unsigned)draw(actor, harts));
}

static void end_child(struct actor *parent, struct thread *thread, enum task task, bool is_alone)
{
    bool is_killed = task != TASK_SOME || draw(parent, 3) == 0;

    if (draw(parent, 2))
        thread_sleep_us(draw(parent, 1000));
    if (draw(parent, 4) == 0)
        thread_set_affinity(thread, some_harts(parent));
    if (is_killed) {
        thread_kill(thread);
        STRESS_COUNT(killed);
    }
    if (is_alone)
        thread_detach(thread);
    else
        thread_join(thread);
}

void child_make(struct actor *parent)
{
    struct child *child = prepare(parent);

    if (!child)
        return;
    // Read before it runs: one that is alone may be gone at any moment after.
    enum task task = child->task;
    bool is_alone = child->is_alone, is_locked = task == TASK_MUTEX;
    enum thread_priority priority = draw(parent, 4) ? PRIORITY_NORMAL : PRIORITY_HIGH;
    if (is_locked)
        mutex_lock(&child->mutex);
    if (is_alone)
        __atomic_fetch_add(&alone_count, 1, __ATOMIC_RELAXED);
    struct thread *thread = thread_create_in(some_harts(parent), priority, "stress-child", run_child, child);
    if (thread) {
        end_child(parent, thread, task, is_alone);
    } else {
        STRESS_COUNT(failed_threads);
        if (is_alone)
            __atomic_fetch_sub(&alone_count, 1, __ATOMIC_RELEASE);
    }
    if (is_locked)
        mutex_unlock(&child->mutex);
    if (!thread || !is_alone)
        kfree(child);
}

uint64_t children_alone(void)
{
    return __atomic_load_n(&alone_count, __ATOMIC_ACQUIRE);
}
