// lib/sync/spinlock.h: exclusion, order of arrival, nesting, and what a try may do.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/spinlock.h>

#include "sync_support.h"

#define TAIL_OF_HART(word) (((word) >> 16) >> 2)       // hart + 1; 0: nobody waits

static struct spinlock process_lock = SPINLOCK_INIT(TEST_OUTER);
static struct spinlock inner_lock = SPINLOCK_INIT(TEST_INNER);
static struct spinlock irq_lock = SPINLOCK_INIT(TEST_IRQ_OUTER);
static struct spinlock irq_inner_lock = SPINLOCK_INIT(TEST_IRQ_INNER);

// Guarded by a lock, and deliberately not atomic.
static uint64_t counter, inner_counter;
static unsigned rounds;
static unsigned inside;                    // (A) holders at this moment
static uint64_t offences;                  // (A)

static void count_up(uint64_t *count)
{
    uint64_t seen = PLAIN(*count);

    if (ADD(inside, 1) != 0)
        ADD(offences, 1);
    let_others_run();
    PLAIN(*count) = seen + 1;
    ADD(inside, -1U);
}

static void reset(unsigned round_count)
{
    counter = inner_counter = offences = 0;
    inside = 0;
    rounds = round_count;
}

static bool is_at_rest(const struct spinlock *lock)
{
    return lock->word == 0 && arch_irqs_enabled() && preempt_count() == 0;
}

static void count_with_lock(unsigned index unused_arg, void *unused unused_arg)
{
    for (unsigned i = 0; i < rounds; i++) {
        spin_lock(&process_lock);
        count_up(&counter);
        spin_unlock(&process_lock);
    }
}

// No increment is lost under the lock, although every holder lets the others in between.
KTEST(spinlock, excludes)
{
    reset(ktest_rounds(2000, 1000));
    unsigned harts = ktest_run_on_harts(count_with_lock, NULL);
    EXPECT_EQ(counter, harts * rounds);
    EXPECT_EQ(offences, 0);
    EXPECT(is_at_rest(&process_lock));
}

static void count_with_irqsave(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 0; i < rounds; i++) {
        bool is_masked_already = (i + index) % 2 != 0;
        irqflags_t outer = arch_irq_save();

        if (!is_masked_already)
            arch_irq_restore(outer);
        irqflags_t flags = spin_lock_irqsave(&irq_lock);
        if (arch_irqs_enabled() || arch_irq_was_enabled(flags) == is_masked_already)
            ADD(offences, 1);
        count_up(&counter);
        spin_unlock_irqrestore(&irq_lock, flags);
        if (arch_irqs_enabled() == is_masked_already)
            ADD(offences, 1);
        if (is_masked_already)
            arch_irq_restore(outer);
    }
}

// The irqsave form excludes, holds with interrupts masked, and leaves them as they were.
KTEST(spinlock, irqsave_excludes_and_masks)
{
    reset(ktest_rounds(2000, 1000));
    unsigned harts = ktest_run_on_harts(count_with_irqsave, NULL);
    EXPECT_EQ(counter, harts * rounds);
    EXPECT_EQ(offences, 0);
    EXPECT(is_at_rest(&irq_lock));
}

static void count_with_tries(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 0; i < rounds; i++) {
        if ((index + i) % 2 != 0)
            spin_lock(&process_lock);
        else
            SPIN_UNTIL(spin_trylock(&process_lock));
        count_up(&counter);
        spin_unlock(&process_lock);
    }
}

// Tries and waits mix without losing an increment.
KTEST(spinlock, tries_exclude_too)
{
    reset(ktest_rounds(2000, 500));
    unsigned harts = ktest_run_on_harts(count_with_tries, NULL);
    EXPECT_EQ(counter, harts * rounds);
    EXPECT_EQ(offences, 0);
    EXPECT(is_at_rest(&process_lock));
}

static unsigned waiter_is_done;            // (A)

