// kmalloc: memory by size, physically contiguous, in the direct map.
// SPDX-License-Identifier: BSD-2-Clause
//
// Size classes (bytes): 8 16 32 64 96 128 192 256 512 ... KMALLOC_MAX_CACHE_BYTES, each a slab cache
// "kmalloc-N", with twins "dma-kmalloc-N" for GFP_DMA; larger requests are blocks of pages. The largest class
// is 8192, or half a page where that is more (32768 at 64 KB pages): a request above half a page takes a page
// of its own whoever serves it, but one of 9 KB would waste most of a 64 KB page.
//
// Alignment: at least 8, and a power of two is aligned to itself (up to the page). Context: as the gfp flags
// say; kfree anywhere. NULL is returned when there is no memory, when a product overflows, and for more than
// the largest block (reported). Size 0 gives ZERO_SIZE_PTR, which kfree accepts and nobody may touch.
#pragma once

#include <base/bits.h>
#include <mm/gfp.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>

#define KMALLOC_MAX_CACHE_SHIFT (PAGE_SHIFT - 1 > 13 ? PAGE_SHIFT - 1 : 13)
#define KMALLOC_MAX_CACHE_BYTES (1UL << KMALLOC_MAX_CACHE_SHIFT)
#define KMALLOC_CLASSES KMALLOC_MAX_CACHE_SHIFT
#define ZERO_SIZE_PTR ((void *)16)

// [0]: from any zone, [1]: for GFP_DMA. Constant after kmalloc_init.
extern struct kmem_cache *kmalloc_caches[2][KMALLOC_CLASSES];

void kmalloc_init(void);

// The class of a size (1 .. KMALLOC_MAX_CACHE_BYTES), cheap when the size is a constant; and the bytes of a
// class.
static always_inline unsigned kmalloc_class(size_t size)
{
    return size <= 8   ? 0 :
           size <= 16  ? 1 :
           size <= 32  ? 2 :
           size <= 64  ? 3 :
           size <= 96  ? 4 :
           size <= 128 ? 5 :
           size <= 192 ? 6 :
                         highest_bit(size - 1);
}

static always_inline size_t kmalloc_class_bytes(unsigned class)
{
    static const uint8_t small[] = { 8, 16, 32, 64, 96, 128, 192 };

    return class < array_count(small) ? small[class] : 2UL << class;
}

// kmalloc for any size and flags; for a size that is known only at run time and plain flags, of at most so many bytes
// without a search; and for the class of a constant size, plain flags.
#define KMALLOC_SMALL_BYTES 8192
must_check void *kmalloc_sized(size_t size, gfp_t gfp);
must_check void *kmalloc_plain(size_t size, gfp_t gfp);

// Makes a block of pages, or NULL, one of kmalloc's.
must_check void *kmalloc_own(struct page *head, size_t size, unsigned order);

#define KMALLOC_CLASS_FUNCTIONS(ONE) \
    ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9) ONE(10) ONE(11) ONE(12) ONE(13) ONE(14)
#define KMALLOC_CLASS_DECLARED(class) \
    must_check void *kmalloc_whole_##class(gfp_t gfp); \
    must_check void *kmalloc_part_##class(size_t size, gfp_t gfp);
KMALLOC_CLASS_FUNCTIONS(KMALLOC_CLASS_DECLARED)
#undef KMALLOC_CLASS_DECLARED

void kmalloc_offsets_init(void);

static always_inline must_check void *kmalloc(size_t size, gfp_t gfp)
{
    if (GFP_IS_PLAIN(gfp) && __builtin_constant_p(size) && size - 1 < KMALLOC_MAX_CACHE_BYTES) {
        switch (kmalloc_class(size)) {
#define KMALLOC_CLASS_CALLED(class) \
        case class: \
            return size == kmalloc_class_bytes(class) ? kmalloc_whole_##class(gfp) : kmalloc_part_##class(size, gfp);
        KMALLOC_CLASS_FUNCTIONS(KMALLOC_CLASS_CALLED)
#undef KMALLOC_CLASS_CALLED
        }
    }
    if (GFP_IS_PLAIN(gfp) && __builtin_constant_p(size) && size > 0 && size <= PAGE_SIZE << MAX_ORDER)
        return kmalloc_own(get_order(size) <= PAGE_LISTED_ORDER ? page_alloc_listed(gfp, get_order(size))
                                                                : page_alloc_large(gfp, get_order(size)),
                           size, get_order(size));
    return GFP_IS_PLAIN(gfp) ? kmalloc_plain(size, gfp) : kmalloc_sized(size, gfp);
}

// Small ones are zeroed where they are asked for.
#define KMALLOC_ZEROED_INLINE_BYTES 512

static always_inline must_check void *kzalloc(size_t size, gfp_t gfp)
{
    if (!GFP_IS_PLAIN(gfp) || !__builtin_constant_p(size) || size == 0 || size > KMALLOC_ZEROED_INLINE_BYTES)
        return kmalloc(size, gfp | __GFP_ZERO);
    uint64_t *words = kmalloc(size, gfp);
    if (likely(words != NULL)) {
#pragma GCC unroll 8
        for (size_t i = 0; i < size / 8; i++)
            words[i] = 0;
        // Not a byte more: who looks for errors looks there.
#pragma GCC unroll 8
        for (size_t i = size & ~7UL; i < size; i++)
            ((char *)words)[i] = 0;
    }
    return words;
}

must_check void *kmalloc_array(size_t count, size_t size, gfp_t gfp);
must_check void *kcalloc(size_t count, size_t size, gfp_t gfp);

// As C's realloc: keeps the first min(old, new) bytes; NULL leaves the old block as it is. What still fits
// stays where it is. New size 0 frees and gives ZERO_SIZE_PTR. Bytes past the old request are zero with
// __GFP_ZERO if the block always had that flag. A pointer that is no kmalloc object in use is reported: NULL.
must_check void *krealloc(const void *object, size_t size, gfp_t gfp);

// A copy of the text, or NULL (also for text NULL).
must_check char *kstrdup(const char *text, gfp_t gfp);

// NULL and ZERO_SIZE_PTR are ignored. A pointer that is no kmalloc object in use is reported and ignored.
void kfree(const void *object);

// Bytes that may be used behind the pointer, at least the size asked for; 0 for NULL, ZERO_SIZE_PTR and
// strangers.
size_t ksize(const void *object);

// kfree of what is no object of a class in use: large blocks, NULL, strangers. Called by a jump.
void kfree_any(const void *object);

// The cache that serves a size (1 .. KMALLOC_MAX_CACHE_BYTES).
struct kmem_cache *kmalloc_cache_for(size_t size, gfp_t gfp);

// Blocks above the largest class that are alive: count, bytes asked for, and pages held.
struct kmalloc_large_stats { uint64_t count, bytes_requested, pages; };
struct kmalloc_large_stats kmalloc_large_stats(void);
