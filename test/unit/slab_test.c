// mm/kmem: slabs and caches.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/slab.h>

#include "fault_plan.h"
#include "memory_left.h"

#include <base/string.h>
#include <check/check.h>

#define MAX_OBJECTS 8192

static void *objects[MAX_OBJECTS];

static void fill(void *object, size_t size, uint64_t tag)
{
    memset(object, (int)(tag * 37 + 11) & 0xff, size);
}

static bool is_filled(const void *object, size_t size, uint64_t tag)
{
    const uint8_t *bytes = object;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != ((tag * 37 + 11) & 0xff))
            return false;
    return true;
}

static void shuffle(void **items, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t k = ktest_random_below(i);
        void *item = items[k];
        items[k] = items[i - 1];
        items[i - 1] = item;
    }
}

// Objects are aligned, do not overlap and keep what is written to them, at sizes from the smallest to a whole
// block, in slabs with their bitmap in struct page and at their end.
KTEST(slab, objects_keep_their_contents)
{
    static const struct { uint32_t size, align; } kinds[] = {
        { 1, 0 }, { 8, 0 }, { 12, 4 }, { 40, 0 }, { 60, 16 }, { 64, 64 }, { 65, 64 }, { 100, 0 }, { 200, 0 },
        { 520, 256 }, { 1000, 0 }, { 1024, 1024 }, { 3000, 0 }, { 4000, 4096 }, { 4096, 4096 }, { 5000, 0 },
        { 8192, 0 }, { 16385, 0 }, { 70000, 0 }, { 1048576, 0 },
    };

    for (size_t kind = 0; kind < array_count(kinds); kind++) {
        uint32_t size = kinds[kind].size, align = max_of(kinds[kind].align, 8U);
        struct kmem_cache *cache = kmem_cache_create("test", size, kinds[kind].align, SLAB_NO_MAGAZINES, NULL, NULL);
        REQUIRE(cache);
        size_t count = min_of(cache->objects_per_slab * 2 + 3UL, size > KB(32) ? 5UL : (size_t)MAX_OBJECTS),
               taken;

        EXPECT_EQ(cache->stride_bytes % align, 0);
        for (taken = 0; taken < count; taken++) {
            objects[taken] = kmem_cache_alloc(cache, GFP_KERNEL);
            if (!EXPECT(objects[taken] && (uintptr_t)objects[taken] % align == 0))
                break;
            fill(objects[taken], size, taken);
        }
        EXPECT_EQ(cache->active_objects, taken);
        bool intact = true;
        for (size_t i = 0; i < taken; i++)
            intact &= is_filled(objects[i], size, i) && virt_to_slab(objects[i])->owner == cache;
        EXPECT(intact);
        EXPECT_EQ(check_slabs(), 0);
        shuffle(objects, taken);
        for (size_t i = 0; i < taken; i++)
            kmem_cache_free(cache, objects[i]);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
    }
}

// One bit an object in whole words, above 4096 objects in pairs of them.
static size_t bitmap_bytes(size_t count)
{
    return count > 4096 ? (count + 127) / 128 * 16 : (count + 63) / 64 * 8;
}

// By brute force: the objects and their bitmap fit, one object more would not, and the order is what the rule
// says.
static void check_layout(const struct kmem_cache *cache)
{
    size_t stride = cache->stride_bytes, limit = max_of(KB(32), stride * 8), least_waste = SIZE_MAX;
    unsigned expected = 0;

    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        size_t bytes = PAGE_SIZE << order, count = bytes / stride;
        if (count == 0 || (order > 0 && (PAGE_SIZE << (order - 1)) >= limit))
            continue;
        while (count > 64 && count * stride + bitmap_bytes(count) > bytes)
            count--;
        size_t waste = (bytes - count * stride) << (MAX_ORDER - order);
        if (waste < least_waste) {
            least_waste = waste;
            expected = order;
            if (cache->slab_order == order)
                EXPECT_EQ(cache->objects_per_slab, count);
        }
        if (waste * 16 <= PAGE_SIZE << MAX_ORDER)
            break;
    }
    EXPECT_EQ(cache->slab_order, expected);
}

