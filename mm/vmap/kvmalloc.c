// kvmalloc: kmalloc where that is easy, else vmalloc.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kvmalloc.h>

#include "vmalloc_area.h"

#include <base/string.h>
#include <mm/slab_guard.h>

#define LARGEST_BLOCK_BYTES (PAGE_SIZE << MAX_ORDER)
#define RETRY_FLAGS (__GFP_NOFAIL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL)

// A guarded object (<mm/slab_guard.h>) has an address among them, and is kmalloc's.
static bool is_area(const void *object) { return is_vmalloc_addr(object) && !slab_guard_holds(object); }

static bool may_be_in_pieces(size_t size, gfp_t gfp)
{
    return size > PAGE_SIZE && gfp_may_sleep(gfp) && !(gfp & (__GFP_DMA | __GFP_DMA32));
}

static void *allocate(const char *operation, size_t size, gfp_t gfp, const void *caller)
{
    if (!may_be_in_pieces(size, gfp))
        return kmalloc_sized(size, gfp);

    void *object = NULL;
    if (size <= LARGEST_BLOCK_BYTES)
        object = kmalloc_sized(size, (gfp & ~RETRY_FLAGS) | __GFP_NORETRY | __GFP_NOWARN);
    if (object == NULL)
        object = vmalloc_for(operation, size, (gfp & ~__GFP_NOFAIL) | vmalloc_zone, caller);
    if (object == NULL && (gfp & __GFP_NOFAIL))
        object = kmalloc_sized(size, gfp);
    return object;
}

void *kvmalloc(size_t size, gfp_t gfp)
{
    return allocate("kvmalloc", size, gfp, __builtin_return_address(0));
}

void *kvzalloc(size_t size, gfp_t gfp)
{
    return allocate("kvzalloc", size, gfp | __GFP_ZERO, __builtin_return_address(0));
}

static void *allocate_array(const char *operation, size_t count, size_t size, gfp_t gfp, const void *caller)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : allocate(operation, bytes, gfp, caller);
}

void *kvmalloc_array(size_t count, size_t size, gfp_t gfp)
{
    return allocate_array("kvmalloc_array", count, size, gfp, __builtin_return_address(0));
}

void *kvcalloc(size_t count, size_t size, gfp_t gfp)
{
    return allocate_array("kvcalloc", count, size, gfp | __GFP_ZERO, __builtin_return_address(0));
}

// Bytes of the vmalloc area that starts there, 0 if there is none.
static size_t area_bytes(const void *start)
{
    const struct vmalloc_area *area = vmalloc_area_at(start);

    return area != NULL && vmalloc_owns_pages(area) ? area->size : 0;
}

// As in krealloc, what lies behind a request of a block with __GFP_ZERO is cleared each time the request changes.
void *kvrealloc(const void *object, size_t size, gfp_t gfp)
{
    const void *caller = __builtin_return_address(0);

    if ((uintptr_t)object <= (uintptr_t)ZERO_SIZE_PTR)
        return allocate("kvrealloc", size, gfp, caller);
    if (size == 0) {
        kvfree(object);
        return ZERO_SIZE_PTR;
    }
    bool has_area = is_area(object);
    size_t held = has_area ? area_bytes(object) : ksize(object);
    if (!has_area && (held == 0 || size <= held))
        return krealloc(object, size, gfp);
    if (held == 0) {
        vmalloc_report_misuse("kvrealloc", object, "no area of that kind starts there", caller);
        return NULL;
    }
    if (size <= held) {
        void *same = (void *)(uintptr_t)object;
        if (gfp & __GFP_ZERO)
            memset((char *)same + size, 0, held - size);
        return same;
    }
    void *larger = allocate("kvrealloc", size, gfp, caller);
    if (larger != NULL) {
        memcpy(larger, object, held);
        kvfree(object);
    }
    return larger;
}

void kvfree(const void *object)
{
    if (is_area(object))
        vfree(object);
    else
        kfree(object);
}
