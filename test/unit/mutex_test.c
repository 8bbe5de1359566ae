// lib/sync/mutex.h: exclusion, hand-over in order of arrival, and waits that a kill ends.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/mutex.h>

#include "sync_support.h"

static struct mutex mutex = MUTEX_INIT(mutex);
static uint64_t counter;                   // under the mutex, not atomic
static unsigned rounds;
static unsigned inside;                    // (A)
static uint64_t offences;                  // (A)

static void count_up(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 0; i < rounds; i++) {
        if ((index + i) % 4 != 0)
            mutex_lock(&mutex);
        else if ((index + i) % 8 != 0)
            SPIN_UNTIL(mutex_trylock(&mutex));
        else if (!mutex_lock_killable(&mutex)) {
            ADD(offences, 1);
            continue;
        }
        uint64_t seen = PLAIN(counter);
        if (ADD(inside, 1) != 0 || mutex_owner(&mutex) != thread_current())
            ADD(offences, 1);
        if (i % 2 != 0)
            thread_yield();
        let_others_run();
        PLAIN(counter) = seen + 1;
        ADD(inside, -1U);
        mutex_unlock(&mutex);
    }
}

// No increment is lost, though owners sleep and yield, and the owner is who is inside.
KTEST(mutex, excludes)
{
    counter = offences = 0;
    rounds = ktest_rounds(2000, 500);
    unsigned harts = ktest_run_on_harts(count_up, NULL);
    EXPECT_EQ(counter, harts * rounds);
    EXPECT_EQ(offences, 0);
    EXPECT_EQ(mutex.owner, 0);
}

// The owner word is the owner while it is held, and 0 otherwise; a try fails while it is held.
KTEST(mutex, knows_its_owner)
{
    struct mutex own;

    mutex_init(&own);
    EXPECT(!mutex_is_locked(&own));
    EXPECT_NULL(mutex_owner(&own));
    mutex_lock(&own);
    EXPECT(mutex_is_locked(&own));
    EXPECT_EQ(mutex_owner(&own), thread_current());
    EXPECT(!mutex_trylock(&own));
    mutex_unlock(&own);
    EXPECT_NULL(mutex_owner(&own));
    EXPECT(mutex_trylock(&own));
    EXPECT_EQ(own.owner, (uintptr_t)thread_current());
    mutex_unlock(&own);
    EXPECT(mutex_lock_killable(&own));
    mutex_unlock(&own);
    EXPECT_EQ(own.owner, 0);
}

static struct {
    unsigned joiner[MAX_HARTS], joiner_count;
    unsigned turn;                                 // (A)
    unsigned may_go_on;                            // (A) the first who was served
    unsigned served[MAX_HARTS], served_count;      // under the mutex
    struct thread *thread[MAX_HARTS];
} arrival;

static unsigned waiting(void)
{
    return queue_length(&mutex.lock, &mutex.waiters);
}

static void note_served(unsigned index)
{
    arrival.served[arrival.served_count++] = index;
}

static void arrive_in_turn(unsigned index, void *unused unused_arg)
{
    arrival.thread[index] = thread_current();
    if (index != 0) {
        SPIN_UNTIL(LOAD(arrival.turn) == index);
        mutex_lock(&mutex);
        note_served(index);
        if (index == arrival.joiner[0])
            SPIN_UNTIL(LOAD(arrival.may_go_on));
        mutex_unlock(&mutex);
        return;
    }
    mutex_lock(&mutex);
    for (unsigned i = 0; i < arrival.joiner_count; i++) {
        STORE(arrival.turn, arrival.joiner[i]);
        SPIN_UNTIL(waiting() == i + 1);
    }
    mutex_unlock(&mutex);
    if (arrival.joiner_count > 0) {
        // Handed over, not merely free: the first owns it whether or not he runs.
        EXPECT_EQ(mutex_owner(&mutex), arrival.thread[arrival.joiner[0]]);
        EXPECT(!mutex_trylock(&mutex));
        EXPECT_EQ(waiting(), arrival.joiner_count - 1);
        EXPECT_EQ(mutex.owner & 1, arrival.joiner_count > 1);
    }
    STORE(arrival.may_go_on, 1);
    mutex_lock(&mutex);
    note_served(0);
    mutex_unlock(&mutex);
}

// Unlocking hands the mutex to who has waited longest, and nobody slips in.
KTEST(mutex, is_handed_over_in_order_of_arrival)
{
    for (unsigned i = 0; i < ktest_rounds(50, 50); i++) {
        arrival.joiner_count = shuffle_other_harts(arrival.joiner);
        arrival.turn = arrival.may_go_on = arrival.served_count = 0;
        ktest_run_on_harts(arrive_in_turn, NULL);
        EXPECT_EQ(arrival.served_count, arrival.joiner_count + 1);
        for (unsigned k = 0; k < arrival.joiner_count; k++)
            EXPECT_EQ(arrival.served[k], arrival.joiner[k]);
        EXPECT_EQ(arrival.served[arrival.joiner_count], 0);
        EXPECT_EQ(mutex.owner, 0);
    }
}

static unsigned given_up;                  // (A)

