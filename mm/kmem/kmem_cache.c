// A cache at work: slabs on lists by how full they are, and the calls that hand out and take back their objects.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each slab stands on the list that its number of objects in use says:
//
//     empty (0)  <-->  partial  <-->  full (all)
//        |
//        +--> given back, when there is another empty one already, or memory is short
//
// Nothing is allocated, freed, constructed or destructed under a cache's lock: a new slab is finished before
// it is put on a list, and one that goes back is taken off first. Until its pages are free it counts in
// `leaving`, for which kmem_cache_destroy waits.

#include "slab_internal.h"

#include <base/string.h>
#include <mm/magazine.h>
#include <mm/page_alloc.h>
#include <mm/page_lists.h>
#include <mm/slab_debug.h>
#include <mm/zone.h>

#define KEPT_EMPTY_SLABS 1

// Objects of a bulk call that are taken or put, and slabs that are detached, under one hold of the lock: it keeps
// interrupts out, and no section that does may be longer than 5,000 instructions, with every assertion compiled in.
#define LOCKED_BATCH 16

bool slab_clears_on_alloc, slab_clears_on_free;

static void slab_list_add(uint32_t *first, struct page *slab)
{
    uint32_t frame = (uint32_t)page_to_pfn(slab).value;

    slab->prev = 0;
    slab->next = *first;
    if (*first != 0)
        pfn_to_page(pfn(*first))->prev = frame;
    *first = frame;
}

static void slab_list_remove(uint32_t *first, struct page *slab)
{
    if (slab->next != 0)
        pfn_to_page(pfn(slab->next))->prev = slab->prev;
    if (slab->prev != 0)
        pfn_to_page(pfn(slab->prev))->next = slab->next;
    else
        *first = slab->next;
}

static uint32_t *list_for(struct kmem_cache *cache, uint32_t in_use)
{
    return in_use == 0 ? &cache->empty : in_use == cache->objects_per_slab ? &cache->full : &cache->partial;
}

// After the slab's use changed from `before`.
static void move_to_list(struct kmem_cache *cache, struct page *slab, uint32_t before)
{
    uint32_t *from = list_for(cache, before), *to = list_for(cache, slab->refcount);

    if (likely(from == to))
        return;
    slab_list_remove(from, slab);
    slab_list_add(to, slab);
    cache->empty_count += (uint64_t)(to == &cache->empty) - (uint64_t)(from == &cache->empty);
}

static void *take_from_locked(struct kmem_cache *cache, struct page *slab)
{
    uint32_t before = slab->refcount;
    void *object = slab_take(cache, slab);

    move_to_list(cache, slab, before);
    cache->active_objects++;
    cache->alloc_count++;
    return object;
}

static void *take_locked(struct kmem_cache *cache)
{
    uint32_t first = cache->partial != 0 ? cache->partial : cache->empty;

    return likely(first != 0) ? take_from_locked(cache, pfn_to_page(pfn(first))) : NULL;
}

// Takes an empty slab off the lists and puts it in front of *leaving.
static void detach_locked(struct kmem_cache *cache, struct page *slab, struct page **leaving)
{
    slab_list_remove(&cache->empty, slab);
    cache->empty_count--;
    cache->slab_count--;
    __atomic_fetch_add(&cache->leaving, 1, __ATOMIC_RELAXED);
    slab->next = *leaving != NULL ? (uint32_t)page_to_pfn(*leaving).value : 0;
    *leaving = slab;
}

static void put_locked(struct kmem_cache *cache, struct page *slab, unsigned index, struct page **leaving)
{
    uint32_t before = slab->refcount;

    slab_put(cache, slab, index);
    move_to_list(cache, slab, before);
    cache->active_objects--;
    cache->free_count++;
    if (slab->refcount == 0 && cache->empty_count > KEPT_EMPTY_SLABS && leaving != NULL)
        detach_locked(cache, slab, leaving);
}

uint64_t slab_destroy_leaving(struct page *leaving)
{
    uint64_t pages = 0;

    while (leaving != NULL) {
        struct page *slab = leaving;
        struct kmem_cache *cache = slab_cache(slab);
        leaving = slab->next != 0 ? pfn_to_page(pfn(slab->next)) : NULL;
        pages += 1UL << cache->slab_order;
        slab_destroy(cache, slab);
        __atomic_fetch_sub(&cache->leaving, 1, __ATOMIC_RELEASE);
    }
    return pages;
}

