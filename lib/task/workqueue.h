// Work items: what a context that cannot sleep puts off to a thread that can.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each hart has a thread "worker/N" of high priority, which runs the items queued on that hart one after the other, in
// order. An item may sleep, take GFP_KERNEL memory, queue others and itself; while it sleeps the items behind it wait.
// One that is queued on another hart while it runs may run on both at once.
//
// Ordering: what was written before an item was queued is seen by its function, and what the function wrote, by whoever
// has waited for it: the queues' lock is released and acquired in between (<sync/spinlock.h>).
#pragma once

#include <base/list.h>
#include <task/timer.h>

// (W) the lock of all queues
struct work {
    struct list node;                      // (W)
    void (*function)(struct work *work);   // (C) may free the item, or queue it again
    bool is_queued;                        // (W)
};

#define WORK_INIT(work_function) { .function = (work_function) }

// Queues the item on this hart, or that one, unless it is queued already: then false. Any context.
bool queue_work(struct work *work);
bool queue_work_on(unsigned hart, struct work *work);

// The same at a moment of arch_time(), on this hart. Any context; one delayed item is not queued on two harts at once.
struct delayed_work {
    struct work work;
    struct timer timer;
};
void delayed_work_init(struct delayed_work *delayed, void (*function)(struct work *work));
void queue_delayed_work(struct delayed_work *delayed, uint64_t deadline);

// Takes the item out of its queue (and its timer back); true when it was there. A run that is under way is waited for.
// Process context that may sleep; not from the item itself.
bool cancel_work(struct work *work);
bool cancel_delayed_work(struct delayed_work *delayed);

// Waits until everything that was queued on that hart before has run. Process context that may sleep; not from an item
// of that hart.
void flush_work_on(unsigned hart);

// The threads, before the first item is queued. Start-up; panics without memory.
void workqueue_init(void);

// Items run by that hart.
uint64_t workqueue_run_count(unsigned hart);