static void wait_among_tries(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 0; index == 0 && i < rounds; i++) {
        SPIN_UNTIL(spin_is_locked(&process_lock));
        spin_lock(&process_lock);
        PLAIN(counter)++;
        spin_unlock(&process_lock);
    }
    if (index == 0)
        STORE(waiter_is_done, 1);
    for (unsigned i = 0; index != 0 && !LOAD(waiter_is_done); i++) {
        if (spin_trylock(&process_lock)) {
            PLAIN(inner_counter)++;
            let_others_run();
            spin_unlock(&process_lock);
        }
        if (i % 64 == 0)
            let_others_run();
    }
}

// Tries, which hold the word for an instant even where they fail, never keep the only one who waits from the lock.
KTEST(spinlock, tries_do_not_lock_out_a_waiter)
{
    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    reset(ktest_rounds(20000, 2000));
    waiter_is_done = 0;
    ktest_run_on_harts(wait_among_tries, NULL);
    EXPECT_EQ(counter, rounds);
    EXPECT(is_at_rest(&process_lock));
}

// A try fails while the lock is held, and while a queue waits for it; it leaves the word and the context as they were.
KTEST(spinlock, try_respects_holder_and_queue)
{
    struct spinlock lock = SPINLOCK_INIT(TEST_OUTER);

    EXPECT(spin_trylock(&lock));
    EXPECT(spin_is_locked(&lock));
    EXPECT_EQ(preempt_count(), PREEMPT_ONE);
    EXPECT(!spin_trylock(&lock));
    EXPECT_EQ(lock.word, SPINLOCK_HELD);
    EXPECT_EQ(preempt_count(), PREEMPT_ONE);
    spin_unlock(&lock);
    EXPECT(is_at_rest(&lock));

    // Free for an instant, with a queue: the place belongs to the first who waits.
    lock.word = 2U << 18;
    EXPECT(!spin_trylock(&lock));
    EXPECT_EQ(lock.word, 2U << 18);
    EXPECT_EQ(preempt_count(), 0);
}

// A lock is one word of four bytes, in which 0 is free; the class is a checked build's alone.
KTEST(spinlock, is_four_bytes)
{
    struct spinlock lock;

    spin_lock_init(&lock, TEST_OUTER);
    EXPECT_EQ(sizeof(lock), CONFIG_CHECKED ? 8 : 4);
    EXPECT_EQ(lock.word, 0);
    EXPECT(!spin_is_locked(&lock));
    spin_lock(&lock);
    EXPECT_EQ(lock.word, SPINLOCK_HELD);
    spin_unlock(&lock);
    EXPECT(is_at_rest(&lock));
}

static struct {
    unsigned joiner[MAX_HARTS], joiner_count;      // who is to arrive when
    unsigned turn;                                 // (A) who arrives now
    unsigned served[MAX_HARTS], served_count;      // under process_lock
} arrival;

static void note_served(unsigned index)
{
    arrival.served[arrival.served_count++] = index;
    let_others_run();
}

static void arrive_in_turn(unsigned index, void *unused unused_arg)
{
    if (index != 0) {
        SPIN_UNTIL(LOAD(arrival.turn) == index);
        spin_lock(&process_lock);
        note_served(index);
        spin_unlock(&process_lock);
        return;
    }
    spin_lock(&process_lock);
    for (unsigned i = 0; i < arrival.joiner_count; i++) {
        STORE(arrival.turn, arrival.joiner[i]);
        SPIN_UNTIL(TAIL_OF_HART(LOAD(process_lock.word)) == arrival.joiner[i] + 1);
    }
    spin_unlock(&process_lock);
    // Whoever held it last may not slip in before those who wait.
    spin_lock(&process_lock);
    note_served(0);
    spin_unlock(&process_lock);
}

// Harts that arrive one after the other get the lock in that order, and the holder who comes back is the last.
KTEST(spinlock, serves_in_order_of_arrival)
{
    for (unsigned i = 0; i < ktest_rounds(50, 50); i++) {
        arrival.joiner_count = shuffle_other_harts(arrival.joiner);
        arrival.turn = arrival.served_count = 0;
        ktest_run_on_harts(arrive_in_turn, NULL);
        EXPECT_EQ(arrival.served_count, arrival.joiner_count + 1);
        for (unsigned k = 0; k < arrival.joiner_count; k++)
            EXPECT_EQ(arrival.served[k], arrival.joiner[k]);
        EXPECT_EQ(arrival.served[arrival.joiner_count], 0);
    }
    EXPECT(is_at_rest(&process_lock));
}

