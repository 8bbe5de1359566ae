// mm/kmem: kmalloc and its kin.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kmalloc.h>

#include "bytes.h"
#include "fault_plan.h"
#include "memory_left.h"

#include <arch/smp.h>
#include <base/string.h>
#include <mm/page_lists.h>
#include <mm/vmalloc.h>

#define LARGEST_BLOCK (PAGE_SIZE << MAX_ORDER)

// Every size up to the largest block: room for it, the alignment promised, contents kept.
KTEST(kmalloc, every_size)
{
    for (size_t size = 1; size <= LARGEST_BLOCK; size += size < 300 ? 1 : size / ktest_rounds(32, 6)) {
        for (int step = -1; step <= 1; step++) {
            // Around powers of two, where the classes end.
            size_t bytes = is_power_of_two(size) || size > 300 ? size + (size_t)(long)step : size;
            if (bytes == 0 || bytes > LARGEST_BLOCK)
                continue;
            char *object = kmalloc(bytes, GFP_KERNEL);
            REQUIRE(object);
            EXPECT_GE(ksize(object), bytes);
            EXPECT_EQ((uintptr_t)object % 8, 0);
            if (is_power_of_two(bytes))
                EXPECT_EQ((uintptr_t)object % min_of(bytes, PAGE_SIZE), 0);
            object[0] = object[bytes - 1] = 'q';
            memset(object, 0x5a, min_of(bytes, KB(64)));
            EXPECT(is_all(object, 0x5a, min_of(bytes, KB(64))));
            kfree(object);
        }
    }
}

// The class of a constant, of a variable and by the definition of the classes are one and the same, the
// smallest that fits.
KTEST(kmalloc, class_is_the_smallest_that_fits)
{
    for (size_t size = 1; size <= KMALLOC_MAX_CACHE_BYTES; size++) {
        unsigned class = 0;
        while (kmalloc_class_bytes(class) < size)
            class++;
        if (kmalloc_class(size) != class || kmalloc_cache_for(size, GFP_KERNEL) != kmalloc_caches[0][class] ||
            kmalloc_cache_for(size, GFP_ATOMIC | GFP_DMA) != kmalloc_caches[1][class])
            EXPECT_EQ(kmalloc_class(size), class);
    }
    EXPECT_EQ(kmalloc_class_bytes(KMALLOC_CLASSES - 1), KMALLOC_MAX_CACHE_BYTES);
    EXPECT_GE(KMALLOC_MAX_CACHE_BYTES, 8192);
    EXPECT_GE(KMALLOC_MAX_CACHE_BYTES, PAGE_SIZE / 2);
    for (unsigned class = 0; class < KMALLOC_CLASSES; class++) {
        EXPECT_EQ(kmalloc_caches[0][class]->object_bytes, kmalloc_class_bytes(class));
        EXPECT_EQ(kmalloc_caches[1][class]->object_bytes, kmalloc_class_bytes(class));
    }
    void *constant = kmalloc(96, GFP_KERNEL), *dma = kmalloc(200, GFP_DMA | GFP_KERNEL);
    REQUIRE(constant && dma);
    EXPECT_EQ(slab_cache(virt_to_slab(constant)), kmalloc_cache_for(96, GFP_KERNEL));
    EXPECT_STREQ(kmalloc_cache_for(96, GFP_KERNEL)->name, "kmalloc-96");
    EXPECT_STREQ(kmalloc_cache_for(200, GFP_DMA)->name, "dma-kmalloc-256");
    EXPECT_EQ(page_zone(virt_to_slab(dma)), gfp_zone(GFP_DMA));
    kfree(constant);
    kfree(dma);
}

// Size 0 gives an address that is no memory, and that kfree and ksize take.
KTEST(kmalloc, size_zero)
{
    void *nothing = kmalloc(0, GFP_KERNEL);

    EXPECT_EQ(nothing, ZERO_SIZE_PTR);
    EXPECT_EQ(kzalloc(0, GFP_KERNEL), ZERO_SIZE_PTR);
    EXPECT_EQ(kmalloc_array(0, 8, GFP_KERNEL), ZERO_SIZE_PTR);
    EXPECT_EQ(ksize(nothing), 0);
    EXPECT_EQ(ksize(NULL), 0);
    EXPECT_MISUSE(0, (kfree(nothing), kfree(NULL)));
    void *grown = krealloc(nothing, 24, GFP_KERNEL);
    EXPECT_GE(ksize(grown), 24);
    EXPECT_EQ(krealloc(grown, 0, GFP_KERNEL), ZERO_SIZE_PTR);
}