uint64_t slab_detach_empty(struct kmem_cache *cache, uint64_t pages_wanted, struct page **leaving)
{
    uint64_t pages = 0;
    bool is_done = false;

    while (!is_done) {
        irqflags_t flags = spin_lock_irqsave(&cache->lock);
        for (unsigned i = 0; i < LOCKED_BATCH; i++) {
            is_done = cache->empty == 0 || pages >= pages_wanted;
            if (is_done)
                break;
            detach_locked(cache, pfn_to_page(pfn(cache->empty)), leaving);
            pages += 1UL << cache->slab_order;
        }
        spin_unlock_irqrestore(&cache->lock, flags);
    }
    return pages;
}

// Adds a slab and takes an object of it before anybody else can.
static noinline void *grow_and_take(struct kmem_cache *cache, gfp_t gfp)
{
    void *object = NULL;

    if (cache->objects_per_slab == 0) {
        slab_report_bad_call("kmem_cache_alloc", cache->name, "the cache is gone");
        return NULL;
    }
    struct page *slab = slab_create(cache, gfp);

    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    if (slab != NULL) {
        slab_list_add(&cache->empty, slab);
        cache->empty_count++;
        cache->slab_count++;
        cache->grown_count++;
        object = take_from_locked(cache, slab);
    } else {
        // Another hart may have freed an object meanwhile, or the search for memory did.
        object = take_locked(cache);
        cache->failed_count += object == NULL;
    }
    spin_unlock_irqrestore(&cache->lock, flags);
    return object;
}

static void clear_object(const struct kmem_cache *cache, gfp_t gfp, void *object, size_t size)
{
    if (likely(cache->constructor == NULL))
        memset(object, 0, size);
    else if (gfp & __GFP_ZERO)
        slab_report_bad_call("kmem_cache_alloc", cache->name,
                             "__GFP_ZERO would undo the constructor: ignored");
}

static inline bool is_fault_injected(gfp_t gfp)
{
    return mm_fault_hook != NULL && (gfp & __GFP_NOFAIL) == 0 && mm_fault_hook(FAULT_SLAB, gfp);
}

static void *take_of_slabs(struct kmem_cache *cache)
{
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    void *object = take_locked(cache);
    spin_unlock_irqrestore(&cache->lock, flags);
    return object;
}

// From this hart's magazines, the depot, slabs that there are, or a new one.
static void *take(struct kmem_cache *cache, gfp_t gfp)
{
    void *object = has_magazines(cache) ? magazines_refill(cache) : NULL;

    if (object == NULL)
        object = take_of_slabs(cache);
    if (unlikely(object == NULL) && has_magazines(cache) && slab_recall())
        object = take_of_slabs(cache);
    if (unlikely(object == NULL))
        object = grow_and_take(cache, gfp);
    if (object != NULL && has_marks(cache))
        *object_mark(cache, object) = 0;
    return object;
}

void *slab_alloc(struct kmem_cache *cache, gfp_t gfp, size_t size, const void *caller)
{
    might_sleep_if(gfp_may_sleep(gfp));
    if (unlikely(is_fault_injected(gfp)))
        return NULL;
    __atomic_fetch_add(&cache->asked_count, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&cache->asked_bytes, size, __ATOMIC_RELAXED);

    void *object = cache->flags & SLAB_GUARD ? slab_guard_alloc(cache, size, caller) : NULL;
    // What lies behind the request is nobody's where that is looked after, and else may become the caller's later.
    size_t owned = object != NULL || is_debugged(cache) ? size : cache->object_bytes;
    if (likely(object == NULL)) {
        object = take(cache, gfp);
        if (unlikely(object == NULL))
            return NULL;
        if (unlikely(is_debugged(cache)))
            slab_debug_alloc(cache, object, size, caller);
    }
    if (unlikely(gfp & __GFP_ZERO) || slab_clears_on_alloc)
        clear_object(cache, gfp, object, owned);
    return object;
}

void *kmem_cache_alloc_any(struct kmem_cache *cache, gfp_t gfp)
{
    return slab_alloc(cache, gfp, cache->object_bytes, __builtin_return_address(0));
}

void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
    return kmem_cache_alloc_any(cache, gfp | __GFP_ZERO);
}

// To its slab, its mark on.
static void put(struct kmem_cache *cache, struct page *slab, unsigned index)
{
    struct page *leaving = NULL;

    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    put_locked(cache, slab, index, &leaving);
    spin_unlock_irqrestore(&cache->lock, flags);
    if (unlikely(leaving != NULL))
        slab_destroy_leaving(leaving);
}

void slab_free_marked(void *object, uintptr_t owner)
{
    struct kmem_cache *cache = (struct kmem_cache *)(owner & ~SLAB_OWNER_BITS);

    if (!magazines_relieve(cache, object))
        slab_give(cache, 1, &object, true);
}