// A slab is the smallest block that wastes at most 1/16, or else the one that wastes the smallest part.
KTEST(slab, order_follows_the_rule)
{
    for (size_t size = 8; size <= MB(2); size += size < 512 ? 8 : size / ktest_rounds(64, 16) / 8 * 8) {
        struct kmem_cache *cache = kmem_cache_create("test", size, 0, SLAB_NO_MAGAZINES, NULL, NULL);
        REQUIRE(cache);
        check_layout(cache);
        // The multiplication that stands for a division agrees with it at the bounds of every object.
        struct page *slab = alloc_pages(GFP_KERNEL, cache->slab_order);
        bool exact = slab != NULL;
        for (unsigned i = 0; exact && i < cache->objects_per_slab; i++) {
            char *start = slab_object_at(cache, slab, i);
            exact = slab_object_index(cache, slab, start) == (int)i &&
                    slab_object_index(cache, slab, start + 1) == -1 &&
                    slab_object_index(cache, slab, start + cache->stride_bytes - 1) == -1;
        }
        EXPECT(exact);
        __free_pages(slab, cache->slab_order);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
    }
}

// Objects of SLAB_HWCACHE_ALIGN start on cache lines, or on the power of two that holds them.
KTEST(slab, cache_line_alignment)
{
    static const struct { size_t size, stride; } kinds[] = {
        { 1, 8 }, { 9, 16 }, { 16, 16 }, { 24, 32 }, { 33, 64 }, { 64, 64 }, { 65, 128 }, { 130, 192 },
    };

    for (size_t i = 0; i < array_count(kinds); i++) {
        struct kmem_cache *cache = kmem_cache_create("test", kinds[i].size, 0,
                                                     SLAB_HWCACHE_ALIGN | SLAB_NO_MAGAZINES, NULL,
                                                     NULL);
        REQUIRE(cache);
        EXPECT_EQ(cache->stride_bytes, kinds[i].stride);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
    }
}

// Any sequence of allocations and frees hands out exactly the objects that a table of who has what allows.
KTEST(slab, agrees_with_a_model)
{
    static const uint16_t sizes[] = { 8, 24, 120, 504, 1400 };

    for (size_t kind = 0; kind < array_count(sizes); kind++) {
        struct kmem_cache *cache = kmem_cache_create("test", sizes[kind], 0, SLAB_NO_MAGAZINES, NULL, NULL);
        size_t held = 0, limit = 0;
        bool intact = true;
        REQUIRE(cache);
        for (unsigned step = 0; step < ktest_rounds(60000, 6000) && intact; step++) {
            // The number in use drifts to a new goal every now and then, so that slabs fill and empty.
            if (step % 500 == 0)
                limit = ktest_random_below(min_of(cache->objects_per_slab * 3UL, (size_t)MAX_OBJECTS));
            if (held <= limit) {
                uint64_t *object = kmem_cache_alloc(cache, GFP_KERNEL);
                intact = object != NULL;
                *object = (uintptr_t)object;
                objects[held++] = object;
            } else {
                size_t k = ktest_random_below(held);
                intact = *(uint64_t *)objects[k] == (uintptr_t)objects[k];
                kmem_cache_free(cache, objects[k]);
                objects[k] = objects[--held];
            }
            intact = intact && cache->active_objects == held;
            if (step % 1000 == 0)
                intact = intact && check_slabs() == 0;
        }
        EXPECT(intact);
        while (held > 0)
            kmem_cache_free(cache, objects[--held]);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
    }
}

struct thing {
    uint64_t constructed;          // set by the constructor, never touched by users
    uint64_t kept;                 // state that a user leaves for the next
    struct thing *self;
};

#define CONSTRUCTED 0xc0115c7edUL

static uint64_t constructor_calls, destructor_calls, wrong_calls;

