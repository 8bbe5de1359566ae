// lib/sync/lockdep.h: each broken rule is found once, at the moment, and the right way is let pass.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/lockdep.h>

#if CONFIG_CHECKED

#include "sync_support.h"

#include <debug/violation.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <sync/mutex.h>
#include <sync/semaphore.h>

static struct spinlock outer = SPINLOCK_INIT(TEST_OUTER), outer_twin = SPINLOCK_INIT(TEST_OUTER);
static struct spinlock inner = SPINLOCK_INIT(TEST_INNER);
static struct spinlock irq_outer = SPINLOCK_INIT(TEST_IRQ_OUTER), irq_outer_twin = SPINLOCK_INIT(TEST_IRQ_OUTER);
static struct spinlock irq_inner = SPINLOCK_INIT(TEST_IRQ_INNER);
static struct mutex sleep_outer = MUTEX_INIT_CLASS(sleep_outer, TEST_SLEEP_OUTER);
static struct mutex sleep_inner = MUTEX_INIT_CLASS(sleep_inner, TEST_SLEEP_INNER);
static struct mutex sleep_inner_twin = MUTEX_INIT_CLASS(sleep_inner_twin, TEST_SLEEP_INNER);

// More are announced than may come: a second finding is then counted, and not the end.
#define ANNOUNCED 8

// Runs the statement, which must break `count` rules, and leave nothing behind.
#define EXPECT_VIOLATIONS(count, ...) \
    do { \
        violation_expect(ANNOUNCED); \
        __VA_ARGS__; \
        EXPECT_EQ(violation_expect(0), count); \
        EXPECT(is_balanced()); \
    } while (0)

static bool is_balanced(void)
{
    return arch_irqs_enabled() && preempt_count() == 0 && lockdep_held_count() == 0 &&
           thread_held_locks()->count == 0 && outer.word == 0 && outer_twin.word == 0 && inner.word == 0 &&
           irq_outer.word == 0 && irq_outer_twin.word == 0 && irq_inner.word == 0 && sleep_outer.owner == 0 &&
           sleep_inner.owner == 0 && sleep_inner_twin.owner == 0;
}

static void take(struct spinlock *lock)
{
    spin_lock(lock);
    spin_unlock(lock);
}

static void take_two(struct spinlock *first, struct spinlock *second)
{
    spin_lock(first);
    spin_lock(second);
    spin_unlock(second);
    spin_unlock(first);
}

static void take_two_masked(struct spinlock *first, struct spinlock *second)
{
    irqflags_t first_flags = spin_lock_irqsave(first), second_flags = spin_lock_irqsave(second);

    spin_unlock_irqrestore(second, second_flags);
    spin_unlock_irqrestore(first, first_flags);
}

static void take_two_sleeping(struct mutex *first, struct mutex *second)
{
    mutex_lock(first);
    mutex_lock(second);
    mutex_unlock(second);
    mutex_unlock(first);
}

// Spin locks that nest against the order of their classes are found, of process context and of interrupts.
KTEST(lockdep, finds_an_inversion)
{
    EXPECT_VIOLATIONS(0, take_two(&outer, &inner));
    EXPECT_VIOLATIONS(1, take_two(&inner, &outer));
    EXPECT_VIOLATIONS(0, take_two_masked(&irq_outer, &irq_inner));
    EXPECT_VIOLATIONS(1, take_two_masked(&irq_inner, &irq_outer));
}

// It is not the lock taken last that counts, but all that are held.
KTEST(lockdep, finds_an_inversion_with_any_lock_held)
{
    irqflags_t flags;

    EXPECT_VIOLATIONS(1, spin_lock(&inner); flags = spin_lock_irqsave(&irq_inner); spin_unlock(&inner);
                      take(&irq_outer); spin_unlock_irqrestore(&irq_inner, flags));
    EXPECT_VIOLATIONS(1, mutex_lock(&sleep_inner); EXPECT(mutex_trylock(&sleep_outer)); mutex_lock(&sleep_inner_twin);
                      mutex_unlock(&sleep_inner); mutex_unlock(&sleep_outer); mutex_unlock(&sleep_inner_twin));
    EXPECT_VIOLATIONS(0, spin_lock(&outer); spin_lock(&inner); spin_unlock(&outer);
                      flags = spin_lock_irqsave(&irq_inner); spin_unlock_irqrestore(&irq_inner, flags);
                      spin_unlock(&inner));
}

