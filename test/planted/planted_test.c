// mm/kmem: every planted bug is found by the modes that should, and reported once.
// SPDX-License-Identifier: BSD-2-Clause

#include "bugs.h"

#include <arch/uaccess.h>
#include <base/assert.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/page_lists.h>
#include <mm/slab_debug.h>
#include <mm/slab_guard.h>

#define PLANTED_MAX 16

struct planted_caches planted;

static struct { volatile uint8_t *address; uint8_t before, after; } written[PLANTED_MAX];
static unsigned written_count, poison_followed;

void plant(void *address, uint8_t value)
{
    volatile uint8_t *byte = address;
    uint8_t before;

    BUG_ON(written_count == PLANTED_MAX);
    if (arch_probe_read(byte, &before)) {
        written[written_count].address = address;
        written[written_count].before = before;
        written[written_count++].after = value;
    }
    *byte = value;
}

// The first or last of its slab: beside it lies what is nobody's to write.
static bool is_at_edge(const void *object)
{
    const struct page *slab = virt_to_slab(object);
    const struct kmem_cache *cache = slab != NULL ? slab_cache(slab) : NULL;
    int index = cache != NULL ? slab_object_index(cache, slab, object) : 1;

    return cache != NULL && cache->objects_per_slab > 8 && (index == 0 || index == (int)cache->objects_per_slab - 1);
}

void *take_inside(struct kmem_cache *cache)
{
    void *object = kmem_cache_alloc(cache, GFP_KERNEL), *edge = object;

    if (!is_at_edge(object))
        return object;
    object = take_inside(cache);
    kmem_cache_free(cache, edge);
    return object;
}

void *kmalloc_inside(size_t size)
{
    void *object = kmalloc(size, GFP_KERNEL), *edge = object;

    if (!is_at_edge(object))
        return object;
    object = kmalloc_inside(size);
    kfree(edge);
    return object;
}

// What nobody found, and so nobody put right, is put right here.
static void undo_all(bool was_found)
{
    uint8_t now;

    while (written_count-- > 0)
        if (!was_found && arch_probe_read(written[written_count].address, &now) && now == written[written_count].after)
            *written[written_count].address = written[written_count].before;
    written_count = 0;
}

void follow(const void *pointer)
{
    if (slab_poison_text((uintptr_t)pointer) != NULL)
        poison_followed++;
}

void settle(void)
{
    struct kmem_cache *const own[] = { planted.a, planted.b, planted.large, planted.constructed };

    page_lists_drain();
    for (unsigned i = 0; i < array_count(own); i++)
        (void)kmem_cache_validate(own[i]);
    for (unsigned class = 0; class < KMALLOC_CLASSES; class++)
        (void)kmem_cache_validate(kmalloc_caches[0][class]);
}

static void construct(void *object)
{
    struct planted_state *state = object;

    state->self = state;
    state->magic = PLANTED_MAGIC;
}

static bool make_caches(void)
{
    planted = (struct planted_caches){
        .a = kmem_cache_create("planted-a", 40, 0, 0, NULL, NULL),
        .b = kmem_cache_create("planted-b", 40, 0, 0, NULL, NULL),
        .large = kmem_cache_create("planted-large", 200, 0, 0, NULL, NULL),
        .constructed = kmem_cache_create("planted-state", sizeof(struct planted_state), 0, 0, construct, NULL),
    };
    return planted.a && planted.b && planted.large && planted.constructed;
}

static void destroy_caches(void)
{
    EXPECT_EQ(kmem_cache_destroy(planted.constructed), 0);
    EXPECT_EQ(kmem_cache_destroy(planted.large), 0);
    EXPECT_EQ(kmem_cache_destroy(planted.b), 0);
    EXPECT_EQ(kmem_cache_destroy(planted.a), 0);
}

static unsigned mode_of(const struct kmem_cache *cache)
{
    // Nothing is recorded of a guarded object.
    if (cache->flags & SLAB_GUARD && slab_guard_interval() == 1)
        return MODE_ALWAYS | MODE_GUARD;
    return MODE_ALWAYS | (cache->flags & SLAB_RED_ZONE ? (unsigned)MODE_RED_ZONE : 0) |
           (cache->flags & SLAB_POISON ? (unsigned)MODE_POISON : 0);
}

// Names are those of the table that test/planted/planted_test.py keeps.
KTEST(planted, bugs_are_found)
{
    static const char *const class_names[BUG_CLASSES] = {
        "overrun", "underrun", "use after free", "double free", "foreign free", "interior free", "stale free",
        "wrong cache", "leak", "uninitialised read", "state lost",
    };

    for (unsigned i = 0; i < planted_bug_count; i++) {
        const struct planted_bug *bug = &planted_bugs[i];
        uint64_t reports = ktest_misuse_count();
        REQUIRE(make_caches());
        poison_followed = 0;
        bug->run();
        reports = ktest_misuse_count() - reports;
        ktest_expect_misuse(reports);
        reports += poison_followed;
        undo_all(reports > 0);
        if (mode_of(planted.a) & bug->found_by && !EXPECT_EQ(reports, bug->reports))
            ktest_note("that was %s: %s", class_names[bug->class], bug->name);
        ktest_note("planted: %s: %s: %lu", class_names[bug->class], bug->name, reports);
        destroy_caches();
    }
}
