// Threads: how they end, where they run, whose turn it is, and how long they sleep.
// SPDX-License-Identifier: BSD-2-Clause

#include "../unit/fault_plan.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <init/bootargs.h>
#include <ktest/ktest.h>
#include <mm/granule.h>
#include <mm/kstack.h>
#include <mm/kstack_cache.h>
#include <sync/mutex.h>
#include <sync/semaphore.h>
#include <sync/waitq.h>
#include <task/thread.h>
#include <task/timer.h>

static void note_argument(void *argument)
{
    thread_yield();
    ++*(unsigned *)argument;
}

// Threads of every hart run to their end, are joined, and give their stacks back.
KTEST(thread, join_waits_for_the_end)
{
    enum { THREADS = 12 };
    struct thread *threads[THREADS];
    unsigned done[THREADS] = { 0 };
    uint64_t alive = thread_count(), made = thread_created_count();

    for (unsigned i = 0; i < THREADS; i++)
        threads[i] = thread_create_on(i % arch_hart_count(), "joined", note_argument, &done[i]);
    for (unsigned i = 0; i < THREADS; i++) {
        REQUIRE(threads[i]);
        thread_join(threads[i]);
        EXPECT_EQ(done[i], 1);
    }
    EXPECT_EQ(thread_count(), alive);
    EXPECT_EQ(thread_created_count(), made + THREADS);
}

struct ping {
    struct thread *partner;
    unsigned received, rounds;
};

static void answer(void *argument)
{
    struct ping *ping = argument;

    for (unsigned i = 0; i < ping->rounds; i++) {
        while (__atomic_load_n(&ping->received, __ATOMIC_ACQUIRE) == i)
            thread_block();
        thread_wake(ping->partner);
    }
}

// A wake between looking and blocking is not lost, from whichever hart it comes.
KTEST(thread, no_wake_is_lost)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct ping ping = { .partner = thread_current(), .rounds = 500 };
        struct thread *other = thread_create_on(hart, "ponger", answer, &ping);
        REQUIRE(other);
        for (unsigned i = 0; i < ping.rounds; i++) {
            __atomic_fetch_add(&ping.received, 1, __ATOMIC_RELEASE);
            thread_wake(other);
            thread_block();
        }
        thread_join(other);
        EXPECT_EQ(ping.received, ping.rounds);
    }
}

static void count_end(void *counter)
{
    __atomic_fetch_add((uint32_t *)counter, 1, __ATOMIC_RELEASE);
}

// A detached thread frees itself, whether it was detached before or after its end.
KTEST(thread, detached_ones_free_themselves)
{
    uint64_t alive = thread_count();
    uint32_t ended = 0;

    for (unsigned i = 0; i < 24; i++) {
        struct thread *thread = thread_create_on(i % arch_hart_count(), "detached", count_end, &ended);
        REQUIRE(thread);
        if (i % 2)
            while (__atomic_load_n(&ended, __ATOMIC_ACQUIRE) <= i)
                thread_sleep_us(10);
        thread_detach(thread);
    }
    while (thread_count() != alive)
        thread_sleep_us(50);
    EXPECT_EQ(ended, 24);
}

// --- Kill

struct victim {
    struct mutex mutex;
    struct semaphore semaphore;
    struct waitq queue;
    unsigned way;
    uint32_t is_waiting, was_killed, has_waited;   // (A)
    uint32_t may_go;                               // (A) the condition
};

enum { BY_SLEEPING, BY_MUTEX, BY_SEMAPHORE, BY_WAITQ, KILLABLE_WAYS };

static bool wait_killable(struct victim *victim)
{
    switch (victim->way) {
    case BY_SLEEPING:
        return thread_sleep_us(3600UL * 1000000);
    case BY_MUTEX:
        if (!mutex_lock_killable(&victim->mutex))
            return false;
        mutex_unlock(&victim->mutex);
        return true;
    case BY_SEMAPHORE:
        return semaphore_down_killable(&victim->semaphore);
    default:
        return wait_event_killable(&victim->queue, __atomic_load_n(&victim->may_go, __ATOMIC_ACQUIRE));
    }
}

static void wait_to_be_killed(void *argument)
{
    struct victim *victim = argument;

    __atomic_store_n(&victim->is_waiting, 1, __ATOMIC_RELEASE);
    bool has_waited = wait_killable(victim);
    __atomic_store_n(&victim->has_waited, has_waited, __ATOMIC_RELAXED);
    __atomic_store_n(&victim->was_killed, thread_is_killed(), __ATOMIC_RELAXED);
}

static void init_victim(struct victim *victim, unsigned way)
{
    *victim = (struct victim){ .way = way };
    mutex_init(&victim->mutex);
    semaphore_init(&victim->semaphore, 0);
    waitq_init(&victim->queue);
}

static void wait_for(const uint32_t *flag)
{
    while (!__atomic_load_n(flag, __ATOMIC_ACQUIRE))
        thread_sleep_us(10);
}

