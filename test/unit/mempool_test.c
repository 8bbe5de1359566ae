// mm/kmem/mempool.c: a pool has what it promises when nobody else has anything, and gets it back.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/mempool.h>

#include "fault_plan.h"
#include "memory_left.h"
#include "sync_support.h"

#include <arch/time.h>
#include <base/errno.h>
#include <base/string.h>
#include <mm/kmalloc.h>

// An underlying allocator of the tests' own: so many elements, and what it was asked for.
static struct source {
    bool is_taken[128];
    unsigned most;                 // (A) elements it has, in use or not
    unsigned requests;             // (A)
    gfp_t gfp;                     // of the last request
    unsigned fails_before;         // requests so far, until when it has nothing
    bool needs_reclaim;            // it has nothing for who may not sleep
    unsigned bad_frees;
    struct spinlock lock;
} source;

static void *take_element(gfp_t gfp, void *context)
{
    void *element = NULL;

    (void)context;
    irqflags_t flags = spin_lock_irqsave(&source.lock);
    source.gfp = gfp;
    bool has_none = source.requests++ < source.fails_before || (source.needs_reclaim && !gfp_may_sleep(gfp));
    for (unsigned i = 0; i < source.most && !has_none && element == NULL; i++)
        if (!source.is_taken[i]) {
            source.is_taken[i] = true;
            element = &source.is_taken[i];
        }
    spin_unlock_irqrestore(&source.lock, flags);
    return element;
}

static void give_element(void *element, void *context)
{
    bool *is_taken = element;

    (void)context;
    irqflags_t flags = spin_lock_irqsave(&source.lock);
    source.bad_frees += !*is_taken;
    *is_taken = false;
    spin_unlock_irqrestore(&source.lock, flags);
}

static void source_open(unsigned most)
{
    memset(&source, 0, sizeof(source));
    spin_lock_init(&source.lock, TEST_IRQ_INNER);
    source.most = most;
}

static unsigned taken_from_source(void)
{
    unsigned taken = 0;

    for (unsigned i = 0; i < array_count(source.is_taken); i++)
        taken += source.is_taken[i];
    return taken;
}

// The underlying allocator comes first, and is asked lightly whatever the caller may do; then the reserve; then
// nothing, for who may not sleep. Frees refill the reserve before anything goes back.
KTEST(mempool, reserve_is_last_and_refilled_first)
{
    void *elements[8];

    source_open(6);
    struct mempool *pool = mempool_create(4, take_element, give_element, NULL);
    REQUIRE(pool);
    EXPECT_EQ(taken_from_source(), 4);
    EXPECT_EQ(source.gfp, GFP_KERNEL);
    for (unsigned i = 0; i < 6; i++) {
        REQUIRE(elements[i] = mempool_alloc(pool, GFP_ATOMIC));
        EXPECT_EQ(source.gfp, (GFP_ATOMIC & ~__GFP_HIGH) | __GFP_NORETRY | __GFP_NOWARN);
        EXPECT_EQ(mempool_stats(pool).reserve_count, i < 2 ? 4 : 5 - i);
        for (unsigned k = 0; k < i; k++)
            EXPECT_NE(elements[i], elements[k]);
    }
    EXPECT_NULL(mempool_alloc(pool, GFP_ATOMIC));
    EXPECT_NULL(mempool_alloc(pool, GFP_NOWAIT));
    EXPECT_EQ(mempool_stats(pool).out_count, 6);
    for (unsigned i = 0; i < 6; i++) {
        mempool_free(elements[i], pool);
        EXPECT_EQ(mempool_stats(pool).reserve_count, min_of(i + 1, 4U));
        EXPECT_EQ(taken_from_source(), i < 4 ? 6 : 9 - i);
    }
    mempool_free(NULL, pool);
    EXPECT_EQ(mempool_stats(pool).out_count, 0);
    EXPECT_EQ(mempool_destroy(pool), 0);
    EXPECT_EQ(taken_from_source(), 0);
    EXPECT_EQ(source.bad_frees, 0);
}

