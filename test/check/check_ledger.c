// The ledger against the counters of those who own pages.
// SPDX-License-Identifier: BSD-2-Clause
#include <check/check.h>

#include "check_private.h"

#include <mm/granule.h>
#include <mm/kmalloc.h>
#include <mm/ledger.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

static void compare(struct check *check, enum page_type type, const struct ledger *ledger, uint64_t counted)
{
    if (ledger->pages[type] != counted)
        check_defect(check, "%lu pages are owned as %s, and their owner counts %lu", ledger->pages[type],
                     page_type_name(type), counted);
}

static void add_cache(struct kmem_cache *cache, void *sum)
{
    *(uint64_t *)sum += cache->slab_count << cache->slab_order;
}

unsigned check_ledger(void)
{
    struct check check = { .name = "ledger" };
    struct ledger ledger = ledger_take();
    uint64_t sum = 0, in_caches = 0;

    for (unsigned type = 0; type < PAGE_TYPE_COUNT; type++)
        sum += ledger.pages[type];
    if (sum != ledger.total || ledger.orphans != 0)
        check_defect(&check, "%lu pages of RAM: %lu are owned and %lu are nobody's", ledger.total, sum,
                     ledger.orphans);

    kmem_cache_for_each(add_cache, &in_caches);
    compare(&check, PAGE_FREE, &ledger, zones_free_pages());
    compare(&check, PAGE_SLAB, &ledger, in_caches);
    compare(&check, PAGE_SLAB, &ledger, slab_pages());
    compare(&check, PAGE_KMALLOC, &ledger, kmalloc_large_stats().pages);
    compare(&check, PAGE_VMALLOC, &ledger, vmalloc_stats().pages + vmalloc_stats().waiting_pages);
    compare(&check, PAGE_TABLE, &ledger, granule_tables.page_count);
    compare(&check, PAGE_STACK, &ledger, granule_stacks.page_count);
    return check.defects;
}
