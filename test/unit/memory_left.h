// For cases that use up memory: most of it is taken first, in large blocks, so that they are quick on any machine.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "page_chain.h"

#include <mm/zone.h>

// Returns the pages that are left, about `bytes` or what there was.
static inline uint64_t leave_memory(struct page_chain *chain, uint64_t bytes)
{
    while (free_pages_now() << PAGE_SHIFT > bytes && chain_fill(chain, GFP_KERNEL, MAX_ORDER, 1) == 1) {
    }
    return free_pages_now();
}

// What of free memory a plain request cannot have.
static inline uint64_t reserved_pages(void)
{
    uint64_t pages = 0;

    for (unsigned id = 0; id < ZONE_COUNT; id++)
        pages += min_of(zones[id].watermark_min, zones[id].free_pages);
    return pages;
}
