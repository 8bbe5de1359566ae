// The scheduler: where threads run, whose turn it is, and that idle harts look for work.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/smp.h>
#include <arch/time.h>
#include <base/bits.h>
#include <init/bootargs.h>
#include <ktest/ktest.h>
#include <sync/completion.h>
#include <sync/preempt.h>
#include <task/hart_call.h>
#include <task/sched.h>
#include <task/thread.h>
#include <task/timer.h>

// The hart that the thread is on, as long as it takes to look.
static unsigned hart_now(void)
{
    preempt_disable();
    unsigned hart = arch_hart_index();
    preempt_enable();
    return hart;
}

static hart_mask_t all_harts(void) { return ((hart_mask_t)1 << arch_hart_count()) - 1; }

// A thread that is busy until it is told to stop, and notes where it was seen.
struct busy {
    struct thread *thread;
    uint32_t must_stop, has_begun; // (A)
    uint64_t rounds;               // (A)
    hart_mask_t seen;              // (A)
    bool yields;
};

static void be_busy(void *argument)
{
    struct busy *busy = argument;

    for (unsigned round = 0; !__atomic_load_n(&busy->must_stop, __ATOMIC_ACQUIRE); round++) {
        __atomic_fetch_or(&busy->seen, hart_mask_of(hart_now()), __ATOMIC_RELAXED);
        __atomic_store_n(&busy->rounds, busy->rounds + 1, __ATOMIC_RELAXED);
        __atomic_store_n(&busy->has_begun, 1, __ATOMIC_RELEASE);
        for (volatile unsigned i = 0; i < 300; i++) { }
        if (round % 16 == 15)
            arch_relax(round % 64);
        if (busy->yields)
            thread_yield();
    }
}

static bool start_busy(struct busy *busy, hart_mask_t harts, enum thread_priority priority)
{
    *busy = (struct busy){ .yields = busy->yields };
    busy->thread = thread_create_in(harts, priority, "busy", be_busy, busy);
    return busy->thread != NULL;
}

static void stop_busy(struct busy *busy)
{
    __atomic_store_n(&busy->must_stop, 1, __ATOMIC_RELEASE);
    thread_join(busy->thread);
}

static uint64_t rounds_of(const struct busy *busy) { return __atomic_load_n(&busy->rounds, __ATOMIC_RELAXED); }

static void wait_for_rounds(const struct busy *busy, uint64_t more)
{
    for (uint64_t from = rounds_of(busy); rounds_of(busy) < from + more;)
        thread_sleep_us(100);
}

// Many slices in a short time, or those of the boot arguments again.
static void set_short_slices(void)
{
    sched_configure(min_of(bootarg_u64("slice_us"), (uint64_t)500), bootarg_u64("jitter_us"), bootarg_u64("seed"));
}

static void set_usual_slices(void)
{
    sched_configure(bootarg_u64("slice_us"), bootarg_u64("jitter_us"), bootarg_u64("seed"));
}

// --- Where threads run

// A thread that is bound to a hart is never seen on another, while all harts look for work.
KTEST(sched, bound_threads_stay)
{
    enum { EACH = 2 };
    struct busy busy[EACH * MAX_HARTS] = { 0 };
    unsigned count = EACH * arch_hart_count();

    set_short_slices();
    for (unsigned i = 0; i < count; i++) {
        busy[i].yields = i % 2;
        REQUIRE(start_busy(&busy[i], hart_mask_of(i % arch_hart_count()), PRIORITY_NORMAL));
    }
    for (unsigned i = 0; i < count; i++)
        wait_for_rounds(&busy[i], 10);
    for (unsigned i = 0; i < count; i++) {
        stop_busy(&busy[i]);
        EXPECT_EQ(busy[i].seen, hart_mask_of(i % arch_hart_count()));
    }
    set_usual_slices();
}

// A thread that changes its own affinity is on an allowed hart when that returns.
static void move_about(void *argument)
{
    unsigned *strayed = argument;

    for (unsigned round = 0; round < 100; round++) {
        unsigned hart = round * 5 % arch_hart_count();
        thread_set_affinity(thread_current(), hart_mask_of(hart));
        *strayed += hart_now() != hart;
        if (round % 3 == 0)
            thread_yield();
        if (round % 7 == 0)
            thread_sleep_us(1);
        *strayed += hart_now() != hart;
    }
}

