// Slabs: blocks of pages cut into objects, with the bitmap of what is free.
// SPDX-License-Identifier: BSD-2-Clause

#include "slab_internal.h"

#include <base/bits.h>
#include <mm/page_alloc.h>
#include <mm/zone.h>

// offset / stride = offset * ceil(2^44 / stride) >> 44. Rounding the reciprocal up adds less than offset /
// 2^44 to the quotient's numerator over the stride, which is harmless because offset * stride <= 2^44: both
// are at most the largest block (Granlund and Montgomery: "Division by Invariant Integers using
// Multiplication", PLDI 1994, theorem 4.2). The product fits in 64 bits, since the stride is at least 8.
#define RECIPROCAL_SHIFT 44

_Static_assert(MAX_BLOCK_SHIFT <= RECIPROCAL_SHIFT / 2, "the division by multiplication is exact");

// Whether one of `objects` objects starts at an offset is one multiplication and one comparison (after Lemire, Kaser
// and Kurz: "Faster Remainder by Direct Computation", Software: Practice and Experience 49(6), 2019). Let the factor be
// F = floor(2^64 / stride) + 1, and e = F * stride - 2^64, which is 1 .. stride. Modulo 2^64 then
//
//     (k * stride + r) * F  =  k * e + r * F
//
// An object's start has r = 0 and k < objects, and gives less than objects * e. All other offsets give more: with
// r = 0 because k >= objects; with r > 0 because F alone is more, and F * (stride - 1) + k * e does not wrap, both
// since (k + 1) * e and objects * e are at most twice the largest block. The same for offsets from before the first
// object, which are negative.
_Static_assert(MAX_BLOCK_SHIFT * 2 + 2 < 64, "no factor is below twice the largest block");

// Objects that the slab's struct page can have bits for: 64 of them, or 64 groups of at most two words.
_Static_assert(PAGE_SIZE / 8 <= 64 * 128, "the smallest objects of an order-0 slab fit in two words a group");

// Slabs are made larger than their objects need only to waste less, and up to this size or this many objects.
#define PREFERRED_SLAB_BYTES KB(32)
#define PREFERRED_OBJECTS 8

static size_t slab_bytes(const struct kmem_cache *cache)
{
    return PAGE_SIZE << cache->slab_order;
}

// Bit k of a slab's map stands for 2^shift objects: for one; or, in slabs with a bitmap, for one word of it
// or two.
static unsigned map_shift_for(size_t objects)
{
    return objects <= 64 ? 0 : objects <= 64 * 64 ? 6 : 7;
}

static unsigned bitmap_words(size_t objects)
{
    unsigned shift = map_shift_for(objects);

    return shift == 0 ? 0 : (unsigned)(align_up(objects, 1UL << shift) / 64);
}

static unsigned objects_in(size_t bytes, size_t first, size_t stride)
{
    size_t objects = (bytes - first) / stride;

    while (first + objects * stride + bitmap_words(objects) * sizeof(uint64_t) > bytes)
        objects--;
    return (unsigned)objects;
}

static void set_colours(struct kmem_cache *cache)
{
    size_t step = max_of((size_t)cache->align_bytes, (size_t)CACHE_LINE_BYTES);
    size_t used = cache->first_offset + (size_t)cache->objects_per_slab * cache->stride_bytes +
                  bitmap_words(cache->objects_per_slab) * sizeof(uint64_t);
    size_t colours = (slab_bytes(cache) - used) / step + 1;

    cache->colour_mask = (uint32_t)(((1U << highest_bit(colours)) - 1) * step);
    cache->colour_shift = PAGE_SHIFT + cache->slab_order - lowest_bit(step);
}

// Where a slab's first object is, from the slab's start.
static inline uint64_t first_of(const struct kmem_cache *cache, const struct page *slab)
{
    return cache->first_offset + slab_colour(cache, page_to_virt(slab));
}

// The smallest order that wastes at most 1/16 of the slab; if none does, the one that wastes the smallest
// part.
bool slab_lay_out(struct kmem_cache *cache)
{
    size_t stride = cache->stride_bytes;
    size_t largest = max_of((size_t)PREFERRED_SLAB_BYTES, stride * PREFERRED_OBJECTS);
    unsigned min_order = get_order(cache->first_offset + stride);
    unsigned max_order = min_of(get_order(largest), (unsigned)MAX_ORDER);
    size_t best_waste = SIZE_MAX;

    if (min_order > MAX_ORDER)
        return false;
    for (unsigned order = min_order; order <= max_order; order++) {
        size_t bytes = PAGE_SIZE << order;
        unsigned objects = objects_in(bytes, cache->first_offset, stride);
        size_t waste = (bytes - objects * stride) << (MAX_ORDER - order);
        if (waste < best_waste) {
            best_waste = waste;
            cache->slab_order = order;
            cache->objects_per_slab = objects;
        }
        if (waste <= (PAGE_SIZE << MAX_ORDER) / 16)
            break;
    }
    cache->map_shift = map_shift_for(cache->objects_per_slab);
    set_colours(cache);
    cache->stride_reciprocal = ((1UL << RECIPROCAL_SHIFT) + stride - 1) / stride;
    cache->slab_mask = slab_bytes(cache) - 1;
    cache->start_factor = UINT64_MAX / stride + 1;
    // 2^64 drops out of the product; where the stride divides it, the factor is one too small.
    cache->start_factor += cache->start_factor * stride == 0;
    cache->start_limit = cache->start_factor * stride * cache->objects_per_slab;
    return true;
}

