// The short ways to an object and back: what stands between a caller and his hart's magazine.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each is a pop or a push, the mark, and on the way back the one look that tells whether the pointer lies in a slab of
// the cache. What goes wrong is sorted out behind (kmem_cache.c).

#include "slab_internal.h"

#include <arch/hart_stack.h>
#include <arch/uaccess.h>
#include <debug/irq_meter.h>
#include <mm/kmalloc.h>
#include <mm/magazine.h>

// What the page of a pointer, of any pointer, says of its owner; false where there is no such page.
static always_inline bool page_owner(const struct page *page, uint64_t *owner)
{
    return arch_try_load((const uint64_t *)(const void *)&page->owner, owner);
}

static noinline void *alloc_at(int64_t place, gfp_t gfp)
{
    return kmem_cache_alloc_any(magazines_cache_at(place), gfp);
}

// The mark of an object is so many words from it: in it, or before it (object_mark).
static always_inline void *alloc_marked(struct kmem_cache *cache, gfp_t gfp, long mark)
{
    // From here on the place is all that is known of the cache, which keeps a register free.
    int64_t place = cache->stack_offset;
    uint64_t *object = hart_stack_pop(place);

    if (unlikely(object == NULL))
        return alloc_at(place, gfp);
    object[mark] = 0;
    return object;
}

restartable void *magazine_alloc(struct kmem_cache *cache, gfp_t gfp) { return alloc_marked(cache, gfp, 0); }
restartable void *magazine_alloc_constructed(struct kmem_cache *cache, gfp_t gfp)
{
    return alloc_marked(cache, gfp, -1);
}

// Whether an object starts at a pointer into a slab of the cache: slabs are aligned to their size (slab_lay_out). Only
// constructed objects, whose mark is before them, do not begin where the slab does.
static always_inline bool is_start(const struct kmem_cache *cache, const void *pointer, long mark)
{
    uint64_t offset = ((uintptr_t)pointer & cache->slab_mask) - (mark != 0 ? cache->first_offset : 0) -
                      slab_colour(cache, pointer);

    return offset * cache->start_factor < cache->start_limit;
}

// Marks an object and says whether it was one in use of the cache; `looks`: also whether it starts there.
static always_inline bool mark_free(const struct kmem_cache *cache, uint64_t *object, long mark, bool looks)
{
    const struct page *page = virt_to_page(object);
    uint64_t owner;

    if (unlikely(!page_owner(page, &owner) || owner != (uintptr_t)cache || (looks && !is_start(cache, object, mark)) ||
                 object[mark] == (uintptr_t)page))
        return false;
    object[mark] = (uintptr_t)page;
    return true;
}

static noinline void free_slowly(struct kmem_cache *cache, void *object)
{
    slab_free("kmem_cache_free", cache, object, __builtin_return_address(0));
}

static always_inline void free_to_mark(struct kmem_cache *cache, void *object, long mark, bool looks)
{
    if (unlikely(!mark_free(cache, object, mark, looks)))
        free_slowly(cache, object);
    else if (unlikely(!hart_stack_push(cache->stack_offset, object)))
        slab_free_marked(object, (uintptr_t)cache);
}

restartable void magazine_free(struct kmem_cache *cache, void *object) { free_to_mark(cache, object, 0, false); }
restartable void magazine_free_constructed(struct kmem_cache *cache, void *object)
{
    free_to_mark(cache, object, -1, false);
}

restartable void magazine_free_checked(struct kmem_cache *cache, void *object) { free_to_mark(cache, object, 0, true); }
restartable void magazine_free_constructed_checked(struct kmem_cache *cache, void *object)
{
    free_to_mark(cache, object, -1, true);
}

void object_set_free(struct kmem_cache *cache, bool checks)
{
    static void (*const fronts[2][2])(struct kmem_cache *cache, void *object) = {
        { magazine_free, magazine_free_constructed }, { magazine_free_checked, magazine_free_constructed_checked },
    };

    __atomic_store_n(&cache->checks_frees, checks, __ATOMIC_RELAXED);
    bool is_direct = !has_magazines(cache) || slab_clears_on_free;
    __atomic_store_n(&cache->free, is_direct ? slab_free_direct : fronts[checks][cache->constructor != NULL],
                     __ATOMIC_RELAXED);
}