KTEST(sched, thread_moves_itself)
{
    unsigned strayed = 0;
    struct thread *thread = thread_create("mover", move_about, &strayed);

    REQUIRE(thread);
    thread_join(thread);
    EXPECT_EQ(strayed, 0);
}

static void wait_until_seen(struct busy *busy, hart_mask_t harts)
{
    do {
        __atomic_store_n(&busy->seen, 0, __ATOMIC_RELAXED);
        wait_for_rounds(busy, 3);
    } while ((__atomic_load_n(&busy->seen, __ATOMIC_RELAXED) & ~harts) != 0);
}

// A busy thread whose affinity is changed by another leaves, and does not come back.
KTEST(sched, running_thread_is_moved)
{
    struct busy busy = { 0 };
    REQUIRE(start_busy(&busy, hart_mask_of(0), PRIORITY_NORMAL));

    for (unsigned round = 0; round < 4 * arch_hart_count(); round++) {
        hart_mask_t target = hart_mask_of((round * 3 + 1) % arch_hart_count());
        thread_set_affinity(busy.thread, target);
        wait_until_seen(&busy, target);
        wait_for_rounds(&busy, 5);
        EXPECT_EQ(__atomic_load_n(&busy.seen, __ATOMIC_RELAXED), target);
    }
    stop_busy(&busy);
}

static void note_hart(void *argument)
{
    __atomic_store_n((uint32_t *)argument, hart_now(), __ATOMIC_RELEASE);
}

// A thread that waits for its turn on a hart that it is sent away from does not have the turn there.
KTEST(sched, ready_thread_is_moved)
{
    unsigned last = arch_hart_count() - 1;
    uint32_t hart = UINT32_MAX;
    struct busy busy = { 0 };

    if (arch_hart_count() == 1)
        ktest_skip("needs a second hart");
    // It waits behind this one, whose end makes room for it there, while this hart never looks for work.
    REQUIRE(start_busy(&busy, hart_mask_of(last), PRIORITY_HIGH));
    while (!__atomic_load_n(&busy.has_begun, __ATOMIC_ACQUIRE))
        thread_sleep_us(10);
    struct thread *thread = thread_create_on(last, "waits", note_hart, &hart);
    REQUIRE(thread);
    thread_set_affinity(thread, hart_mask_of(0));
    __atomic_store_n(&busy.must_stop, 1, __ATOMIC_RELEASE);
    for (unsigned round = 0; __atomic_load_n(&hart, __ATOMIC_ACQUIRE) == UINT32_MAX; round++) {
        thread_yield();
        arch_relax(round);
    }
    EXPECT_EQ(hart, 0);
    thread_join(thread);
    thread_join(busy.thread);
}

// --- Whose turn it is

struct errand {
    uint32_t is_done;              // (A)
    struct completion start;
};

static void do_at_once(void *argument)
{
    struct errand *errand = argument;

    completion_wait(&errand->start);
    __atomic_store_n(&errand->is_done, 1, __ATOMIC_RELEASE);
}

static void complete_it(void *completion) { complete(completion); }

// A thread of high priority that is woken on this hart has run before the waking thread goes on; also when an interrupt
// wakes it.
KTEST(sched, high_priority_runs_at_once)
{
    for (unsigned by_interrupt = 0; by_interrupt < 2; by_interrupt++) {
        struct errand errand = { 0 };
        completion_init(&errand.start);
        struct thread *thread = thread_create_in(hart_mask_of(0), PRIORITY_HIGH, "urgent", do_at_once, &errand);
        REQUIRE(thread);
        EXPECT_EQ(errand.is_done, 0);
        if (by_interrupt)
            hart_call(0, complete_it, &errand.start);
        else
            complete(&errand.start);
        EXPECT_EQ(__atomic_load_n(&errand.is_done, __ATOMIC_ACQUIRE), 1);
        thread_join(thread);
    }
}

// With preemption disabled it waits until that is over, and not longer.
KTEST(sched, high_priority_waits_for_preempt_enable)
{
    struct errand errand = { 0 };
    completion_init(&errand.start);
    struct thread *thread = thread_create_in(hart_mask_of(0), PRIORITY_HIGH, "urgent", do_at_once, &errand);
    REQUIRE(thread);

    preempt_disable();
    complete(&errand.start);
    EXPECT_EQ(__atomic_load_n(&errand.is_done, __ATOMIC_ACQUIRE), 0);
    preempt_enable();
    EXPECT_EQ(__atomic_load_n(&errand.is_done, __ATOMIC_ACQUIRE), 1);
    thread_join(thread);
}

