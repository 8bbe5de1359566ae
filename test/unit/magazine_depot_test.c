// mm/kmem/magazine.c: depots that harts meet at, and caches whose constructors allocate while magazines are on.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/magazine.h>

#include "fault_plan.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <base/errno.h>
#include <mm/kmalloc.h>
#include <mm/page_lists.h>
#include <mm/slab.h>

#define MANY 400
#define MEETINGS 64                // in an interval, that make the next magazines larger
#define HOLDS_PER_SECOND 200
#define LINGERS_PER_SECOND 50
#define PATIENCE_SECONDS 20        // where harts are threads of a busy machine

static void *objects[MANY];

// Waits until the variable has another value, or time is over.
#define WAIT_WHILE_EQUAL(variable, value, deadline) \
    for (unsigned wait_round_ = 0; \
         __atomic_load_n(&(variable), __ATOMIC_ACQUIRE) == (value) && arch_time() < (deadline); wait_round_++) \
        arch_relax(wait_round_)

// --- Size

static struct meeting {
    struct kmem_cache *cache;
    uint32_t meetings;
    uint64_t passes;               // (A) objects that the other hart took or gave back
    bool is_over;                  // (A)
} meeting;

static bool is_over(void) { return __atomic_load_n(&meeting.is_over, __ATOMIC_ACQUIRE); }

// One hart holds the depot's lock until another has found it held, and lets it pass, again and again.
static void hold_lock_on_hart(void)
{
    struct depot *depot = &meeting.cache->depot;
    uint64_t deadline = arch_time() + PATIENCE_SECONDS * arch_timer_hz(), passes;

    for (uint32_t met = 0; met < meeting.meetings && arch_time() < deadline;) {
        uint32_t seen = __atomic_load_n(&depot->meetings, __ATOMIC_RELAXED);
        // Who looked just before the lock was taken waits for it without having been counted.
        uint64_t hold_end = arch_time() + arch_timer_hz() / HOLDS_PER_SECOND;
        irqflags_t flags = spin_lock_irqsave(&depot->lock);
        WAIT_WHILE_EQUAL(depot->meetings, seen, hold_end);
        passes = __atomic_load_n(&meeting.passes, __ATOMIC_ACQUIRE);
        spin_unlock_irqrestore(&depot->lock, flags);
        WAIT_WHILE_EQUAL(meeting.passes, passes, deadline);
        met += __atomic_load_n(&depot->meetings, __ATOMIC_RELAXED) != seen;
    }
    __atomic_store_n(&meeting.is_over, true, __ATOMIC_RELEASE);
}

static void note_pass(void)
{
    arch_relax((unsigned)__atomic_add_fetch(&meeting.passes, 1, __ATOMIC_RELEASE));
}

static void meet_on_hart(unsigned index, void *unused unused_arg)
{
    if (index == 0)
        hold_lock_on_hart();
    // Of more than two magazines' worth each pass goes to the depot. On a machine that runs harts in turn the other one
    // gets its turn now and then.
    while (index == 1 && !is_over()) {
        for (unsigned i = 0; i < MANY && !is_over(); i++) {
            objects[i] = kmem_cache_alloc(meeting.cache, GFP_ATOMIC);
            note_pass();
        }
        for (unsigned i = 0; i < MANY; i++) {
            kmem_cache_free(meeting.cache, objects[i]);
            objects[i] = NULL;
            note_pass();
        }
    }
}

// The rounds of a new magazine: as many as it takes back in a row.
static size_t rounds_of_new(struct kmem_cache *cache)
{
    size_t most = 0;

    // What another hart left there would be a meeting.
    page_lists_drain_all();
    for (unsigned i = 0; i < MANY; i++)
        objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
    page_lists_drain_all();
    for (unsigned i = 0; i < MANY; i++) {
        kmem_cache_free(cache, objects[i]);
        most = max_of(most, magazines_loaded(cache));
        objects[i] = NULL;
    }
    return most;
}

