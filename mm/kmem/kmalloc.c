// kmalloc: size classes in front of the slab caches, and blocks of pages above them.
// SPDX-License-Identifier: BSD-2-Clause

#include "slab_internal.h"

#include <arch/smp.h>
#include <base/bits.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/page_holder.h>
#include <mm/zone.h>

#define LARGEST_BLOCK_BYTES (PAGE_SIZE << MAX_ORDER)

// A class by size, without a search for the highest bit, which the base instruction set makes dear: one entry
// for each 8 bytes up to 1 KB, one for each KB above.
#define FINE_STEP 8
#define FINE_LIMIT 1024
#define COARSE_STEP 1024

struct kmem_cache *kmalloc_caches[2][KMALLOC_CLASSES];
static uint8_t fine_class[FINE_LIMIT / FINE_STEP], coarse_class[KMALLOC_MAX_CACHE_BYTES / COARSE_STEP];

static PER_HART struct kmalloc_large_stats large;      // (A) each field; what a hart allocated less what it freed

static unsigned class_of(size_t size)
{
    return size <= FINE_LIMIT ? fine_class[(size - 1) / FINE_STEP] : coarse_class[(size - 1) / COARSE_STEP];
}

struct kmem_cache *kmalloc_cache_for(size_t size, gfp_t gfp)
{
    return kmalloc_caches[(gfp & __GFP_DMA) != 0][class_of(size)];
}

static void count_large(uint64_t blocks, uint64_t bytes, uint64_t pages)
{
    // Of whatever hart this is: the sum is what counts.
    struct kmalloc_large_stats *own = &arch_this_hart(large);

    __atomic_fetch_add(&own->count, blocks, __ATOMIC_RELAXED);
    __atomic_fetch_add(&own->bytes_requested, bytes, __ATOMIC_RELAXED);
    __atomic_fetch_add(&own->pages, pages, __ATOMIC_RELAXED);
}

static always_inline void *own(struct page *head, size_t size, unsigned order)
{
    if (unlikely(head == NULL))
        return NULL;
    head->bytes_requested = size;
    head->owner = NULL;
    page_set_type(head, PAGE_KMALLOC);
    count_large(1, size, 1UL << order);
    return page_to_virt(head);
}

static void *clear_block(struct page *head, unsigned order)
{
    return memset(page_to_virt(head), 0, PAGE_SIZE << order);
}

static noinline void *own_cleared(struct page *head, size_t size, unsigned order)
{
    void *block = own(head, size, order);

    return block != NULL ? clear_block(head, order) : NULL;
}

void *kmalloc_own(struct page *head, size_t size, unsigned order)
{
    return unlikely(slab_clears_on_alloc) ? own_cleared(head, size, order) : own(head, size, order);
}

static void *alloc_large(size_t size, gfp_t gfp)
{
    if (size > LARGEST_BLOCK_BYTES) {
        slab_report_bad_call("kmalloc", NULL, "the size is above the largest block");
        return NULL;
    }
    unsigned order = get_order(size);
    return kmalloc_own(__alloc_pages(gfp & ~__GFP_HIGHMEM, order), size, order);
}

static void free_large(struct page *head)
{
    unsigned order = head->order;

    count_large(-1UL, -head->bytes_requested, -(1UL << order));
    page_set_type(head, PAGE_RAW);
    if (order <= PAGE_LISTED_ORDER)
        page_free_listed(head, order);
    else
        page_free_large(head, order);
}

static void *alloc_sized(size_t size, gfp_t gfp, const void *caller)
{
    if (size - 1 < KMALLOC_MAX_CACHE_BYTES)
        return slab_alloc(kmalloc_cache_for(size, gfp), gfp, size, caller);
    return size == 0 ? ZERO_SIZE_PTR : alloc_large(size, gfp);
}

static noinline void free_cleared(struct page *head)
{
    clear_block(head, head->order);
    free_large(head);
}

void *kmalloc_sized(size_t size, gfp_t gfp) { return alloc_sized(size, gfp, __builtin_return_address(0)); }

static void *alloc_array(size_t count, size_t size, gfp_t gfp, const void *caller)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : alloc_sized(bytes, gfp, caller);
}

void *kmalloc_array(size_t count, size_t size, gfp_t gfp)
{
    return alloc_array(count, size, gfp, __builtin_return_address(0));
}

void *kcalloc(size_t count, size_t size, gfp_t gfp)
{
    return alloc_array(count, size, gfp | __GFP_ZERO, __builtin_return_address(0));
}

static bool is_nothing(const void *object)
{
    return (uintptr_t)object <= (uintptr_t)ZERO_SIZE_PTR;
}

// The block that starts at the pointer when it is larger than any class, or NULL.
static struct page *large_block(const void *object)
{
    if (!virt_is_direct(object) || !is_aligned((uintptr_t)object, PAGE_SIZE))
        return NULL;
    struct page *head = virt_to_page(object);
    return page_type(head) == PAGE_KMALLOC ? head : NULL;
}

// The kmalloc cache whose slab the pointer lies in, or NULL.
static struct kmem_cache *class_cache(const void *object)
{
    struct page *slab = virt_to_slab(object);
    struct kmem_cache *cache = slab != NULL ? slab_cache(slab) : NULL;

    return cache != NULL && (cache->flags & SLAB_KMALLOC) != 0 ? cache : NULL;
}