// On another hart it takes the place of a busy thread that never yields.
KTEST(sched, high_priority_interrupts_another_hart)
{
    for (unsigned hart = 1; hart < arch_hart_count(); hart++) {
        struct busy busy = { 0 };
        struct errand errand = { 0 };
        completion_init(&errand.start);
        struct thread *thread = thread_create_in(hart_mask_of(hart), PRIORITY_HIGH, "urgent", do_at_once, &errand);
        REQUIRE(thread && start_busy(&busy, hart_mask_of(hart), PRIORITY_NORMAL));
        wait_for_rounds(&busy, 2);
        complete(&errand.start);
        for (unsigned round = 0; !__atomic_load_n(&errand.is_done, __ATOMIC_ACQUIRE); round++)
            arch_relax(round);
        thread_join(thread);
        stop_busy(&busy);
    }
}

struct exclusive {
    struct busy *normal;
    uint64_t before, after;
};

static void run_exclusively(void *argument)
{
    struct exclusive *exclusive = argument;
    uint64_t end = timer_after_us(10000);

    exclusive->before = rounds_of(exclusive->normal);
    for (unsigned round = 0; arch_time() < end; round++)
        arch_relax(round % 64);
    exclusive->after = rounds_of(exclusive->normal);
}

// A thread of normal priority never has a turn while one of high priority runs on its hart, however many slices pass.
KTEST(sched, normal_never_preempts_high)
{
    unsigned hart = arch_hart_count() - 1;
    struct busy busy = { 0 };
    struct exclusive exclusive = { .normal = &busy };

    set_short_slices();
    REQUIRE(start_busy(&busy, hart_mask_of(hart), PRIORITY_NORMAL));
    struct thread *thread = thread_create_in(hart_mask_of(hart), PRIORITY_HIGH, "high", run_exclusively, &exclusive);
    REQUIRE(thread);
    thread_join(thread);
    EXPECT_EQ(exclusive.before, exclusive.after);
    stop_busy(&busy);
    set_usual_slices();
}

enum { SHARERS = 3 };

struct shares {
    struct busy busy[SHARERS];
    uint64_t turns[SHARERS];
};

// As an interrupt of the hart that they share: all turns of one moment, less those that were counted before.
static void count_turns(void *argument)
{
    struct shares *shares = argument;

    for (unsigned i = 0; i < SHARERS; i++)
        shares->turns[i] = shares->busy[i].thread->switch_count - shares->turns[i];
}

// Three threads that never yield share a hart: each is preempted, and all have as many turns, to within one.
KTEST(sched, busy_threads_share_a_hart)
{
    unsigned hart = arch_hart_count() - 1;
    struct shares shares = { 0 };
    uint64_t least = UINT64_MAX, most = 0;

    set_short_slices();
    for (unsigned i = 0; i < SHARERS; i++)
        REQUIRE(start_busy(&shares.busy[i], hart_mask_of(hart), PRIORITY_NORMAL));
    for (unsigned i = 0; i < SHARERS; i++)
        wait_for_rounds(&shares.busy[i], 1);
    hart_call(hart, count_turns, &shares);
    uint64_t preempted = sched_stats_of(hart).preempt_count;
    while (sched_stats_of(hart).preempt_count - preempted < 10 * SHARERS)
        thread_sleep_us(1000);
    hart_call(hart, count_turns, &shares);
    for (unsigned i = 0; i < SHARERS; i++) {
        stop_busy(&shares.busy[i]);
        least = min_of(least, shares.turns[i]);
        most = max_of(most, shares.turns[i]);
    }
    EXPECT_GE(most, 5);
    // Where lots are drawn, turns are alike only in the long run.
    if (bootarg_u64("jitter_us") == 0)
        EXPECT_LE(most - least, 1);
    set_usual_slices();
}

// --- Idle harts

// Threads that may run anywhere, all made on this hart, come to run on every hart.
KTEST(sched, idle_harts_pull_work)
{
    enum { EACH = 3 };
    struct busy busy[EACH * MAX_HARTS] = { 0 };
    unsigned count = EACH * arch_hart_count();
    hart_mask_t seen = 0;

    for (unsigned i = 0; i < count; i++)
        REQUIRE(start_busy(&busy[i], HART_MASK_ALL, PRIORITY_NORMAL));
    while (seen != all_harts()) {
        thread_sleep_us(100);
        for (unsigned i = 0; i < count; i++)
            seen |= __atomic_load_n(&busy[i].seen, __ATOMIC_RELAXED);
    }
    for (unsigned i = 0; i < count; i++)
        stop_busy(&busy[i]);
    EXPECT_EQ(seen, all_harts());
}