// Harts that meet at a depot's lock often enough between two trims get larger magazines; fewer meetings leave them as
// they are, and an interval without any makes them smaller again.
KTEST(magazine, grows_where_harts_meet)
{
    struct kmem_cache *cache = kmem_cache_create("meeting", 64, 0, 0, NULL, NULL);
    size_t first, second;

    if (arch_hart_count() < 2) {
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
        ktest_skip("one hart meets nobody");
    }
    REQUIRE(cache);
    first = rounds_of_new(cache);
    EXPECT_LE(1, first);
    for (unsigned meetings = MEETINGS / 2; meetings <= MEETINGS; meetings += MEETINGS / 2) {
        magazines_trim(cache);
        meeting = (struct meeting){ .cache = cache, .meetings = meetings };
        ktest_run_on_harts(meet_on_hart, NULL);
        second = rounds_of_new(cache);
        if (meetings < MEETINGS)
            EXPECT_EQ(second, first);
    }
    EXPECT_LT(first, second);
    magazines_trim(cache);
    magazines_trim(cache);
    EXPECT_EQ(rounds_of_new(cache), first);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// --- Constructors that allocate

static struct kmem_cache *inner_cache;
static uint64_t without_inner;

static void construct_with_inner(void *object)
{
    void **place = object;

    *place = kmem_cache_zalloc(inner_cache, GFP_NOWAIT | __GFP_NOWARN);
    without_inner += *place == NULL;
}

static void destruct_with_inner(void *object)
{
    // Takes one more while it gives one back, so that both ways cross.
    void *another = kmem_cache_alloc(inner_cache, GFP_NOWAIT | __GFP_NOWARN), **place = object;

    without_inner -= *place == NULL;
    kmem_cache_free(inner_cache, *place);
    kmem_cache_free(inner_cache, another);
}

// A cache of objects that have an inner one each; NULL when there is no memory.
static struct kmem_cache *create_outer(void)
{
    without_inner = 0;
    inner_cache = kmem_cache_create("inner", 300, 0, 0, NULL, NULL);
    return inner_cache == NULL
               ? NULL : kmem_cache_create("outer", 64, 0, 0, construct_with_inner, destruct_with_inner);
}

// Objects that have an inner one each, in front of which magazines lie as well: refills, drains, trims and the reaper
// construct and destruct, and no lock is held meanwhile that the inner cache needs.
KTEST(magazine, constructor_and_destructor_may_allocate)
{
    struct kmem_cache *outer = create_outer();

    REQUIRE(outer);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < MANY; i++)
            REQUIRE(objects[i] = kmem_cache_alloc(outer, GFP_KERNEL));
        EXPECT_EQ(kmem_cache_live_objects(outer), MANY);
        EXPECT_EQ(kmem_cache_live_objects(inner_cache), outer->slab_count * outer->objects_per_slab);
        kmem_cache_free_bulk(outer, MANY / 2, objects);
        for (unsigned i = MANY / 2; i < MANY; i++)
            kmem_cache_free(outer, objects[i]);
        EXPECT_EQ(kmem_cache_live_objects(outer), 0);
        if (round == 1)
            page_lists_drain_all();
        else if (round == 2)
            kmem_cache_trim_all(), kmem_cache_trim_all();
        else if (round == 3)
            kmem_cache_reap(UINT64_MAX);
        EXPECT_EQ(kmem_cache_live_objects(inner_cache), outer->slab_count * outer->objects_per_slab);
    }
    page_lists_drain_all();
    kmem_cache_reap(UINT64_MAX);
    EXPECT_EQ(kmem_cache_live_objects(inner_cache), 0);
    EXPECT_EQ(kmem_cache_destroy(outer), 0);
    EXPECT_EQ(kmem_cache_destroy(inner_cache), 0);
}

// The inner allocation may fail at any step; what was constructed without it is destructed without it.
KTEST(magazine, constructor_may_fail_to_allocate)
{
    struct kmem_cache *outer = create_outer();

    REQUIRE(outer);
    for (uint64_t step = 0; step < 50; step += 7) {
        // The second request and on: the outer object itself is there.
        fault_plan_start(FAULT_BIT(FAULT_SLAB), 1 + step, UINT64_MAX);
        objects[0] = kmem_cache_alloc(outer, GFP_KERNEL);
        EXPECT(fault_plan_stop());
        EXPECT_NOT_NULL(objects[0]);
        EXPECT_LE(1, without_inner);
        EXPECT_EQ(kmem_cache_live_objects(inner_cache) + without_inner, outer->slab_count * outer->objects_per_slab);
        kmem_cache_free(outer, objects[0]);
        kmem_cache_shrink(outer);
        EXPECT_EQ(outer->slab_count, 0);
        EXPECT_EQ(without_inner, 0);
        EXPECT_EQ(kmem_cache_live_objects(inner_cache), 0);
    }
    EXPECT_EQ(kmem_cache_destroy(outer), 0);
    EXPECT_EQ(kmem_cache_destroy(inner_cache), 0);
}

// --- Destructors that another hart is still at

// Some to a slab, and so small that full magazines wait in a depot.
#define LINGERING_BYTES (PAGE_SIZE / 16 < 1024 ? PAGE_SIZE / 16 : 1024)

static struct parting {
    struct kmem_cache *cache, *doomed;     // whose destructor lingers, and which is destroyed meanwhile
    bool is_drain;
    bool has_lingered;                     // by one hart, before it is gone
    bool is_inside, is_seen, is_gone;      // (A)
    uint64_t end;                          // of all patience
    bool was_inside;
} parting;