// A kill ends every killable wait, whether it was under way or had still to begin; the thread can then see it.
KTEST(thread, kill_ends_killable_waits)
{
    for (unsigned way = 0; way < KILLABLE_WAYS; way++)
        for (unsigned hart = 0; hart < arch_hart_count(); hart++)
            for (unsigned is_late = 0; is_late < 2; is_late++) {
                struct victim victim;
                init_victim(&victim, way);
                mutex_lock(&victim.mutex);
                struct thread *thread = thread_create_on(hart, "victim", wait_to_be_killed, &victim);
                REQUIRE(thread);
                if (is_late) {
                    wait_for(&victim.is_waiting);
                    thread_sleep_us(20);
                }
                thread_kill(thread);
                thread_join(thread);
                EXPECT(victim.was_killed && !victim.has_waited);
                mutex_unlock(&victim.mutex);
            }
}

static void wait_in_spite(void *argument)
{
    struct victim *victim = argument;

    __atomic_store_n(&victim->is_waiting, 1, __ATOMIC_RELEASE);
    if (victim->way == BY_MUTEX) {
        mutex_lock(&victim->mutex);
        mutex_unlock(&victim->mutex);
    } else if (victim->way == BY_SEMAPHORE) {
        semaphore_down(&victim->semaphore);
    } else {
        wait_event(&victim->queue, __atomic_load_n(&victim->may_go, __ATOMIC_ACQUIRE));
    }
    __atomic_store_n(&victim->has_waited, __atomic_load_n(&victim->may_go, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
    __atomic_store_n(&victim->was_killed, thread_is_killed(), __ATOMIC_RELAXED);
}

// It does not end the other waits: they last until what they wait for has come.
KTEST(thread, kill_does_not_end_other_waits)
{
    for (unsigned way = BY_MUTEX; way < KILLABLE_WAYS; way++) {
        struct victim victim;
        init_victim(&victim, way);
        mutex_lock(&victim.mutex);
        struct thread *thread = thread_create("stubborn", wait_in_spite, &victim);
        REQUIRE(thread);
        wait_for(&victim.is_waiting);
        thread_sleep_us(20);
        thread_kill(thread);
        thread_sleep_us(100);
        __atomic_store_n(&victim.may_go, 1, __ATOMIC_RELEASE);
        mutex_unlock(&victim.mutex);
        semaphore_up(&victim.semaphore);
        waitq_wake_all(&victim.queue);
        thread_join(thread);
        EXPECT(victim.was_killed && victim.has_waited);
    }
}

// --- Sleeping

struct sleeper {
    uint64_t deadline;
    bool was_early, was_killed, was_late;
    uint32_t *places;              // (A)
    uint32_t place;
};

static void sleep_once(void *argument)
{
    struct sleeper *sleeper = argument;

    sleeper->was_late = arch_time() >= sleeper->deadline;
    sleeper->was_killed = !thread_sleep_until(sleeper->deadline);
    sleeper->place = __atomic_fetch_add(sleeper->places, 1, __ATOMIC_RELAXED);
    sleeper->was_early = arch_time() < sleeper->deadline;
}

// Sleepers wake at their moments, not before; and on one hart in the order of those, where no lots are drawn and all
// have come to sleep in time.
KTEST(thread, sleepers_wake_in_order)
{
    enum { SLEEPERS = 16 };

    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        struct sleeper sleepers[SLEEPERS];
        struct thread *threads[SLEEPERS];
        uint32_t places = 0;
        uint64_t start = timer_after_us(20000);
        bool has_order = bootarg_u64("jitter_us") == 0;

        for (unsigned i = 0; i < SLEEPERS; i++) {
            sleepers[i] = (struct sleeper){ .deadline = start + arch_timer_hz() / 2000 * (i * 7 % SLEEPERS),
                                            .places = &places };
            threads[i] = thread_create_in(hart_mask_of(hart), PRIORITY_HIGH, "sleeper", sleep_once, &sleepers[i]);
            REQUIRE(threads[i]);
        }
        for (unsigned i = 0; i < SLEEPERS; i++) {
            thread_join(threads[i]);
            has_order &= !sleepers[i].was_late;
        }
        for (unsigned i = 0; i < SLEEPERS; i++) {
            EXPECT(!sleepers[i].was_early && !sleepers[i].was_killed);
            if (has_order)
                EXPECT_EQ(sleepers[i].place, i * 7 % SLEEPERS);
        }
        EXPECT_EQ(places, SLEEPERS);
    }
}

// A sleep lasts as long as was asked for, also when somebody wakes the sleeper before.
KTEST(thread, sleep_is_not_cut_short)
{
    for (unsigned i = 0; i < 20; i++) {
        uint64_t start = arch_time();
        if (i % 2)
            thread_wake(thread_current());
        EXPECT(thread_sleep_us(i * 10));
        EXPECT_GE(arch_time() - start, i * 10 * arch_timer_hz() / 1000000);
    }
}

struct waker {
    struct timer timer;
    struct thread *thread;
};

static void wake_it(struct timer *timer)
{
    thread_wake(container_of(timer, struct waker, timer)->thread);
}

static void block_until_moments(void *unused unused_arg)
{
    struct waker waker = { .timer = TIMER_INIT(wake_it), .thread = thread_current() };
    uint64_t deadline = timer_after_us(100);

    EXPECT(!thread_block_until(deadline));
    EXPECT_GE(arch_time(), deadline);
    EXPECT(!thread_block_until(arch_time()));
    timer_arm(&waker.timer, timer_after_us(50));
    EXPECT(thread_block_until(timer_after_us(3600UL * 1000000)));
    timer_cancel(&waker.timer);
    thread_wake(thread_current());
    EXPECT(thread_block_until(timer_after_us(3600UL * 1000000)));
}

// Blocking up to a moment is true when it was a wake that ended it, and false, at the moment, when none came. In a
// thread of its own, which nobody else wakes.
KTEST(thread, block_until_tells_why_it_returned)
{
    struct thread *thread = thread_create("blocker", block_until_moments, NULL);

    REQUIRE(thread);
    thread_join(thread);
}

// --- Stacks

static void run_some_threads(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned done = 0;
        struct thread *thread = thread_create_on(0, "short", note_argument, &done);
        REQUIRE(thread);
        thread_join(thread);
    }
}