// Called by a jump, as is who calls it: it returns to whoever called kfree.
static noinline void free_odd(const void *object)
{
    const void *caller = __builtin_return_address(0);
    struct kmem_cache *cache;

    if (is_nothing(object))
        return;
    if (slab_guard_holds(object))
        slab_guard_free("kfree", NULL, object, caller);
    else if ((cache = class_cache(object)) != NULL)
        slab_free("kfree", cache, object, caller);
    else
        slab_report_stranger("kfree", object, caller);
}

void kfree_any(const void *object)
{
    struct page *head = large_block(object);

    if (unlikely(head != NULL && slab_clears_on_free))
        free_cleared(head);
    else if (likely(head != NULL))
        free_large(head);
    else
        free_odd(object);
}

size_t ksize(const void *object)
{
    struct kmem_cache *cache;
    struct page *head;

    if (is_nothing(object))
        return 0;
    if (slab_guard_holds(object))
        return slab_guard_size(object);
    if ((cache = class_cache(object)) == NULL) {
        head = large_block(object);
        return head != NULL ? PAGE_SIZE << head->order : 0;
    }
    if (slab_verdict_of(cache, object) != SLAB_IN_USE)
        return 0;
    return is_debugged(cache) ? slab_debug_requested(cache, object) : cache->object_bytes;
}

// The class's cache when it records what was asked for, else NULL: the rest of the object is nobody's then.
static struct kmem_cache *recording_cache(const void *object)
{
    struct kmem_cache *cache = class_cache(object);

    return cache != NULL && is_debugged(cache) ? cache : NULL;
}

// A class object's request is not recorded. So whenever a block with __GFP_ZERO gets a new request, all
// behind it is cleared: what lies behind any request of such a block is then always zero.
void *krealloc(const void *object, size_t size, gfp_t gfp)
{
    void *same = (void *)(uintptr_t)object;
    const void *caller = __builtin_return_address(0);

    if (is_nothing(object))
        return alloc_sized(size, gfp, caller);
    if (size == 0) {
        kfree(object);
        return ZERO_SIZE_PTR;
    }
    size_t used = ksize(object);
    if (used == 0) {
        slab_report_stranger("krealloc", object, caller);
        return NULL;
    }
    struct kmem_cache *recording = recording_cache(object);
    if (size <= (recording != NULL ? recording->object_bytes : used)) {
        struct page *head = large_block(object);
        size_t from = min_of(size, used), to = recording != NULL || slab_guard_holds(object) ? size : used;
        if (slab_guard_holds(object))
            slab_guard_shrink(object, size);
        else if (recording != NULL)
            slab_debug_resize(recording, same, size);
        if (gfp & __GFP_ZERO)
            memset((char *)same + from, 0, to - from);
        if (head != NULL) {
            count_large(0, size - head->bytes_requested, 0);
            head->bytes_requested = size;
        }
        return same;
    }
    void *larger = alloc_sized(size, gfp, caller);
    if (larger != NULL) {
        memcpy(larger, object, used);
        kfree(object);
    }
    return larger;
}

char *kstrdup(const char *text, gfp_t gfp)
{
    if (text == NULL)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = alloc_sized(size, gfp, __builtin_return_address(0));
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

struct kmalloc_large_stats kmalloc_large_stats(void)
{
    struct kmalloc_large_stats sum = { 0 };

    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        const struct kmalloc_large_stats *own = per_hart_of(large, hart);
        sum.count += __atomic_load_n(&own->count, __ATOMIC_RELAXED);
        sum.bytes_requested += __atomic_load_n(&own->bytes_requested, __ATOMIC_RELAXED);
        sum.pages += __atomic_load_n(&own->pages, __ATOMIC_RELAXED);
    }
    return sum;
}

static uint64_t large_pages(void) { return kmalloc_large_stats().pages; }

void kmalloc_init(void)
{
    static struct page_holder holder = { .name = "large kmalloc", .pages = large_pages };
    static const char *const prefix[2] = { "", "dma-" };
    static const unsigned flags[2] = { SLAB_KMALLOC | SLAB_PANIC, SLAB_KMALLOC | SLAB_PANIC | SLAB_DMA };

    for (unsigned is_dma = 0; is_dma < 2; is_dma++)
        for (unsigned class = 0; class < KMALLOC_CLASSES; class++) {
            size_t size = kmalloc_class_bytes(class),
                   align = is_power_of_two(size) ? min_of(size, PAGE_SIZE) : 0;
            char name[SLAB_NAME_BYTES];
            format_text(name, sizeof(name), "%skmalloc-%zu", prefix[is_dma], size);
            // The short ways look at the class's place: they find nothing there where they would not clear.
            unsigned place = slab_clears_on_alloc ? 2 * KMALLOC_CLASSES : is_dma * KMALLOC_CLASSES + class;
            kmalloc_caches[is_dma][class] = kmem_cache_create_at(place, name, size, align, flags[is_dma], NULL, NULL);
        }
    for (unsigned i = 0; i < array_count(fine_class); i++)
        fine_class[i] = (uint8_t)kmalloc_class((i + 1) * FINE_STEP);
    for (unsigned i = 0; i < array_count(coarse_class); i++)
        coarse_class[i] = (uint8_t)kmalloc_class((i + 1) * COARSE_STEP);
    kmalloc_offsets_init();
    page_holder_register(&holder);
}