// As long as the cache is not gone, though not for ever: for that is what its destruction waits for.
static void linger(void *object unused_arg)
{
    // The first call is enough.
    if (parting.has_lingered)
        return;
    parting.has_lingered = true;
    __atomic_store_n(&parting.is_inside, true, __ATOMIC_RELEASE);
    WAIT_WHILE_EQUAL(parting.is_seen, false, parting.end);
    uint64_t deadline = arch_time() + arch_timer_hz() / LINGERS_PER_SECOND;
    WAIT_WHILE_EQUAL(parting.is_gone, false, deadline);
    __atomic_store_n(&parting.is_inside, false, __ATOMIC_RELEASE);
}

static void part_on_hart(unsigned index, void *unused unused_arg)
{
    if (index == 1) {
        if (parting.is_drain) {
            for (unsigned i = 0; i < MANY; i++)
                kmem_cache_free(parting.cache, objects[i]);
            page_lists_drain();
        } else
            kmem_cache_reap(UINT64_MAX);
    }
    if (index != 0)
        return;
    WAIT_WHILE_EQUAL(parting.is_inside, false, parting.end);
    EXPECT(__atomic_load_n(&parting.is_inside, __ATOMIC_ACQUIRE));
    __atomic_store_n(&parting.is_seen, true, __ATOMIC_RELEASE);
    EXPECT_EQ(kmem_cache_destroy(parting.doomed), 0);
    parting.was_inside = __atomic_load_n(&parting.is_inside, __ATOMIC_ACQUIRE);
    __atomic_store_n(&parting.is_gone, true, __ATOMIC_RELEASE);
}

// A cache is not gone before another hart is done with its destructor, nor while a drain may hold a pointer to it.
KTEST(magazine, destroy_waits_for_who_is_still_at_it)
{
    if (arch_hart_count() < 2)
        ktest_skip("one hart does one thing after the other");
    for (unsigned way = 0; way < 2; way++) {
        parting = (struct parting){
            .is_drain = way == 1, .end = arch_time() + PATIENCE_SECONDS * arch_timer_hz(),
        };
        parting.cache = parting.doomed = kmem_cache_create("lingering", LINGERING_BYTES, 0, 0, NULL, linger);
        if (parting.is_drain)
            parting.doomed = kmem_cache_create("doomed", 64, 0, 0, NULL, NULL);
        REQUIRE(parting.cache && parting.doomed);
        size_t count = parting.is_drain ? MANY : 1;
        REQUIRE(kmem_cache_alloc_bulk(parting.cache, GFP_KERNEL, count, objects) == count);
        if (!parting.is_drain)
            kmem_cache_free(parting.cache, objects[0]);
        page_lists_drain_all();
        ktest_run_on_harts(part_on_hart, NULL);
        EXPECT(!parting.was_inside);
        if (parting.is_drain)
            EXPECT_EQ(kmem_cache_destroy(parting.cache), 0);
    }
}

// --- Caches that are gone

// Every call with a cache that had magazines and was destroyed is reported once, in bulk once for each object.
KTEST(magazine, destroyed_cache_is_reported)
{
    struct kmem_cache *cache = kmem_cache_create("gone", 64, 0, 0, NULL, NULL);
    void *live = kmalloc(64, GFP_KERNEL), *bulk[3];
    size_t got;
    int error;

    REQUIRE(cache && live);
    for (unsigned i = 0; i < MANY; i++)
        REQUIRE(objects[i] = kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_free_bulk(cache, MANY - 1, objects);
    EXPECT_MISUSE(1, error = kmem_cache_destroy(cache));
    EXPECT_EQ(error, -EBUSY);
    kmem_cache_free(cache, objects[MANY - 1]);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);

    EXPECT_MISUSE(1, error = kmem_cache_destroy(cache));
    EXPECT_EQ(error, -EINVAL);
    EXPECT_MISUSE(1, EXPECT_NULL(kmem_cache_alloc(cache, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(kmem_cache_zalloc(cache, GFP_ATOMIC)));
    EXPECT_MISUSE(1, got = kmem_cache_alloc_bulk(cache, GFP_KERNEL, array_count(bulk), bulk));
    EXPECT_EQ(got, 0);
    EXPECT_MISUSE(0, kmem_cache_free(cache, NULL));
    EXPECT_MISUSE(1, kmem_cache_free(cache, objects[0]));
    EXPECT_MISUSE(1, kmem_cache_free(cache, live));
    EXPECT_MISUSE(3, kmem_cache_free_bulk(cache, 3, objects));
    EXPECT_MISUSE(1, kfree(objects[0]));
    EXPECT_EQ(ksize(live), 64);
    kfree(live);
}
