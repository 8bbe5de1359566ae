// What a test case must leave as it found it: who owns which pages, how many objects live, how many areas.
// SPDX-License-Identifier: BSD-2-Clause
#include "ktest_private.h"

#include <base/string.h>
#include <mm/kmap.h>
#include <mm/kstack_cache.h>
#include <mm/page_alloc.h>
#include <mm/page_engine.h>
#include <mm/page_lists.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

// vmem keeps a few segments in hand, now more and now fewer, and free areas keep addresses: they are no leak. The areas
// are counted instead.
static bool is_stock(const struct kmem_cache *cache)
{
    return strcmp(cache->name, "vmem_segment") == 0 || strncmp(cache->name, "vmalloc_area", 12) == 0;
}

static void add_cache(struct kmem_cache *cache, void *state_pointer)
{
    struct ktest_state *state = state_pointer;
    uint64_t pages = cache->slab_count << cache->slab_order;

    if (is_stock(cache)) {
        state->ledger.pages[PAGE_SLAB] -= pages;
        state->ledger.pages[PAGE_FREE] += pages;
    } else {
        state->live_objects += cache->active_objects;
    }
}

static void note_live_objects(struct kmem_cache *cache, void *unused unused_arg)
{
    if (cache->active_objects > 0 && !is_stock(cache))
        ktest_note("  cache %s: %lu objects", cache->name, cache->active_objects);
}

uint64_t ktest_misuse_count(void)
{
    return page_alloc_stats().misuse_count + slab_misuse_count() + vmalloc_stats().misuse_count +
           kmap_stats().misuse_count;
}

struct ktest_state ktest_state_take(void)
{
    struct ktest_state state = { .misuse_count = ktest_misuse_count() };

    kstack_cache_shrink();
    vmalloc_flush();
    kmem_cache_reap(UINT64_MAX);
    page_lists_drain_all();
    // Destructors have freed objects of other caches.
    kmem_cache_reap(UINT64_MAX);
    page_lists_drain_all();
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        while (page_engine->unreserve(&zones[id])) {
        }
    state.ledger = ledger_take();
    kmem_cache_for_each(add_cache, &state);
    state.vmalloc_areas = vmalloc_stats().area_count;
    state.kmap_slots = kmap_stats().in_use;
    return state;
}

bool ktest_state_is_kept(const struct ktest_state *before)
{
    struct ktest_state after = ktest_state_take();
    bool is_kept = true;

    if (!ledger_equal(&before->ledger, &after.ledger)) {
        is_kept = false;
        for (unsigned type = 0; type < PAGE_TYPE_COUNT; type++)
            if (before->ledger.pages[type] != after.ledger.pages[type])
                ktest_note("pages owned as %s: %lu before, %lu after", page_type_name(type),
                           before->ledger.pages[type], after.ledger.pages[type]);
    }
    if (before->live_objects != after.live_objects) {
        is_kept = false;
        ktest_note("live objects: %lu before, %lu after", before->live_objects, after.live_objects);
        kmem_cache_for_each(note_live_objects, NULL);
    }
    if (before->vmalloc_areas != after.vmalloc_areas) {
        is_kept = false;
        ktest_note("vmalloc areas: %lu before, %lu after", before->vmalloc_areas, after.vmalloc_areas);
    }
    if (before->kmap_slots != after.kmap_slots) {
        is_kept = false;
        ktest_note("kmap slots in use: %lu before, %lu after", before->kmap_slots, after.kmap_slots);
    }
    return is_kept;
}
