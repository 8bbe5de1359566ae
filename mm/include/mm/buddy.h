// The buddy engine's structures, for its own files and the validator's. Callers want <mm/page_alloc.h>.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// The buddy allocator (Knowlton, CACM 8(10), 1965; Knuth, TAOCP 1, 2.5): a block of order k starts at a multiple
// of 2^k pages; its buddy is the block whose number differs in bit k. Taking a block splits the smallest that
// fits, freeing one merges with its buddy as long as that is free too.
//
// Below the order of a group (64 pages) there are no lists of blocks. A group's mask has a bit for each free page,
// and blocks are read from it: `free & free >> 1`, taken at even places, are the pairs, and so on. Merging is then
// nothing but setting a bit. What a list is for, finding a block of some order, is done by the group's rank: 1 + the
// order of its largest free block. Groups of a rank are linked. A page that comes back may raise the rank; but to find
// out at each one costs as much as all the rest, and most pages that come back are followed by more of their group. So
// the group just loses its rank then, and is given it anew when somebody looks for more than a page: a few groups at a
// time, since that happens with interrupts masked.
//
//      rank    0: no page free, on no list
//              1 ... 6: on groups[mobility][rank - 1]
//              7, GROUP_UNRANKED: pages are free, of some order; on groups[mobility][6]
//      whole group free: rank 0, mask 0, and a block of order 6 on blocks[mobility][0]
//
// From the order of a group upwards free blocks are linked by their head's struct page, as usual; but the block that
// came last is left as it is until something else happens, since whoever gives a block back often takes another.
//
// A page block, 4 MB, has a mobility, and all its free memory stands on the lists of that. A request is served
// from its own lists, smallest block first. When these have none, it takes the largest block of another's, so
// that it comes back seldom; and the whole page block changes its mobility when that request would scatter
// unmovable memory (any but a movable request), or the block is large, and half of it is free (after Linux's
// steal_suitable_fallback, mm/page_alloc.c).
#pragma once

#include <mm/page_engine.h>
#include <mm/page_group.h>

#define LARGE_ORDERS (MAX_ORDER - GROUP_ORDER + 1)
#define PAGE_BLOCK_PAGES (1UL << MAX_ORDER)
#define GROUP_UNRANKED (GROUP_ORDER + 1)

_Static_assert(MAX_ORDER >= GROUP_ORDER, "a group is a block");

// (Z) the zone's lock
struct buddy {
    uint32_t groups[MOBILITY_COUNT][GROUP_UNRANKED];  // (Z) first group of each rank, less 1; 0 for none
    uint32_t blocks[MOBILITY_COUNT][LARGE_ORDERS];    // (Z) page frame of the first block of each order; 0 for none
    uint32_t unmerged;                                // (Z) the large block that came last and may have a free buddy
};

static always_inline struct buddy *buddy_of(const struct zone *zone) { return zone->engine; }

// Of the bits at which free blocks of `order`, less than GROUP_ORDER, start, those where two of them make a larger one.
static always_inline uint64_t group_pairs(uint64_t starts, unsigned order)
{
    static const uint64_t aligned[GROUP_ORDER] = {
        0x5555555555555555, 0x1111111111111111, 0x0101010101010101, 0x0001000100010001, 0x0000000100000001, 1,
    };

    return starts & starts >> (1U << order) & aligned[order];
}

// The bits of a mask at which a free block of `order`, at most GROUP_ORDER, starts.
static inline uint64_t group_block_starts(uint64_t free, unsigned order)
{
    for (unsigned k = 0; k < order; k++)
        free = group_pairs(free, k);
    return free;
}

// Takes the group from the list of its rank to that of another.
void buddy_group_set_rank(struct buddy *buddy, struct page_group *group, unsigned rank);

// A large block onto its list: the last to come is the first to go. And off it.
static always_inline void buddy_block_push(struct buddy *buddy, struct page *head, unsigned order, unsigned flags)
{
    uint32_t *first = &buddy->blocks[page_to_group(head)->mobility][order - GROUP_ORDER];
    uint32_t frame = (uint32_t)page_to_pfn(head).value;

    head->state = PAGE_STATE(PAGE_FREE, order, 0) | (uint64_t)flags << 16;
    head->prev = 0;
    head->next = *first;
    if (*first != 0)
        pfn_to_page(pfn(*first))->prev = frame;
    *first = frame;
}

static always_inline void buddy_block_unlink(struct buddy *buddy, struct page *head, unsigned order)
{
    if (head->prev != 0)
        pfn_to_page(pfn(head->prev))->next = head->next;
    else
        buddy->blocks[page_to_group(head)->mobility][order - GROUP_ORDER] = head->next;
    if (head->next != 0)
        pfn_to_page(pfn(head->next))->prev = head->prev;
}

// Does what give put off. Before anything else than taking a block looks at large ones.
void buddy_merge_last(struct buddy *buddy);

// The large free block that covers a frame, or NULL. Looks at no struct page that may not be written yet.
struct page *buddy_large_head(pfn_t frame);

// Whether the lists of a mobility have a block of that order or larger; groups without a rank are not looked at.
bool buddy_has(const struct buddy *buddy, unsigned order, enum mobility mobility);

// Whose lists a request of `mobility` is to take from when its own have nothing: after a page block has changed
// hands its own, or another's. MOBILITY_COUNT when nobody has a block. Within the reserve only when told so.
enum mobility buddy_fall_back(struct zone *zone, unsigned order, enum mobility mobility, bool may_use_reserve);

// For the engine: see <mm/page_engine.h>.
void buddy_reserve(struct zone *zone, struct page *page);
bool buddy_unreserve(struct zone *zone);
void buddy_count(struct zone *zone, struct free_counts *counts);