void slab_free(const char *operation, struct kmem_cache *cache, const void *object, const void *caller)
{
    struct page *slab;
    unsigned index;

    if (object == NULL)
        return;
    if (unlikely(slab_guard_holds(object))) {
        slab_guard_free(operation, cache, object, caller);
        return;
    }
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    enum slab_verdict verdict = slab_examine(cache, object, &slab, &index);
    if (verdict == SLAB_IN_USE && has_marks(cache))
        *object_mark(cache, object) = object_tag(object);
    spin_unlock_irqrestore(&cache->lock, flags);

    if (unlikely(verdict != SLAB_IN_USE)) {
        slab_report_misuse(operation, cache, object, verdict, caller);
        return;
    }
    void *freed = (void *)(uintptr_t)object;
    if (unlikely(is_debugged(cache)))
        slab_debug_free(cache, freed, caller);
    else if (slab_clears_on_free && cache->constructor == NULL && !(cache->flags & SLAB_KEEPS_CONTENTS))
        memset((char *)freed + has_magazines(cache) * sizeof(uint64_t), 0,
               cache->stride_bytes - has_magazines(cache) * sizeof(uint64_t));
    if (has_magazines(cache))
        slab_free_marked(freed, (uintptr_t)cache);
    else
        put(cache, slab, index);
}

void slab_free_direct(struct kmem_cache *cache, void *object)
{
    slab_free("kmem_cache_free", cache, object, __builtin_return_address(0));
}

unsigned slab_take_some(struct kmem_cache *cache, unsigned count, void **objects)
{
    unsigned done = 0;

    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    while (done < count && (objects[done] = take_locked(cache)) != NULL)
        done++;
    spin_unlock_irqrestore(&cache->lock, flags);
    return done;
}

void slab_give(struct kmem_cache *cache, unsigned count, void **objects, bool may_leave)
{
    struct page *leaving = NULL;

    for (unsigned done = 0; done < count;) {
        void *refused = NULL;
        irqflags_t flags = spin_lock_irqsave(&cache->lock);
        for (; done < count && refused == NULL; done++) {
            struct page *slab = virt_to_slab(objects[done]);
            int index = slab != NULL && slab_cache(slab) == cache ? slab_object_index(cache, slab, objects[done]) : -1;
            if (likely(index >= 0) && !slab_object_is_free(cache, slab, (unsigned)index))
                put_locked(cache, slab, (unsigned)index, may_leave ? &leaving : NULL);
            else
                refused = objects[done];
        }
        spin_unlock_irqrestore(&cache->lock, flags);
        if (unlikely(refused != NULL))
            slab_report_misuse("free", cache, refused, SLAB_INTERIOR, __builtin_return_address(0));
    }
    if (leaving != NULL)
        slab_destroy_leaving(leaving);
}

size_t kmem_cache_alloc_rest(struct kmem_cache *cache, gfp_t gfp, size_t done, size_t count, void **objects)
{
    might_sleep_if(gfp_may_sleep(gfp));
    if (unlikely(done < count && is_fault_injected(gfp)))
        return 0;
    bool is_one_by_one = (cache->flags & SLAB_DEBUG_FLAGS) != 0 || slab_clears_on_alloc;
    magazines_expect(cache, count);
    while (done < count) {
        if (!has_magazines(cache) && !is_one_by_one)
            done += slab_take_some(cache, (unsigned)min_of(count - done, (size_t)LOCKED_BATCH), objects + done);
        else if (!is_one_by_one)
            done += magazines_pop_some(cache, count - done, objects + done);
        if (done == count)
            break;
        objects[done] = is_one_by_one ? slab_alloc(cache, gfp, cache->object_bytes, __builtin_return_address(0))
                                      : take(cache, gfp);
        if (objects[done] == NULL) {
            kmem_cache_free_bulk(cache, done, objects);
            return 0;
        }
        done++;
    }
    for (size_t i = 0; i < count && (gfp & __GFP_ZERO) && !is_one_by_one; i++)
        clear_object(cache, gfp, objects[i], cache->object_bytes);
    return count;
}

void kmem_cache_free_rest(struct kmem_cache *cache, size_t done, size_t count, void **objects)
{
    magazines_expect(cache, count);
    while (done < count) {
        if (has_magazines(cache) && cache->free != slab_free_direct)
            done += magazines_push_some(cache, count - done, objects + done);
        if (done < count)
            slab_free("kmem_cache_free_bulk", cache, objects[done++], __builtin_return_address(0));
    }
}

uint64_t kmem_cache_shrink(struct kmem_cache *cache)
{
    struct page *leaving = NULL;

    page_lists_drain();
    slab_detach_empty(cache, UINT64_MAX, &leaving);
    return slab_destroy_leaving(leaving);
}

uint64_t kmem_cache_live_objects(const struct kmem_cache *cache)
{
    return cache->active_objects - magazines_objects(cache) + slab_guard_live(cache);
}
