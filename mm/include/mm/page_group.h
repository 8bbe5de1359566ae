// Groups of 64 pages: the free blocks smaller than a group, as one word of bits.
// SPDX-License-Identifier: BSD-2-Clause
//
// The array of groups follows the memmap window at a constant address, indexed by page frame number / 64, and
// is backed where there is RAM. Group 0 stands for "none" in links, so its frames are nobody's.
#pragma once

#include <mm/page.h>

#define GROUP_ORDER 6
#define GROUP_PAGES (1UL << GROUP_ORDER)

// (Z) the lock of the zone that the group lies in
struct page_group {
    uint64_t free;           // (Z) bit n: page n is free, in a block smaller than the group
    uint32_t next, prev;     // (Z) groups of the same rank
    uint8_t rank;            // (Z) 0 when no bit is set, else 1 + the largest order of a free block
    uint8_t mobility;        // (Z) of the page block: the same in all its groups
} __attribute__((aligned(32)));

_Static_assert(sizeof(struct page_group) == 32, "an index is a shift");
_Static_assert(MAX_PFN / GROUP_PAGES <= 1UL << 32, "a group's number fits its links");

#define PAGE_GROUPS_BASE (ARCH_MEMMAP_BASE + MAX_PFN * sizeof(struct page))
#define PAGE_GROUPS ((struct page_group *)PAGE_GROUPS_BASE)

static always_inline struct page_group *pfn_to_group(pfn_t frame)
{
    return PAGE_GROUPS + frame.value / GROUP_PAGES;
}

// The same from the struct page's address, by shifts of it alone: where the memmap starts is a multiple of a group's.
#define GROUP_STRUCT_BYTES (GROUP_PAGES * sizeof(struct page))
_Static_assert(ARCH_MEMMAP_BASE % GROUP_STRUCT_BYTES == 0, "a struct page's address tells its place in the group");

static always_inline struct page_group *page_to_group(const struct page *page)
{
    uintptr_t offset = PAGE_GROUPS_BASE - ARCH_MEMMAP_BASE / GROUP_STRUCT_BYTES * sizeof(struct page_group);

    return (struct page_group *)((uintptr_t)page / GROUP_STRUCT_BYTES * sizeof(struct page_group) + offset);
}

// The page's bit in its group's mask, and all higher bits of its number: what a shift of a word takes.
static always_inline unsigned page_to_bit(const struct page *page)
{
    return (unsigned)((uintptr_t)page / sizeof(struct page));
}