static void give_up_when_killed(unsigned index, void *unused unused_arg)
{
    arrival.thread[index] = thread_current();
    if (index != 0) {
        SPIN_UNTIL(LOAD(arrival.turn) >= index);
        EXPECT(!mutex_lock_killable(&mutex));
        revive_current();
        ADD(given_up, 1);
        return;
    }
    mutex_lock(&mutex);
    for (unsigned i = 1; i < arch_hart_count(); i++) {
        STORE(arrival.turn, i);
        SPIN_UNTIL(waiting() == i);
    }
    for (unsigned i = 1; i < arch_hart_count(); i++) {
        EXPECT_EQ(mutex.owner & 1, 1);
        kill_on_hart(i, arrival.thread[i]);
        SPIN_UNTIL(LOAD(given_up) == i);
        EXPECT_EQ(waiting(), arch_hart_count() - 1 - i);
    }
    EXPECT_EQ(mutex.owner, (uintptr_t)thread_current());
    mutex_unlock(&mutex);
    EXPECT_EQ(mutex.owner, 0);
}

// A kill ends a killable wait without the mutex, and the last who gives up leaves no mark of waiters.
KTEST(mutex, killed_waiters_leave_no_trace)
{
    arrival.turn = given_up = 0;
    ktest_run_on_harts(give_up_when_killed, NULL);
    EXPECT(list_is_empty(&mutex.waiters));
}

// Hart 2 owns, hart 1 waits, hart 0 holds up both at the wait lock: first the unlocker, then the one who gives up.
static unsigned stage;                     // (A)

static bool is_last_at_wait_lock(unsigned hart)
{
    return LOAD(mutex.lock.word) >> 18 == hart + 1;
}

static void be_killed_behind_the_unlocker(unsigned index, void *unused unused_arg)
{
    arrival.thread[index] = thread_current();
    if (index == 0) {
        SPIN_UNTIL(LOAD(stage) == 1);
        SPIN_UNTIL(waiting() == 1);
        irqflags_t flags = spin_lock_irqsave(&mutex.lock);
        STORE(stage, 2);
        SPIN_UNTIL(is_last_at_wait_lock(2));
        kill_on_hart(1, arrival.thread[1]);
        SPIN_UNTIL(is_last_at_wait_lock(1));
        spin_unlock_irqrestore(&mutex.lock, flags);
    } else if (index == 1) {
        SPIN_UNTIL(LOAD(stage) == 1);
        if (EXPECT(mutex_lock_killable(&mutex))) {
            EXPECT_EQ(mutex_owner(&mutex), thread_current());
            mutex_unlock(&mutex);
        }
        revive_current();
    } else if (index == 2) {
        mutex_lock(&mutex);
        STORE(stage, 1);
        SPIN_UNTIL(LOAD(stage) == 2);
        mutex_unlock(&mutex);
    }
}

// Who is handed the mutex while he gives up has it: the kill came too late.
KTEST(mutex, handover_comes_before_a_late_kill)
{
    if (arch_hart_count() < 3)
        ktest_skip("takes three harts");
    for (unsigned i = 0; i < 20; i++) {
        stage = 0;
        ktest_run_on_harts(be_killed_behind_the_unlocker, NULL);
        EXPECT_EQ(mutex.owner, 0);
        EXPECT(list_is_empty(&mutex.waiters));
        mutex.owner = 0;
    }
}

static struct {
    unsigned round, may_race;              // (A)
    unsigned finished;                     // (A)
    uint64_t victims_got_it, others_got_it;        // under the mutex
} race;

static void race_kill_with_unlock(unsigned index, void *unused unused_arg)
{
    unsigned harts = arch_hart_count();

    arrival.thread[index] = thread_current();
    for (unsigned i = 1; i <= rounds; i++) {
        if (index == 0) {
            mutex_lock(&mutex);
            STORE(race.finished, 0);
            STORE(race.round, i);
            // Hart 1 is the victim and waits first; hart 2 kills, the others wait behind.
            SPIN_UNTIL(waiting() == harts - 2);
            STORE(race.may_race, i);
            for (unsigned pause = i % 16; pause > 0; pause--)
                let_others_run();
            mutex_unlock(&mutex);
            SPIN_UNTIL(LOAD(race.finished) == harts - 1);
            if (PLAIN(mutex.owner) != 0)
                ADD(offences, 1);
            continue;
        }
        SPIN_UNTIL(LOAD(race.round) == i);
        if (index == 1) {
            if (mutex_lock_killable(&mutex)) {
                race.victims_got_it++;
                mutex_unlock(&mutex);
            }
            // The kill comes in every round; it must not reach into the next one.
            SPIN_UNTIL(thread_is_killed());
            revive_current();
        } else if (index == 2) {
            SPIN_UNTIL(LOAD(race.may_race) == i);
            for (unsigned pause = i / 16 % 16; pause > 0; pause--)
                let_others_run();
            kill_on_hart(1, arrival.thread[1]);
        } else {
            SPIN_UNTIL(waiting() > 0);
            mutex_lock(&mutex);
            race.others_got_it++;
            mutex_unlock(&mutex);
        }
        ADD(race.finished, 1);
    }
}

// A kill that races with the unlocker never loses the mutex: the victim has it, or the next one has.
KTEST(mutex, kill_loses_no_handover)
{
    unsigned harts = arch_hart_count();

    if (harts < 3)
        ktest_skip("takes three harts");
    rounds = ktest_rounds(1000, 300);
    __builtin_memset(&race, 0, sizeof(race));
    offences = 0;
    ktest_run_on_harts(race_kill_with_unlock, NULL);
    EXPECT_EQ(offences, 0);
    EXPECT_EQ(race.others_got_it, (harts - 3) * rounds);
    EXPECT_LE(race.victims_got_it, rounds);
    ktest_note("of %u kills %lu came too late", rounds, race.victims_got_it);
    EXPECT_EQ(mutex.owner, 0);
    EXPECT(list_is_empty(&mutex.waiters));
}
