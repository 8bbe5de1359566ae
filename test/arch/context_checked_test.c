// In checked kernels: every call that might sleep is caught where it may not, and locks that interrupts leave behind.
// SPDX-License-Identifier: BSD-2-Clause

#include "../unit/capture.h"
#include "contexts.h"

#include <arch/smp.h>
#include <base/string.h>
#include <debug/violation.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <sync/completion.h>
#include <sync/mutex.h>
#include <sync/semaphore.h>
#include <sync/waitq.h>
#include <task/hart_call.h>
#include <task/thread.h>
#include <task/workqueue.h>

#define WHERE_ATOMIC (WHERE_PROCESS_ATOMIC | WHERE_INTERRUPT | WHERE_BOTTOM_HALF)

// More than a call can cause: what comes beyond one is counted, not fatal.
#define ROOM 16

static struct kmem_cache *cache;

struct rule {
    void (*breach)(void);
    gfp_t gfp;
};

static gfp_t gfp_now;

// Caches have objects left, so that the question is asked once: by the cache, not by the page allocator behind it.
static void take_page(void) { __free_page(alloc_page(gfp_now)); }
static void take_block(void) { __free_pages(alloc_pages(gfp_now, 2), 2); }
static void take_kmalloc(void) { kfree(kmalloc(100, gfp_now)); }
static void take_large_kmalloc(void) { kfree(kmalloc(KMALLOC_MAX_CACHE_BYTES + 1, gfp_now)); }
static void take_object(void) { kmem_cache_free(cache, kmem_cache_alloc(cache, gfp_now)); }

static void take_bulk(void)
{
    void *objects[2];

    if (kmem_cache_alloc_bulk(cache, gfp_now, 2, objects) == 2)
        kmem_cache_free_bulk(cache, 2, objects);
}

static noinline void run_breach(void *argument)
{
    ((const struct rule *)argument)->breach();
    // Not a tail call: the backtrace is to name this function.
    __asm__ volatile("");
}

// Breaks the rule once in each context of the set; each time it is reported exactly once, with the context's name and
// a backtrace that names the function which did it.
static void expect_caught(unsigned set, void (*breach)(void), gfp_t gfp, const char *says)
{
    struct rule rule = { .breach = breach };

    gfp_now = gfp;
    for (enum where where = 0; where < WHERE_COUNT; where++) {
        if (!(set & WHERE_BIT(where)))
            continue;
        violation_expect(ROOM);
        capture_start();
        run_where(where, run_breach, &rule);
        const char *text = capture_stop();
        unsigned count = violation_expect(0);
        bool is_right = EXPECT_EQ(count, 1);
        is_right &= EXPECT(text && strstr(text, says));
        is_right &= EXPECT(text && strstr(text, "run_breach + 0x"));
        if (!is_right)
            ktest_note("... in %s", where_name(where));
    }
}

static void expect_sleep_caught(void (*breach)(void))
{
    expect_caught(WHERE_ATOMIC, breach, GFP_KERNEL, "violation, as expected: hart");
}