static void construct(void *object)
{
    struct thing *thing = object;

    constructor_calls++;
    *thing = (struct thing){ CONSTRUCTED, 7, thing };
}

static void destruct(void *object)
{
    struct thing *thing = object;

    destructor_calls++;
    wrong_calls += thing->constructed != CONSTRUCTED || thing->self != thing;
    thing->constructed = 0;
}

static struct kmem_cache *create_things(void)
{
    constructor_calls = destructor_calls = wrong_calls = 0;
    return kmem_cache_create("things", sizeof(struct thing), 0, SLAB_NO_MAGAZINES, construct, destruct);
}

// What the constructor made, and what a user left, is there for whoever has the object next.
KTEST(slab, constructed_state_survives_free)
{
    struct kmem_cache *cache = create_things();
    REQUIRE(cache);
    size_t count = cache->objects_per_slab * 2UL;

    for (size_t round = 0; round < 3; round++) {
        bool intact = true;
        for (size_t i = 0; i < count; i++) {
            struct thing *thing = objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
            REQUIRE(thing);
            intact &= thing->constructed == CONSTRUCTED && thing->self == thing;
            // One slab goes back each time and is constructed anew; of the one that stays, the state does
            // too.
            intact &= thing->kept == 7 || thing->kept == 6 + round;
            thing->kept = 7 + round;
        }
        EXPECT(intact);
        shuffle(objects, count);
        for (size_t i = 0; i < count; i++)
            kmem_cache_free(cache, objects[i]);
    }
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// The constructor runs once for every object of a slab that comes, the destructor once for every one that
// goes.
KTEST(slab, constructor_and_destructor_run_once)
{
    struct kmem_cache *cache = create_things();
    REQUIRE(cache);
    uint64_t per_slab = cache->objects_per_slab;

    EXPECT_EQ(constructor_calls, 0);
    for (size_t i = 0; i < per_slab * 3; i++)
        REQUIRE(objects[i] = kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT_EQ(constructor_calls, per_slab * 3);
    for (size_t i = 0; i < per_slab * 3; i++)
        kmem_cache_free(cache, objects[i]);
    // One empty slab is kept.
    EXPECT_EQ(cache->slab_count, 1);
    EXPECT_EQ(destructor_calls, per_slab * 2);
    EXPECT_EQ(kmem_cache_shrink(cache), 1UL << cache->slab_order);
    EXPECT_EQ(cache->slab_count, 0);
    EXPECT_EQ(destructor_calls, per_slab * 3);
    EXPECT_EQ(kmem_cache_shrink(cache), 0);
    EXPECT_NOT_NULL(objects[0] = kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_free(cache, objects[0]);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
    EXPECT_EQ(constructor_calls, per_slab * 4);
    EXPECT_EQ(destructor_calls, per_slab * 4);
    EXPECT_EQ(wrong_calls, 0);
}

static struct kmem_cache *inner_cache;

static void construct_with_inner(void *object)
{
    *(void **)object = kmem_cache_zalloc(inner_cache, GFP_ATOMIC);
}

static void destruct_with_inner(void *object)
{
    // Takes an object more, while it gives one back.
    void *another = kmem_cache_alloc(inner_cache, GFP_ATOMIC);

    kmem_cache_free(inner_cache, *(void **)object);
    kmem_cache_free(inner_cache, another);
}

// A constructor or destructor that allocates from another cache deadlocks nowhere and loses nothing.
KTEST(slab, constructor_and_destructor_may_allocate)
{
    struct kmem_cache *outer;
    inner_cache = kmem_cache_create("inner", 300, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    outer = kmem_cache_create("outer", 64, 0, SLAB_NO_MAGAZINES, construct_with_inner, destruct_with_inner);
    REQUIRE(inner_cache && outer);
    size_t count = outer->objects_per_slab * 3UL;

    for (size_t i = 0; i < count; i++)
        EXPECT(objects[i] = kmem_cache_alloc(outer, GFP_KERNEL));
    EXPECT_EQ(inner_cache->active_objects, count);
    kmem_cache_free_bulk(outer, count, objects);
    EXPECT_EQ(inner_cache->active_objects, outer->objects_per_slab);
    // The shrinker's way, which walks the list of all caches, and both of these are on it.
    kmem_cache_reap(UINT64_MAX);
    EXPECT_EQ(inner_cache->active_objects, 0);
    EXPECT_EQ(kmem_cache_destroy(outer), 0);
    EXPECT_EQ(kmem_cache_destroy(inner_cache), 0);
}

// Partial slabs are used before empty ones, and an empty one before a new one.
KTEST(slab, partial_slabs_come_first)
{
    struct kmem_cache *cache = kmem_cache_create("test", 256, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    REQUIRE(cache);
    size_t per_slab = cache->objects_per_slab;

    for (size_t i = 0; i < per_slab + 1; i++)
        EXPECT(objects[i] = kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT_EQ(cache->slab_count, 2);
    const struct page *first = virt_to_slab(objects[0]), *second = virt_to_slab(objects[per_slab]);
    EXPECT_NE(first, second);
    kmem_cache_free(cache, objects[per_slab]);         // the second is empty
    kmem_cache_free(cache, objects[0]);                // the first has room for one
    EXPECT_EQ(cache->empty_count, 1);
    EXPECT(objects[0] = kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT_EQ(virt_to_slab(objects[0]), first);
    EXPECT(objects[per_slab] = kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT_EQ(virt_to_slab(objects[per_slab]), second);
    EXPECT_EQ(cache->slab_count, 2);
    kmem_cache_free_bulk(cache, per_slab + 1, objects);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Bulk calls give all or nothing, whatever step fails; frees take NULL and any mix of slabs.
KTEST(slab, bulk_is_all_or_nothing)
{
    struct kmem_cache *cache = kmem_cache_create("test", 200, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    REQUIRE(cache);

    for (size_t count = 0; count <= 1000; count = count * 3 + 1) {
        EXPECT_EQ(kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_ZERO, count, objects), count);
        EXPECT_EQ(cache->active_objects, count);
        bool distinct = true;
        for (size_t i = 0; i < count; i++) {
            distinct &= is_filled(objects[i], 0, 0) && *(uint64_t *)objects[i] == 0;
            memset(objects[i], 0xff, 200);
        }
        EXPECT(distinct);
        shuffle(objects, count);
        if (count > 4) {
            kmem_cache_free(cache, objects[2]);
            objects[2] = NULL;
        }
        kmem_cache_free_bulk(cache, count, objects);
        EXPECT_EQ(cache->active_objects, 0);
    }
    // One object is left over from before, so that a failing request has to leave it alone.
    void *kept = kmem_cache_alloc(cache, GFP_KERNEL);
    for (uint64_t step = 0;; step++) {
        fault_plan_start(FAULT_BIT(FAULT_PAGE) | FAULT_BIT(FAULT_SLAB), step, UINT64_MAX);
        size_t got = kmem_cache_alloc_bulk(cache, GFP_KERNEL, 500, objects);
        bool has_failed = fault_plan_stop();
        EXPECT_EQ(got, has_failed ? 0 : 500);
        EXPECT_EQ(cache->active_objects, got + 1);
        kmem_cache_free_bulk(cache, got, objects);
        if (!has_failed)
            break;
    }
    kmem_cache_free(cache, kept);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// A failed allocation is NULL, is counted, and leaves the cache as it was.
KTEST(slab, failed_allocation_changes_nothing)
{
    struct kmem_cache *cache = create_things();
    REQUIRE(cache);

    fault_plan_start(FAULT_BIT(FAULT_PAGE), 0, 1);
    EXPECT_NULL(kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT(fault_plan_stop());
    EXPECT_EQ(cache->failed_count, 1);
    EXPECT_EQ(constructor_calls, 0);
    EXPECT_EQ(cache->slab_count, 0);
    fault_plan_start(FAULT_BIT(FAULT_SLAB), 0, 1);
    EXPECT_NULL(kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT(fault_plan_stop());
    fault_plan_start(FAULT_ALL, 0, 1);
    EXPECT_NULL(kmem_cache_create("another", 64, 0, SLAB_NO_MAGAZINES, NULL, NULL));
    EXPECT(fault_plan_stop());
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Zeroed objects are zero though the memory was used before; a constructor's work is not undone by the flag.
KTEST(slab, zeroed_objects)
{
    struct kmem_cache *cache = kmem_cache_create("test", 136, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    struct kmem_cache *things = create_things();
    REQUIRE(cache && things);

    for (unsigned round = 0; round < 3; round++) {
        size_t nonzero = 0;
        for (size_t i = 0; i < 100; i++) {
            objects[i] = kmem_cache_zalloc(cache, GFP_KERNEL);
            REQUIRE(objects[i]);
            for (size_t k = 0; k < 136; k++)
                nonzero += ((char *)objects[i])[k] != 0;
            memset(objects[i], 0xa5, 136);
        }
        EXPECT_EQ(nonzero, 0);
        kmem_cache_free_bulk(cache, 100, objects);
    }
    struct thing *thing;
    EXPECT_MISUSE(1, thing = kmem_cache_zalloc(things, GFP_KERNEL));
    REQUIRE(thing);
    EXPECT_EQ(thing->constructed, CONSTRUCTED);
    kmem_cache_free(things, thing);
    EXPECT_EQ(kmem_cache_destroy(things), 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Slabs of a DMA cache come from the lowest zone that has RAM.
KTEST(slab, dma_slabs_come_from_the_lowest_zone)
{
    struct kmem_cache *cache = kmem_cache_create("test", 512, 0, SLAB_DMA | SLAB_NO_MAGAZINES, NULL, NULL);
    REQUIRE(cache);
    void *object = kmem_cache_alloc(cache, GFP_KERNEL);
    REQUIRE(object);
    EXPECT_EQ(page_zone(virt_to_slab(object)), gfp_zone(GFP_DMA));
    kmem_cache_free(cache, object);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Takes objects until there are none, chained through themselves; returns how many.
static uint64_t exhaust(struct kmem_cache *cache, void **chain)
{
    uint64_t count = 0;

    for (void **object; (object = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOWARN)) != NULL; count++) {
        *object = *chain;
        *chain = object;
    }
    return count;
}

static void free_chain(struct kmem_cache *cache, void **chain)
{
    for (void **object; (object = *chain) != NULL;) {
        *chain = *object;
        kmem_cache_free(cache, object);
    }
}

// Memory that one cache gives up is there for the other, again and again: nothing is lost and nothing kept
// back.
KTEST(slab, two_caches_exhaust_memory_in_turn)
{
    struct kmem_cache *a = kmem_cache_create("a", 2000, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    struct kmem_cache *b = kmem_cache_create("b", 7000, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    void *chain_a = NULL, *chain_b = NULL;
    struct page_chain chain = { 0 };
    uint64_t count_a = 0, count_b = 0;
    REQUIRE(a && b);

    leave_memory(&chain, MB(32));
    uint64_t usable = (free_pages_now() - reserved_pages()) << PAGE_SHIFT;
    for (unsigned round = 0; round < 3; round++) {
        uint64_t got_a = exhaust(a, &chain_a);
        EXPECT(round == 0 || got_a == count_a);
        EXPECT_LE(exhaust(b, &chain_b), 1);
        free_chain(b, &chain_b);
        free_chain(a, &chain_a);
        uint64_t got_b = exhaust(b, &chain_b);
        EXPECT(round == 0 || got_b == count_b);
        free_chain(b, &chain_b);
        count_a = got_a;
        count_b = got_b;
    }
    EXPECT_GE(count_a * 2000, usable / 2);
    EXPECT_GE(count_b * 7000, usable / 2);
    chain_free(&chain);
    EXPECT_EQ(kmem_cache_destroy(a), 0);
    EXPECT_EQ(kmem_cache_destroy(b), 0);
}

// The empty slab that a cache keeps is given up when pages run short.
KTEST(slab, kept_slabs_are_given_up_under_pressure)
{
    struct kmem_cache *cache = create_things();
    struct page_chain chain = { 0 };
    REQUIRE(cache);

    void *object = kmem_cache_alloc(cache, GFP_KERNEL);
    kmem_cache_free(cache, object);
    EXPECT_EQ(cache->empty_count, 1);
    leave_memory(&chain, MB(16));
    chain_fill(&chain, GFP_KERNEL, 0, UINT64_MAX);
    EXPECT_EQ(cache->slab_count, 0);
    EXPECT_EQ(destructor_calls, cache->objects_per_slab);
    chain_free(&chain);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

#define SHARED_SLOTS 64

struct churn {
    struct kmem_cache *cache;
    uint64_t seed;
    void *slot[SHARED_SLOTS];          // (A) objects on their way from one hart to another
    unsigned defects;                  // (A)
};

// Each object carries its own address; whoever takes it out of the shared slots checks it and frees it.
static void churn_on_hart(unsigned index, void *argument)
{
    struct churn *churn = argument;
    struct random random = random_seeded(churn->seed + index);

    for (unsigned step = 0; step < ktest_rounds(20000, 2000); step++) {
        uint64_t *object = kmem_cache_alloc(churn->cache, GFP_KERNEL);
        if (object == NULL) {
            __atomic_fetch_add(&churn->defects, 1, __ATOMIC_RELAXED);
            continue;
        }
        object[0] = object[1] = (uintptr_t)object;
        void **slot = &churn->slot[random_below(&random, SHARED_SLOTS)];
        object = __atomic_exchange_n(slot, (void *)object, __ATOMIC_ACQ_REL);
        if (object == NULL)
            continue;
        if (object[0] != (uintptr_t)object || object[1] != (uintptr_t)object)
            __atomic_fetch_add(&churn->defects, 1, __ATOMIC_RELAXED);
        object[0] = 0;
        kmem_cache_free(churn->cache, object);
        if (step % 256 == 0)
            kmem_cache_reap(UINT64_MAX);
    }
}

// Harts that allocate, free each other's objects and reap at once never get one object twice.
KTEST(slab, harts_share_a_cache)
{
    static struct churn churn;
    churn = (struct churn){ .seed = ktest_random() };
    churn.cache = kmem_cache_create("churn", 80, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    REQUIRE(churn.cache);

    ktest_run_on_harts(churn_on_hart, &churn);
    EXPECT_EQ(churn.defects, 0);
    kmem_cache_free_bulk(churn.cache, SHARED_SLOTS, churn.slot);
    EXPECT_EQ(churn.cache->alloc_count, churn.cache->free_count);
    EXPECT_EQ(kmem_cache_destroy(churn.cache), 0);
}

// Caches of its own on each hart, made and destroyed while the others do the same with neighbours on the
// list.
static void create_and_destroy_on_hart(unsigned index, void *argument)
{
    unsigned *defects = argument;
    char name[] = "hart-?";
    void *some[100];

    name[5] = (char)('0' + index);
    for (unsigned round = 0; round < ktest_rounds(300, 30); round++) {
        struct kmem_cache *cache = kmem_cache_create(name, 24 + round * 8, 0, SLAB_NO_MAGAZINES, NULL, NULL);
        size_t got = cache != NULL ? kmem_cache_alloc_bulk(cache, GFP_KERNEL, array_count(some), some) : 0;
        kmem_cache_reap(1);
        if (got == array_count(some))
            kmem_cache_free_bulk(cache, got, some);
        if (got != array_count(some) || kmem_cache_destroy(cache) != 0)
            __atomic_fetch_add(defects, 1, __ATOMIC_RELAXED);
    }
}

KTEST(slab, harts_create_and_destroy_caches)
{
    unsigned defects = 0;

    ktest_run_on_harts(create_and_destroy_on_hart, &defects);
    EXPECT_EQ(defects, 0);
}
