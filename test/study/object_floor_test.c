// Cases for the floor under objects and what is held above it.
// SPDX-License-Identifier: BSD-2-Clause

#include "object_floor.h"
#include <ktest/ktest.h>
#include <mm/kmalloc.h>

static int64_t sum_of_parts(const struct object_breakdown *now)
{
    return now->floor + now->in_slabs + now->in_magazines + now->tails + now->own;
}

// An object counts at its size rounded to the alignment, a large kmalloc at whole pages, and both leave again.
KTEST(object_floor, is_the_rounded_sizes)
{
    struct kmem_cache *cache = kmem_cache_create("floor", 100, 64, 0, NULL, NULL);
    void *objects[3];

    REQUIRE(cache != NULL);
    object_floor_begin();
    for (unsigned i = 0; i < array_count(objects); i++) {
        objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
        REQUIRE(objects[i] != NULL);
        object_floor_add(cache, 100);
        object_floor_event(i + 1);
    }
    object_floor_add(NULL, 2 * PAGE_SIZE + 1);
    object_floor_event(4);
    object_floor_remove(NULL, 2 * PAGE_SIZE + 1);
    object_floor_event(5);

    struct object_breakdown now = object_floor_now();
    const struct object_peaks *peaks = object_floor_peaks();
    EXPECT_EQ(now.floor, 3 * 128);
    EXPECT_EQ(now.floor_pages, (int64_t)PAGE_SIZE);
    EXPECT_EQ(now.held, sum_of_parts(&now));
    EXPECT_GE((uint64_t)now.held, PAGE_SIZE);
    EXPECT_EQ(peaks->floor, (int64_t)(3 * 128 + 4 * PAGE_SIZE));
    EXPECT_EQ(peaks->floor_event, 4);
    EXPECT_EQ(peaks->held, sum_of_parts(&peaks->at_held));

    for (unsigned i = 0; i < array_count(objects); i++) {
        object_floor_remove(cache, 100);
        kmem_cache_free(cache, objects[i]);
    }
    EXPECT_EQ(object_floor_now().floor, 0);
    EXPECT_EQ(object_floor_now().floor_pages, 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}
