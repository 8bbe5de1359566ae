// Work items and the threads that run them.
// SPDX-License-Identifier: BSD-2-Clause

#include <task/workqueue.h>

#include <base/assert.h>
#include <base/format.h>
#include <sync/completion.h>
#include <task/thread.h>

struct work_queue {
    struct spinlock lock;
    struct list items;             // (L)
    struct work *running;          // (L) may be freed already: never looked into
    struct thread *worker;         // (C) after workqueue_init
    uint64_t run_count;            // (L)
} aligned_to(CACHE_LINE_BYTES);

static struct work_queue queues[MAX_HARTS];

bool queue_work_on(unsigned hart, struct work *work)
{
    struct work_queue *queue = &queues[hart];

    if (__atomic_exchange_n(&work->is_queued, 1, __ATOMIC_ACQ_REL))
        return false;
    preempt_disable();
    irqflags_t flags = spin_lock_irqsave(&queue->lock);
    __atomic_store_n(&work->hart, hart, __ATOMIC_RELAXED);
    list_add_last(&queue->items, &work->node);
    thread_wake(queue->worker);
    spin_unlock_irqrestore(&queue->lock, flags);
    preempt_enable();
    return true;
}

bool queue_work(struct work *work)
{
    return queue_work_on(arch_hart_index(), work);
}

static void run_items(void *argument)
{
    struct work_queue *queue = argument;

    for (;;) {
        irqflags_t flags = spin_lock_irqsave(&queue->lock);
        queue->running = NULL;
        if (list_is_empty(&queue->items)) {
            spin_unlock_irqrestore(&queue->lock, flags);
            thread_block();
            continue;
        }
        struct work *work = list_first(&queue->items, struct work, node);
        list_remove(&work->node);
        queue->running = work;
        queue->run_count++;
        // From here on it can be queued again, and its function may free it.
        void (*function)(struct work *) = work->function;
        __atomic_store_n(&work->is_queued, 0, __ATOMIC_RELEASE);
        spin_unlock_irqrestore(&queue->lock, flags);
        function(work);
    }
}

// Whether it is in a list; one that was never in any has no neighbours, not even itself.
static bool is_in_list_locked(const struct work *work)
{
    return work->node.next != NULL && !list_is_empty(&work->node);
}

bool cancel_work(struct work *work)
{
    bool was_queued = false;

    might_sleep();
    bool is_running = true;
    for (unsigned round = 0; is_running; round++) {
        struct work_queue *queue = &queues[__atomic_load_n(&work->hart, __ATOMIC_RELAXED)];
        irqflags_t flags = spin_lock_irqsave(&queue->lock);
        if (work->is_queued && queue == &queues[work->hart] && is_in_list_locked(work)) {
            list_remove(&work->node);
            __atomic_store_n(&work->is_queued, 0, __ATOMIC_RELEASE);
            was_queued = true;
        }
        // It may have queued itself again, or be about to be put into a queue.
        is_running = queue->running == work || work->is_queued;
        spin_unlock_irqrestore(&queue->lock, flags);
        if (is_running) {
            thread_yield();
            arch_relax(round);
        }
    }
    return was_queued;
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
    bool was_armed = timer_cancel(&delayed->timer);

    return cancel_work(&delayed->work) || was_armed;
}

void workqueue_init(void)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        char name[THREAD_NAME_BYTES];

        spin_lock_init(&queues[hart].lock, WORK_QUEUE);
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
