// Work items: their order, what they may do, and taking them back.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/smp.h>
#include <arch/time.h>
#include <base/format.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/vmalloc.h>
#include <sync/completion.h>
#include <sync/mutex.h>
#include <sync/preempt.h>
#include <task/hart_call.h>
#include <task/thread.h>
#include <task/timer.h>
#include <task/workqueue.h>

struct item {
    struct work work;
    uint32_t runs;                 // (A)
    uint32_t *counter;             // of runs of all items of the hart
    uint32_t place;
    unsigned hart, wrong, again;
};

static void note_item(struct work *work)
{
    struct item *item = container_of(work, struct item, work);

    item->hart = arch_hart_index();
    item->wrong += in_atomic() || in_interrupt();
    if (item->counter)
        item->place = (*item->counter)++;
    if (item->again > 0) {
        item->again--;
        item->wrong += !queue_work(work);
    }
    __atomic_fetch_add(&item->runs, 1, __ATOMIC_RELEASE);
}

static uint32_t runs_of(const struct item *item)
{
    return __atomic_load_n(&item->runs, __ATOMIC_ACQUIRE);
}

// Items of a hart run there, one after the other, in the order in which they were queued; flushing waits for all.
KTEST(workqueue, runs_items_in_order_on_their_hart)
{
    enum { ITEMS = 16 };

    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct item items[ITEMS];
        uint32_t counter = 0;
        uint64_t before = workqueue_run_count(hart);

        // Else this hart's would run at once, before the next is queued.
        preempt_disable();
        for (unsigned i = 0; i < ITEMS; i++) {
            items[i] = (struct item){ .work = WORK_INIT(note_item), .counter = &counter };
            EXPECT(queue_work_on(hart, &items[i].work));
        }
        preempt_enable();
        flush_work_on(hart);
        for (unsigned i = 0; i < ITEMS; i++) {
            EXPECT_EQ(items[i].runs, 1);
            EXPECT_EQ(items[i].place, i);
            EXPECT_EQ(items[i].hart, hart);
            EXPECT_EQ(items[i].wrong, 0);
        }
        EXPECT_GE(workqueue_run_count(hart) - before, ITEMS + 1);
    }
}

static struct mutex some_mutex = MUTEX_INIT(some_mutex);

static void do_what_may_sleep(struct work *work)
{
    struct item *item = container_of(work, struct item, work);
    char name[THREAD_NAME_BYTES];

    format_text(name, sizeof name, "worker/%u", arch_hart_index());
    item->wrong += strcmp(thread_current()->name, name) != 0;
    mutex_lock(&some_mutex);
    item->wrong += !thread_sleep_us(50);
    mutex_unlock(&some_mutex);
    void *area = vmalloc(PAGE_SIZE), *object = kmalloc(100, GFP_KERNEL);
    item->wrong += !area || !object;
    kfree(object);
    vfree(area);
    __atomic_fetch_add(&item->runs, 1, __ATOMIC_RELEASE);
}

// An item may sleep, take mutexes, and memory that may have to be waited for; the items behind it wait meanwhile.
KTEST(workqueue, items_may_sleep)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct item sleeper = { .work = WORK_INIT(do_what_may_sleep) }, next = { .work = WORK_INIT(note_item) };

        next.counter = &sleeper.runs;
        queue_work_on(hart, &sleeper.work);
        queue_work_on(hart, &next.work);
        flush_work_on(hart);
        EXPECT_EQ(sleeper.wrong, 0);
        EXPECT_EQ(next.runs, 1);
        // Taken from the sleeper's count of runs, which was 1 by then.
        EXPECT_EQ(next.place, 1);
    }
}

// An item that is queued already is not queued again; one that runs is.
KTEST(workqueue, item_queues_itself_again)
{
    struct item item = { .work = WORK_INIT(note_item), .again = 7 };

    preempt_disable();
    EXPECT(queue_work(&item.work));
    EXPECT(!queue_work(&item.work));
    EXPECT(!queue_work_on(arch_hart_count() - 1, &item.work));
    preempt_enable();
    while (runs_of(&item) < 8)
        thread_sleep_us(10);
    EXPECT(!cancel_work(&item.work));
    EXPECT_EQ(item.runs, 8);
    EXPECT_EQ(item.wrong, 0);
}

struct gate {
    struct work work;
    struct completion has_begun, is_let_go;
    uint32_t has_ended;            // (A)
};

