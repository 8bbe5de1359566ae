// A mempool between threads of all harts and interrupts: elements are one owner's, and nobody waits for ever.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/mempool.h>

#include <arch/smp.h>
#include <ktest/ktest.h>
#include <mm/page_alloc.h>
#include <sync/sched.h>
#include <task/thread.h>
#include <task/timer.h>

#define THREADS_PER_HART 3
#define MIN_COUNT 4
#define TICK_US 20

static struct {
    struct mempool *pool;
    unsigned rounds;
    unsigned damaged, refused;             // (A)
    unsigned served_interrupts;            // (A)
} rush;

// Holds an element from one tick to the next, if it gets one.
static struct ticker {
    struct timer timer;
    void *element;
} tickers[MAX_HARTS];

static void tick(struct timer *timer)
{
    struct ticker *ticker = container_of(timer, struct ticker, timer);

    mempool_free(ticker->element, rush.pool);
    ticker->element = mempool_alloc(rush.pool, GFP_ATOMIC);
    if (ticker->element != NULL)
        __atomic_fetch_add(&rush.served_interrupts, 1, __ATOMIC_RELAXED);
    timer_arm(timer, timer_after_us(TICK_US));
}

static void start_ticking(void *ticker)
{
    timer_arm(&((struct ticker *)ticker)->timer, timer_after_us(TICK_US));
}

static bool refuse_all(enum fault_site site unused_arg, gfp_t gfp unused_arg) { return true; }

// Half of the rounds keep the element over a change of threads.
static void rush_of_thread(void *argument)
{
    uint64_t tag = (uintptr_t)argument;

    for (unsigned i = 0; i < rush.rounds; i++) {
        uint64_t *element = mempool_alloc(rush.pool, GFP_KERNEL);
        if (element == NULL) {
            __atomic_fetch_add(&rush.refused, 1, __ATOMIC_RELAXED);
            continue;
        }
        *element = tag;
        if (i % 2 == 0)
            thread_yield();
        if (*(volatile uint64_t *)element != tag)
            __atomic_fetch_add(&rush.damaged, 1, __ATOMIC_RELAXED);
        mempool_free(element, rush.pool);
    }
}

// Three threads on every hart and a timer of each share four elements, and there is no memory beside them: no element
// has two owners, no thread is refused one, all threads come to their end, and the reserve is whole afterwards.
KTEST(mempool, threads_and_interrupts_share_a_reserve)
{
    static struct thread *threads[MAX_HARTS * THREADS_PER_HART];
    unsigned harts = arch_hart_count(), made = 0;

    rush.damaged = rush.refused = rush.served_interrupts = 0;
    rush.rounds = ktest_rounds(2000, 200);
    REQUIRE(rush.pool = mempool_create_kmalloc_pool(MIN_COUNT, 64));
    for (unsigned hart = 0; hart < harts; hart++) {
        tickers[hart] = (struct ticker){ .timer = TIMER_INIT(tick) };
        struct thread *starter = thread_create_on(hart, "ticks", start_ticking, &tickers[hart]);
        if (EXPECT(starter != NULL))
            thread_join(starter);
    }
    for (; made < harts * THREADS_PER_HART; made++) {
        threads[made] = thread_create_on(made % harts, "rush", rush_of_thread, &threads[made]);
        if (!EXPECT(threads[made] != NULL))
            break;
    }
    mm_set_fault_hook(refuse_all);
    for (unsigned i = 0; i < made; i++)
        thread_join(threads[i]);
    mm_set_fault_hook(NULL);
    for (unsigned hart = 0; hart < harts; hart++) {
        timer_cancel(&tickers[hart].timer);
        mempool_free(tickers[hart].element, rush.pool);
    }
    EXPECT_EQ(rush.damaged, 0);
    EXPECT_EQ(rush.refused, 0);
    EXPECT_LT(0, rush.served_interrupts);
    EXPECT_EQ(mempool_stats(rush.pool).reserve_count, MIN_COUNT);
    EXPECT_EQ(mempool_destroy(rush.pool), 0);
}
