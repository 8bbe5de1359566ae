// Work items and the threads that run them.
// SPDX-License-Identifier: BSD-2-Clause

#include <task/workqueue.h>

#include <base/assert.h>
#include <base/format.h>
#include <sync/completion.h>
#include <task/thread.h>
#include <task/watchdog.h>

struct work_queue {
    struct list items;             // (L)
    struct work *running;          // (L) may be freed already: never looked into
    struct thread *worker;         // (C) after workqueue_init
    uint64_t run_count;            // (L)
} aligned_to(CACHE_LINE_BYTES);

static struct work_queue queues[MAX_HARTS];

// One for all queues, since an item moves between them: items are rare beside what they do.
static struct spinlock work_lock = SPINLOCK_INIT(WORK_QUEUE);

// How long a thread sleeps between two looks at an item that it waits for.
#define LOOK_AGAIN_US 100

bool queue_work_on(unsigned hart, struct work *work)
{
    struct work_queue *queue = &queues[hart];

    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&work_lock);
    bool is_new = !work->is_queued;
    if (is_new) {
        work->is_queued = true;
        list_add_last(&queue->items, &work->node);
        thread_wake(queue->worker);
    }
    spin_unlock_irqrestore(&work_lock, flags);
    preempt_enable();
    return is_new;
}

bool queue_work(struct work *work)
{
    return queue_work_on(arch_hart_index(), work);
}

static void run_items(void *argument)
{
    struct work_queue *queue = argument;

    for (;;) {
        irqflags_t flags = spin_lock_irqsave(&work_lock);
        queue->running = NULL;
        if (list_is_empty(&queue->items)) {
            spin_unlock_irqrestore(&work_lock, flags);
            thread_block();
            continue;
        }
        struct work *work = list_first(&queue->items, struct work, node);
        list_remove(&work->node);
        queue->running = work;
        queue->run_count++;
        // From here on it can be queued again, and its function may free it.
        void (*function)(struct work *) = work->function;
        work->is_queued = false;
        spin_unlock_irqrestore(&work_lock, flags);
        function(work);
        // Another item may always be there already: that is no thread that never lets go.
        watchdog_touch();
    }
}

static bool is_running_locked(const struct work *work)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        if (queues[hart].running == work)
            return true;
    return false;
}

bool cancel_work(struct work *work)
{
    bool was_queued = false;

    might_sleep();
    for (;;) {
        irqflags_t flags = spin_lock_irqsave(&work_lock);
        if (work->is_queued) {
            list_remove(&work->node);
            work->is_queued = false;
            was_queued = true;
        }
        bool is_running = is_running_locked(work);
        spin_unlock_irqrestore(&work_lock, flags);
        if (!is_running)
            return was_queued;
        // It may queue itself again meanwhile. Asleep, since the item may need this hart.
        thread_block_until(timer_after_us(LOOK_AGAIN_US));
    }
}

struct barrier {
    struct work work;
    struct completion done;
};

static void pass_barrier(struct work *work)
{
    complete(&container_of(work, struct barrier, work)->done);
}

void flush_work_on(unsigned hart)
{
    struct barrier barrier = { .work = WORK_INIT(pass_barrier) };

    completion_init(&barrier.done);
    queue_work_on(hart, &barrier.work);
    completion_wait(&barrier.done);
}

static void queue_by_timer(struct timer *timer)
{
    queue_work(&container_of(timer, struct delayed_work, timer)->work);
}

void delayed_work_init(struct delayed_work *delayed, void (*function)(struct work *work))
{
    *delayed = (struct delayed_work){ .work = WORK_INIT(function), .timer = TIMER_INIT(queue_by_timer) };
}

void queue_delayed_work(struct delayed_work *delayed, uint64_t deadline)
{
    timer_arm(&delayed->timer, deadline);
}

bool cancel_delayed_work(struct delayed_work *delayed)
{
    bool was_there = timer_cancel(&delayed->timer);

    // A run that is under way may arm the timer again, and a timer that fires may queue the item again.
    for (;;) {
        was_there |= cancel_work(&delayed->work);
        if (!timer_cancel(&delayed->timer) && !__atomic_load_n(&delayed->work.is_queued, __ATOMIC_ACQUIRE))
            return was_there;
        was_there = true;
    }
}

void workqueue_init(void)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        char name[THREAD_NAME_BYTES];

        list_init(&queues[hart].items);
        format_text(name, sizeof name, "worker/%u", hart);
        queues[hart].worker = thread_create_in(hart_mask_of(hart), PRIORITY_HIGH, name, run_items, &queues[hart]);
        if (!queues[hart].worker)
            panic("no memory for the thread %s", name);
    }
}

uint64_t workqueue_run_count(unsigned hart)
{
    return __atomic_load_n(&queues[hart].run_count, __ATOMIC_RELAXED);
}
