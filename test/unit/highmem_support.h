// For cases about HIGHMEM: whether there is any, and pages of it.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/kmap.h>
#include <mm/page_alloc.h>
#include <mm/zone.h>

static inline bool has_highmem(void)
{
    return zones[ZONE_HIGHMEM].present_pages > 0;
}

#define SKIP_WITHOUT_HIGHMEM() \
    do { \
        if (!has_highmem()) \
            ktest_skip("the machine has no HIGHMEM"); \
    } while (0)

// Takes pages of HIGHMEM; false, with none of them taken, when there are not enough.
static inline bool take_high_pages(struct page **pages, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        pages[i] = alloc_page(GFP_HIGHUSER);
        if (pages[i] == NULL || !EXPECT(page_is_high(pages[i]))) {
            __free_page(pages[i]);
            while (i-- > 0)
                __free_page(pages[i]);
            return false;
        }
    }
    return true;
}

static inline void give_pages(struct page **pages, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        __free_page(pages[i]);
}

// A word in every granule that says whose it is.
static inline void mark_granules(void *memory, uint64_t tag)
{
    for (uint64_t i = 0; i < PAGE_SIZE / sizeof(uint64_t); i += MMU_PAGE_SIZE / sizeof(uint64_t))
        ((volatile uint64_t *)memory)[i] = tag ^ i;
}

static inline bool granules_are_marked(const void *memory, uint64_t tag)
{
    for (uint64_t i = 0; i < PAGE_SIZE / sizeof(uint64_t); i += MMU_PAGE_SIZE / sizeof(uint64_t))
        if (((const volatile uint64_t *)memory)[i] != (tag ^ i))
            return false;
    return true;
}
