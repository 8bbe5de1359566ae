// lib/sync/waitq.h: no wake is lost, none wakes too many, and one that cannot be used goes to the next.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/waitq.h>

#include "sync_support.h"

#include <arch/time.h>
#include <base/string.h>

#define LOST_WAKE_ROUNDS (ktest_wants_all_rounds() ? 1000000 : ktest_rounds(100000, 30000))

static struct waitq queue = WAITQ_INIT(queue);
static unsigned rounds;

static unsigned waiting(void)
{
    return queue_length(&queue.lock, &queue.waiters);
}

// One hart of a pair has the turn, and gives it to the other.
static struct ping {
    struct waitq queue;
    uint64_t turn;                 // (A) even: the first of the pair
} aligned_to(CACHE_LINE_BYTES) ping[MAX_HARTS / 2 + 1];

static void play(unsigned index, void *pairs)
{
    struct ping *own = &ping[index / 2];

    if (index / 2 >= *(unsigned *)pairs)
        return;
    for (uint64_t i = index % 2; i < rounds; i += 2) {
        wait_event(&own->queue, LOAD(own->turn) == i);
        STORE(own->turn, i + 1);
        if (i % 64 < 32)
            waitq_wake_one(&own->queue);
        else
            waitq_wake_all(&own->queue);
    }
}

// In a million turns that pairs of harts give to one another, no wake is lost: a lost one would end the game. (All of
// them are in a run of their own: they take 20 seconds. Elsewhere are fewer, in each of many runs.)
KTEST(waitq, loses_no_wake)
{
    unsigned pairs = arch_hart_count() / 2;

    if (pairs == 0)
        ktest_skip("takes two harts");
    for (unsigned i = 0; i < pairs; i++) {
        waitq_init(&ping[i].queue);
        ping[i].turn = 0;
    }
    rounds = (LOST_WAKE_ROUNDS + pairs - 1) / pairs;
    ktest_run_on_harts(play, &pairs);
    for (unsigned i = 0; i < pairs; i++) {
        EXPECT_EQ(ping[i].turn, rounds);
        EXPECT(list_is_empty(&ping[i].queue.waiters));
    }
}

static struct {
    unsigned joiner[MAX_HARTS], joiner_count;
    unsigned turn;                         // (A)
    unsigned looks[MAX_HARTS];             // (A) at the condition
    unsigned is_over;                      // (A)
    struct thread *thread[MAX_HARTS];
} crowd;

static bool look(unsigned index)
{
    bool is_over = LOAD(crowd.is_over) != 0;

    ADD(crowd.looks[index], 1);
    return is_over;
}

static void wait_in_crowd(unsigned index, void *unused unused_arg)
{
    if (index != 0) {
        drop_stale_wake();
        SPIN_UNTIL(LOAD(crowd.turn) == index);
        wait_event(&queue, look(index));
        return;
    }
    for (unsigned i = 0; i < crowd.joiner_count; i++) {
        STORE(crowd.turn, crowd.joiner[i]);
        SPIN_UNTIL(LOAD(crowd.looks[crowd.joiner[i]]) >= 1);
    }
    EXPECT_EQ(waiting(), crowd.joiner_count);
    for (unsigned i = 0; i < 3 * crowd.joiner_count; i++) {
        waitq_wake_one(&queue);
        SPIN_UNTIL(LOAD(crowd.looks[crowd.joiner[i % crowd.joiner_count]]) >= 2 + i / crowd.joiner_count);
        EXPECT_EQ(waiting(), crowd.joiner_count);
        for (unsigned k = i % crowd.joiner_count + 1; k < crowd.joiner_count; k++)
            EXPECT_EQ(LOAD(crowd.looks[crowd.joiner[k]]), 1 + i / crowd.joiner_count);
    }
    STORE(crowd.is_over, 1);
    waitq_wake_all(&queue);
}

// Waking one wakes the one who has waited longest, and him alone; waking all wakes each once.
KTEST(waitq, wakes_one_or_all)
{
    for (unsigned i = 0; i < ktest_rounds(100, 30); i++) {
        memset(&crowd, 0, sizeof(crowd));
        crowd.joiner_count = shuffle_other_harts(crowd.joiner);
        ktest_run_on_harts(wait_in_crowd, NULL);
        for (unsigned k = 0; k < crowd.joiner_count; k++)
            EXPECT_EQ(crowd.looks[crowd.joiner[k]], 1 + 3 + 1);
        EXPECT(list_is_empty(&queue.waiters));
    }
}

static struct waiter waiter_here(void)
{
    return (struct waiter){ .thread = thread_current() };
}