static inline uint64_t *slab_words(const struct kmem_cache *cache, const struct page *slab)
{
    return (uint64_t *)(void *)((char *)page_to_virt(slab) + slab_bytes(cache)) -
           bitmap_words(cache->objects_per_slab);
}

void *slab_object_at(const struct kmem_cache *cache, const struct page *slab, unsigned index)
{
    return (char *)page_to_virt(slab) + first_of(cache, slab) + (size_t)index * cache->stride_bytes;
}

static void mark_all_free(const struct kmem_cache *cache, struct page *slab)
{
    unsigned objects = cache->objects_per_slab;

    if (cache->map_shift == 0) {
        slab->map = low_bits(objects);
        return;
    }
    uint64_t *words = slab_words(cache, slab);
    for (unsigned word = 0; word < bitmap_words(objects); word++)
        words[word] = objects > word * 64 ? low_bits(objects - word * 64) : 0;
    slab->map = low_bits((objects - 1) / (1U << cache->map_shift) + 1);
}

static uint64_t slab_page_count;        // (A) of all slabs

// In every page, so that an object's own page leads to its cache.
void slab_set_owner(const struct kmem_cache *cache, struct page *slab)
{
    // The short way is not all that a free needs where something is recorded or cleared.
    bool is_short = (cache->flags & (SLAB_KMALLOC | SLAB_DEBUG_FLAGS)) == SLAB_KMALLOC && !slab_clears_on_free;
    uintptr_t bits = __atomic_load_n(&cache->checks_frees, __ATOMIC_RELAXED) ? SLAB_OWNER_KFREE_CHECKED
                                                                            : SLAB_OWNER_KFREE;
    uintptr_t owner = (uintptr_t)cache | (is_short ? bits : 0);

    for (uint64_t i = 0; i < 1UL << cache->slab_order; i++)
        __atomic_store_n(&slab[i].owner, (void *)owner, __ATOMIC_RELAXED);
}

struct page *kmem_getpages(struct kmem_cache *cache, gfp_t gfp)
{
    gfp &= ~(__GFP_ZERO | __GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM | __GFP_MOVABLE);
    gfp |= cache->flags & SLAB_DMA ? GFP_DMA : 0;
    gfp |= cache->flags & SLAB_RECLAIM_ACCOUNT ? __GFP_RECLAIMABLE : 0;

    struct page *slab = alloc_pages(gfp | __GFP_COMP, cache->slab_order);
    if (slab == NULL)
        return NULL;
    slab->refcount = 0;
    slab->next = slab->prev = 0;
    mark_all_free(cache, slab);
    slab_set_owner(cache, slab);
    page_set_type(slab, PAGE_SLAB);
    __atomic_fetch_add(&slab_page_count, 1UL << cache->slab_order, __ATOMIC_RELAXED);
    return slab;
}

void kmem_freepages(struct kmem_cache *cache, struct page *slab)
{
    for (uint64_t i = 0; i < 1UL << cache->slab_order; i++)
        slab[i].owner = NULL;
    slab->refcount = 0;
    __atomic_fetch_sub(&slab_page_count, 1UL << cache->slab_order, __ATOMIC_RELAXED);
    page_set_type(slab, PAGE_RAW);
    __free_pages(slab, cache->slab_order);
}

uint64_t slab_pages(void)
{
    return __atomic_load_n(&slab_page_count, __ATOMIC_RELAXED);
}

struct page *slab_create(struct kmem_cache *cache, gfp_t gfp)
{
    struct page *slab = kmem_getpages(cache, gfp);

    for (unsigned index = 0; slab != NULL && index < cache->objects_per_slab; index++) {
        void *object = slab_object_at(cache, slab, index);
        if (unlikely(is_debugged(cache)))
            slab_debug_construct(cache, object);
        else if (cache->constructor != NULL)
            cache->constructor(object);
        if (has_marks(cache))
            *object_mark(cache, object) = object_tag(object);
    }
    return slab;
}

void slab_destroy(struct kmem_cache *cache, struct page *slab)
{
    for (unsigned index = 0; index < cache->objects_per_slab && is_debugged(cache); index++)
        slab_debug_leave(cache, slab_object_at(cache, slab, index));
    for (unsigned index = 0; index < cache->objects_per_slab && cache->destructor != NULL; index++)
        cache->destructor(slab_object_at(cache, slab, index));
    kmem_freepages(cache, slab);
}