// Two locks of one class never nest.
KTEST(lockdep, finds_one_class_twice)
{
    EXPECT_VIOLATIONS(1, take_two(&outer, &outer_twin));
    EXPECT_VIOLATIONS(1, take_two_masked(&irq_outer, &irq_outer_twin));
    EXPECT_VIOLATIONS(1, take_two_sleeping(&sleep_inner, &sleep_inner_twin));
    EXPECT_VIOLATIONS(0, take(&outer); take(&outer_twin));
}

// A lock that interrupts want is found when it is taken with interrupts enabled.
KTEST(lockdep, finds_enabled_interrupts)
{
    irqflags_t flags;

    EXPECT_VIOLATIONS(1, take(&irq_outer));
    EXPECT_VIOLATIONS(1, EXPECT(spin_trylock(&irq_outer)); spin_unlock(&irq_outer));
    EXPECT_VIOLATIONS(0, flags = arch_irq_save(); take(&irq_outer); arch_irq_restore(flags));
    EXPECT_VIOLATIONS(0, flags = spin_lock_irqsave(&irq_outer); spin_unlock_irqrestore(&irq_outer, flags));
}

// A lock of process context inside one that interrupts want is found.
KTEST(lockdep, finds_a_process_lock_where_none_may_be)
{
    irqflags_t flags;

    EXPECT_VIOLATIONS(1, flags = spin_lock_irqsave(&irq_outer); take(&outer);
                      spin_unlock_irqrestore(&irq_outer, flags));
    EXPECT_VIOLATIONS(0, spin_lock(&outer); flags = spin_lock_irqsave(&irq_outer);
                      spin_unlock_irqrestore(&irq_outer, flags); spin_unlock(&outer));
    EXPECT_VIOLATIONS(0, flags = arch_irq_save(); take(&outer); arch_irq_restore(flags));
}

// A lock that nobody has given a class is found.
KTEST(lockdep, finds_a_lock_without_class)
{
    struct spinlock lock = { .word = 0 };
    irqflags_t flags;

    EXPECT_VIOLATIONS(1, flags = spin_lock_irqsave(&lock); spin_unlock_irqrestore(&lock, flags));
    spin_lock_init(&lock, TEST_IRQ_OUTER);
    EXPECT_VIOLATIONS(0, flags = spin_lock_irqsave(&lock); spin_unlock_irqrestore(&lock, flags));
}

// Giving back what is not held is found, for locks of harts and of threads.
KTEST(lockdep, finds_a_release_of_what_is_not_held)
{
    irqflags_t flags;

    EXPECT_VIOLATIONS(1, preempt_disable(); spin_unlock(&outer));
    EXPECT_VIOLATIONS(1, flags = arch_irq_save(); spin_unlock_irqrestore(&irq_outer, flags));
    EXPECT_VIOLATIONS(1, take(&outer); preempt_disable(); spin_unlock(&outer));
    EXPECT_VIOLATIONS(1, lockdep_release_sleeping(&sleep_outer));
}

// Mutexes that nest against their order are found; a try can break no order.
KTEST(lockdep, finds_an_inversion_of_mutexes)
{
    EXPECT_VIOLATIONS(0, take_two_sleeping(&sleep_outer, &sleep_inner));
    EXPECT_VIOLATIONS(1, take_two_sleeping(&sleep_inner, &sleep_outer));
    EXPECT_VIOLATIONS(0, mutex_lock(&sleep_inner); EXPECT(mutex_trylock(&sleep_outer)); mutex_unlock(&sleep_outer);
                      mutex_unlock(&sleep_inner));
    EXPECT_VIOLATIONS(0, mutex_lock(&sleep_inner); take_two(&outer, &inner); take_two_masked(&irq_outer, &irq_inner);
                      mutex_unlock(&sleep_inner));
}