static void keep_cache_warm(void (*run)(void))
{
    void *object, *small = kmalloc(100, GFP_KERNEL), *dma = kmalloc(100, GFP_DMA | GFP_KERNEL);

    cache = kmem_cache_create("checked", 64, 0, 0, NULL, NULL);
    REQUIRE(cache);
    object = kmem_cache_alloc(cache, GFP_KERNEL);
    REQUIRE(object && small && dma);
    run();
    kmem_cache_free(cache, object);
    kfree(small);
    kfree(dma);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

static void try_kernel_flags(gfp_t gfp)
{
    static void (*const breaches[])(void) = { take_page, take_block, take_kmalloc, take_large_kmalloc, take_object,
                                              take_bulk };

    for (unsigned i = 0; i < array_count(breaches); i++)
        expect_caught(WHERE_ATOMIC, breaches[i], gfp, "sleeping in ");
}

static void try_gfp_kernel(void) { try_kernel_flags(GFP_KERNEL); }
static void try_gfp_dma_kernel(void) { try_kernel_flags(GFP_DMA | GFP_KERNEL); }

// GFP_KERNEL is caught wherever one may not sleep, though the memory would have been there at once.
KTEST(context_checked, gfp_kernel_is_caught_where_one_may_not_sleep)
{
    keep_cache_warm(try_gfp_kernel);
}

KTEST(context_checked, gfp_dma_kernel_is_caught_where_one_may_not_sleep)
{
    keep_cache_warm(try_gfp_dma_kernel);
}

static unsigned clean_runs;

static void take_all_kinds(void *unused unused_arg)
{
    take_page();
    take_block();
    take_kmalloc();
    take_large_kmalloc();
    take_object();
    take_bulk();
    clean_runs++;
}

static void try_right_flags(void)
{
    clean_runs = 0;
    gfp_now = GFP_KERNEL;
    run_wherever(WHERE_MAY_SLEEP, take_all_kinds, NULL);
    gfp_now = GFP_ATOMIC;
    run_wherever(WHERE_ATOMIC, take_all_kinds, NULL);
    gfp_now = GFP_NOWAIT;
    run_wherever(WHERE_ATOMIC, take_all_kinds, NULL);
}

// The right flags are never complained of.
KTEST(context_checked, right_flags_are_silent)
{
    violation_expect(ROOM);
    keep_cache_warm(try_right_flags);
    EXPECT_EQ(violation_expect(0), 0);
    EXPECT_EQ(clean_runs, 2 * (WHERE_COUNT - 2) + 2);
}

// Refused for its size, right behind the question.
static void take_vmalloc(void) { vfree(vmalloc(0)); }

KTEST(context_checked, vmalloc_is_caught_where_one_may_not_sleep)
{
    EXPECT_MISUSE(WHERE_COUNT - 2, expect_caught(WHERE_ATOMIC, take_vmalloc, 0, "sleeping in "));
}

// --- Calls that sleep; none of them would have to wait here.

static struct mutex free_mutex = MUTEX_INIT(free_mutex);
static struct semaphore permits = SEMAPHORE_INIT(permits, 64);
static struct completion done_already = COMPLETION_INIT(done_already);
static struct waitq queue = WAITQ_INIT(queue);

static void lock_mutex(void)
{
    mutex_lock(&free_mutex);
    mutex_unlock(&free_mutex);
}

static void lock_mutex_killable(void)
{
    if (mutex_lock_killable(&free_mutex))
        mutex_unlock(&free_mutex);
}

static void down(void)
{
    semaphore_down(&permits);
    semaphore_up(&permits);
}

static void down_killable(void)
{
    if (semaphore_down_killable(&permits))
        semaphore_up(&permits);
}

static void wait_completion(void)
{
    complete(&done_already);
    completion_wait(&done_already);
}

static void wait_true(void) { wait_event(&queue, true); }
static void wait_true_killable(void) { EXPECT(wait_event_killable(&queue, true)); }

// Every kind of waiting is caught wherever one may not sleep, also when there was nothing to wait for.
KTEST(context_checked, waiting_is_caught_where_one_may_not_sleep)
{
    static void (*const breaches[])(void) = { lock_mutex, lock_mutex_killable, down, down_killable, wait_completion,
                                              wait_true, wait_true_killable };

    for (unsigned i = 0; i < array_count(breaches); i++)
        expect_sleep_caught(breaches[i]);
}

// --- Locks in interrupts

static struct spinlock process_lock = SPINLOCK_INIT(TEST_INNER);
static struct spinlock irq_lock = SPINLOCK_INIT(TEST_IRQ_INNER);

static void take_process_lock(void)
{
    spin_lock(&process_lock);
    spin_unlock(&process_lock);
}

// A lock of process context is caught in an interrupt, in a bottom half, and with bottom halves off.
KTEST(context_checked, process_lock_is_caught_in_interrupts)
{
    expect_caught(WHERE_INTERRUPT | WHERE_BOTTOM_HALF | WHERE_BIT(IN_BOTTOM_HALVES_OFF), take_process_lock, 0,
                  "is for process context only");
    expect_caught(WHERE_BIT(IN_IRQ_SPIN_LOCK), take_process_lock, 0, "lock order: ");
}

static void take_irq_lock_open(void)
{
    spin_lock(&irq_lock);
    spin_unlock(&irq_lock);
}

// A lock that interrupts want is caught wherever it is taken with interrupts enabled.
KTEST(context_checked, irq_lock_is_caught_with_interrupts_enabled)
{
    expect_caught(WHERE_MAY_SLEEP | WHERE_BIT(IN_PREEMPT_OFF) | WHERE_BIT(IN_SPIN_LOCK) |
                  WHERE_BIT(IN_BOTTOM_HALVES_OFF) | WHERE_BOTTOM_HALF,
                  take_irq_lock_open, 0, "is wanted by interrupts, and taken with interrupts enabled");
}

static void leave_lock_held(void *unused unused_arg)
{
    (void)spin_lock_irqsave(&irq_lock);
}

static void give_lock_back(void *unused unused_arg)
{
    spin_unlock_irqrestore(&irq_lock, 0);
}

static void do_nothing(void *unused unused_arg) { }

// An interrupt handler that comes back with a lock is caught at its end, and so is one that gave back what it did not
// take. Once the next call runs there, the interrupt before has ended.
KTEST(context_checked, lock_kept_by_an_interrupt_is_caught)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        violation_expect(ROOM);
        capture_start();
        hart_call(hart, leave_lock_held, NULL);
        hart_call(hart, give_lock_back, NULL);
        hart_call(hart, do_nothing, NULL);
        const char *text = capture_stop();
        EXPECT_EQ(violation_expect(0), 2);
        EXPECT(text && strstr(text, "an interrupt returns with 1 spin locks held, and came with 0"));
        EXPECT(text && strstr(text, "an interrupt returns with 0 spin locks held, and came with 1"));
        EXPECT(!spin_is_locked(&irq_lock));
    }
}

static void end_with_mutex(void *unused unused_arg)
{
    mutex_lock(&free_mutex);
}

// A thread that ends with a mutex is caught; the mutex stays with it.
KTEST(context_checked, thread_that_ends_with_a_mutex_is_caught)
{
    violation_expect(ROOM);
    capture_start();
    struct thread *thread = thread_create("keeper", end_with_mutex, NULL);
    if (thread)
        thread_join(thread);
    const char *text = capture_stop();
    EXPECT_EQ(violation_expect(0), 1);
    EXPECT(thread && text && strstr(text, "a thread ends with the lock SLEEPING"));
    EXPECT(mutex_is_locked(&free_mutex));
    mutex_init(&free_mutex);
}
