// The reports of calls that are refused.
// SPDX-License-Identifier: BSD-2-Clause

#include "slab_internal.h"

#include <base/format.h>
#include <debug/klog.h>
#include <mm/slab_debug.h>

static uint64_t misuse_count;      // (A)

uint64_t slab_misuse_count(void)
{
    return __atomic_load_n(&misuse_count, __ATOMIC_RELAXED);
}

void slab_count_misuse(void) { __atomic_fetch_add(&misuse_count, 1, __ATOMIC_RELAXED); }

enum slab_verdict slab_verdict_of(struct kmem_cache *cache, const void *object)
{
    struct page *slab;
    unsigned index;

    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    enum slab_verdict verdict = slab_examine(cache, object, &slab, &index);
    spin_unlock_irqrestore(&cache->lock, flags);
    return verdict;
}

// The slab may be gone by now, or be another: a report is as true as what it reads can be.
static void describe(char *text, size_t size, const void *object, enum slab_verdict verdict)
{
    const struct page *slab = virt_to_slab(object);
    const struct kmem_cache *owner = slab != NULL ? slab_cache(slab) : NULL;

    switch (verdict) {
    case SLAB_IN_USE:
        format_text(text, size, "an object in use of %s",
                    owner != NULL ? owner->name : "a cache that is gone");
        return;
    case SLAB_NOT_DIRECT:
        format_text(text, size, "no address of the direct map");
        return;
    case SLAB_NO_SLAB:
        format_text(text, size, "its page is of type %s",
                    page_type_name(page_type(page_head(virt_to_page(object)))));
        return;
    case SLAB_OTHER_CACHE:
        format_text(text, size, "it belongs to %s", owner != NULL ? owner->name : "a slab that is gone");
        return;
    case SLAB_INTERIOR:
        format_text(text, size, "no object starts there: %lu bytes into its slab, objects are %u bytes apart",
                    slab != NULL ? (uintptr_t)object - (uintptr_t)page_to_virt(slab) : 0,
                    owner != NULL ? owner->stride_bytes : 0);
        return;
    case SLAB_FREE:
        format_text(text, size, "it is free already");
        return;
    }
}

cold void slab_report_misuse(const char *operation, const struct kmem_cache *cache, const void *object,
                             enum slab_verdict verdict, const void *caller)
{
    char found[128] = "";

    slab_count_misuse();
    describe(found, sizeof(found), object, verdict);
    klog_error("slab: %s: %s(%p) called by %p: %s\n", cache != NULL ? cache->name : "kmalloc", operation,
               object, caller, found);
    (void)slab_print_users(object, klog_print_error);
}

cold void slab_report_stranger(const char *operation, const void *object, const void *caller)
{
    struct page *slab = virt_to_slab(object);
    struct kmem_cache *owner = slab != NULL ? slab_cache(slab) : NULL;
    enum slab_verdict verdict = !virt_is_direct(object) ? SLAB_NOT_DIRECT : owner == NULL ? SLAB_NO_SLAB :
                                (owner->flags & SLAB_KMALLOC) == 0 ? SLAB_OTHER_CACHE :
                                slab_verdict_of(owner, object);

    slab_report_misuse(operation, NULL, object, verdict, caller);
}

cold void slab_report_bad_call(const char *operation, const char *name, const char *why)
{
    slab_count_misuse();
    klog_error("slab: %s: %s: %s\n", name != NULL && name[0] != '\0' ? name : "-", operation, why);
}