// Zeroed memory is zero to the last byte of what is held, though the same memory was dirty before.
KTEST(kmalloc, zeroed_memory)
{
    for (size_t size = 1; size <= PAGE_SIZE * 4; size = size * 3 / 2 + 1) {
        void *dirty[3];
        for (unsigned i = 0; i < array_count(dirty); i++) {
            dirty[i] = kmalloc(size, GFP_KERNEL);
            REQUIRE(dirty[i]);
            memset(dirty[i], 0xff, ksize(dirty[i]));
        }
        for (unsigned i = 0; i < array_count(dirty); i++)
            kfree(dirty[i]);
        void *zeroed = kzalloc(size, GFP_KERNEL), *array = kcalloc(1, size, GFP_KERNEL);
        REQUIRE(zeroed && array);
        EXPECT(is_all(zeroed, 0, ksize(zeroed)));
        EXPECT(is_all(array, 0, ksize(array)));
        kfree(array);
        kfree(zeroed);
    }
}

// A product or a size that no block can hold is NULL; only the size is an error of the caller's.
KTEST(kmalloc, too_much)
{
    volatile size_t huge = 1UL << 63, half = 1UL << 32, large = LARGEST_BLOCK + 1;

    EXPECT_MISUSE(0, EXPECT_NULL(kmalloc_array(half, half, GFP_KERNEL)));
    EXPECT_MISUSE(0, EXPECT_NULL(kcalloc(huge, 2, GFP_KERNEL)));
    EXPECT_MISUSE(0, EXPECT_NULL(kmalloc_array(SIZE_MAX, SIZE_MAX, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(kmalloc(huge, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(kmalloc(large, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(kzalloc(SIZE_MAX, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(kcalloc(half, half / 4, GFP_KERNEL)));
}

// 48, 40, 56, 112 bytes: contents are kept, and what was not asked for before is zero in a block that always
// had the flag.
KTEST(kmalloc, krealloc_keeps_and_clears)
{
    static const size_t sizes[] = { 48, 40, 56, 112, 20, 300, 299, 8192, 100000, 70000, 99999, 64 };
    char *object = NULL;
    size_t size = 0, kept = SIZE_MAX;

    for (unsigned i = 0; i < array_count(sizes); i++) {
        object = krealloc(object, sizes[i], GFP_KERNEL | __GFP_ZERO);
        REQUIRE(object);
        EXPECT_GE(ksize(object), sizes[i]);
        kept = min_of(size, sizes[i]);
        EXPECT(is_all(object, 'a' + (int)i, kept));
        EXPECT(is_all(object + kept, 0, sizes[i] - kept));
        size = sizes[i];
        memset(object, 'a' + (int)i + 1, size);
    }
    kfree(object);
}

// What still fits stays where it is; a failing growth leaves the old block alone.
KTEST(kmalloc, krealloc_in_place_and_failing)
{
    char *object = kmalloc(100, GFP_KERNEL), *large = kmalloc(KMALLOC_MAX_CACHE_BYTES + 1, GFP_KERNEL);
    struct kmalloc_large_stats before = kmalloc_large_stats(), after;
    REQUIRE(object && large);

    memset(object, 'x', 100);
    EXPECT_EQ(krealloc(object, 128, GFP_KERNEL), object);
    EXPECT_EQ(krealloc(object, 1, GFP_KERNEL), object);
    EXPECT_EQ(krealloc(object, 100, GFP_KERNEL), object);
    memset(object, 'x', 100);
    fault_plan_start(FAULT_ALL, 0, UINT64_MAX);
    EXPECT_NULL(krealloc(object, 129, GFP_KERNEL));
    EXPECT_NULL(krealloc(object, 100000, GFP_KERNEL));
    EXPECT(fault_plan_stop());
    EXPECT(is_all(object, 'x', 100));
    EXPECT_MISUSE(1, EXPECT_NULL(krealloc(object, SIZE_MAX, GFP_KERNEL)));
    EXPECT(is_all(object, 'x', 100));
    kfree(object);

    EXPECT_EQ(krealloc(large, KMALLOC_MAX_CACHE_BYTES - 1, GFP_KERNEL), large);
    after = kmalloc_large_stats();
    EXPECT_EQ(before.bytes_requested - after.bytes_requested, 2);
    EXPECT_EQ(before.pages, after.pages);
    kfree(large);
}

// What is no kmalloc object in use is reported once, by kfree and by krealloc, and is nothing to ksize. kfree finds the
// middle of an object out when it comes back from the magazines.
KTEST(kmalloc, strangers_are_reported)
{
    struct kmem_cache *cache = kmem_cache_create("test", 64, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    char on_stack[32], *object = kmalloc(64, GFP_KERNEL),
                       *large = kmalloc(KMALLOC_MAX_CACHE_BYTES * 3, GFP_KERNEL);
    REQUIRE(cache && object && large);
    char *other = kmem_cache_alloc(cache, GFP_KERNEL), *page = __get_free_page(GFP_KERNEL),
         *area = vmalloc(1);
    REQUIRE(other && page && area);
    char *const strangers[] = {
        object + 1,        object + 8, object + 32,  large + 8,
        large + PAGE_SIZE, other,      page,         area,
        on_stack,          (char *)17, (char *)-8UL, phys_to_virt(paddr(ARCH_PHYS_LIMIT - 16))
    };

    for (unsigned i = 0; i < array_count(strangers); i++) {
        EXPECT_EQ(ksize(strangers[i]), 0);
        EXPECT_MISUSE(1, {
            kfree(strangers[i]);
            page_lists_drain_all();
        });
        EXPECT_MISUSE(1, EXPECT_NULL(krealloc(strangers[i], 8, GFP_KERNEL)));
    }
    kfree(object);
    EXPECT_EQ(ksize(object), 0);
    EXPECT_MISUSE(2, (kfree(object), kfree(object)));
    EXPECT_MISUSE(1, EXPECT_NULL(krealloc(object, 8, GFP_KERNEL)));
    kfree(large);
    EXPECT_MISUSE(2, (kfree(large), kfree(large)));
    kmem_cache_free(cache, other);
    free_page(page);
    vfree(area);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// The bytes asked for and the pages held by large blocks are known exactly.
KTEST(kmalloc, large_blocks_are_counted)
{
    struct kmalloc_large_stats before = kmalloc_large_stats(), now;
    void *blocks[10];
    uint64_t bytes = 0, pages = 0;

    for (unsigned i = 0; i < array_count(blocks); i++) {
        size_t size = KMALLOC_MAX_CACHE_BYTES + 1 + ktest_random_below(100000);
        blocks[i] = kmalloc(size, GFP_KERNEL);
        REQUIRE(blocks[i]);
        bytes += size;
        pages += 1UL << get_order(size);
        EXPECT_EQ(ksize(blocks[i]), PAGE_SIZE << get_order(size));
    }
    now = kmalloc_large_stats();
    EXPECT_EQ(now.count - before.count, array_count(blocks));
    EXPECT_EQ(now.bytes_requested - before.bytes_requested, bytes);
    EXPECT_EQ(now.pages - before.pages, pages);
    for (unsigned i = 0; i < array_count(blocks); i++)
        kfree(blocks[i]);
    now = kmalloc_large_stats();
    EXPECT_EQ(now.count, before.count);
    EXPECT_EQ(now.bytes_requested, before.bytes_requested);
    EXPECT_EQ(now.pages, before.pages);
}

KTEST(kmalloc, kstrdup_copies)
{
    char *copy = kstrdup("a quire is a gathering of pages", GFP_KERNEL), *empty = kstrdup("", GFP_KERNEL);

    EXPECT_STREQ(copy, "a quire is a gathering of pages");
    EXPECT_STREQ(empty, "");
    EXPECT_NULL(kstrdup(NULL, GFP_KERNEL));
    fault_plan_start(FAULT_ALL, 0, UINT64_MAX);
    EXPECT_NULL(kstrdup("text", GFP_KERNEL));
    EXPECT(fault_plan_stop());
    kfree(copy);
    kfree(empty);
}

// Crowds of equal objects, freed in order, in reverse and at random; every one keeps its own contents.
KTEST(kmalloc, crowds)
{
    static const struct { uint32_t size, count; } crowds[] = {
        { 100, 1024 }, { 200, 1024 }, { 1024, 1024 }, { 2048, 512 },
        { 4000, 128 }, { 8192, 128 }, { 16384, 128 }, { 16385, 128 },
    };
    static uint64_t *object[1024];

    for (unsigned crowd = 0; crowd < array_count(crowds); crowd++)
        for (unsigned order = 0; order < 3; order++) {
            uint32_t size = crowds[crowd].size, count = crowds[crowd].count;
            bool intact = true;
            for (uint32_t i = 0; i < count; i++) {
                object[i] = kmalloc(size, GFP_KERNEL);
                REQUIRE(object[i]);
                object[i][0] = object[i][size / 8 - 1] = (uint64_t)i << 32 | size;
            }
            for (uint32_t left = count; left > 0; left--) {
                uint64_t k = order == 0 ? count - left : order == 1 ? left - 1 : ktest_random_below(left);
                uint64_t *freed = object[k];
                intact &= freed[0] == freed[size / 8 - 1] && (uint32_t)freed[0] == size;
                if (order == 2)
                    object[k] = object[left - 1];
                kfree(freed);
            }
            EXPECT(intact);
        }
}

struct exhaustion {
    uint64_t objects;                  // (A)
    unsigned defects;                  // (A)
    unsigned arrived;                  // (A)
    unsigned harts;
};

static void meet(struct exhaustion *shared, unsigned times)
{
    __atomic_fetch_add(&shared->arrived, 1, __ATOMIC_ACQ_REL);
    for (unsigned round = 0; __atomic_load_n(&shared->arrived, __ATOMIC_ACQUIRE) < shared->harts * times;
         round++)
        arch_relax(round);
}

// Takes objects of three sizes until there are none of the smallest, tells how many, and gives them back.
static void exhaust_on_hart(unsigned index, void *argument)
{
    static const size_t sizes[] = { 8192, 2048, 128 };
    struct exhaustion *shared = argument;
    uint64_t **chain = NULL, count = 0;

    meet(shared, 1);
    for (unsigned i = 0; i < array_count(sizes); i++)
        for (uint64_t **object; (object = kmalloc_sized(sizes[i], GFP_KERNEL | __GFP_NOWARN)) != NULL;
             count++) {
            object[0] = (uint64_t *)chain;
            object[1] = (uint64_t *)(uintptr_t)index;
            chain = object;
        }
    __atomic_fetch_add(&shared->objects, count, __ATOMIC_RELAXED);
    meet(shared, 2);
    while (chain != NULL) {
        uint64_t **object = chain;
        chain = (uint64_t **)object[0];
        if (object[1] != (uint64_t *)(uintptr_t)index)
            __atomic_fetch_add(&shared->defects, 1, __ATOMIC_RELAXED);
        kfree(object);
    }
    meet(shared, 3);
}

// All harts use up the last memory at once, twice: nobody hangs, nothing is handed out twice, and all of it comes back.
KTEST(kmalloc, harts_exhaust_memory_twice)
{
    static struct exhaustion shared;
    struct page_chain chain = { 0 };

    leave_memory(&chain, ktest_rounds(MB(64), MB(8)));
    for (unsigned round = 0; round < 2; round++) {
        (void)free_pages_now();
        kmem_cache_reap(UINT64_MAX);
        uint64_t left = free_pages_now(), usable = left - reserved_pages();
        shared = (struct exhaustion){ .harts = arch_hart_count() };
        ktest_run_on_harts(exhaust_on_hart, &shared);
        EXPECT_EQ(shared.defects, 0);
        EXPECT_GE(shared.objects * kmalloc_cache_for(8192, GFP_KERNEL)->stride_bytes, usable * PAGE_SIZE / 2);
        (void)free_pages_now();
        kmem_cache_reap(UINT64_MAX);
        EXPECT_EQ(free_pages_now(), left);
    }
    chain_free(&chain);
}

struct mixed {
    uint64_t seed;
    unsigned defects;                  // (A)
};

// Ten rounds of a thousand objects of random sizes, each filled with the hart's mark.
static void churn_on_hart(unsigned index, void *argument)
{
    struct mixed *mixed = argument;
    struct random random = random_seeded(mixed->seed + index);
    struct { uint8_t *bytes; size_t size; } held[64] = { 0 };

    for (unsigned step = 0; step < ktest_rounds(40000, 4000); step++) {
        uint64_t k = random_below(&random, array_count(held));
        if (held[k].bytes != NULL) {
            if (!is_all(held[k].bytes, (int)(index + k), held[k].size))
                __atomic_fetch_add(&mixed->defects, 1, __ATOMIC_RELAXED);
            kfree(held[k].bytes);
        }
        held[k].size = 1 + random_below(&random, 1UL << random_below(&random, 14));
        held[k].bytes = kmalloc(held[k].size, GFP_KERNEL);
        if (held[k].bytes == NULL)
            __atomic_fetch_add(&mixed->defects, 1, __ATOMIC_RELAXED);
        else
            memset(held[k].bytes, (int)(index + k), held[k].size);
    }
    for (unsigned k = 0; k < array_count(held); k++)
        kfree(held[k].bytes);
}

KTEST(kmalloc, harts_churn)
{
    struct mixed mixed = { .seed = ktest_random() };

    ktest_run_on_harts(churn_on_hart, &mixed);
    EXPECT_EQ(mixed.defects, 0);
}