static noinline void use_bytes(size_t bytes)
{
    volatile char frame[512];

    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = (char)i;
    if (bytes > sizeof frame)
        use_bytes(bytes - sizeof frame);
    // Read afterwards, so that the call above is none that reuses the frame.
    (void)frame[bytes % sizeof frame];
}

struct deep { size_t bytes, depth; };

static void go_deep(void *argument)
{
    struct deep *deep = argument;

    use_bytes(deep->bytes);
    deep->depth = thread_stack_depth(thread_current());
}

// The depth of a stack is what the thread has used of it, not more than a few frames off; and not what an earlier one
// did on the same stack.
KTEST(thread, depth_is_what_it_used)
{
    size_t sizes[] = { 512, KERNEL_STACK_SIZE / 2, 1024, KERNEL_STACK_SIZE * 5 / 8, 512 };

    for (unsigned i = 0; i < array_count(sizes); i++) {
        struct deep deep = { .bytes = sizes[i] };
        struct thread *thread = thread_create("deep", go_deep, &deep);
        REQUIRE(thread);
        thread_join(thread);
        EXPECT_GE(deep.depth, sizes[i]);
        EXPECT_LE(deep.depth, sizes[i] * 5 / 4 + 2560);
    }
}

// Stacks of ended threads are used again, kept up to a few a hart, and given back on demand.
KTEST(thread, stacks_are_used_again)
{
    kstack_cache_shrink();
    uint64_t used = granule_stacks.used_count, reused = kstack_cache_reused_count();

    run_some_threads(10);
    EXPECT_EQ(kstack_cache_reused_count() - reused, 9);
    EXPECT_EQ(granule_stacks.used_count - used, KERNEL_STACK_SIZE / MMU_PAGE_SIZE);
    struct thread *threads[KSTACKS_KEPT + 4];
    unsigned done[KSTACKS_KEPT + 4] = { 0 };
    for (unsigned i = 0; i < KSTACKS_KEPT + 4; i++) {
        threads[i] = thread_create_on(0, "kept", note_argument, &done[i]);
        REQUIRE(threads[i]);
    }
    for (unsigned i = 0; i < KSTACKS_KEPT + 4; i++)
        thread_join(threads[i]);
    EXPECT_EQ(granule_stacks.used_count - used, KSTACKS_KEPT * (KERNEL_STACK_SIZE / MMU_PAGE_SIZE));
    kstack_cache_shrink();
    EXPECT_EQ(granule_stacks.used_count, used);
    EXPECT_EQ(kstack_cache_shrink(), 0);
}

// Whatever allocation fails, no thread is made and nothing is left behind; with memory there again, one is.
KTEST(thread, creation_fails_cleanly_at_every_step)
{
    uint64_t alive = thread_count(), made = thread_created_count(), used = granule_stacks.used_count;
    unsigned done = 0, failures = 0;

    kstack_cache_shrink();
    for (bool has_failed = true; has_failed;) {
        fault_plan_start(FAULT_ALL, failures, UINT64_MAX);
        struct thread *thread = thread_create("hapless", note_argument, &done);
        has_failed = fault_plan_stop();
        EXPECT_EQ(thread == NULL, has_failed);
        if (thread)
            thread_join(thread);
        else
            EXPECT_EQ(thread_count(), alive);
        failures += has_failed;
        kstack_cache_shrink();
        EXPECT_EQ(granule_stacks.used_count, used);
    }
    EXPECT_EQ(done, 1);
    EXPECT_GE(failures, 3);
    EXPECT_EQ(thread_count(), alive);
    EXPECT_EQ(thread_created_count(), made + 1);
}