// Who may sleep has reclaim tried for him, but only when the reserve is empty; and when that finds nothing he asks
// again while he waits, since memory may come back by other ways.
KTEST(mempool, reclaims_and_asks_again)
{
    void *elements[3];

    source_open(2);
    struct mempool *pool = mempool_create(1, take_element, give_element, NULL);
    REQUIRE(pool);
    source.needs_reclaim = true;
    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(elements[i] = mempool_alloc(pool, GFP_KERNEL | __GFP_NOFAIL | __GFP_MEMALLOC));
        EXPECT_EQ(source.gfp, (i == 0 ? GFP_NOWAIT : GFP_KERNEL) | __GFP_NORETRY | __GFP_NOWARN);
    }
    source.most = 3;
    source.fails_before = source.requests + 4;
    uint64_t start = arch_time();
    REQUIRE(elements[2] = mempool_alloc(pool, GFP_KERNEL));
    EXPECT_EQ(source.requests, source.fails_before + 1);
    EXPECT_LE(arch_timer_hz() / 10, arch_time() - start);
    EXPECT_EQ(mempool_stats(pool).waiter_count, 0);
    for (unsigned i = 0; i < 3; i++)
        mempool_free(elements[i], pool);
    EXPECT_EQ(mempool_destroy(pool), 0);
    EXPECT_EQ(taken_from_source(), 0);
}