// Apart, so that the way through smaller slabs is short.
static noinline unsigned take_bit_of_words(struct kmem_cache *cache, struct page *slab)
{
    unsigned group = lowest_bit(slab->map), group_words = 1U << (cache->map_shift - 6);
    uint64_t *words = slab_words(cache, slab) + group * group_words;
    unsigned word = words[0] != 0 ? 0 : group_words - 1;
    unsigned index = (group * group_words + word) * 64 + lowest_bit(words[word]);

    words[word] &= words[word] - 1;
    if ((words[0] | words[group_words - 1]) == 0)
        slab->map &= ~(1UL << group);
    return index;
}

void *slab_take(struct kmem_cache *cache, struct page *slab)
{
    unsigned index;

    ASSERT_SLOW(slab->map != 0 && slab->refcount < cache->objects_per_slab);
    if (likely(cache->map_shift == 0)) {
        index = lowest_bit(slab->map);
        slab->map &= slab->map - 1;
    } else {
        index = take_bit_of_words(cache, slab);
    }
    slab->refcount++;
    return slab_object_at(cache, slab, index);
}

void slab_put(struct kmem_cache *cache, struct page *slab, unsigned index)
{
    ASSERT_SLOW(slab->refcount > 0 && !slab_object_is_free(cache, slab, index));
    if (unlikely(cache->map_shift != 0))
        slab_words(cache, slab)[index / 64] |= 1UL << index % 64;
    slab->map |= 1UL << (index >> cache->map_shift);
    slab->refcount--;
}

int slab_object_index(const struct kmem_cache *cache, const struct page *slab, const void *object)
{
    uint64_t offset = (uint64_t)((const char *)object - (const char *)page_to_virt(slab)) - first_of(cache, slab);
    uint64_t index = offset * cache->stride_reciprocal >> RECIPROCAL_SHIFT;

    return index < cache->objects_per_slab && index * cache->stride_bytes == offset ? (int)index : -1;
}

bool slab_object_is_free(const struct kmem_cache *cache, const struct page *slab, unsigned index)
{
    uint64_t word = cache->map_shift == 0 ? slab->map : slab_words(cache, slab)[index / 64];

    return (word >> index % 64 & 1) != 0;
}

struct page *virt_to_slab(const void *object)
{
    if (!virt_is_direct(object))
        return NULL;
    struct page *page = virt_to_page(object);
    if (likely(page_type(page) == PAGE_SLAB))
        return page;
    page = page_head(page);
    return page_type(page) == PAGE_SLAB ? page : NULL;
}

enum slab_verdict slab_examine(const struct kmem_cache *cache, const void *object, struct page **slab,
                               unsigned *index)
{
    struct page *head = virt_to_slab(object);

    if (unlikely(head == NULL))
        return virt_is_direct(object) ? SLAB_NO_SLAB : SLAB_NOT_DIRECT;
    if (unlikely(slab_cache(head) != cache))
        return SLAB_OTHER_CACHE;
    int found = slab_object_index(cache, head, object);
    if (unlikely(found < 0))
        return SLAB_INTERIOR;
    if (unlikely(slab_object_is_free(cache, head, (unsigned)found) ||
                 (has_marks(cache) && *object_mark(cache, object) == object_tag(object))))
        return SLAB_FREE;
    *slab = head;
    *index = (unsigned)found;
    return SLAB_IN_USE;
}

bool slab_is_consistent(const struct kmem_cache *cache, const struct page *slab, const char **why)
{
    const uint64_t *words = cache->map_shift == 0 ? &slab->map : slab_words(cache, slab);
    unsigned word_count = max_of(bitmap_words(cache->objects_per_slab), 1U), free = 0;

    *why = NULL;
    if (page_type(slab) != PAGE_SLAB || slab_cache(slab) != cache || slab->order != cache->slab_order)
        *why = "type, owner or order is not the cache's";
    for (unsigned word = 0; *why == NULL && word < word_count; word++) {
        unsigned first = word * 64, objects = cache->objects_per_slab;
        free += count_bits(words[word]);
        if ((words[word] & ~(objects > first ? low_bits(objects - first) : 0)) != 0)
            *why = "a bit beyond the last object is set";
    }
    for (unsigned group = 0; *why == NULL && cache->map_shift != 0 && group < 64; group++) {
        unsigned first = group << (cache->map_shift - 6), end = (group + 1) << (cache->map_shift - 6);
        uint64_t any = 0;
        for (unsigned word = first; word < end && word < word_count; word++)
            any |= words[word];
        if ((slab->map >> group & 1) != (any != 0))
            *why = "the map disagrees with the bitmap at the slab's end";
    }
    if (*why == NULL && slab->refcount + free != cache->objects_per_slab)
        *why = "the count of objects in use disagrees with the bitmap";
    return *why == NULL;
}
