// The object layer under the loads that other kernels' tests set: crowds, dirty memory, and caches that compete.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kmalloc.h>

#include "memory_left.h"

#include <base/string.h>
#include <mm/slab.h>

#define MOST_OBJECTS 1024
#define BULK 100

static void *objects[MOST_OBJECTS];

// The first and the last word, and each 64th between.
static void write_tags(uint64_t *object, size_t bytes, uint64_t tag)
{
    for (size_t i = 0; i < bytes / sizeof(*object); i += 64)
        object[i] = tag + i;
    object[bytes / sizeof(*object) - 1] = ~tag;
}

static bool has_tags(const uint64_t *object, size_t bytes, uint64_t tag)
{
    size_t last = bytes / sizeof(*object) - 1;
    bool is_intact = object[last] == ~tag;

    for (size_t i = 0; i < last; i += 64)
        is_intact &= object[i] == tag + i;
    return is_intact;
}

// From the one end, the other, or anywhere, one by one or in bulk; returns how many were damaged.
static uint64_t free_crowd(struct kmem_cache *cache, unsigned way, size_t bytes, unsigned count)
{
    uint64_t damaged = 0;

    for (unsigned i = 0; i < count; i++)
        damaged += !has_tags(objects[i], bytes, i);
    for (unsigned left = count; way == 2 && left > 1; left--) {
        uint64_t k = ktest_random_below(left);
        void *object = objects[k];
        objects[k] = objects[left - 1];
        objects[left - 1] = object;
    }
    if (way == 3)
        kmem_cache_free_bulk(cache, count, objects);
    for (unsigned i = 0; way != 3 && i < count; i++)
        kmem_cache_free(cache, objects[way == 1 ? count - 1 - i : i]);
    return damaged;
}

// A crowd of equal objects, four times: each keeps what was written to it, and none is left over.
KTEST(object_scenario, crowds_in_caches)
{
    static const struct { uint32_t bytes, count; } crowds[] = {
        { 100, 1024 }, { 200, 1024 }, { 1024, 1024 }, { 2048, 512 },
        { 4000, 128 }, { 8192, 128 }, { 16384, 128 }, { 16385, 128 },
    };

    for (unsigned crowd = 0; crowd < array_count(crowds); crowd++) {
        uint32_t bytes = crowds[crowd].bytes, count = crowds[crowd].count;
        struct kmem_cache *cache = kmem_cache_create("crowd", bytes, 0, 0, NULL, NULL);
        uint64_t damaged = 0;

        REQUIRE(cache);
        for (unsigned way = 0; way < 4; way++) {
            for (unsigned i = 0; i < count; i++) {
                objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
                REQUIRE(objects[i]);
                write_tags(objects[i], bytes, i);
            }
            EXPECT_EQ(kmem_cache_live_objects(cache), count);
            damaged += free_crowd(cache, way, bytes, count);
            EXPECT_EQ(kmem_cache_live_objects(cache), 0);
        }
        EXPECT_EQ(damaged, 0);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
    }
}

// --- Dirty memory

#define DIRT 0xa5
#define BUILT 0xc3

static size_t built_bytes;

static void build(void *object) { memset(object, BUILT, built_bytes); }

static uint64_t count_other(int byte, size_t bytes, size_t count)
{
    uint64_t other = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < bytes; k++)
            other += ((const uint8_t *)objects[i])[k] != byte;
    return other;
}

static void dirty(size_t bytes)
{
    for (size_t i = 0; i < BULK; i++)
        memset(objects[i], DIRT, bytes);
}

static const uint16_t dirty_sizes[] = { 8, 16, 24, 64, 100, 192, 256, 500, 1024, 2000, 4096 };

// Objects that are asked for zeroed, one by one or in bulk, are zero to the last byte, whoever had them before.
KTEST(object_scenario, dirty_objects_come_back_zeroed)
{
    for (unsigned i = 0; i < array_count(dirty_sizes); i++) {
        size_t bytes = dirty_sizes[i];
        struct kmem_cache *cache = kmem_cache_create("dirty", bytes, 0, 0, NULL, NULL);

        REQUIRE(cache && kmem_cache_alloc_bulk(cache, GFP_KERNEL, BULK, objects) == BULK);
        dirty(bytes);
        kmem_cache_free_bulk(cache, BULK, objects);
        for (unsigned k = 0; k < BULK; k++)
            REQUIRE(objects[k] = k % 2 == 0 ? kmem_cache_zalloc(cache, GFP_KERNEL)
                                            : kmem_cache_alloc(cache, GFP_KERNEL | __GFP_ZERO));
        EXPECT_EQ(count_other(0, bytes, BULK), 0);
        dirty(bytes);
        for (unsigned k = 0; k < BULK; k++)
            kmem_cache_free(cache, objects[k]);
        REQUIRE(kmem_cache_alloc_bulk(cache, GFP_ATOMIC | __GFP_ZERO, BULK, objects) == BULK);
        EXPECT_EQ(count_other(0, bytes, BULK), 0);
        dirty(bytes);
        kmem_cache_free_bulk(cache, BULK, objects);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
    }
}