// The usual pools keep their promise while every request for pages and objects fails.
KTEST(mempool, goes_on_without_memory)
{
    struct kmem_cache *cache = kmem_cache_create("elements", 200, 0, 0, NULL, NULL);
    REQUIRE(cache);
    struct mempool *const pools[] = {
        mempool_create_slab_pool(5, cache),
        mempool_create_kmalloc_pool(5, 100),
        mempool_create_kmalloc_pool(5, KMALLOC_MAX_CACHE_BYTES + 1),
        mempool_create_page_pool(5, 0),
        mempool_create_page_pool(5, 2),
    };
    void *elements[5];

    for (unsigned i = 0; i < array_count(pools); i++) {
        REQUIRE(pools[i]);
        fault_plan_start(FAULT_ALL, 0, UINT64_MAX);
        for (unsigned round = 0; round < 3; round++) {
            for (unsigned k = 0; k < 5; k++)
                EXPECT_NOT_NULL(elements[k] = mempool_alloc(pools[i], k % 2 == 0 ? GFP_ATOMIC : GFP_KERNEL));
            EXPECT_NULL(mempool_alloc(pools[i], GFP_ATOMIC));
            for (unsigned k = 0; k < 5; k++)
                mempool_free(elements[k], pools[i]);
            EXPECT_EQ(mempool_stats(pools[i]).reserve_count, 5);
        }
        EXPECT(fault_plan_stop());
        void *element = mempool_alloc(pools[i], GFP_KERNEL);
        EXPECT_NOT_NULL(element);
        EXPECT_EQ(mempool_stats(pools[i]).reserve_count, 5);
        mempool_free(element, pools[i]);
        EXPECT_EQ(mempool_destroy(pools[i]), 0);
    }
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// A larger reserve is full at once or not there at all; a smaller one gives back what is too much, also of what is out.
KTEST(mempool, resizes)
{
    void *elements[6];

    source_open(8);
    struct mempool *pool = mempool_create(2, take_element, give_element, NULL);
    REQUIRE(pool);
    EXPECT_EQ(mempool_resize(pool, 6), 0);
    EXPECT_EQ(mempool_stats(pool).reserve_count, 6);
    EXPECT_EQ(mempool_resize(pool, 9), -ENOMEM);
    EXPECT_EQ(taken_from_source(), 6);
    EXPECT_EQ(mempool_stats(pool).min_count, 6);
    source.most = 6;
    for (unsigned i = 0; i < 4; i++)
        REQUIRE(elements[i] = mempool_alloc(pool, GFP_ATOMIC));
    EXPECT_EQ(mempool_resize(pool, 1), 0);
    EXPECT_EQ(mempool_stats(pool).reserve_count, 1);
    EXPECT_EQ(taken_from_source(), 5);
    for (unsigned i = 0; i < 4; i++)
        mempool_free(elements[i], pool);
    EXPECT_EQ(taken_from_source(), 1);
    EXPECT_EQ(mempool_resize(pool, 3), 0);
    EXPECT_EQ(mempool_stats(pool).reserve_count, 3);
    EXPECT_EQ(mempool_resize(pool, 3), 0);
    fault_plan_start(FAULT_BIT(FAULT_SLAB), 0, UINT64_MAX);
    EXPECT_EQ(mempool_resize(pool, 5), -ENOMEM);
    EXPECT(fault_plan_stop());
    EXPECT_EQ(taken_from_source(), 3);
    EXPECT_EQ(mempool_destroy(pool), 0);
    EXPECT_EQ(taken_from_source(), 0);
    EXPECT_EQ(source.bad_frees, 0);
}

// The largest reserve there may be is moved under the lock, and keeps no interrupt waiting too long.
KTEST(mempool, largest_reserve_grows_by_one)
{
    struct mempool *pool = mempool_create_kmalloc_pool(MEMPOOL_MAX_COUNT - 1, 8);

    REQUIRE(pool);
    EXPECT_EQ(mempool_resize(pool, MEMPOOL_MAX_COUNT), 0);
    EXPECT_EQ(mempool_stats(pool).reserve_count, MEMPOOL_MAX_COUNT);
    EXPECT_EQ(mempool_resize(pool, 1), 0);
    EXPECT_EQ(mempool_destroy(pool), 0);
}

// A pool that cannot be made leaves nothing behind, wherever it fails.
KTEST(mempool, failed_creation_leaves_nothing)
{
    source_open(3);
    EXPECT_NULL(mempool_create(4, take_element, give_element, NULL));
    EXPECT_EQ(taken_from_source(), 0);
    bool was_made = false;
    for (uint64_t failing = 0; !was_made; failing++) {
        fault_plan_start(FAULT_ALL, failing, failing + 1);
        struct mempool *pool = mempool_create_page_pool(4, 1);
        was_made = !fault_plan_stop();
        EXPECT_EQ(pool != NULL, was_made);
        EXPECT_EQ(mempool_destroy(pool), 0);
    }
}

// What is refused is reported and changes nothing.
KTEST(mempool, misuse_is_reported)
{
    source_open(4);
    EXPECT_MISUSE(1, EXPECT_NULL(mempool_create(1, NULL, give_element, NULL)));
    EXPECT_MISUSE(1, EXPECT_NULL(mempool_create(1, take_element, NULL, NULL)));
    EXPECT_MISUSE(1, EXPECT_NULL(mempool_create(0, take_element, give_element, NULL)));
    EXPECT_MISUSE(1, EXPECT_NULL(mempool_create(MEMPOOL_MAX_COUNT + 1, take_element, give_element, NULL)));
    EXPECT_MISUSE(1, EXPECT_NULL(mempool_create_slab_pool(1, NULL)));
    EXPECT_MISUSE(1, EXPECT_NULL(mempool_create_kmalloc_pool(1, 0)));
    EXPECT_MISUSE(1, EXPECT_NULL(mempool_create_kmalloc_pool(1, (PAGE_SIZE << MAX_ORDER) + 1)));
    EXPECT_EQ(mempool_destroy(NULL), 0);
    EXPECT_EQ(taken_from_source(), 0);

    struct mempool *pool = mempool_create(3, take_element, give_element, NULL);
    void *first, *second, *third;
    REQUIRE(pool);
    EXPECT_MISUSE(1, first = mempool_alloc(pool, GFP_KERNEL | __GFP_ZERO));
    second = mempool_alloc(pool, GFP_KERNEL);
    third = mempool_alloc(pool, GFP_KERNEL);
    REQUIRE(first && second && third);
    EXPECT_MISUSE(1, EXPECT_EQ(mempool_destroy(pool), -EBUSY));
    EXPECT_MISUSE(1, EXPECT_EQ(mempool_resize(pool, 0), -EINVAL));
    mempool_free(second, pool);
    EXPECT_MISUSE(1, mempool_free(second, pool));
    EXPECT_EQ(mempool_stats(pool).reserve_count, 2);
    EXPECT_EQ(mempool_stats(pool).out_count, 2);
    mempool_free(first, pool);
    mempool_free(third, pool);
    EXPECT_EQ(mempool_destroy(pool), 0);
    EXPECT_EQ(taken_from_source(), 0);
    EXPECT_EQ(source.bad_frees, 0);
}

static struct {
    struct mempool *pool;
    void *element, *added;
    unsigned joiner[MAX_HARTS], joiner_count;
    unsigned turn;                         // (A)
    unsigned served[MAX_HARTS];
    unsigned served_count;                 // (A)
} arrival;

static void wait_in_turn(unsigned index, void *unused unused_arg)
{
    if (index != 0) {
        SPIN_UNTIL(LOAD(arrival.turn) == index);
        void *element = mempool_alloc(arrival.pool, GFP_KERNEL);
        EXPECT_NOT_NULL(element);
        unsigned place = PLAIN(arrival.served_count);
        arrival.served[place] = index;
        // Who was served by the larger reserve keeps its element to the end.
        *(place == 0 ? &arrival.added : &arrival.element) = element;
        STORE(arrival.served_count, place + 1);
        return;
    }
    for (unsigned i = 0; i < arrival.joiner_count; i++) {
        STORE(arrival.turn, arrival.joiner[i]);
        SPIN_UNTIL(mempool_stats(arrival.pool).waiter_count == i + 1);
    }
    if (arrival.joiner_count > 0) {
        // A larger reserve serves the first of them too.
        source.most = 2;
        EXPECT_EQ(mempool_resize(arrival.pool, 2), 0);
        SPIN_UNTIL(LOAD(arrival.served_count) == 1);
        source.most = 1;
        EXPECT_EQ(mempool_resize(arrival.pool, 1), 0);
    }
    for (unsigned i = 1; i < arrival.joiner_count; i++) {
        mempool_free(arrival.element, arrival.pool);
        EXPECT_NULL(mempool_alloc(arrival.pool, GFP_ATOMIC));
        SPIN_UNTIL(LOAD(arrival.served_count) == i + 1);
        EXPECT_EQ(mempool_stats(arrival.pool).waiter_count, arrival.joiner_count - 1 - i);
    }
}

// Each freed element goes to who has waited longest, and to nobody who comes meanwhile.
KTEST(mempool, serves_in_order_of_arrival)
{
    for (unsigned i = 0; i < ktest_rounds(50, 20); i++) {
        source_open(1);
        arrival.pool = mempool_create(1, take_element, give_element, NULL);
        REQUIRE(arrival.pool);
        REQUIRE(arrival.element = mempool_alloc(arrival.pool, GFP_KERNEL));
        arrival.joiner_count = shuffle_other_harts(arrival.joiner);
        arrival.turn = arrival.served_count = 0;
        arrival.added = NULL;
        ktest_run_on_harts(wait_in_turn, NULL);
        for (unsigned k = 0; k < arrival.joiner_count; k++)
            EXPECT_EQ(arrival.served[k], arrival.joiner[k]);
        EXPECT_EQ(mempool_stats(arrival.pool).out_count, arrival.joiner_count > 0 ? 2 : 1);
        mempool_free(arrival.element, arrival.pool);
        mempool_free(arrival.added, arrival.pool);
        EXPECT_EQ(mempool_destroy(arrival.pool), 0);
        EXPECT_EQ(taken_from_source(), 0);
    }
}

struct rush {
    struct mempool *pool;
    unsigned rounds;
    unsigned damaged;                      // (A)
    unsigned refused;                      // (A) of those who may not sleep
};

static void rush_on_hart(unsigned index, void *argument)
{
    struct rush *rush = argument;

    for (unsigned i = 0; i < rush->rounds; i++) {
        bool may_sleep = i % 4 != 0;
        uint64_t *element = mempool_alloc(rush->pool, may_sleep ? GFP_KERNEL : GFP_ATOMIC);
        if (element == NULL) {
            ADD(rush->refused, may_sleep ? 1U << 16 : 1);
            continue;
        }
        *element = index;
        if (i % 8 < 3)
            let_others_run();
        if (PLAIN(*element) != index)
            ADD(rush->damaged, 1);
        mempool_free(element, rush->pool);
    }
}

static bool refuse_all(enum fault_site site unused_arg, gfp_t gfp unused_arg) { return true; }

// Many harts with fewer elements than there are harts, and no memory: each element is one hart's at a time, nobody who
// may sleep is refused, and nobody waits for ever.
KTEST(mempool, harts_share_a_reserve)
{
    for (unsigned min_count = 1; min_count <= 3; min_count++) {
        struct rush rush = { .rounds = ktest_rounds(20000, 1000) };
        rush.pool = mempool_create_kmalloc_pool(min_count, 64);
        REQUIRE(rush.pool);
        mm_set_fault_hook(refuse_all);
        ktest_run_on_harts(rush_on_hart, &rush);
        mm_set_fault_hook(NULL);
        EXPECT_EQ(rush.damaged, 0);
        EXPECT_LT(rush.refused, 1U << 16);
        EXPECT_EQ(mempool_stats(rush.pool).reserve_count, min_count);
        EXPECT_EQ(mempool_destroy(rush.pool), 0);
    }
}
