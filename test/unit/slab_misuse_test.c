// mm/kmem: what slab caches refuse, how often they say so, and what the validator sees.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/slab.h>

#include <base/bits.h>
#include <base/errno.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <check/check.h>
#include <mm/page_alloc.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

static void *objects[300];

// Every free of what is no object in use of the cache is reported once and changes nothing.
KTEST(slab, bad_frees_are_reported)
{
    struct kmem_cache *cache = kmem_cache_create("test", 104, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    struct kmem_cache *other = kmem_cache_create("other", 104, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    struct kmem_cache *large = kmem_cache_create("large", PAGE_SIZE * 2, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    char on_stack[64], before[104];
    REQUIRE(cache && other && large);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL), *foreign = kmem_cache_alloc(other, GFP_KERNEL);
    char *big = kmem_cache_alloc(large, GFP_KERNEL), *page = __get_free_page(GFP_KERNEL), *area = vmalloc(1);
    REQUIRE(object && foreign && big && page && area);
    memset(object, 0x5a, 104);
    memcpy(before, object, 104);

    EXPECT_MISUSE(0, kmem_cache_free(cache, NULL));
    EXPECT_MISUSE(1, kmem_cache_free(cache, foreign));                 // wrong cache
    EXPECT_MISUSE(1, kmem_cache_free(cache, object + 8));              // interior
    EXPECT_MISUSE(1, kmem_cache_free(cache, object + 1));
    EXPECT_MISUSE(1, kmem_cache_free(cache, object - 8));
    EXPECT_MISUSE(1, kmem_cache_free(cache, object + 104));            // an object that was never handed out
    EXPECT_MISUSE(1, kmem_cache_free(large, big + PAGE_SIZE));         // in a tail of the slab
    EXPECT_MISUSE(1, kmem_cache_free(large, big + PAGE_SIZE * 2 - 8));
    EXPECT_MISUSE(1, kmem_cache_free(cache, page));                    // no slab
    EXPECT_MISUSE(1, kmem_cache_free(cache, area));                    // no direct-map address
    EXPECT_MISUSE(1, kmem_cache_free(cache, on_stack));
    EXPECT_MISUSE(1, kmem_cache_free(cache, (void *)8));
    EXPECT_MISUSE(1, kmem_cache_free(cache, phys_to_virt(paddr(ARCH_PHYS_LIMIT - 8))));    // no RAM
    EXPECT_MISUSE(1, kmem_cache_free(cache, (void *)(uintptr_t)slab_init));
    EXPECT_EQ(cache->active_objects, 1);
    EXPECT_EQ(memcmp(object, before, 104), 0);

    // The last word of a slab lies behind its last object.
    char *slab_end = (char *)page_to_virt(virt_to_slab(object)) + (PAGE_SIZE << cache->slab_order);
    EXPECT_MISUSE(1, kmem_cache_free(cache, slab_end - 8));

    kmem_cache_free(cache, object);
    EXPECT_MISUSE(2, (kmem_cache_free(cache, object), kmem_cache_free(cache, object)));    // double
    EXPECT_EQ(cache->active_objects, 0);
    kmem_cache_shrink(cache);
    EXPECT_MISUSE(1, kmem_cache_free(cache, object));                  // stale: the slab is gone

    void *mixed[] = { foreign,  kmem_cache_alloc(cache, GFP_KERNEL), NULL,
                      on_stack, kmem_cache_alloc(cache, GFP_KERNEL), page };
    EXPECT_MISUSE(3, kmem_cache_free_bulk(cache, array_count(mixed), mixed));
    EXPECT_EQ(cache->active_objects, 0);
    EXPECT_EQ(other->active_objects, 1);

    kmem_cache_free(large, big);
    kmem_cache_free(other, foreign);
    free_page(page);
    vfree(area);
    EXPECT_EQ(check_slabs(), 0);
    EXPECT_EQ(kmem_cache_destroy(large), 0);
    EXPECT_EQ(kmem_cache_destroy(other), 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// A cache with objects in use is not destroyed but reported, and works on; what is no cache is reported.
KTEST(slab, bad_destroys_are_reported)
{
    struct kmem_cache *cache = kmem_cache_create("test", 48, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    struct kmem_cache local = { .name = "local" };
    void *page = __get_free_page(GFP_KERNEL);
    int error;
    REQUIRE(cache && page);

    for (size_t i = 0; i < 300; i++)
        REQUIRE(objects[i] = kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_free_bulk(cache, 290, objects);
    EXPECT_MISUSE(1, error = kmem_cache_destroy(cache));
    EXPECT_EQ(error, -EBUSY);
    EXPECT_EQ(cache->active_objects, 10);
    void *another = kmem_cache_alloc(cache, GFP_KERNEL);
    EXPECT_NOT_NULL(another);
    kmem_cache_free(cache, another);
    kmem_cache_free_bulk(cache, 10, objects + 290);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);

    EXPECT_EQ(kmem_cache_destroy(NULL), 0);
    EXPECT_MISUSE(1, error = kmem_cache_destroy(cache));
    EXPECT_EQ(error, -EINVAL);
    EXPECT_MISUSE(1, error = kmem_cache_destroy(&local));
    EXPECT_EQ(error, -EINVAL);
    EXPECT_MISUSE(1, error = kmem_cache_destroy(page));
    EXPECT_EQ(error, -EINVAL);
    EXPECT_MISUSE(1, EXPECT_NULL(kmem_cache_alloc(cache, GFP_KERNEL)));
    EXPECT_MISUSE(1, kmem_cache_free(cache, objects[0]));
    free_page(page);
}

// Every bad argument of create is refused with one report; the bounds of the good ones are not.
KTEST(slab, bad_creates_are_reported)
{
    static const char longest[] = "a-name-of-thirty-one-characters";
    static const struct { const char *name; size_t size, align; unsigned flags; } bad[] = {
        { NULL, 8, 0, 0 },
        { "", 8, 0, 0 },
        { "a-name-of-thirty-two-characters.", 8, 0, 0 },
        { "kmem_cache", 8, 0, 0 },
        { "test", 0, 0, 0 },
        { "test", (PAGE_SIZE << MAX_ORDER) + 1, 0, 0 },
        { "test", SIZE_MAX, 0, 0 },
        { "test", 1UL << 63, 0, 0 },
        { "test", 8, 3, 0 },
        { "test", 8, 24, 0 },
        { "test", 8, PAGE_SIZE * 2, 0 },
        { "test", 8, 1UL << 63, 0 },
        { "test", 8, 0, SLAB_FLAGS_ALL + 1 },
        { "test", 8, 0, 1U << 31 },
    };
    struct kmem_cache *cache, *twin;

    for (size_t i = 0; i < array_count(bad); i++)
        EXPECT_MISUSE(1, EXPECT_NULL(kmem_cache_create(bad[i].name, bad[i].size, bad[i].align, bad[i].flags,
                                                       NULL, NULL)));
    cache = kmem_cache_create(longest, PAGE_SIZE << MAX_ORDER, PAGE_SIZE, SLAB_NO_MAGAZINES, NULL, NULL);
    REQUIRE(cache);
    EXPECT_STREQ(cache->name, longest);
    EXPECT_EQ(cache->objects_per_slab, 1);
    EXPECT_MISUSE(1, twin = kmem_cache_create(longest, 8, 0, SLAB_NO_MAGAZINES, NULL, NULL));
    EXPECT_NULL(twin);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
    cache = kmem_cache_create(longest, 1, 1, SLAB_FLAGS_ALL, NULL, NULL);
    REQUIRE(cache);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// The validator sees a wrong bit, a wrong count, a wrong list and a wrong owner.
KTEST(slab, validator_sees_planted_defects)
{
    struct kmem_cache *cache = kmem_cache_create("test", 8, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    REQUIRE(cache);
    void *object = kmem_cache_alloc(cache, GFP_KERNEL);
    REQUIRE(object);
    struct page *slab = virt_to_slab(object);

    slab->map ^= 1UL << highest_bit(slab->map);
    EXPECT_NE(check_slabs(), 0);
    slab->map = slab->map | slab->map << 1;
    slab->refcount++;
    EXPECT_NE(check_slabs(), 0);
    slab->refcount--;
    EXPECT_EQ(check_slabs(), 0);
    cache->full = cache->partial;
    cache->partial = 0;
    EXPECT_NE(check_slabs(), 0);
    cache->partial = cache->full;
    cache->full = 0;
    cache->active_objects++;
    EXPECT_NE(check_slabs(), 0);
    cache->active_objects--;
    slab->owner = NULL;
    EXPECT_NE(check_slabs(), 0);
    slab->owner = cache;
    EXPECT_EQ(check_slabs(), 0);
    kmem_cache_free(cache, object);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}
