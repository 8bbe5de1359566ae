// The two bounds. A shared page counts its live parts by its references.
// SPDX-License-Identifier: BSD-2-Clause

#include "page_bound.h"
#include "measure.h"
#include <arch/smp.h>
#include <mm/page_alloc.h>

#define KINDS 32

struct open_page {
    struct page *page;         // NULL when there is none
    uint32_t used_bytes;
};

static enum page_bound chosen;
static struct open_page open_pages[MAX_HARTS][KINDS];
static uint64_t held_bytes;
static unsigned largest_order;

void page_bound_choose(enum page_bound bound)
{
    chosen = bound;
}

static unsigned kind_of(gfp_t gfp)
{
    return (gfp & __GFP_MOVABLE ? 1U : 0) | (gfp & __GFP_RECLAIMABLE ? 2U : 0) | (gfp & __GFP_ZERO ? 4U : 0) |
           (gfp & __GFP_DMA ? 8U : 0) | (gfp & __GFP_DMA32 ? 16U : 0);
}

static bool is_shared(uint32_t bytes)
{
    return chosen == PAGE_BOUND_PACKED && bytes < PAGE_SIZE;
}

static struct page *part_alloc(struct open_page *open, uint32_t bytes, gfp_t gfp)
{
    uint32_t start = align_up(open->used_bytes, bytes);

    if (open->page && start + bytes <= PAGE_SIZE) {
        page_get(open->page);
        open->used_bytes = start + bytes;
        return open->page;
    }
    struct page *page = alloc_page(gfp);
    if (!page)
        return NULL;
    page->owner = open;
    *open = (struct open_page){ page, bytes };
    return page;
}

static void part_free(struct page *page)
{
    struct open_page *open = page->owner;

    if (page_count(page) == 1 && open->page == page)
        open->page = NULL;
    __free_page(page);
}

struct page *page_bound_alloc(uint32_t bytes, gfp_t gfp, unsigned hart)
{
    unsigned order = get_order(bytes);
    struct page *page;
    uint64_t before, after;

    largest_order = max_of(largest_order, order);
    if (is_shared(bytes)) {
        struct open_page *open = &open_pages[hart][kind_of(gfp)];
        before = arch_instructions();
        page = part_alloc(open, bytes, gfp);
        after = arch_instructions();
    } else {
        before = arch_instructions();
        page = alloc_pages(gfp, order);
        after = arch_instructions();
    }
    measure_add(MEASURE_PAGE_ALLOC, before, after, !page);
    if (page && page_count(page) == 1)
        held_bytes += PAGE_SIZE << order;
    return page;
}

void page_bound_free(struct page *page, uint32_t bytes)
{
    unsigned order = get_order(bytes);
    uint64_t before, after;

    if (page_count(page) == 1)
        held_bytes -= PAGE_SIZE << order;
    if (is_shared(bytes)) {
        before = arch_instructions();
        part_free(page);
        after = arch_instructions();
    } else {
        before = arch_instructions();
        __free_pages(page, order);
        after = arch_instructions();
    }
    measure_add(MEASURE_PAGE_FREE, before, after, false);
}

uint64_t page_bound_held_bytes(void)
{
    return held_bytes;
}

unsigned page_bound_largest_order(void)
{
    return largest_order;
}
