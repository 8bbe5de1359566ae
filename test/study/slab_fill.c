// Filling up the kernel's own slabs before the baseline, and emptying them again.
// SPDX-License-Identifier: BSD-2-Clause

#include "account.h"
#include <mm/page_alloc.h>
#include <mm/page_lists.h>
#include <mm/slab.h>

#define CACHES_MAX 256

struct filling {
    struct kmem_cache *cache;
    void *object;
};

static struct kmem_cache *caches[CACHES_MAX];
static unsigned cache_count;
static struct page *table;             // of fillings; pages, so that it takes no objects itself
static struct filling *fillings;
static uint64_t filling_count;

static uint64_t free_objects(const struct kmem_cache *cache)
{
    return cache->slab_count * cache->objects_per_slab - kmem_cache_live_objects(cache);
}

static void note_cache(struct kmem_cache *cache, void *context)
{
    uint64_t *total = context;

    if (cache_count < CACHES_MAX)
        caches[cache_count++] = cache;
    *total += free_objects(cache);
}

bool account_fill_slabs(void)
{
    uint64_t room = 0;

    cache_count = 0;
    filling_count = 0;
    // Objects then come from the slabs, and no magazine is made meanwhile.
    page_lists_block();
    kmem_cache_for_each(note_cache, &room);
    table = alloc_pages(GFP_KERNEL, get_order(max_of(room, 1UL) * sizeof fillings[0]));
    if (!table) {
        page_lists_unblock();
        return false;
    }
    fillings = page_to_virt(table);
    for (unsigned i = 0; i < cache_count; i++)
        for (uint64_t count = free_objects(caches[i]); count > 0; count--) {
            void *object = kmem_cache_alloc(caches[i], GFP_KERNEL);
            if (object)
                fillings[filling_count++] = (struct filling){ caches[i], object };
        }
    return true;
}

void account_empty_slabs(void)
{
    while (filling_count > 0) {
        struct filling *filling = &fillings[--filling_count];
        kmem_cache_free(filling->cache, filling->object);
    }
    __free_pages(table, table->order);
    table = NULL;
    page_lists_unblock();
}
