// lib/sync/semaphore.h and completion.h: permits counted, handed over in order, waited for with an end.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/semaphore.h>

#include "sync_support.h"

#include <arch/time.h>
#include <base/string.h>
#include <sync/completion.h>

static struct semaphore semaphore = SEMAPHORE_INIT(semaphore, 0);
static unsigned rounds;

static unsigned waiting(void)
{
    return queue_length(&semaphore.lock, &semaphore.waiters);
}

static uint64_t soon(void)
{
    return arch_time() + arch_timer_hz() / 1000;
}

// As many permits can be taken as were given, without waiting.
KTEST(semaphore, counts)
{
    struct semaphore own = SEMAPHORE_INIT(own, 1);

    EXPECT(semaphore_try_down(&own));
    EXPECT(!semaphore_try_down(&own));
    semaphore_init(&own, 3);
    semaphore_down(&own);
    EXPECT(semaphore_down_killable(&own));
    EXPECT(semaphore_down_until(&own, 0));
    EXPECT(!semaphore_try_down(&own));
    EXPECT_EQ(own.count, 0);
    semaphore_up(&own);
    semaphore_up(&own);
    EXPECT_EQ(own.count, 2);
    EXPECT(semaphore_try_down(&own));
    EXPECT(semaphore_try_down(&own));
    EXPECT(!semaphore_try_down(&own));
}

static struct {
    unsigned joiner[MAX_HARTS], joiner_count;
    unsigned turn;                         // (A)
    unsigned served[MAX_HARTS];
    unsigned served_count;                 // (A)
    struct thread *thread[MAX_HARTS];
} arrival;

static void arrive_in_turn(unsigned index, void *unused unused_arg)
{
    if (index != 0) {
        SPIN_UNTIL(LOAD(arrival.turn) == index);
        semaphore_down(&semaphore);
        unsigned place = PLAIN(arrival.served_count);
        arrival.served[place] = index;
        STORE(arrival.served_count, place + 1);
        return;
    }
    for (unsigned i = 0; i < arrival.joiner_count; i++) {
        STORE(arrival.turn, arrival.joiner[i]);
        SPIN_UNTIL(waiting() == i + 1);
    }
    for (unsigned i = 0; i < arrival.joiner_count; i++) {
        semaphore_up(&semaphore);
        EXPECT(!semaphore_try_down(&semaphore));
        EXPECT_EQ(waiting(), arrival.joiner_count - 1 - i);
        SPIN_UNTIL(LOAD(arrival.served_count) == i + 1);
    }
}

// Each permit goes to who has waited longest, and to nobody who comes meanwhile.
KTEST(semaphore, serves_in_order_of_arrival)
{
    for (unsigned i = 0; i < ktest_rounds(50, 50); i++) {
        arrival.joiner_count = shuffle_other_harts(arrival.joiner);
        arrival.turn = arrival.served_count = 0;
        ktest_run_on_harts(arrive_in_turn, NULL);
        for (unsigned k = 0; k < arrival.joiner_count; k++)
            EXPECT_EQ(arrival.served[k], arrival.joiner[k]);
        EXPECT_EQ(semaphore.count, 0);
    }
}

// A wait ends at its moment, not before, and takes nothing along.
KTEST(semaphore, wait_ends_at_its_moment)
{
    for (unsigned i = 0; i < 5; i++) {
        uint64_t deadline = soon();
        EXPECT(!semaphore_down_until(&semaphore, deadline));
        EXPECT_LE(deadline, arch_time());
        EXPECT(list_is_empty(&semaphore.waiters));
    }
    semaphore_up(&semaphore);
    EXPECT_EQ(semaphore.count, 1);
    EXPECT(semaphore_down_until(&semaphore, soon()));
    EXPECT_EQ(semaphore.count, 0);
}

static uint64_t given, taken;              // (A)
static unsigned round_of_taker;            // (A)

static void race_permit_with_deadline(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 1; index < 2 && i <= rounds; i++) {
        uint64_t deadline = arch_time() + arch_timer_hz() / 20000;

        if (index == 0) {
            STORE(round_of_taker, i);
            if (semaphore_down_until(&semaphore, deadline))
                ADD(taken, 1);
        } else {
            SPIN_UNTIL(LOAD(round_of_taker) >= i);
            SPIN_UNTIL(arch_time() >= deadline);
            ADD(given, 1);
            semaphore_up(&semaphore);
        }
    }
}

// A permit that comes just when the wait ends is taken or stays: none is lost, none is made.
KTEST(semaphore, deadline_loses_no_permit)
{
    rounds = ktest_rounds(2000, 300);
    given = taken = 0;
    round_of_taker = 0;
    ktest_run_on_harts(race_permit_with_deadline, NULL);
    EXPECT_EQ(taken + semaphore.count, given);
    EXPECT(list_is_empty(&semaphore.waiters));
    while (semaphore_try_down(&semaphore))
        taken++;
    EXPECT_EQ(taken, given);
}

static unsigned given_up;                  // (A)

