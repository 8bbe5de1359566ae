// mm/kmem/magazine.c and object.c: what waits on harts is never lost, never handed out twice and never freed twice.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/magazine.h>

#include "capture.h"
#include "page_chain.h"

#include <arch/smp.h>
#include <base/string.h>
#include <check/check.h>
#include <mm/kmalloc.h>
#include <mm/page_lists.h>
#include <mm/slab.h>

#define MANY 1000

static void *objects[MANY];

static bool take_many(struct kmem_cache *cache, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if ((objects[i] = kmem_cache_alloc(cache, GFP_KERNEL)) == NULL)
            return false;
    return true;
}

static void give_many(struct kmem_cache *cache, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        kmem_cache_free(cache, objects[i]);
}

// Objects that were freed wait in magazines and the depot, are counted as nobody's, come back from there without the
// slabs, and all are in the slabs after a drain.
KTEST(magazine, keeps_what_was_freed)
{
    struct kmem_cache *cache = kmem_cache_create("magazines", 200, 0, 0, NULL, NULL);

    REQUIRE(cache && take_many(cache, MANY));
    EXPECT_EQ(kmem_cache_live_objects(cache), MANY);
    give_many(cache, MANY);
    EXPECT_EQ(kmem_cache_live_objects(cache), 0);
    EXPECT_GE(magazines_objects(cache), MANY / 2);
    EXPECT_GE(cache->depot.full_count, 1);
    uint64_t from_slabs = cache->alloc_count, waiting = magazines_objects(cache);
    REQUIRE(take_many(cache, (unsigned)min_of(waiting, (uint64_t)MANY)));
    EXPECT_EQ(cache->alloc_count, from_slabs);
    give_many(cache, (unsigned)min_of(waiting, (uint64_t)MANY));
    page_lists_drain_all();
    EXPECT_EQ(magazines_objects(cache), 0);
    EXPECT_EQ(cache->active_objects, 0);
    EXPECT_EQ(check_slabs(), 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Every object that is handed out is another one, however they went and came, one by one and in bulk.
KTEST(magazine, hands_out_each_object_once)
{
    struct kmem_cache *cache = kmem_cache_create("magazines", 48, 0, 0, NULL, NULL);
    struct random random = random_seeded(ktest_random());
    unsigned held = 0;
    uint64_t shared = 0;

    REQUIRE(cache);
    for (unsigned round = 0; round < ktest_rounds(2000, 400); round++) {
        unsigned count = (unsigned)random_below(&random, 90) + 1;
        bool is_bulk = random_below(&random, 2) == 0;
        if (held + count <= MANY && random_below(&random, 2) == 0) {
            if (is_bulk)
                REQUIRE(kmem_cache_alloc_bulk(cache, GFP_KERNEL, count, objects + held) == count);
            for (unsigned i = held; i < held + count; i++) {
                if (!is_bulk)
                    REQUIRE((objects[i] = kmem_cache_alloc(cache, GFP_KERNEL)) != NULL);
                // Whoever else had it would find this.
                ((uint64_t *)objects[i])[1] = i;
            }
            held += count;
        } else {
            count = min_of(count, held);
            for (unsigned i = held - count; i < held; i++)
                shared += ((uint64_t *)objects[i])[1] != i;
            if (is_bulk)
                kmem_cache_free_bulk(cache, count, objects + held - count);
            for (unsigned i = held - count; i < held && !is_bulk; i++)
                kmem_cache_free(cache, objects[i]);
            held -= count;
        }
        if (round % 64 == 0)
            EXPECT_EQ(kmem_cache_live_objects(cache), held);
    }
    EXPECT_EQ(shared, 0);
    kmem_cache_free_bulk(cache, held, objects);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// A second free with no allocation between is found at once, wherever the object waits meanwhile: loaded, in the depot,
// in its slab; and after it the object is handed out once.
KTEST(magazine, second_free_is_found_wherever_the_object_waits)
{
    struct kmem_cache *cache = kmem_cache_create("magazines", 104, 0, 0, NULL, NULL);

    REQUIRE(cache && take_many(cache, MANY));
    give_many(cache, MANY);
    for (unsigned i = 0; i < MANY; i += 37)
        EXPECT_MISUSE(1, kmem_cache_free(cache, objects[i]));
    EXPECT_MISUSE(20, kmem_cache_free_bulk(cache, 20, objects + 10));
    page_lists_drain_all();
    void *kept = kmem_cache_alloc(cache, GFP_KERNEL);
    for (unsigned i = 0; i < MANY; i += 37)
        if (virt_to_slab(objects[i]) != NULL && objects[i] != kept)
            EXPECT_MISUSE(1, kmem_cache_free(cache, objects[i]));
    EXPECT_EQ(kmem_cache_live_objects(cache), 1);
    kmem_cache_free(cache, kept);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);

    void *object = kmalloc(64, GFP_KERNEL);
    REQUIRE(object);
    kfree(object);
    EXPECT_MISUSE(2, (kfree(object), kfree(object)));
}

struct thing {
    uint64_t words[8];
};

static uint64_t constructed, destructed;     // (A) a trim on any hart destructs

static void construct(void *object)
{
    struct thing *thing = object;

    __atomic_fetch_add(&constructed, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < array_count(thing->words); i++)
        thing->words[i] = ~(uint64_t)i;
}

static bool is_constructed(const struct thing *thing)
{
    for (unsigned i = 0; i < array_count(thing->words); i++)
        if (thing->words[i] != ~(uint64_t)i)
            return false;
    return true;
}

static void destruct(void *object)
{
    __atomic_fetch_add(&destructed, is_constructed(object), __ATOMIC_RELAXED);
}

// A constructed object is whole, all of it, each time it is handed out, though nobody constructs it again; second frees
// are found all the same; and every one is destructed when its slab goes.
KTEST(magazine, constructed_state_survives_free)
{
    static const size_t aligns[] = { 0, 16, 64 };

    for (unsigned kind = 0; kind < array_count(aligns); kind++) {
        constructed = destructed = 0;
        struct kmem_cache *cache = kmem_cache_create("things", sizeof(struct thing), aligns[kind], 0, construct,
                                                     destruct);
        uint64_t broken = 0;
        REQUIRE(cache);
        for (unsigned round = 0; round < 4; round++) {
            REQUIRE(take_many(cache, 300));
            for (unsigned i = 0; i < 300; i++)
                broken += !is_constructed(objects[i]) || !is_aligned((uintptr_t)objects[i], max_of(aligns[kind], 8UL));
            give_many(cache, 300);
            EXPECT_MISUSE(1, kmem_cache_free(cache, objects[round * 70]));
        }
        EXPECT_EQ(broken, 0);
        EXPECT_LE(constructed, 300 + 2 * cache->objects_per_slab + 200);
        EXPECT_EQ(kmem_cache_destroy(cache), 0);
        EXPECT_EQ(destructed, constructed);
    }
}

// What is no object in use of the cache is reported: another cache's, a page's, a stack's, no memory's.
KTEST(magazine, strangers_are_reported)
{
    struct kmem_cache *cache = kmem_cache_create("magazines", 64, 0, 0, NULL, NULL);
    struct kmem_cache *other = kmem_cache_create("others", 64, 0, 0, NULL, NULL);
    uint64_t on_stack[8] = { 0 };
    void *object, *others, *page = __get_free_page(GFP_KERNEL);

    REQUIRE(cache && other && page);
    object = kmem_cache_alloc(cache, GFP_KERNEL);
    others = kmem_cache_alloc(other, GFP_KERNEL);
    void *const strangers[] = {
        others, page, on_stack, (void *)8, (void *)-8UL, phys_to_virt(paddr(ARCH_PHYS_LIMIT - 64)),
    };
    for (unsigned i = 0; i < array_count(strangers); i++) {
        EXPECT_MISUSE(1, kmem_cache_free(cache, strangers[i]));
        void *bulk[] = { strangers[i] };
        EXPECT_MISUSE(1, kmem_cache_free_bulk(cache, 1, bulk));
    }
    kmem_cache_free(cache, NULL);
    EXPECT_EQ(kmem_cache_live_objects(cache), 1);
    kmem_cache_free(cache, object);
    kmem_cache_free(other, others);
    free_page(page);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
    EXPECT_EQ(kmem_cache_destroy(other), 0);
}

// Watches a cache's frees while what lies around its objects goes back, and around where one more would be: each is
// found out at once, one by one and in bulk.
static void expect_starts_alone(size_t size, size_t align, void (*constructor)(void *object))
{
    struct kmem_cache *cache = kmem_cache_create("starts", size, align, 0, constructor, NULL);
    struct kmem_cache *other = kmem_cache_create("others", size, align, 0, constructor, NULL);

    REQUIRE(cache && other);
    kmem_cache_check_frees(cache, true);
    unsigned per_slab = cache->objects_per_slab, count = min_of(per_slab, (unsigned)MANY);
    REQUIRE(take_many(cache, count));
    char *slab = page_to_virt(virt_to_slab(objects[0])), *foreign = kmem_cache_alloc(other, GFP_KERNEL);
    size_t slab_bytes = PAGE_SIZE << cache->slab_order;
    size_t first = (size_t)((char *)slab_object_at(cache, virt_to_slab(slab), 0) - slab);
    REQUIRE(foreign);
    uint64_t reports = slab_misuse_count(), wrong = 0;
    const unsigned near[] = { 0, 1, per_slab / 2, per_slab - 1, per_slab };
    const long steps[] = { -8, -1, 0, 1, 8, (long)size / 2, (long)size - 1 };
    capture_start();
    for (unsigned i = 0; i < array_count(near) * array_count(steps); i++) {
        long step = steps[i % array_count(steps)];
        unsigned index = near[i / array_count(steps)];
        size_t from_first = (size_t)index * cache->stride_bytes + (size_t)step, offset = first + from_first;
        void *bulk[] = { slab + offset };
        bool is_start = from_first % cache->stride_bytes == 0 && from_first / cache->stride_bytes < per_slab;
        if (is_start || offset >= slab_bytes)
            continue;
        kmem_cache_free(cache, slab + offset);
        kmem_cache_free_bulk(cache, 1, bulk);
        wrong += 2;
    }
    (void)capture_stop();
    EXPECT_GE(wrong, 20);
    EXPECT_EQ(slab_misuse_count() - reports, wrong);
    ktest_expect_misuse(slab_misuse_count() - reports);
    EXPECT_MISUSE(1, kmem_cache_free(cache, foreign));
    EXPECT_EQ(kmem_cache_live_objects(cache), count);
    give_many(cache, count);
    EXPECT_MISUSE(min_of(count, 16U), give_many(cache, min_of(count, 16U)));
    EXPECT_EQ(kmem_cache_live_objects(cache), 0);
    kmem_cache_free(other, foreign);
    EXPECT_EQ(kmem_cache_destroy(other), 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Where a cache looks at its frees, nothing but the start of an object in use is taken, whatever the size, the
// alignment and the pages of a slab.
KTEST(magazine, checked_frees_take_nothing_but_starts)
{
    static const size_t sizes[] = { 8, 24, 56, 64, 104, 200, 1000, 1024, 3000 };

    for (unsigned i = 0; i < array_count(sizes); i++) {
        expect_starts_alone(sizes[i], 0, NULL);
        if (sizes[i] >= sizeof(struct thing))
            expect_starts_alone(sizes[i], i % 2 == 0 ? 0 : 64, construct);
    }
}

// kfree looks from when it is told to, at objects that there were before too, and until it is told not to.
KTEST(magazine, kfree_looks_when_told)
{
    struct kmem_cache *class = kmalloc_cache_for(96, GFP_KERNEL);
    bool was_checked = class->checks_frees;
    char *before = kmalloc(96, GFP_KERNEL), *after;

    kmem_cache_check_frees(class, true);
    after = kmalloc(96, GFP_KERNEL);
    REQUIRE(before && after);
    for (unsigned offset = 1; offset < 96; offset += 9) {
        EXPECT_MISUSE(1, kfree(before + offset));
        EXPECT_MISUSE(1, kfree(after + offset));
    }
    kfree(before);
    EXPECT_MISUSE(1, kfree(before));
    kmem_cache_check_frees(class, false);
    EXPECT_MISUSE(1, kfree(before));
    kfree(after);
    EXPECT_MISUSE(1, kfree(after));
    EXPECT_EQ(check_slabs(), 0);
    kmem_cache_check_frees(class, was_checked);
    EXPECT_EQ(check_slabs(), 0);
}

// While lists are blocked, objects go straight to the slabs.
KTEST(magazine, blocked_lists_leave_no_magazine)
{
    struct kmem_cache *cache = kmem_cache_create("magazines", 200, 0, 0, NULL, NULL);

    REQUIRE(cache && take_many(cache, 100));
    give_many(cache, 100);
    page_lists_block();
    EXPECT_EQ(magazines_objects(cache), 0);
    REQUIRE(take_many(cache, 100));
    give_many(cache, 100);
    EXPECT_EQ(magazines_objects(cache), 0);
    EXPECT_EQ(cache->active_objects, 0);
    page_lists_unblock();
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// What the depot did not need between two trims goes back; what it needed stays.
KTEST(magazine, trim_gives_back_what_was_not_needed)
{
    struct kmem_cache *cache = kmem_cache_create("magazines", 64, 0, 0, NULL, NULL);

    REQUIRE(cache && take_many(cache, MANY));
    give_many(cache, MANY);
    uint32_t full = cache->depot.full_count;
    REQUIRE(full >= 2);
    // Until now there were none: so many may be needed again.
    EXPECT_EQ(magazines_trim(cache), 0);
    EXPECT_EQ(cache->depot.full_count, full);
    EXPECT_GE(magazines_trim(cache), 1);
    EXPECT_EQ(cache->depot.full_count, 0);
    EXPECT_EQ(kmem_cache_live_objects(cache), 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// What waits in magazines of one cache is given up before another makes slabs more than they lately were.
KTEST(magazine, growth_recalls_what_waits)
{
    struct kmem_cache *idle = kmem_cache_create("magazines", 256, 0, 0, NULL, NULL);
    struct kmem_cache *growing = kmem_cache_create("magazines too", 1024, 0, 0, NULL, NULL);

    REQUIRE(idle && growing && take_many(idle, MANY));
    give_many(idle, MANY);
    EXPECT_EQ(magazines_objects(idle), idle->active_objects);
    kmem_cache_trim_all();
    REQUIRE(take_many(growing, MANY));
    EXPECT_EQ(magazines_objects(idle), 0);
    EXPECT_EQ(idle->slab_count, 0);
    give_many(growing, MANY);
    EXPECT_EQ(kmem_cache_destroy(idle), 0);
    EXPECT_EQ(kmem_cache_destroy(growing), 0);
}

// Small magazines are given up although they were just in use, larger ones stay.
KTEST(magazine, growth_leaves_large_magazines_in_use)
{
    struct kmem_cache *small = kmem_cache_create("small", 64, 0, 0, NULL, NULL);
    struct kmem_cache *large = kmem_cache_create("large", 64, 0, 0, NULL, NULL);
    struct kmem_cache *growing = kmem_cache_create("growing", KB(8), 0, 0, NULL, NULL);
    unsigned count = 0;

    REQUIRE(small && large && growing);
    // With a slab of its own already: a recall for that would be a second look at the large ones.
    void *first = kmem_cache_alloc(small, GFP_KERNEL);
    REQUIRE(first);
    REQUIRE(kmem_cache_alloc_bulk(large, GFP_KERNEL, 100, objects) == 100);
    kmem_cache_free_bulk(large, 100, objects);
    kmem_cache_free(small, kmem_cache_alloc(small, GFP_KERNEL));
    kmem_cache_trim_all();
    uint64_t small_waiting = magazines_objects(small), large_waiting = magazines_objects(large);
    EXPECT_GE(small_waiting, 1);
    do {
        REQUIRE((objects[count] = kmem_cache_alloc(growing, GFP_KERNEL)) != NULL);
        count++;
    } while (count < MANY && magazines_objects(small) == small_waiting);
    EXPECT_EQ(magazines_objects(small), 0);
    EXPECT_EQ(magazines_objects(large), large_waiting);
    give_many(growing, count);
    kmem_cache_free(small, first);
    EXPECT_EQ(kmem_cache_destroy(small), 0);
    EXPECT_EQ(kmem_cache_destroy(large), 0);
    EXPECT_EQ(kmem_cache_destroy(growing), 0);
}

static void fill_magazine(unsigned index unused_arg, void *cache)
{
    void *own[8];

    for (unsigned i = 0; i < array_count(own); i++)
        own[i] = kmem_cache_alloc(cache, GFP_ATOMIC);
    for (unsigned i = 0; i < array_count(own); i++)
        kmem_cache_free(cache, own[i]);
}

// Who may not sleep, but stands where he may wait, has what waits on all harts before slabs are more.
KTEST(magazine, growth_of_atomic_requests_recalls_from_all_harts)
{
    struct kmem_cache *idle = kmem_cache_create("idle", 64, 0, 0, NULL, NULL);
    struct kmem_cache *growing = kmem_cache_create("growing", KB(8), 0, 0, NULL, NULL);
    unsigned count = 0;

    REQUIRE(idle && growing);
    ktest_run_on_harts(fill_magazine, idle);
    kmem_cache_trim_all();
    uint64_t waiting = magazines_objects(idle);
    EXPECT_GE(waiting, 8);
    do {
        REQUIRE((objects[count] = kmem_cache_alloc(growing, GFP_ATOMIC)) != NULL);
        count++;
    } while (count < MANY && magazines_objects(idle) == waiting);
    EXPECT_EQ(magazines_objects(idle), 0);
    EXPECT_EQ(idle->slab_count, 0);
    give_many(growing, count);
    EXPECT_EQ(kmem_cache_destroy(idle), 0);
    EXPECT_EQ(kmem_cache_destroy(growing), 0);
}

// A magazine holds at first 4 KB at most, and later what one bulk call asked for; an object of 4 KB has no depot.
KTEST(magazine, is_as_large_as_its_use)
{
    struct kmem_cache *cache = kmem_cache_create("magazines", 200, 0, 0, NULL, NULL);
    struct kmem_cache *pages = kmem_cache_create("pages", KB(4), 0, 0, NULL, NULL);

    REQUIRE(cache && pages);
    kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
    EXPECT_EQ(cache->depot.size, 0);
    REQUIRE(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 64, objects) == 64);
    EXPECT_EQ(cache->depot.size, 2);
    kmem_cache_free_bulk(cache, 64, objects);

    REQUIRE(take_many(pages, 20));
    give_many(pages, 20);
    EXPECT_LE(magazines_objects(pages), 2);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
    EXPECT_EQ(kmem_cache_destroy(pages), 0);
}

static struct { struct kmem_cache *cache; void *box[MAX_HARTS][64]; uint64_t foreign; } relay;

static void fill_box(unsigned index, void *unused unused_arg)
{
    for (unsigned i = 0; i < array_count(relay.box[0]); i++) {
        uint64_t *object = kmem_cache_alloc(relay.cache, GFP_ATOMIC);
        relay.box[index][i] = object;
        if (object != NULL)
            object[1] = index;
    }
}

static void empty_neighbours_box(unsigned index, void *unused unused_arg)
{
    unsigned from = (index + 1) % arch_hart_count();

    for (unsigned i = 0; i < array_count(relay.box[0]); i++) {
        uint64_t *object = relay.box[from][i];
        if (object != NULL && object[1] != from)
            __atomic_fetch_add(&relay.foreign, 1, __ATOMIC_RELAXED);
        kmem_cache_free(relay.cache, object);
    }
}

// Objects that one hart takes and another gives back, many times over.
KTEST(magazine, objects_are_freed_on_other_harts)
{
    relay.cache = kmem_cache_create("relay", 128, 0, 0, NULL, NULL);
    REQUIRE(relay.cache);
    relay.foreign = 0;
    for (unsigned round = 0; round < ktest_rounds(100, 20); round++) {
        ktest_run_on_harts(fill_box, NULL);
        ktest_run_on_harts(empty_neighbours_box, NULL);
    }
    EXPECT_EQ(relay.foreign, 0);
    EXPECT_EQ(kmem_cache_live_objects(relay.cache), 0);
    EXPECT_EQ(kmem_cache_destroy(relay.cache), 0);
}