void kmem_cache_check_frees(struct kmem_cache *cache, bool is_on)
{
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    const uint32_t lists[] = { cache->full, cache->partial, cache->empty };

    irq_meter_pause("a cache is told to look at its frees: all its slabs are");
    object_set_free(cache, is_on);
    for (unsigned list = 0; list < array_count(lists); list++)
        for (uint32_t frame = lists[list]; frame != 0; frame = pfn_to_page(pfn(frame))->next)
            slab_set_owner(cache, pfn_to_page(pfn(frame)));
    irq_meter_resume();
    spin_unlock_irqrestore(&cache->lock, flags);
}

static always_inline void free_to_class(struct kmem_cache *cache, uint64_t owner, uint64_t *object, bool looks)
{
    const struct page *page = virt_to_page(object);

    if (unlikely((looks && !is_start(cache, object, 0)) || *object == (uintptr_t)page)) {
        kfree_any(object);
        return;
    }
    *object = (uintptr_t)page;
    if (unlikely(!hart_stack_push(cache->stack_offset, object)))
        slab_free_marked(object, owner);
}

restartable void kfree(const void *object)
{
    uint64_t owner, *first_word = (uint64_t *)(uintptr_t)object;

    // NULL has no page to look at, as all that lies in no RAM.
    if (unlikely(!page_owner(virt_to_page(object), &owner)))
        kfree_any(object);
    else if (likely(owner & SLAB_OWNER_KFREE))
        free_to_class((struct kmem_cache *)(owner - SLAB_OWNER_KFREE), owner, first_word, false);
    else if (owner & SLAB_OWNER_KFREE_CHECKED)
        free_to_class((struct kmem_cache *)(owner - SLAB_OWNER_KFREE_CHECKED), owner, first_word, true);
    else
        kfree_any(object);
}

// Two functions for each class, so that its stack's place is a constant: for all of an object, and for a part of it,
// whose size nobody looks at unless it is wanted for the record.
#define KMALLOC_CLASS(class) \
    restartable void *kmalloc_whole_##class(gfp_t gfp) \
    { \
        uint64_t *object = hart_stack_pop_of(object_stacks, class); \
        if (unlikely(object == NULL)) \
            return kmem_cache_alloc_any(kmalloc_caches[0][class], gfp); \
        *object = 0; \
        return object; \
    } \
    restartable void *kmalloc_part_##class(size_t size, gfp_t gfp) \
    { \
        uint64_t *object = hart_stack_pop_of(object_stacks, class); \
        if (unlikely(object == NULL)) \
            return kmalloc_sized(size, gfp); \
        *object = 0; \
        return object; \
    }
KMALLOC_CLASS(0)
KMALLOC_CLASS(1)
KMALLOC_CLASS(2)
KMALLOC_CLASS(3)
KMALLOC_CLASS(4)
KMALLOC_CLASS(5)
KMALLOC_CLASS(6)
KMALLOC_CLASS(7)
KMALLOC_CLASS(8)
KMALLOC_CLASS(9)
KMALLOC_CLASS(10)
KMALLOC_CLASS(11)
KMALLOC_CLASS(12)
#if KMALLOC_MAX_CACHE_SHIFT > 13
KMALLOC_CLASS(13)
KMALLOC_CLASS(14)
#endif

// By a table of where the classes' stacks are: one entry for each 8 bytes.
static int32_t small_offset[KMALLOC_SMALL_BYTES / 8];

void kmalloc_offsets_init(void)
{
    for (unsigned i = 0; i < array_count(small_offset); i++)
        small_offset[i] = magazines_offset(kmalloc_class(i * 8 + 8));
}