// Who was woken and leaves without what he waited for wakes the next; who is satisfied, or was not woken, does not.
KTEST(waitq, unused_wake_goes_to_the_next)
{
    struct waiter w[3] = { waiter_here(), waiter_here(), waiter_here() };

    for (unsigned i = 0; i < 3; i++)
        list_init(&w[i].node);
    for (unsigned i = 0; i < 3; i++)
        waitq_join(&queue, &w[i]);
    waitq_join(&queue, &w[0]);
    EXPECT_EQ(waiting(), 3);

    waitq_wake_one(&queue);
    EXPECT_EQ(waiting(), 2);
    EXPECT(list_is_empty(&w[0].node));
    waitq_leave(&queue, &w[0], false);
    EXPECT_EQ(waiting(), 1);
    EXPECT(list_is_empty(&w[1].node));
    waitq_leave(&queue, &w[1], true);
    EXPECT_EQ(waiting(), 1);

    waitq_join(&queue, &w[0]);
    waitq_leave(&queue, &w[2], false);
    EXPECT_EQ(waiting(), 1);
    EXPECT(!list_is_empty(&w[0].node));
    waitq_leave(&queue, &w[0], true);
    waitq_wake_one(&queue);
    waitq_wake_all(&queue);
    EXPECT(list_is_empty(&queue.waiters));
    drop_stale_wake();
}

// A wait with an end ends there, not before, with the value of the condition.
KTEST(waitq, wait_ends_at_its_moment)
{
    for (unsigned i = 0; i < 5; i++) {
        uint64_t deadline = arch_time() + arch_timer_hz() / 1000;
        EXPECT(!wait_event_until(&queue, false, deadline));
        EXPECT_LE(deadline, arch_time());
        EXPECT(list_is_empty(&queue.waiters));
    }
    EXPECT(wait_event_until(&queue, true, 0));
    EXPECT(wait_event_killable(&queue, true));
    wait_event(&queue, true);
    EXPECT(list_is_empty(&queue.waiters));
}

// One item in each round, for one of the waiters: the first is killed, or runs out of time, as it comes.
static struct {
    unsigned round, may_race;              // (A)
    unsigned left;                         // (A) waiters who have gone
    unsigned item, is_over;                // (A) 0 or 1
    unsigned first_got_it;                 // (A)
} pass;

static bool take_item(void)
{
    unsigned one = 1;

    return __atomic_compare_exchange_n(&pass.item, &one, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static void race_with_wake(unsigned index, void *is_by_kill)
{
    unsigned harts = arch_hart_count();

    crowd.thread[index] = thread_current();
    for (unsigned i = 1; i <= rounds; i++) {
        if (index == 0) {
            pass.left = pass.is_over = pass.item = 0;
            STORE(pass.round, i);
            // The first may have run out of time before the last has come.
            SPIN_UNTIL(waiting() + LOAD(pass.left) >= harts - 2);
            STORE(pass.may_race, i);
            for (unsigned pause = i % 16; pause > 0; pause--)
                let_others_run();
            STORE(pass.item, 1);
            waitq_wake_one(&queue);
            SPIN_UNTIL(LOAD(pass.item) == 0);
            STORE(pass.is_over, 1);
            waitq_wake_all(&queue);
            SPIN_UNTIL(LOAD(pass.left) == harts - 1);
            continue;
        }
        SPIN_UNTIL(LOAD(pass.round) == i);
        if (index == 2) {
            SPIN_UNTIL(LOAD(pass.may_race) == i);
            for (unsigned pause = i / 16 % 16; pause > 0; pause--)
                let_others_run();
            if (is_by_kill)
                kill_on_hart(1, crowd.thread[1]);
        } else if (index == 1) {
            bool is_got = is_by_kill ? wait_event_killable(&queue, take_item()) :
                          wait_event_until(&queue, take_item(), arch_time() + arch_timer_hz() / 1000000 * (i % 32));
            pass.first_got_it += is_got;
            if (is_by_kill) {
                SPIN_UNTIL(thread_is_killed());
                revive_current();
            }
        } else {
            SPIN_UNTIL(waiting() > 0 || LOAD(pass.left) > 0);
            wait_event(&queue, take_item() || LOAD(pass.is_over));
        }
        ADD(pass.left, 1);
    }
}

// A waiter who is killed, or runs out of time, at the moment of his wake passes it on: the item finds its taker.
KTEST(waitq, leaving_waiter_loses_no_wake)
{
    if (arch_hart_count() < 4)
        ktest_skip("takes four harts");
    for (unsigned is_by_kill = 0; is_by_kill < 2; is_by_kill++) {
        rounds = ktest_rounds(1000, 300);
        memset(&pass, 0, sizeof(pass));
        ktest_run_on_harts(race_with_wake, is_by_kill ? &queue : NULL);
        ktest_note("%s: the first of the line took %u of %u", is_by_kill ? "kill" : "deadline", pass.first_got_it,
                   rounds);
        EXPECT_EQ(pass.item, 0);
        EXPECT(list_is_empty(&queue.waiters));
    }
}