static void wait_at_gate(struct work *work)
{
    struct gate *gate = container_of(work, struct gate, work);

    complete(&gate->has_begun);
    completion_wait(&gate->is_let_go);
    thread_sleep_us(100);
    __atomic_store_n(&gate->has_ended, 1, __ATOMIC_RELEASE);
}

static void close_gate(struct gate *gate, unsigned hart)
{
    *gate = (struct gate){ .work = WORK_INIT(wait_at_gate) };
    completion_init(&gate->has_begun);
    completion_init(&gate->is_let_go);
    queue_work_on(hart, &gate->work);
    completion_wait(&gate->has_begun);
}

// Taken back while it is queued, an item does not run; while it runs, it is waited for; otherwise nothing happens.
KTEST(workqueue, cancel_takes_back_or_waits)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct item item = { .work = WORK_INIT(note_item) };
        struct gate gate;

        EXPECT(!cancel_work(&item.work));
        close_gate(&gate, hart);
        EXPECT(queue_work_on(hart, &item.work));
        EXPECT(cancel_work(&item.work));
        EXPECT(!cancel_work(&item.work));
        complete(&gate.is_let_go);
        EXPECT(!cancel_work(&gate.work));
        EXPECT_EQ(gate.has_ended, 1);
        flush_work_on(hart);
        EXPECT_EQ(item.runs, 0);
        // It can be queued again.
        EXPECT(queue_work_on(hart, &item.work));
        flush_work_on(hart);
        EXPECT_EQ(item.runs, 1);
        EXPECT(!cancel_work(&item.work));
    }
}

struct contest {
    struct item items[64];
    uint32_t queued, taken_back;   // (A)
    uint32_t round;                // (A)
};

static void queue_or_cancel(unsigned index, void *argument)
{
    struct contest *contest = argument;

    for (unsigned i = 0; i < array_count(contest->items); i++) {
        if (index == 0) {
            __atomic_store_n(&contest->round, i + 1, __ATOMIC_RELEASE);
            if (cancel_work(&contest->items[i].work))
                __atomic_fetch_add(&contest->taken_back, 1, __ATOMIC_RELAXED);
        } else if (index == 1) {
            for (unsigned round = 0; __atomic_load_n(&contest->round, __ATOMIC_ACQUIRE) <= i; round++)
                if (round > 0)
                    arch_relax(round);
            if (queue_work_on(0, &contest->items[i].work))
                __atomic_fetch_add(&contest->queued, 1, __ATOMIC_RELAXED);
        }
    }
}

// Taking back an item that another hart is just queueing, for the first time, does no harm: it runs, or was taken back.
KTEST(workqueue, cancel_while_another_hart_queues)
{
    struct contest *contest = kzalloc(sizeof *contest, GFP_KERNEL);
    uint32_t runs = 0;

    REQUIRE(contest);
    for (unsigned i = 0; i < array_count(contest->items); i++)
        contest->items[i].work = (struct work)WORK_INIT(note_item);
    ktest_run_on_harts(queue_or_cancel, contest);
    flush_work_on(0);
    for (unsigned i = 0; i < array_count(contest->items); i++)
        runs += contest->items[i].runs;
    EXPECT_EQ(runs + contest->taken_back, contest->queued);
    kfree(contest);
}

struct late {
    struct delayed_work delayed;
    uint64_t deadline;
    uint32_t runs;                 // (A)
    unsigned hart, wrong;
};

static void note_late(struct work *work)
{
    struct late *late = container_of(work, struct late, delayed.work);

    late->wrong += arch_time() < late->deadline || in_atomic();
    late->hart = arch_hart_index();
    __atomic_fetch_add(&late->runs, 1, __ATOMIC_RELEASE);
}

// A delayed item runs once, not before its moment; taken back before that it does not run.
KTEST(workqueue, delayed_item_waits_for_its_moment)
{
    struct late late = { .deadline = timer_after_us(300) };

    delayed_work_init(&late.delayed, note_late);
    queue_delayed_work(&late.delayed, late.deadline);
    while (__atomic_load_n(&late.runs, __ATOMIC_ACQUIRE) == 0)
        thread_sleep_us(50);
    EXPECT_EQ(late.wrong, 0);
    EXPECT_EQ(late.hart, 0);
    EXPECT(!cancel_delayed_work(&late.delayed));

    queue_delayed_work(&late.delayed, timer_after_us(3600UL * 1000000));
    EXPECT(cancel_delayed_work(&late.delayed));
    EXPECT(!cancel_delayed_work(&late.delayed));
    flush_work_on(0);
    EXPECT_EQ(late.runs, 1);

    // Its moment has come, but not its turn.
    struct gate gate;
    close_gate(&gate, 0);
    queue_delayed_work(&late.delayed, late.deadline = arch_time());
    while (!__atomic_load_n(&late.delayed.work.is_queued, __ATOMIC_ACQUIRE))
        thread_yield();
    EXPECT(cancel_delayed_work(&late.delayed));
    complete(&gate.is_let_go);
    EXPECT(!cancel_work(&gate.work));
    flush_work_on(0);
    EXPECT_EQ(late.runs, 1);
}