// Where a constructor's state is kept, zeroing is refused: a report for each object, and the state is as it was.
KTEST(object_scenario, constructed_objects_are_not_zeroed)
{
    for (unsigned i = 0; i < array_count(dirty_sizes); i++) {
        // The bulk call, whole, for one size: each of its objects is a line in the log.
        size_t bytes = built_bytes = dirty_sizes[i], count = bytes == 64 ? BULK : 2;
        struct kmem_cache *cache = kmem_cache_create("built", bytes, 0, 0, build, NULL);

        REQUIRE(cache && kmem_cache_alloc_bulk(cache, GFP_KERNEL, BULK, objects) == BULK);
        EXPECT_EQ(count_other(BUILT, bytes, BULK), 0);
        kmem_cache_free_bulk(cache, BULK, objects);
        EXPECT_MISUSE(1, objects[0] = kmem_cache_zalloc(cache, GFP_KERNEL));
        REQUIRE(objects[0]);
        EXPECT_EQ(count_other(BUILT, bytes, 1), 0);
        kmem_cache_free(cache, objects[0]);
        size_t got;
        EXPECT_MISUSE(count, got = kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_ZERO, count, objects));
        REQUIRE(got == count);
        EXPECT_EQ(count_other(BUILT, bytes, count), 0);
        kmem_cache_free_bulk(cache, count, objects);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
    }
}

// --- Caches that compete for the last memory, with magazines between

// Chained through themselves.
static bool take_one(struct kmem_cache *cache, void **chain, uint64_t *count)
{
    void **object = kmem_cache_alloc(cache, GFP_KERNEL | __GFP_NOWARN);

    if (object == NULL)
        return false;
    *object = *chain;
    *chain = object;
    ++*count;
    return true;
}

static void give_all(struct kmem_cache *cache, void **chain, uint64_t *count)
{
    for (void **object; (object = *chain) != NULL; --*count) {
        *chain = *object;
        kmem_cache_free(cache, object);
    }
}

// Two caches use up memory by turns, to the last object of either. What the one gives back, the other gets, though it
// went through magazines and depots; and all of it is there for the first again.
KTEST(object_scenario, caches_regain_each_others_memory)
{
    struct kmem_cache *small = kmem_cache_create("small", 1000, 0, 0, NULL, NULL);
    struct kmem_cache *large = kmem_cache_create("large", 6000, 0, 0, NULL, NULL);
    void *small_chain = NULL, *large_chain = NULL;
    struct page_chain chain = { 0 };
    uint64_t smalls = 0, larges = 0, alone = 0;
    REQUIRE(small && large);

    leave_memory(&chain, ktest_rounds(MB(32), MB(8)));
    while (take_one(large, &large_chain, &larges)) {
    }
    alone = larges;
    give_all(large, &large_chain, &larges);
    EXPECT_LE(20, alone);
    for (unsigned round = 0; round < 3; round++) {
        while ((int)take_one(small, &small_chain, &smalls) | (int)take_one(large, &large_chain, &larges)) {
        }
        EXPECT(smalls > 0 && larges > 0);
        uint64_t before = smalls, bytes = (large->slab_count << large->slab_order) * PAGE_SIZE;
        give_all(large, &large_chain, &larges);
        while (take_one(small, &small_chain, &smalls)) {
        }
        EXPECT_LE(bytes / 10 * 9, (smalls - before) * 1000);
        give_all(small, &small_chain, &smalls);
        while (take_one(large, &large_chain, &larges)) {
        }
        EXPECT_LE(alone * 9 / 10, larges);
        give_all(large, &large_chain, &larges);
    }
    // Other harts may still empty the depots, which a request without success asked them to.
    (void)free_pages_now();
    EXPECT_EQ(kmem_cache_live_objects(small), 0);
    EXPECT_EQ(kmem_cache_live_objects(large), 0);
    chain_free(&chain);
    EXPECT_EQ(kmem_cache_destroy(small), 0);
    EXPECT_EQ(kmem_cache_destroy(large), 0);
}
