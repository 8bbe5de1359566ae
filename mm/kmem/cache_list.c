// The caches: how they are made and destroyed, and what is asked of all of them.
// SPDX-License-Identifier: BSD-2-Clause

#include "slab_internal.h"

#include <arch/time.h>
#include <base/errno.h>
#include <base/string.h>
#include <debug/irq_meter.h>
#include <debug/klog.h>
#include <mm/kmalloc.h>
#include <mm/magazine.h>
#include <mm/page_holder.h>
#include <mm/page_lists.h>
#include <mm/shrinker.h>
#include <sync/sched.h>

#define REPORTED_LEAKS 8

static struct kmem_cache cache_cache;      // of the struct kmem_caches
static bool checks_frees;                  // (C) by default
static struct list all_caches = LIST_INIT(all_caches);
static struct spinlock cache_list_lock = SPINLOCK_INIT(CACHE_LIST);

void kmem_cache_trim_all(void)
{
    struct page *leaving = NULL;
    struct kmem_cache *cache;

    spin_lock(&cache_list_lock);
    list_for_each(cache, &all_caches, all)
        if (magazines_trim(cache) > 0)
            slab_detach_empty(cache, UINT64_MAX, &leaving);
    spin_unlock(&cache_list_lock);
    slab_destroy_leaving(leaving);
    slab_growth_trim();
}

uint64_t kmem_cache_empty_pages(void)
{
    struct kmem_cache *cache;
    uint64_t pages = 0;

    spin_lock(&cache_list_lock);
    list_for_each(cache, &all_caches, all)
        pages += (__atomic_load_n(&cache->empty_count, __ATOMIC_RELAXED) << cache->slab_order) +
                 magazines_depot_pages(cache);
    spin_unlock(&cache_list_lock);
    return pages;
}

uint64_t kmem_cache_reap(uint64_t pages_wanted)
{
    page_lists_drain();
    return slab_reap_empty(pages_wanted);
}

uint64_t slab_reap_empty(uint64_t pages_wanted)
{
    struct page *leaving = NULL;
    struct kmem_cache *cache;
    uint64_t detached = 0;

    spin_lock(&cache_list_lock);
    list_for_each(cache, &all_caches, all) {
        if (detached >= pages_wanted)
            break;
        detached += slab_detach_empty(cache, pages_wanted - detached, &leaving);
    }
    spin_unlock(&cache_list_lock);
    return slab_destroy_leaving(leaving);
}

static const char *why_refused(const char *name, size_t size, size_t align, unsigned flags)
{
    if (name == NULL || name[0] == '\0')
        return "a cache needs a name";
    if (strnlen(name, SLAB_NAME_BYTES) == SLAB_NAME_BYTES)
        return "the name is too long";
    if (size == 0 || size > PAGE_SIZE << MAX_ORDER)
        return "the size is 0 or above the largest block";
    if (align != 0 && (!is_power_of_two(align) || align > SLAB_MAX_ALIGN))
        return "the alignment is no power of two up to a page";
    if ((flags & ~(unsigned)SLAB_FLAGS_ALL) != 0)
        return "unknown flags";
    return NULL;
}

// The arguments have been checked; the memory is zero. False when no block is large enough for an object.
static bool set_up(struct kmem_cache *cache, const char *name, size_t size, size_t align, unsigned flags,
                   void (*constructor)(void *), void (*destructor)(void *))
{
    align = max_of(align, sizeof(uint64_t));
    if (flags & SLAB_HWCACHE_ALIGN) {
        size_t line = CACHE_LINE_BYTES;
        while (line / 2 >= max_of(size, sizeof(uint64_t)))
            line /= 2;
        align = max_of(align, line);
    }
    flags |= flags & SLAB_KEEPS_CONTENTS ? 0 : slab_debug_flags(name);
    flags |= flags & SLAB_DEBUG_FLAGS ? SLAB_NO_MAGAZINES : 0;
    spin_lock_init(&cache->lock, KMEM_CACHE);
    spin_lock_init(&cache->depot.lock, OBJECT_DEPOT);
    cache->alloc = flags & SLAB_NO_MAGAZINES || slab_clears_on_alloc ? kmem_cache_alloc_any
                   : constructor != NULL                             ? magazine_alloc_constructed
                                                                     : magazine_alloc;
    string_copy(cache->name, name, SLAB_NAME_BYTES);
    cache->object_bytes = (uint32_t)size;
    // A constructed object has its mark in the word before it.
    bool has_word_before = (flags & SLAB_NO_MAGAZINES) == 0 && constructor != NULL;
    cache->first_offset = has_word_before ? (uint32_t)align : 0;
    cache->stride_bytes = (uint32_t)align_up(size + (has_word_before ? sizeof(uint64_t) : 0), align);
    cache->align_bytes = (uint32_t)align;
    cache->flags = flags;
    cache->constructor = constructor;
    cache->destructor = destructor;
    if (flags & SLAB_RECORD_FLAGS)
        cache->stride_bytes = (uint32_t)slab_debug_lay_out(cache, align);
    object_set_free(cache, checks_frees);
    return slab_lay_out(cache);
}

// NULL, or why not.
static const char *add_to_list(struct kmem_cache *cache, unsigned place)
{
    struct kmem_cache *other;
    const char *refused = NULL;

    spin_lock(&cache_list_lock);
    list_for_each(other, &all_caches, all)
        if (strcmp(other->name, cache->name) == 0)
            refused = "the name is taken";
    if (refused == NULL && magazines_open(cache, place) < 0)
        refused = "there are too many caches with magazines";
    if (refused == NULL)
        list_add_last(&all_caches, &cache->all);
    spin_unlock(&cache_list_lock);
    return refused;
}

