// Rows of kmalloc and of slab caches.
// SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <mm/kmalloc.h>
#include <mm/mempool.h>
#include <mm/slab.h>

#define PAIRS 10000
#define OBJECT_BYTES 200

static void variable_pair(struct bench *bench, unsigned size, unsigned variant)
{
    (void)variant;
    for (unsigned i = 0; i < PAIRS; i++) {
        size_t bytes = size;
        void *object = NULL;
        bench_hide(bytes);
        BENCH_TIME(bench, object = kmalloc(bytes, GFP_KERNEL); kfree(object));
        if (!object)
            bench->out_of_memory = true;
    }
}

// A function for each size: the point of the row is that the compiler sees a constant.
#define KMALLOC_ROWS(bytes) \
    static void constant_pair_##bytes(struct bench *bench, unsigned size, unsigned variant) \
    { \
        (void)size; \
        (void)variant; \
        for (unsigned i = 0; i < PAIRS; i++) { \
            void *object = NULL; \
            BENCH_TIME(bench, object = kmalloc(bytes, GFP_KERNEL); kfree(object)); \
            if (!object) \
                bench->out_of_memory = true; \
        } \
    } \
    BENCH_ROW(constant_##bytes, "kmalloc.const." #bytes ".pair", constant_pair_##bytes, 0, 0); \
    BENCH_ROW(variable_##bytes, "kmalloc.var." #bytes ".pair", variable_pair, bytes, 0)

KMALLOC_ROWS(8);
KMALLOC_ROWS(16);
KMALLOC_ROWS(32);
KMALLOC_ROWS(64);
KMALLOC_ROWS(96);
KMALLOC_ROWS(128);
KMALLOC_ROWS(192);
KMALLOC_ROWS(256);
KMALLOC_ROWS(512);
KMALLOC_ROWS(1024);
KMALLOC_ROWS(2048);
KMALLOC_ROWS(4096);
KMALLOC_ROWS(8192);

static void large_pair(struct bench *bench, unsigned size, unsigned variant)
{
    (void)size;
    (void)variant;
    for (unsigned i = 0; i < 1000; i++)
        BENCH_TIME(bench, kfree(kmalloc(65536, GFP_KERNEL)));
}
BENCH_ROW(large, "kmalloc.const.65536.pair", large_pair, 0, 0);

static void zeroed_pair(struct bench *bench, unsigned size, unsigned variant)
{
    (void)size;
    (void)variant;
    for (unsigned i = 0; i < PAIRS; i++)
        BENCH_TIME(bench, kfree(kzalloc(256, GFP_KERNEL)));
}
BENCH_ROW(zeroed_object, "kzalloc.const.256.pair", zeroed_pair, 0, 0);

static always_inline void *take_64(void) { return kmalloc(64, GFP_KERNEL); }
static always_inline void *take_256(void) { return kmalloc(256, GFP_KERNEL); }
static always_inline void give(void *object) { kfree(object); }

static void kmalloc_batch(struct bench *bench, unsigned size, unsigned variant)
{
    bench_batch(bench, 1024, variant, size == 64 ? take_64 : take_256, give);
}

static struct kmem_cache *cache;

static always_inline void *take_object(void) { return kmem_cache_alloc(cache, GFP_KERNEL); }
static always_inline void give_object(void *object) { kmem_cache_free(cache, object); }

static void construct(void *object)
{
    *(uint64_t *)object = 1;
}

static bool open_cache(struct bench *bench, bool is_constructed)
{
    cache = kmem_cache_create("bench-200", OBJECT_BYTES, 0, 0, is_constructed ? construct : NULL, NULL);
    bench->out_of_memory = !cache;
    return cache != NULL;
}

static void cache_batch(struct bench *bench, unsigned size, unsigned variant)
{
    (void)size;
    if (!open_cache(bench, false))
        return;
    bench_batch(bench, 1024, variant, take_object, give_object);
    kmem_cache_destroy(cache);
}

#define BATCH_ROWS(id, name, function, size) \
    BENCH_ROW(id##la, name ".batch1024.lifo.alloc", function, size, BENCH_VARIANT(BENCH_LIFO, BENCH_ALLOC)); \
    BENCH_ROW(id##lf, name ".batch1024.lifo.free", function, size, BENCH_VARIANT(BENCH_LIFO, BENCH_FREE)); \
    BENCH_ROW(id##fa, name ".batch1024.fifo.alloc", function, size, BENCH_VARIANT(BENCH_FIFO, BENCH_ALLOC)); \
    BENCH_ROW(id##ff, name ".batch1024.fifo.free", function, size, BENCH_VARIANT(BENCH_FIFO, BENCH_FREE)); \
    BENCH_ROW(id##ra, name ".batch1024.random.alloc", function, size, BENCH_VARIANT(BENCH_RANDOM, BENCH_ALLOC)); \
    BENCH_ROW(id##rf, name ".batch1024.random.free", function, size, BENCH_VARIANT(BENCH_RANDOM, BENCH_FREE))
BATCH_ROWS(kmalloc64, "kmalloc.64", kmalloc_batch, 64);
BATCH_ROWS(kmalloc256, "kmalloc.256", kmalloc_batch, 256);
BATCH_ROWS(cache200, "cache.200", cache_batch, 200);

static void pair_of_cache(struct bench *bench, unsigned size, unsigned variant)
{
    struct kmem_cache *objects = cache;

    (void)size;
    (void)variant;
    for (unsigned i = 0; i < PAIRS; i++)
        BENCH_TIME(bench, kmem_cache_free(objects, kmem_cache_alloc(objects, GFP_KERNEL)));
}

static void cache_pair(struct bench *bench, unsigned size, unsigned is_constructed)
{
    if (!open_cache(bench, is_constructed))
        return;
    pair_of_cache(bench, size, 0);
    kmem_cache_destroy(cache);
}
BENCH_ROW(cache_plain, "cache.200.pair", cache_pair, 0, false);
BENCH_ROW(cache_constructed, "cache.200ctor.pair", cache_pair, 0, true);

// The cost of a whole bulk, given per object.
static void bulk(struct bench *bench, unsigned count, unsigned half)
{
    static void *objects[64];

    if (!open_cache(bench, false))
        return;
    for (unsigned round = 0; round < 1000; round++) {
        uint64_t start = arch_instructions();
        size_t got = kmem_cache_alloc_bulk(cache, GFP_KERNEL, count, objects);
        uint64_t middle = arch_instructions();
        kmem_cache_free_bulk(cache, got, objects);
        uint64_t end = arch_instructions();
        uint64_t total = half == BENCH_ALLOC ? middle - start : end - middle;
        bench_record(bench, 0, (total - bench_timing_cost) / count + bench_timing_cost);
        bench->out_of_memory |= got != count;
    }
    kmem_cache_destroy(cache);
}
BENCH_ROW(bulk16a, "cache.bulk16.alloc", bulk, 16, BENCH_ALLOC);
BENCH_ROW(bulk16f, "cache.bulk16.free", bulk, 16, BENCH_FREE);
BENCH_ROW(bulk64a, "cache.bulk64.alloc", bulk, 64, BENCH_ALLOC);
BENCH_ROW(bulk64f, "cache.bulk64.free", bulk, 64, BENCH_FREE);

// The pairs above while frees look whether an object starts there: one cache at a time is told to, whatever the boot
// argument says, so that both costs are of one boot.
static void checked_pair(struct bench *bench, struct kmem_cache *watched,
                         void (*pair)(struct bench *bench, unsigned size, unsigned variant))
{
    bool was_checked = watched->checks_frees;

    kmem_cache_check_frees(watched, true);
    pair(bench, 256, 0);
    kmem_cache_check_frees(watched, was_checked);
}

static void checked_kmalloc_pair(struct bench *bench, unsigned size, unsigned is_variable)
{
    checked_pair(bench, kmalloc_cache_for(size, GFP_KERNEL), is_variable ? variable_pair : constant_pair_256);
}
BENCH_ROW(checked_constant, "kmalloc.const.256.pair.checked", checked_kmalloc_pair, 256, false);
BENCH_ROW(checked_variable, "kmalloc.var.256.pair.checked", checked_kmalloc_pair, 256, true);

static void checked_cache_pair(struct bench *bench, unsigned size, unsigned is_constructed)
{
    (void)size;
    if (!open_cache(bench, is_constructed))
        return;
    checked_pair(bench, cache, pair_of_cache);
    kmem_cache_destroy(cache);
}
BENCH_ROW(checked_plain, "cache.200.pair.checked", checked_cache_pair, 0, false);
BENCH_ROW(checked_constructed, "cache.200ctor.pair.checked", checked_cache_pair, 0, true);

// While the underlying allocator has objects, and the reserve is not touched.
static void mempool_pair(struct bench *bench, unsigned size, unsigned variant)
{
    struct mempool *pool = mempool_create_kmalloc_pool(4, size);

    (void)variant;
    bench->out_of_memory = !pool;
    for (unsigned i = 0; i < PAIRS && pool; i++)
        BENCH_TIME(bench, mempool_free(mempool_alloc(pool, GFP_KERNEL), pool));
    mempool_destroy(pool);
}
BENCH_ROW(mempool, "mempool.kmalloc256.pair", mempool_pair, 256, 0);

static void create_destroy(struct bench *bench, unsigned size, unsigned variant)
{
    (void)size;
    (void)variant;
    for (unsigned i = 0; i < 200; i++)
        BENCH_TIME(bench, kmem_cache_destroy(kmem_cache_create("bench-new", OBJECT_BYTES, 0, 0, NULL, NULL)));
}
BENCH_ROW(create_destroy, "cache.create_destroy", create_destroy, 0, 0);
