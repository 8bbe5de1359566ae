// For cases that use up memory: most of it is taken first, in large blocks, so that they are quick on any machine.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "page_chain.h"

#include <mm/zone.h>

// Takes all of HIGHMEM that a plain request can have.
static inline void take_highmem(struct page_chain *chain)
{
    for (unsigned order = MAX_ORDER + 1; order-- > 0;)
        for (struct page *page; (page = alloc_pages(GFP_NOWAIT | __GFP_HIGHMEM | __GFP_NOWARN, order)) != NULL;) {
            if (!page_is_high(page)) {
                __free_pages(page, order);
                break;
            }
            chain_push(chain, page);
        }
}

// Returns the pages that are left, about `bytes` or what there was; all of them, but for the reserves, where the kernel
// may have them.
static inline uint64_t leave_memory(struct page_chain *chain, uint64_t bytes)
{
    take_highmem(chain);
    while (free_pages_now() << PAGE_SHIFT > bytes && chain_fill(chain, GFP_KERNEL, MAX_ORDER, 1) == 1) {
    }
    return free_pages_now();
}

// What zones keep from requests that could also have HIGHMEM, all told.
static inline uint64_t kept_from_highmem_pages(void)
{
    uint64_t pages = 0;

    for (unsigned id = 0; id < ZONE_HIGHMEM && zones[ZONE_HIGHMEM].managed_pages != 0; id++)
        pages += min_of(zones[id].lowmem_reserve[ZONE_HIGHMEM], zones[id].managed_pages);
    return pages;
}

// What of free memory a plain request cannot have.
static inline uint64_t reserved_pages(void)
{
    uint64_t pages = 0;

    for (unsigned id = 0; id < ZONE_COUNT; id++)
        pages += min_of(zones[id].watermark_min, zones[id].free_pages);
    return pages;
}