// Runs the statement in each atomic context, and in none.
#define EXPECT_FOUND_WHERE_ATOMIC(statement) \
    do { \
        irqflags_t atomic_flags_; \
        EXPECT_VIOLATIONS(0, statement); \
        EXPECT_VIOLATIONS(1, spin_lock(&outer); statement; spin_unlock(&outer)); \
        EXPECT_VIOLATIONS(1, atomic_flags_ = spin_lock_irqsave(&irq_outer); statement; \
                          spin_unlock_irqrestore(&irq_outer, atomic_flags_)); \
        EXPECT_VIOLATIONS(1, atomic_flags_ = arch_irq_save(); statement; arch_irq_restore(atomic_flags_)); \
        EXPECT_VIOLATIONS(1, preempt_disable(); statement; preempt_enable()); \
        EXPECT_VIOLATIONS(1, local_bh_disable(); statement; local_bh_enable()); \
    } while (0)

// Saying that one may sleep is found wherever that is forbidden.
KTEST(lockdep, finds_sleep_where_atomic)
{
    EXPECT_FOUND_WHERE_ATOMIC(might_sleep());
    EXPECT_FOUND_WHERE_ATOMIC(might_sleep_if(true));
    EXPECT_VIOLATIONS(0, spin_lock(&outer); might_sleep_if(false); spin_unlock(&outer));
}

// So is a sleeping lock or a wait, though it would have been had at once.
KTEST(lockdep, finds_sleeping_locks_where_atomic)
{
    struct semaphore semaphore = SEMAPHORE_INIT(semaphore, 6);
    struct waitq queue = WAITQ_INIT(queue);

    EXPECT_FOUND_WHERE_ATOMIC(mutex_lock(&sleep_outer); mutex_unlock(&sleep_outer));
    EXPECT_FOUND_WHERE_ATOMIC(semaphore_down(&semaphore));
    EXPECT_EQ(semaphore.count, 0);
    EXPECT_FOUND_WHERE_ATOMIC(wait_event(&queue, true));
    EXPECT_VIOLATIONS(0, spin_lock(&outer); semaphore_up(&semaphore); EXPECT(semaphore_try_down(&semaphore));
                      waitq_wake_all(&queue); spin_unlock(&outer));
}

static void take_page(gfp_t gfp)
{
    struct page *page = alloc_pages(gfp, 0);

    EXPECT_NOT_NULL(page);
    if (page != NULL)
        __free_pages(page, 0);
}

static void take_object(gfp_t gfp)
{
    void *object = kmalloc(100, gfp);

    EXPECT_NOT_NULL(object);
    kfree(object);
}

// Memory that may be waited for is found where nobody may wait; GFP_ATOMIC is the right way there.
KTEST(lockdep, finds_gfp_kernel_where_atomic)
{
    irqflags_t flags;
    void *kept = kmalloc(100, GFP_KERNEL);

    // The cache has room already: the rule holds for what might happen.
    REQUIRE(kept != NULL);
    EXPECT_FOUND_WHERE_ATOMIC(take_page(GFP_KERNEL));
    EXPECT_FOUND_WHERE_ATOMIC(take_object(GFP_KERNEL));
    EXPECT_VIOLATIONS(0, spin_lock(&outer); take_page(GFP_ATOMIC); take_object(GFP_ATOMIC); spin_unlock(&outer));
    EXPECT_VIOLATIONS(0, flags = arch_irq_save(); take_page(GFP_ATOMIC); take_object(GFP_ATOMIC);
                      arch_irq_restore(flags));
    kfree(kept);
}

#endif
