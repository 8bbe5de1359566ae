// Granule objects: 4 KB pieces carved from kernel pages, for page tables and stacks.
// SPDX-License-Identifier: BSD-2-Clause
//
// A page table is 4 KB whatever the kernel page is: at 64 KB pages sixteen of them share one. A pool keeps
// the pages of one owner; a page's `map` has a bit for each free granule. With 4 KB pages a granule is a
// page.
//
// Context: any. Granules come zeroed, by their direct-map address.
#pragma once

#include <mm/gfp.h>
#include <mm/page.h>
#include <sync/spinlock.h>

struct granule_pool {
    struct spinlock lock;
    const char *name;              // (C)
    enum page_type type;           // (C) PAGE_TABLE or PAGE_STACK
    uint32_t first_partial;        // (L) pfn of a page with free and used granules, 0 if none
    uint64_t page_count;           // (L) backing pages
    uint64_t used_count;           // (L) granules handed out
};

extern struct granule_pool granule_tables, granule_stacks;

// A zeroed granule, or NULL.
must_check void *granule_alloc(struct granule_pool *pool, gfp_t gfp);

// Gives it back; the backing page is freed with its last granule. A pointer that is no granule in use of this
// pool is reported, counted as misuse, and ignored.
void granule_free(struct granule_pool *pool, void *granule);
