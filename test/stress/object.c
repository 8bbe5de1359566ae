// Filled memory of every allocator: taken, filled, verified, given back.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <base/format.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

// How a block of pages is given back.
enum { BLOCK_WHOLE, BLOCK_BY_REFERENCE, BLOCK_IN_PAGES, BLOCK_WAYS };

#define BULK_OBJECTS 40
#define PASSING_OBJECTS 24

// The constructor's words, which users leave alone: they must survive from use to use.
struct constructed {
    uint64_t mark, inverse;
};
#define MARK_OF(address) ((uintptr_t)(address) ^ 0xc0457c7ed0b1ec75UL)

static struct {
    const char *name;
    size_t bytes, align;
    unsigned flags;
    bool is_constructed;
    struct kmem_cache *cache;
} caches[] = {
    { "stress-24", 24, 0, 0, false, NULL },
    { "stress-40", 40, 0, 0, true, NULL },
    { "stress-200", 200, 0, SLAB_HWCACHE_ALIGN, true, NULL },
    { "stress-1500", 1500, 64, SLAB_RECLAIM_ACCOUNT, true, NULL },
    { "stress-6000", 6000, 0, SLAB_DMA, true, NULL },
};

static uint64_t constructed_count;     // (A) objects constructed and not yet destructed
static uint64_t held_bytes;            // (A) in objects that object_make made
static uint64_t budget;                // (C)

static void construct(void *object)
{
    *(struct constructed *)object = (struct constructed){ MARK_OF(object), ~MARK_OF(object) };
    __atomic_fetch_add(&constructed_count, 1, __ATOMIC_RELAXED);
}

static void verify_constructed(const char *what, const void *object)
{
    const struct constructed *head = object;

    if (head->mark != MARK_OF(object))
        pattern_damage(what, object, 0, head->mark, MARK_OF(object));
    else if (head->inverse != ~MARK_OF(object))
        pattern_damage(what, object, sizeof head->mark, head->inverse, ~MARK_OF(object));
}

static void destruct(void *object)
{
    verify_constructed("object to be destructed", object);
    __atomic_fetch_sub(&constructed_count, 1, __ATOMIC_RELAXED);
}

bool objects_init(uint64_t budget_bytes)
{
    budget = budget_bytes;
    for (unsigned i = 0; i < array_count(caches); i++) {
        bool is_constructed = caches[i].is_constructed;
        caches[i].cache = kmem_cache_create(caches[i].name, caches[i].bytes, caches[i].align, caches[i].flags,
                                            is_constructed ? construct : NULL, is_constructed ? destruct : NULL);
        if (!caches[i].cache)
            return false;
    }
    return true;
}

void objects_finish(void)
{
    for (unsigned i = 0; i < array_count(caches); i++)
        if (caches[i].cache && kmem_cache_destroy(caches[i].cache) != 0)
            stress_fail("cache %s is not empty in the end", caches[i].name);
    if (__atomic_load_n(&constructed_count, __ATOMIC_RELAXED) != 0)
        stress_fail("%lu objects were constructed and never destructed", constructed_count);
    if (__atomic_load_n(&held_bytes, __ATOMIC_RELAXED) != 0)
        stress_fail("%lu bytes were made and never freed", held_bytes);
}

static const char *kind_name(unsigned kind)
{
    static const char *const names[] = { "nothing", "pages", "kmalloc", "cache", "vmalloc" };

    return names[kind];
}

static uint64_t head_bytes(const struct object *object)
{
    return object->kind == OBJECT_CACHE && caches[object->cache].is_constructed ? sizeof(struct constructed) : 0;
}

void object_fill(struct object *object, uint64_t tag)
{
    object->tag = tag;
    pattern_fill((char *)object->address + head_bytes(object), object->bytes, tag);
}

void object_verify(const struct object *object)
{
    uint64_t head = head_bytes(object);

    if (head)
        verify_constructed("constructed state", object->address);
    pattern_verify(kind_name(object->kind), (char *)object->address + head, object->bytes, object->tag);
}

bool object_suits(const struct object *object, enum stress_context context)
{
    return context == STRESS_THREAD || (object->kind != OBJECT_VMALLOC && object->bytes <= STRESS_ATOMIC_BYTES);
}

static void free_block(struct page *page, unsigned order, unsigned way)
{
    switch (way) {
    case BLOCK_WHOLE:
        __free_pages(page, order);
        break;
    case BLOCK_BY_REFERENCE:
        page_get(page);
        __free_pages(page, order);
        put_page(page);
        break;
    case BLOCK_IN_PAGES:
        split_page(page, order);
        for (unsigned i = 0; i < 1U << order; i++)
            __free_page(page + i);
        break;
    }
}