static uint64_t all_pulls(void)
{
    uint64_t sum = 0;

    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        sum += sched_stats_of(hart).pull_count;
    return sum;
}

// What waits behind a thread of high priority that does not let go is taken by harts that have nothing to do.
KTEST(sched, idle_harts_take_what_waits_elsewhere)
{
    enum { WAITING = 4 };
    unsigned last = arch_hart_count() - 1;
    struct thread *threads[WAITING];
    uint32_t harts[WAITING];
    struct busy busy = { 0 };
    uint64_t pulls = all_pulls();

    if (arch_hart_count() == 1)
        ktest_skip("needs a second hart");
    REQUIRE(start_busy(&busy, hart_mask_of(last), PRIORITY_HIGH));
    while (!__atomic_load_n(&busy.has_begun, __ATOMIC_ACQUIRE))
        thread_sleep_us(10);
    for (unsigned i = 0; i < WAITING; i++) {
        threads[i] = thread_create_on(last, "waits", note_hart, &harts[i]);
        REQUIRE(threads[i]);
    }
    for (unsigned i = 0; i < WAITING; i++)
        thread_set_affinity(threads[i], HART_MASK_ALL);
    for (unsigned i = 0; i < WAITING; i++) {
        thread_join(threads[i]);
        EXPECT_NE(harts[i], last);
    }
    EXPECT_GE(all_pulls() - pulls, WAITING);
    stop_busy(&busy);
}

// A hart with one thread has no tick, but for one that may be left over from when there were more.
KTEST(sched, lonely_thread_has_no_tick)
{
    unsigned hart = arch_hart_count() - 1;
    struct busy busy = { 0 };

    if (arch_hart_count() == 1)
        ktest_skip("needs a second hart");
    if (bootarg_u64("jitter_us") != 0)
        ktest_skip("with jitter every busy hart has ticks");
    set_short_slices();
    REQUIRE(start_busy(&busy, hart_mask_of(hart), PRIORITY_NORMAL));
    wait_for_rounds(&busy, 2);
    uint64_t ticks = sched_stats_of(hart).tick_count;
    thread_sleep_us(10000);
    wait_for_rounds(&busy, 2);
    EXPECT_LE(sched_stats_of(hart).tick_count - ticks, 1);
    stop_busy(&busy);
    set_usual_slices();
}

struct sleeper {
    struct thread *thread;
    struct completion asleep;
    unsigned woken_on;
    uint32_t *awake;               // (A) of both
};

// Ends on the hart where it was woken, having slept last on hart 1, though it may run anywhere.
static void sleep_on_hart_1(void *argument)
{
    struct sleeper *self = argument;

    thread_set_affinity(thread_current(), HART_MASK_ALL);
    complete(&self->asleep);
    thread_block();
    self->woken_on = hart_now();
    __atomic_fetch_add(self->awake, 1, __ATOMIC_RELEASE);
    for (unsigned round = 0; __atomic_load_n(self->awake, __ATOMIC_ACQUIRE) < 2; round++)
        arch_relax(round % 64);
}

// Two threads that are woken one after the other go to two idle harts, not both to the first of them.
KTEST(sched, wakes_are_spread_over_idle_harts)
{
    unsigned apart = 0;

    if (arch_hart_count() < 3)
        ktest_skip("takes three harts");
    for (unsigned round = 0; round < 20; round++) {
        uint32_t awake = 0;
        struct sleeper sleepers[2] = { { .awake = &awake }, { .awake = &awake } };

        for (unsigned i = 0; i < 2; i++) {
            completion_init(&sleepers[i].asleep);
            sleepers[i].thread = thread_create_on(1, "sleeper", sleep_on_hart_1, &sleepers[i]);
            REQUIRE(sleepers[i].thread);
            completion_wait(&sleepers[i].asleep);
        }
        thread_sleep_us(200);
        preempt_disable();
        thread_wake(sleepers[0].thread);
        thread_wake(sleepers[1].thread);
        preempt_enable();
        for (unsigned i = 0; i < 2; i++)
            thread_join(sleepers[i].thread);
        apart += sleepers[0].woken_on != sleepers[1].woken_on;
    }
    EXPECT_GE(apart, 1);
}