static void queue_from_interrupt(void *work)
{
    queue_work(work);
}

// An interrupt handler may queue an item; it runs as a thread on that hart.
KTEST(workqueue, interrupts_queue_items)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct item item = { .work = WORK_INIT(note_item) };

        hart_call(hart, queue_from_interrupt, &item.work);
        flush_work_on(hart);
        EXPECT_EQ(item.runs, 1);
        EXPECT_EQ(item.hart, hart);
        EXPECT_EQ(item.wrong, 0);
    }
}

// On this hart the worker, of high priority, runs before the interrupted thread goes on.
KTEST(workqueue, runs_before_the_interrupted_thread_goes_on)
{
    struct item item = { .work = WORK_INIT(note_item) };

    hart_call(arch_hart_index(), queue_from_interrupt, &item.work);
    EXPECT_EQ(runs_of(&item), 1);
    queue_work(&item.work);
    EXPECT_EQ(runs_of(&item), 2);
    EXPECT(!cancel_work(&item.work));
}

static uint32_t freed_items;

static void free_item(struct work *work)
{
    kfree(container_of(work, struct item, work));
    __atomic_fetch_add(&freed_items, 1, __ATOMIC_RELAXED);
}

// An item may free itself, while others are queued behind it.
KTEST(workqueue, item_frees_itself)
{
    freed_items = 0;
    for (unsigned i = 0; i < 64; i++) {
        struct item *item = kzalloc(sizeof *item, GFP_KERNEL);
        REQUIRE(item);
        item->work = (struct work)WORK_INIT(free_item);
        queue_work_on(i % arch_hart_count(), &item->work);
    }
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        flush_work_on(hart);
    EXPECT_EQ(freed_items, 64);
}

struct wanderer {
    struct work work;
    struct completion started;
    bool has_ended;                // (A)
};

static void wander(struct work *work)
{
    struct wanderer *wanderer = container_of(work, struct wanderer, work);

    complete(&wanderer->started);
    thread_sleep_us(2000);
    __atomic_store_n(&wanderer->has_ended, true, __ATOMIC_RELEASE);
}

// cancel_work waits for a run also on a hart other than the one whose queue the item is in.
KTEST(workqueue, cancel_waits_for_a_run_on_the_hart_it_left)
{
    struct wanderer wanderer = { .work = WORK_INIT(wander) };
    struct gate gate;

    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    completion_init(&wanderer.started);
    close_gate(&gate, 0);
    queue_work_on(1, &wanderer.work);
    completion_wait(&wanderer.started);
    EXPECT(queue_work_on(0, &wanderer.work));
    EXPECT(cancel_work(&wanderer.work));
    EXPECT(__atomic_load_n(&wanderer.has_ended, __ATOMIC_ACQUIRE));
    complete(&gate.is_let_go);
    flush_work_on(0);
}

struct returner {
    struct delayed_work delayed;
    struct completion started;
    uint32_t runs;                 // (A)
};

static void return_later(struct work *work)
{
    struct returner *returner = container_of(work, struct returner, delayed.work);

    __atomic_fetch_add(&returner->runs, 1, __ATOMIC_RELAXED);
    complete(&returner->started);
    thread_sleep_us(500);
    queue_delayed_work(&returner->delayed, timer_after_us(300));
}

// A delayed item that arms itself again while it is being cancelled does not come back.
KTEST(workqueue, cancel_of_an_item_that_arms_itself)
{
    struct returner returner = { .runs = 0 };

    completion_init(&returner.started);
    delayed_work_init(&returner.delayed, return_later);
    queue_delayed_work(&returner.delayed, timer_after_us(100));
    completion_wait(&returner.started);
    cancel_delayed_work(&returner.delayed);
    uint32_t runs = __atomic_load_n(&returner.runs, __ATOMIC_RELAXED);
    thread_sleep_us(3000);
    EXPECT_EQ(__atomic_load_n(&returner.runs, __ATOMIC_RELAXED), runs);
}