restartable void *kmalloc_plain(size_t size, gfp_t gfp)
{
    if (unlikely(size - 1 >= KMALLOC_SMALL_BYTES))
        return kmalloc_sized(size, gfp);
    uint64_t *object = hart_stack_pop(small_offset[(size - 1) / 8]);
    if (unlikely(object == NULL))
        return kmalloc_sized(size, gfp);
    *object = 0;
    return object;
}

// --- Many at once, of the loaded magazine alone; what is not as plain goes on in kmem_cache.c

static long mark_of(const struct kmem_cache *cache) { return cache->constructor != NULL ? -1 : 0; }

size_t magazines_pop_some(struct kmem_cache *cache, size_t count, void **objects)
{
    irqflags_t flags = arch_irq_save();
    struct hart_stack *stack = hart_stack_of(cache->stack_offset);
    size_t most = min_of(count, (size_t)BULK_AT_ONCE);

    most = min_of(most, magazines_loaded(cache));
    for (size_t done = 0; done < most; done++) {
        uint64_t *object = *stack->top--;
        object[mark_of(cache)] = 0;
        objects[done] = object;
    }
    arch_irq_restore(flags);
    return most;
}

size_t magazines_push_some(struct kmem_cache *cache, size_t count, void **objects)
{
    irqflags_t flags = arch_irq_save();
    struct hart_stack *stack = hart_stack_of(cache->stack_offset);
    size_t most = min_of(count, (size_t)BULK_AT_ONCE), done = 0;

    most = min_of(most, (size_t)(stack->limit - stack->top));
    bool looks = __atomic_load_n(&cache->checks_frees, __ATOMIC_RELAXED);
    for (; done < most && mark_free(cache, objects[done], mark_of(cache), looks); done++)
        *++stack->top = objects[done];
    arch_irq_restore(flags);
    return done;
}

static bool is_plain(const struct kmem_cache *cache, size_t count)
{
    return !CONFIG_CHECKED && cache->free == magazine_free && count <= BULK_AT_ONCE;
}

size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t count, void **objects)
{
    if (likely(is_plain(cache, count) && cache->alloc == magazine_alloc && !(gfp & __GFP_ZERO))) {
        irqflags_t flags = arch_irq_save();
        struct hart_stack *stack = hart_stack_of(cache->stack_offset);
        void **top = stack->top;
        if (likely(count <= magazines_loaded(cache))) {
            stack->top = top - count;
#pragma GCC unroll 4
            for (size_t i = 0; i < count; i++) {
                uint64_t *object = *top--;
                *object = 0;
                *objects++ = object;
            }
            arch_irq_restore(flags);
            return count;
        }
        arch_irq_restore(flags);
    }
    return kmem_cache_alloc_rest(cache, gfp, 0, count, objects);
}

// Apart, so that nothing is counted on the way through eight objects.
static noinline cold size_t stopped_at(size_t done, size_t n) { return done + n; }

#define PUSH_OR_STOP(n) \
    object = group[n]; \
    if (unlikely(!mark_free(cache, object, 0, false))) { \
        done = stopped_at(done, n); \
        break; \
    } \
    to[(n) + 1] = object

void kmem_cache_free_bulk(struct kmem_cache *cache, size_t count, void **objects)
{
    size_t done = 0;

    if (likely(is_plain(cache, count))) {
        irqflags_t flags = arch_irq_save();
        struct hart_stack *stack = hart_stack_of(cache->stack_offset);
        void **top = stack->top;
        size_t eights = min_of(count, (size_t)(stack->limit - top)) & ~7UL;
        for (void **group = objects, **to = top, *object; done < eights; done += 8, group += 8, to += 8) {
            PUSH_OR_STOP(0);
            PUSH_OR_STOP(1);
            PUSH_OR_STOP(2);
            PUSH_OR_STOP(3);
            PUSH_OR_STOP(4);
            PUSH_OR_STOP(5);
            PUSH_OR_STOP(6);
            PUSH_OR_STOP(7);
        }
        stack->top = top + done;
        arch_irq_restore(flags);
    }
    if (unlikely(done < count))
        kmem_cache_free_rest(cache, done, count, objects);
}