void object_free(struct object *object)
{
    __atomic_fetch_sub(&held_bytes, object->bytes, __ATOMIC_RELAXED);
    switch (object->kind) {
    case OBJECT_PAGES:
        free_block(virt_to_page(object->address), object->order, object->flags);
        break;
    case OBJECT_KMALLOC:
        kfree(object->address);
        break;
    case OBJECT_CACHE:
        kmem_cache_free(caches[object->cache].cache, object->address);
        break;
    case OBJECT_VMALLOC:
        vfree(object->address);
        break;
    }
    object->kind = OBJECT_NONE;
}

static void take_pages(struct actor *actor, enum stress_context context, gfp_t gfp, struct object *object)
{
    object->kind = OBJECT_PAGES;
    object->order = (uint8_t)draw(actor, context == STRESS_THREAD ? 1 + draw(actor, 5) : 2);
    if (context == STRESS_THREAD && draw(actor, 256) == 0)
        object->order = MAX_ORDER;
    object->flags = (uint8_t)draw(actor, BLOCK_WAYS);
    if (object->flags != BLOCK_IN_PAGES && draw(actor, 4) == 0)
        gfp |= __GFP_COMP;
    object->bytes = PAGE_SIZE << object->order;
    if (draw(actor, 2)) {
        struct page *page = alloc_pages(gfp, object->order);
        object->address = page ? page_to_virt(page) : NULL;
    } else {
        object->address = __get_free_pages(gfp, object->order);
    }
}

// Sizes that the compiler knows, for the inlined way to the cache.
static void *kmalloc_constant(unsigned which, gfp_t gfp, uint64_t *bytes)
{
    switch (which) {
    case 0:  *bytes = 8;    return kmalloc(8, gfp);
    case 1:  *bytes = 24;   return kmalloc(24, gfp);
    case 2:  *bytes = 96;   return kmalloc(96, gfp);
    case 3:  *bytes = 130;  return kmalloc(130, gfp);
    case 4:  *bytes = 512;  return kmalloc(512, gfp);
    default: *bytes = 4096; return kmalloc(4096, gfp);
    }
}

// Small ones are many; one in 32 of a thread's is above 8 KB.
static uint64_t draw_size(struct actor *actor, enum stress_context context)
{
    if (context == STRESS_THREAD && draw(actor, 32) == 0)
        return KB(8) + 1 + draw(actor, KB(1) << draw(actor, 8));
    return 1 + draw(actor, 1UL << (3 + draw(actor, context == STRESS_THREAD ? 11 : 9)));
}

static void take_kmalloc(struct actor *actor, enum stress_context context, gfp_t gfp, struct object *object)
{
    object->kind = OBJECT_KMALLOC;
    if (draw(actor, 3) == 0) {
        object->address = kmalloc_constant((unsigned)draw(actor, 6), gfp, &object->bytes);
    } else {
        object->bytes = draw_size(actor, context);
        object->address = kmalloc(object->bytes, gfp);
    }
    if (object->address && ksize(object->address) < object->bytes)
        pattern_damage("size of kmalloc", object->address, 0, ksize(object->address), object->bytes);
}

static void take_cache(struct actor *actor, gfp_t gfp, struct object *object)
{
    object->kind = OBJECT_CACHE;
    object->cache = (uint8_t)draw(actor, array_count(caches));
    object->bytes = caches[object->cache].bytes - head_bytes(object);
    object->address = kmem_cache_alloc(caches[object->cache].cache, gfp);
    if (object->address && head_bytes(object))
        verify_constructed("constructed state of a new object", object->address);
}

static void take_vmalloc(struct actor *actor, bool is_zero, struct object *object)
{
    object->kind = OBJECT_VMALLOC;
    object->bytes = 1 + draw(actor, draw(actor, 8) ? 4 * PAGE_SIZE : 32 * PAGE_SIZE);
    object->address = is_zero ? vzalloc(object->bytes) : vmalloc(object->bytes);
}

static void count_failure(unsigned kind)
{
    if (kind == OBJECT_PAGES)
        STRESS_COUNT(failed_pages);
    else if (kind == OBJECT_VMALLOC)
        STRESS_COUNT(failed_vmalloc);
    else
        STRESS_COUNT(failed_objects);
}