struct kmem_cache *kmem_cache_create_at(unsigned place, const char *name, size_t size, size_t align, unsigned flags,
                                        void (*constructor)(void *), void (*destructor)(void *))
{
    const char *refused = why_refused(name, size, align, flags);
    struct kmem_cache *cache = NULL;

    if (refused == NULL) {
        cache = kmem_cache_zalloc(&cache_cache, GFP_KERNEL);
        if (cache != NULL && !set_up(cache, name, size, align, flags, constructor, destructor))
            refused = "aligned, it is above the largest block";
        else if (cache != NULL)
            refused = add_to_list(cache, place);
    }
    if (refused != NULL) {
        slab_report_bad_call("kmem_cache_create", name, refused);
        kmem_cache_free(&cache_cache, cache);
        cache = NULL;
    }
    if (cache == NULL && (flags & SLAB_PANIC))
        panic("slab: cannot do without the cache %s", name);
    return cache;
}

struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
                                     void (*constructor)(void *), void (*destructor)(void *))
{
    return kmem_cache_create_at(2 * KMALLOC_CLASSES, name, size, align, flags, constructor, destructor);
}

// The addresses of the first objects in use; returns how many were found.
static unsigned find_in_use_locked(const struct kmem_cache *cache, unsigned limit, const void **objects)
{
    const uint32_t lists[] = { cache->full, cache->partial };
    unsigned found = 0;

    for (unsigned list = 0; list < array_count(lists); list++)
        for (uint32_t frame = lists[list]; frame != 0 && found < limit; frame = pfn_to_page(pfn(frame))->next)
            for (unsigned index = 0; index < cache->objects_per_slab && found < limit; index++)
                if (!slab_object_is_free(cache, pfn_to_page(pfn(frame)), index))
                    objects[found++] = slab_object_at(cache, pfn_to_page(pfn(frame)), index);
    return found;
}

int kmem_cache_destroy(struct kmem_cache *cache)
{
    const void *leaks[REPORTED_LEAKS];
    struct page *leaving = NULL;

    might_sleep();
    if (cache == NULL)
        return 0;
    enum slab_verdict verdict = slab_verdict_of(&cache_cache, cache);
    if (verdict != SLAB_IN_USE) {
        slab_report_misuse("kmem_cache_destroy", &cache_cache, cache, verdict, __builtin_return_address(0));
        return -EINVAL;
    }

    if (magazines_are_held(cache))
        page_lists_drain_all();
    spin_lock(&cache_list_lock);
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    uint64_t in_use = cache->active_objects + slab_guard_live(cache);
    irq_meter_pause("a cache is destroyed too early: what is alive in it is looked for");
    unsigned found = in_use != 0 ? find_in_use_locked(cache, REPORTED_LEAKS, leaks) : 0;
    irq_meter_resume();
    if (in_use == 0) {
        list_remove(&cache->all);
        magazines_close(cache);
    }
    spin_unlock_irqrestore(&cache->lock, flags);
    spin_unlock(&cache_list_lock);

    if (in_use != 0) {
        slab_report_bad_call("kmem_cache_destroy", cache->name, "objects are still in use: the cache stays");
        for (unsigned i = 0; i < found; i++) {
            klog_error("slab: %s: in use: %p (%u of %lu)\n", cache->name, leaks[i], i + 1, in_use);
            (void)slab_print_users(leaks[i], klog_print_error);
        }
        return -EBUSY;
    }
    slab_detach_empty(cache, UINT64_MAX, &leaving);
    slab_destroy_leaving(leaving);
    // Slabs that kmem_cache_reap took are still being destructed by another thread, with this cache's
    // destructor.
    while (__atomic_load_n(&cache->leaving, __ATOMIC_ACQUIRE) != 0 || !magazines_are_drained())
        thread_block_until(arch_time() + arch_timer_hz() / 10000);
    cache->objects_per_slab = 0;
    cache->flags |= SLAB_NO_MAGAZINES;
    cache->alloc = kmem_cache_alloc_any;
    cache->free = slab_free_direct;
    string_copy(cache->name, "(destroyed)", SLAB_NAME_BYTES);
    kmem_cache_free(&cache_cache, cache);
    return 0;
}

void kmem_cache_for_each(void (*visit)(struct kmem_cache *cache, void *context), void *context)
{
    struct kmem_cache *cache;

    spin_lock(&cache_list_lock);
    list_for_each(cache, &all_caches, all)
        visit(cache, context);
    spin_unlock(&cache_list_lock);
}

void slab_clear_init(bool on_alloc, bool on_free)
{
    slab_clears_on_alloc = on_alloc;
    slab_clears_on_free = on_free;
}

void slab_init(bool is_checking)
{
    static struct shrinker shrinker = { .name = "slab", .count = kmem_cache_empty_pages, .scan = kmem_cache_reap };
    static struct page_holder holder = { .name = "slab", .pages = slab_pages };

    checks_frees = is_checking;
    // A cache that is gone stays to be read by who asks for objects of it all the same.
    BUG_ON(!set_up(&cache_cache, "kmem_cache", sizeof(struct kmem_cache), 0,
                   SLAB_HWCACHE_ALIGN | SLAB_NO_MAGAZINES | SLAB_KEEPS_CONTENTS, NULL, NULL));
    BUG_ON(add_to_list(&cache_cache, 0) != NULL);
    shrinker_register(&shrinker);
    page_holder_register(&holder);
}
