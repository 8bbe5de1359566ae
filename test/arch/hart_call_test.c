// Calls to other harts: where they run, in which order, and many at once.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/smp.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <sync/preempt.h>
#include <task/hart_call.h>

struct report {
    unsigned hart, count;
    bool is_in_interrupt;
};

static void note_report(void *argument)
{
    struct report *report = argument;

    report->hart = arch_hart_index();
    report->is_in_interrupt = in_irq() && !arch_irqs_enabled();
    report->count++;
}

// A call runs once, on the hart that was named, also the caller's own, in an interrupt, and is over on return.
KTEST(hart_call, runs_in_an_interrupt_of_the_hart)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct report report = { .hart = UINT32_MAX };
        hart_call(hart, note_report, &report);
        EXPECT_EQ(report.hart, hart);
        EXPECT_EQ(report.count, 1);
        EXPECT(report.is_in_interrupt);
    }
}

// While a call is pending it cannot be posted again; afterwards it can.
KTEST(hart_call, is_posted_once_at_a_time)
{
    struct report report = { .count = 0 };
    struct hart_call call = HART_CALL_INIT(note_report, &report);

    irqflags_t flags = arch_irq_save();
    EXPECT(hart_call_post(arch_hart_index(), &call));
    EXPECT(!hart_call_post(arch_hart_index(), &call));
    EXPECT(!hart_call_post(arch_hart_count() - 1, &call));
    EXPECT_EQ(report.count, 0);
    arch_irq_restore(flags);
    hart_call_wait(&call);
    EXPECT_EQ(report.count, 1);
    EXPECT(hart_call_post(arch_hart_index(), &call));
    hart_call_wait(&call);
    EXPECT_EQ(report.count, 2);
}

#define CALLS 40

// One sender's calls to one hart. Written by the receiver alone.
struct stream {
    struct hart_call calls[CALLS];
    struct { struct stream *stream; unsigned number; } arguments[CALLS];
    unsigned receiver, next, disorder;
};

static void receive(void *argument)
{
    struct { struct stream *stream; unsigned number; } *message = argument;
    struct stream *stream = message->stream;

    if (message->number != stream->next++ || arch_hart_index() != stream->receiver || !in_irq())
        stream->disorder++;
}

static void send_to_all(unsigned index, void *streams_of_all)
{
    unsigned harts = arch_hart_count();
    struct stream *streams = (struct stream *)streams_of_all + index * harts;

    for (unsigned i = 0; i < CALLS; i++)
        for (unsigned hart = 0; hart < harts; hart++)
            EXPECT(hart_call_post(hart, &streams[hart].calls[i]));
    for (unsigned hart = 0; hart < harts; hart++)
        for (unsigned i = 0; i < CALLS; i++)
            hart_call_wait(&streams[hart].calls[i]);
}

// Every hart posts to every hart at once: all calls run once, each sender's in order.
KTEST(hart_call, keeps_the_order_of_each_sender)
{
    unsigned harts = arch_hart_count();
    struct stream *streams = kzalloc(harts * harts * sizeof *streams, GFP_KERNEL);

    REQUIRE(streams);
    for (unsigned i = 0; i < harts * harts; i++) {
        streams[i].receiver = i % harts;
        for (unsigned number = 0; number < CALLS; number++) {
            streams[i].arguments[number].stream = &streams[i];
            streams[i].arguments[number].number = number;
            streams[i].calls[number] = (struct hart_call)HART_CALL_INIT(receive, &streams[i].arguments[number]);
        }
    }
    ktest_run_on_harts(send_to_all, streams);
    for (unsigned i = 0; i < harts * harts; i++) {
        EXPECT_EQ(streams[i].next, CALLS);
        EXPECT_EQ(streams[i].disorder, 0);
    }
    kfree(streams);
}

static void count_call(void *counter)
{
    __atomic_fetch_add((uint32_t *)counter, 1, __ATOMIC_RELAXED);
}

static void call_all(unsigned index, void *counter)
{
    for (unsigned round = 0; round < 50; round++)
        for (unsigned step = 0; step < arch_hart_count(); step++)
            hart_call((index + step) % arch_hart_count(), count_call, counter);
}

// Harts that call each other and wait do not get in each other's way.
KTEST(hart_call, harts_wait_for_each_other)
{
    uint32_t counter = 0;

    ktest_run_on_harts(call_all, &counter);
    EXPECT_EQ(counter, 50 * arch_hart_count() * arch_hart_count());
}

struct relay {
    struct hart_call call[MAX_HARTS];
    uint32_t visited;              // (A) a bit for each hart
};

static void pass_on(void *argument)
{
    struct relay *relay = argument;
    unsigned next = arch_hart_index() + 1;

    __atomic_fetch_or(&relay->visited, 1U << arch_hart_index(), __ATOMIC_RELAXED);
    if (next < arch_hart_count())
        hart_call_post(next, &relay->call[next]);
}

// A call may post the next one, from within the interrupt.
KTEST(hart_call, goes_on_from_interrupt_to_interrupt)
{
    struct relay relay = { .visited = 0 };
    unsigned harts = arch_hart_count();

    for (unsigned hart = 0; hart < harts; hart++)
        relay.call[hart] = (struct hart_call)HART_CALL_INIT(pass_on, &relay);
    hart_call_post(0, &relay.call[0]);
    // Each is done only after it has posted the next.
    for (unsigned hart = 0; hart < harts; hart++)
        hart_call_wait(&relay.call[hart]);
    EXPECT_EQ(relay.visited, (1U << harts) - 1);
}