bool object_make(struct actor *actor, enum stress_context context, struct object *object)
{
    uint64_t lot = draw(actor, context == STRESS_THREAD ? 100 : 90);
    gfp_t gfp = stress_gfp(context);
    bool is_zero = draw(actor, 8) == 0;

    if (__atomic_load_n(&held_bytes, __ATOMIC_RELAXED) > budget)
        return false;
    *object = (struct object){ 0 };
    if (draw(actor, 8) == 0)
        gfp |= GFP_DMA;
    if (is_zero && (lot < 70 || lot >= 90))
        gfp |= __GFP_ZERO;
    if (lot < 25)
        take_pages(actor, context, gfp, object);
    else if (lot < 70)
        take_kmalloc(actor, context, gfp, object);
    else if (lot < 90)
        take_cache(actor, gfp, object);
    else
        take_vmalloc(actor, is_zero, object);
    if (!object->address) {
        count_failure(object->kind);
        return false;
    }
    if (gfp & __GFP_ZERO)
        pattern_verify_zero("memory to be zero", object->address, object->bytes);
    __atomic_fetch_add(&held_bytes, object->bytes, __ATOMIC_RELAXED);
    object_fill(object, random_next(&actor->random));
    return true;
}

void object_resize(struct actor *actor, enum stress_context context, struct object *object)
{
    if (object->kind != OBJECT_KMALLOC)
        return;
    uint64_t bytes = draw_size(actor, context), kept = min_of(bytes, object->bytes) & ~7UL;
    void *address = krealloc(object->address, bytes, stress_gfp(context));

    if (!address) {
        STRESS_COUNT(failed_objects);
        object_verify(object);
        return;
    }
    // Whole words: the tail's pattern is of the old size.
    pattern_verify("krealloc", address, kept, object->tag);
    __atomic_fetch_add(&held_bytes, bytes - object->bytes, __ATOMIC_RELAXED);
    object->address = address;
    object->bytes = bytes;
    object_fill(object, random_next(&actor->random));
}

void objects_in_bulk(struct actor *actor, enum stress_context context)
{
    struct object object = { .kind = OBJECT_CACHE };
    void *objects[BULK_OBJECTS];
    unsigned which = (unsigned)draw(actor, context == STRESS_THREAD ? array_count(caches) : 3);
    size_t count = 1 + draw(actor, context == STRESS_THREAD ? BULK_OBJECTS : 8);
    uint64_t tag = random_next(&actor->random);

    object.cache = (uint8_t)which;
    object.bytes = caches[which].bytes - head_bytes(&object);
    if (kmem_cache_alloc_bulk(caches[which].cache, stress_gfp(context), count, objects) == 0) {
        STRESS_COUNT(failed_objects);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        object.address = objects[i];
        if (head_bytes(&object))
            verify_constructed("constructed state of one of many", objects[i]);
        object_fill(&object, tag + i);
    }
    for (size_t i = 0; i < count; i++) {
        object.address = objects[i];
        object.tag = tag + i;
        object_verify(&object);
    }
    kmem_cache_free_bulk(caches[which].cache, count, objects);
}

void objects_of_passing_cache(struct actor *actor)
{
    char name[SLAB_NAME_BYTES];
    void *objects[PASSING_OBJECTS];
    size_t bytes = sizeof(struct constructed) + draw(actor, 1UL << (4 + draw(actor, 9)));
    unsigned count = (unsigned)draw(actor, PASSING_OBJECTS), taken = 0;
    uint64_t tag = random_next(&actor->random);

    // Actors have their numbers, and each has one such cache at a time: so no name is there twice.
    format_text(name, sizeof name, "stress-of-%lu", actor->number);
    struct kmem_cache *cache = kmem_cache_create(name, bytes, 0, 0, construct, destruct);
    if (!cache) {
        STRESS_COUNT(failed_objects);
        return;
    }
    for (; taken < count; taken++) {
        objects[taken] = kmem_cache_alloc(cache, stress_gfp(STRESS_THREAD));
        if (!objects[taken]) {
            STRESS_COUNT(failed_objects);
            break;
        }
        verify_constructed("constructed state in a passing cache", objects[taken]);
        pattern_fill((struct constructed *)objects[taken] + 1, bytes - sizeof(struct constructed), tag + taken);
    }
    while (taken-- > 0) {
        verify_constructed("kept state in a passing cache", objects[taken]);
        pattern_verify("passing cache", (struct constructed *)objects[taken] + 1, bytes - sizeof(struct constructed),
                       tag + taken);
        kmem_cache_free(cache, objects[taken]);
    }
    if (kmem_cache_destroy(cache) != 0)
        stress_fail("an empty cache cannot be destroyed");
}
