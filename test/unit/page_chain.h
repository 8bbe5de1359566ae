// Any number of blocks held without memory of one's own: chained by their struct pages' owner field.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <ktest/free_pages.h>
#include <ktest/ktest.h>
#include <mm/page_alloc.h>

struct page_chain {
    struct page *first;
    uint64_t blocks, pages;
};

static inline void chain_push(struct page_chain *chain, struct page *page)
{
    page->owner = chain->first;
    chain->first = page;
    chain->blocks++;
    chain->pages += 1UL << page->order;
}

static inline struct page *chain_pop(struct page_chain *chain)
{
    struct page *page = chain->first;

    if (page != NULL) {
        chain->first = page->owner;
        chain->blocks--;
        chain->pages -= 1UL << page->order;
    }
    return page;
}

// Takes blocks of an order until there are none, or `most` of them; returns how many.
static inline uint64_t chain_fill(struct page_chain *chain, gfp_t gfp, unsigned order, uint64_t most)
{
    uint64_t taken = 0;

    for (struct page *page; taken < most && (page = alloc_pages(gfp | __GFP_NOWARN, order)) != NULL; taken++)
        chain_push(chain, page);
    return taken;
}

static inline void chain_free(struct page_chain *chain)
{
    for (struct page *page; (page = chain_pop(chain)) != NULL;)
        __free_pages(page, page->order);
}

// One bit for every page frame there can be, in one largest block (4 MB hold 2^25 bits, as many as 128 GB
// have pages of 4 KB). NULL when there is no such block.
struct frame_set {
    struct page *block;
    uint64_t *words;
};

_Static_assert(MAX_PFN <= 8UL << 22, "a block of 4 MB has a bit for every page frame");

static inline struct frame_set frame_set_open(void)
{
    struct frame_set set = { alloc_pages(GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN, 22 - PAGE_SHIFT), NULL };

    if (set.block != NULL)
        set.words = page_to_virt(set.block);
    return set;
}

static inline void frame_set_close(struct frame_set *set)
{
    __free_pages(set->block, 22 - PAGE_SHIFT);
}

// Adds a block's frames; false, with nothing added, when one of them is there already.
static inline bool frame_set_add(struct frame_set *set, const struct page *head)
{
    uint64_t first = page_to_pfn(head).value;

    for (uint64_t frame = first; frame < first + (1UL << head->order); frame++)
        if (set->words[frame / 64] & 1UL << frame % 64)
            return false;
    for (uint64_t frame = first; frame < first + (1UL << head->order); frame++)
        set->words[frame / 64] |= 1UL << frame % 64;
    return true;
}

static inline void frame_set_remove(struct frame_set *set, const struct page *head)
{
    uint64_t first = page_to_pfn(head).value;

    for (uint64_t frame = first; frame < first + (1UL << head->order); frame++)
        set->words[frame / 64] &= ~(1UL << frame % 64);
}