static void give_up_when_killed(unsigned index, void *unused unused_arg)
{
    arrival.thread[index] = thread_current();
    if (index != 0) {
        SPIN_UNTIL(LOAD(arrival.turn) >= index);
        EXPECT(!semaphore_down_killable(&semaphore));
        revive_current();
        ADD(given_up, 1);
        return;
    }
    for (unsigned i = 1; i < arch_hart_count(); i++) {
        STORE(arrival.turn, i);
        SPIN_UNTIL(waiting() == i);
    }
    for (unsigned i = 1; i < arch_hart_count(); i++) {
        kill_on_hart(i, arrival.thread[i]);
        SPIN_UNTIL(LOAD(given_up) == i);
        EXPECT_EQ(waiting(), arch_hart_count() - 1 - i);
    }
    semaphore_up(&semaphore);
    EXPECT(semaphore_try_down(&semaphore));
}

// A kill ends a killable wait; a permit given afterwards is there for others.
KTEST(semaphore, killed_waiters_take_nothing_along)
{
    arrival.turn = given_up = 0;
    ktest_run_on_harts(give_up_when_killed, NULL);
    EXPECT_EQ(semaphore.count, 0);
}

#define RING_SLOTS 4
#define ITEMS_MAX 20000

// A ring between producers, the even harts, and consumers, the odd ones; a hart alone is both.
static struct {
    struct semaphore free, full;
    struct spinlock lock;
    unsigned slot[RING_SLOTS], in, out;    // (L)
    unsigned produced, claimed;            // (A)
    uint8_t arrived[ITEMS_MAX];            // (L)
} ring;

static void ring_put(unsigned item)
{
    semaphore_down(&ring.free);
    spin_lock(&ring.lock);
    ring.slot[ring.in++ % RING_SLOTS] = item;
    spin_unlock(&ring.lock);
    semaphore_up(&ring.full);
}

static void ring_get(void)
{
    semaphore_down(&ring.full);
    spin_lock(&ring.lock);
    unsigned item = ring.slot[ring.out++ % RING_SLOTS];
    ring.arrived[item]++;
    spin_unlock(&ring.lock);
    semaphore_up(&ring.free);
}

static void produce_or_consume(unsigned index, void *harts)
{
    bool is_alone = *(unsigned *)harts == 1;
    unsigned item;

    while (index % 2 == 0 && (item = ADD(ring.produced, 1)) < rounds) {
        ring_put(item);
        if (is_alone)
            ring_get();
    }
    while (index % 2 != 0 && ADD(ring.claimed, 1) < rounds)
        ring_get();
}

// Every item that any producer puts into a small ring arrives once.
KTEST(semaphore, ring_loses_nothing)
{
    unsigned harts = arch_hart_count(), wrong = 0;

    rounds = ktest_rounds(ITEMS_MAX, 4000);
    memset(&ring, 0, sizeof(ring));
    semaphore_init(&ring.free, RING_SLOTS);
    semaphore_init(&ring.full, 0);
    spin_lock_init(&ring.lock, TEST_OUTER);
    ktest_run_on_harts(produce_or_consume, &harts);
    for (unsigned i = 0; i < rounds; i++)
        wrong += ring.arrived[i] != 1;
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(ring.free.count, RING_SLOTS);
    EXPECT_EQ(ring.full.count, 0);
}

// A completion that came before the wait lets it through, one for one; without one the wait ends at its moment.
KTEST(completion, lets_one_through_for_each)
{
    struct completion done = COMPLETION_INIT(done);

    EXPECT(!completion_wait_until(&done, soon()));
    complete(&done);
    complete(&done);
    completion_wait(&done);
    EXPECT(completion_wait_killable(&done));
    EXPECT(!completion_wait_until(&done, soon()));
    completion_init(&done);
    complete(&done);
    EXPECT(completion_wait_until(&done, 0));
}

// Each even hart waits for the next one, with a completion that it ruins at once.
static struct {
    struct completion completion;
    unsigned round, completed;             // (A)
} pair_done[MAX_HARTS];

static uint64_t touched_late;              // (A)

static void complete_and_ruin(unsigned index, void *harts)
{
    __typeof__(pair_done[0]) *pair = &pair_done[index & ~1U];
    uint8_t ruin[sizeof(struct completion)];

    memset(ruin, 0xa5, sizeof(ruin));
    for (unsigned i = 1; (index | 1) < *(unsigned *)harts && i <= rounds; i++) {
        if (index % 2 != 0) {
            SPIN_UNTIL(LOAD(pair->round) == i);
            complete(&pair->completion);
            STORE(pair->completed, i);
            continue;
        }
        completion_init(&pair->completion);
        STORE(pair->round, i);
        completion_wait(&pair->completion);
        memcpy(&pair->completion, ruin, sizeof(ruin));
        SPIN_UNTIL(LOAD(pair->completed) == i);
        if (memcmp(&pair->completion, ruin, sizeof(ruin)) != 0)
            ADD(touched_late, 1);
    }
}

// Nobody touches a completion after its waiter has been let through.
KTEST(completion, may_be_freed_by_its_waiter)
{
    unsigned harts = arch_hart_count();

    rounds = ktest_rounds(5000, 1000);
    touched_late = 0;
    memset(pair_done, 0, sizeof(pair_done));
    ktest_run_on_harts(complete_and_ruin, &harts);
    EXPECT_EQ(touched_late, 0);
}