// Under process_lock: of each hart that a holder has seen standing in line, how many came before it since.
static struct {
    bool is_seen[MAX_HARTS];
    unsigned overtaken_by[MAX_HARTS];
    unsigned worst;
    uint64_t seen_count;
    unsigned has_begun;                    // (A) hart 0 holds the lock
} line;

static void look_at_line(void)
{
    unsigned last = TAIL_OF_HART(LOAD(process_lock.word));

    if (last != 0 && !line.is_seen[last - 1]) {
        line.is_seen[last - 1] = true;
        line.overtaken_by[last - 1] = 0;
        line.seen_count++;
    }
}

static void crowd(unsigned index, void *harts)
{
    if (index == 0) {
        // Somebody stands in line at least once, however the harts run.
        spin_lock(&process_lock);
        STORE(line.has_begun, 1);
        SPIN_UNTIL(TAIL_OF_HART(LOAD(process_lock.word)) != 0);
        look_at_line();
        spin_unlock(&process_lock);
    }
    SPIN_UNTIL(LOAD(line.has_begun));
    for (unsigned i = 0; i < rounds; i++) {
        spin_lock(&process_lock);
        if (line.is_seen[index] && line.overtaken_by[index] > line.worst)
            line.worst = line.overtaken_by[index];
        line.is_seen[index] = false;
        for (unsigned other = 0; other < *(unsigned *)harts; other++)
            line.overtaken_by[other] += line.is_seen[other];
        let_others_run();
        look_at_line();
        spin_unlock(&process_lock);
    }
}

// Once in line, a hart waits for those before it and no others: at most one critical section of each, and none of the
// holder who has seen it there.
KTEST(spinlock, bounds_how_often_one_is_overtaken)
{
    unsigned harts = arch_hart_count();

    if (harts < 2)
        ktest_skip("takes two harts");
    __builtin_memset(&line, 0, sizeof(line));
    reset(ktest_rounds(2000, 1000));
    ktest_run_on_harts(crowd, &harts);
    EXPECT_LE(line.worst, harts - 2);
    EXPECT_LT(0, line.seen_count);
    EXPECT(is_at_rest(&process_lock));
}

static void count_nested(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 0; i < rounds; i++) {
        bool is_full = (i + index) % 3 != 0;

        if (is_full) {
            spin_lock(&process_lock);
            PLAIN(counter)++;
        }
        spin_lock(&inner_lock);
        irqflags_t flags = spin_lock_irqsave(&irq_lock);
        irqflags_t inner_flags = spin_lock_irqsave(&irq_inner_lock);
        count_up(&inner_counter);
        spin_unlock_irqrestore(&irq_inner_lock, inner_flags);
        if (arch_irqs_enabled())
            ADD(offences, 1);
        spin_unlock_irqrestore(&irq_lock, flags);
        if (!arch_irqs_enabled() || preempt_count() != (is_full ? 2 : 1) * PREEMPT_ONE)
            ADD(offences, 1);
        // Not in reverse order: locks need not be given back as they were taken.
        if (is_full)
            spin_unlock(&process_lock);
        spin_unlock(&inner_lock);
    }
}

// Four locks nest, on harts that wait at different depths, and each still excludes.
KTEST(spinlock, nests)
{
    uint64_t full = 0;

    reset(ktest_rounds(1000, 300));
    unsigned harts = ktest_run_on_harts(count_nested, NULL);
    for (unsigned index = 0; index < harts; index++)
        for (unsigned i = 0; i < rounds; i++)
            full += (i + index) % 3 != 0;
    EXPECT_EQ(counter, full);
    EXPECT_EQ(inner_counter, harts * rounds);
    EXPECT_EQ(offences, 0);
    EXPECT(is_at_rest(&process_lock));
    EXPECT(is_at_rest(&inner_lock));
    EXPECT(is_at_rest(&irq_lock));
    EXPECT(is_at_rest(&irq_inner_lock));
}
