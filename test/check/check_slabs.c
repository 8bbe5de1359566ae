// Validator of the slab caches: every slab stands on the list that its use says, and all counts agree.
// SPDX-License-Identifier: BSD-2-Clause

#include <check/check.h>

#include "check_private.h"

#include <debug/irq_meter.h>
#include <mm/slab.h>
#include <mm/slab_debug.h>

static void defect(struct check *check, const struct kmem_cache *cache, uint64_t frame, const char *why)
{
    check_defect(check, "cache %s, slab at frame %#lx: %s", cache->name, frame, why);
}

static void defect_of_cache(struct check *check, const struct kmem_cache *cache, const char *why)
{
    check_defect(check, "cache %s: %s", cache->name, why);
}

static bool use_fits_list(const struct kmem_cache *cache, const uint32_t *list, uint32_t in_use)
{
    if (list == &cache->empty)
        return in_use == 0;
    if (list == &cache->full)
        return in_use == cache->objects_per_slab;
    return in_use > 0 && in_use < cache->objects_per_slab;
}

// Returns the slabs of one list, and adds its objects in use.
static uint64_t check_list(struct check *check, const struct kmem_cache *cache, const uint32_t *list,
                           uint64_t *in_use)
{
    uint64_t slabs = 0, limit = cache->slab_count + 1;
    uint32_t previous = 0;
    const char *why;

    for (uint32_t frame = *list; frame != 0 && slabs < limit; slabs++) {
        const struct page *slab = pfn_to_page(pfn(frame));
        if (!slab_is_consistent(cache, slab, &why)) {
            defect(check, cache, frame, why);
            if (slab->type != PAGE_SLAB)
                return slabs;
        }
        if (slab->prev != previous)
            defect(check, cache, frame, "its link back is wrong");
        if (!use_fits_list(cache, list, slab->refcount))
            defect(check, cache, frame, "it is on the wrong list for its objects in use");
        *in_use += slab->refcount;
        previous = frame;
        frame = slab->next;
    }
    return slabs;
}

static void check_cache(struct kmem_cache *cache, void *context)
{
    struct check *check = context;
    uint64_t in_use = 0;

    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    irq_meter_pause("a validator walks all slabs of a cache");
    uint64_t empty = check_list(check, cache, &cache->empty, &in_use);
    uint64_t slabs = empty + check_list(check, cache, &cache->partial, &in_use) +
                     check_list(check, cache, &cache->full, &in_use);
    if (slabs != cache->slab_count || empty != cache->empty_count)
        defect_of_cache(check, cache, "the number of slabs on the lists differs from the counters");
    if (in_use != cache->active_objects || cache->alloc_count - cache->free_count != in_use)
        defect_of_cache(check, cache, "the objects in use differ from the counters");
    if (cache->leaving != 0)
        defect_of_cache(check, cache, "slabs are leaving though nobody is at work");
    irq_meter_resume();
    spin_unlock_irqrestore(&cache->lock, flags);
    if (kmem_cache_validate(cache) != 0)
        defect_of_cache(check, cache, "objects or what surrounds them were written to");
}

unsigned check_slabs(void)
{
    struct check check = { .name = "slabs" };

    kmem_cache_for_each(check_cache, &check);
    return check.defects;
}
