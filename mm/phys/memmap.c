// Marks in the memmap for memory that no allocator manages: the image, the firmware, the memmap itself.
// SPDX-License-Identifier: BSD-2-Clause
#include "phys_private.h"

#include <base/bits.h>
#include <base/string.h>
#include <mm/zone.h>

unsigned memmap_largest_order(pfn_t start, pfn_t end)
{
    unsigned fitting = min_of(lowest_bit(start.value), highest_bit(end.value - start.value));

    return min_of(fitting, (unsigned)MAX_ORDER);
}

static void set_head(pfn_t frame, enum page_type type, unsigned order)
{
    *pfn_to_page(frame) = (struct page){
        .type = (uint8_t)type,
        .order = (uint8_t)order,
        .home = (uint8_t)page_home(zone_of(frame), MOBILITY_UNMOVABLE),
    };
}

init_code void memmap_clear(pfn_t start, pfn_t end)
{
    memset(pfn_to_page(start), 0, (end.value - start.value) * sizeof(struct page));
}

void memmap_mark(pfn_t start, pfn_t end, enum page_type type)
{
    for (pfn_t at = start; at.value < end.value;) {
        unsigned order = memmap_largest_order(at, end);
        set_head(at, type, order);
        at.value += 1UL << order;
    }
}

// Halves the block that holds `frame` until it starts one.
static void cut_at(pfn_t frame)
{
    pfn_t head = frame;
    unsigned order = 0;

    // The nearest head among the possible starts: a block around it would have made it a tail.
    while (pfn_to_page(head)->type == PAGE_TAIL) {
        if (order == MAX_ORDER)
            return;
        head.value = align_down(head.value, 2UL << order++);
    }
    if (head.value + (1UL << pfn_to_page(head)->order) <= frame.value)
        return;
    while (head.value != frame.value) {
        enum page_type type = page_type(pfn_to_page(head));
        pfn_t upper;

        BUG_ON(type < PAGE_MEMMAP);
        order = pfn_to_page(head)->order - 1U;
        upper = pfn(head.value + (1UL << order));
        set_head(head, type, order);
        set_head(upper, type, order);
        if (upper.value <= frame.value)
            head = upper;
    }
}

void memmap_erase(pfn_t start, pfn_t end)
{
    cut_at(start);
    cut_at(end);
    for (pfn_t at = start; at.value < end.value;) {
        struct page *page = pfn_to_page(at);
        uint64_t pages = 1;

        if (page->type != PAGE_TAIL) {
            BUG_ON(page->type < PAGE_MEMMAP);
            pages = 1UL << page->order;
            *page = (struct page){ 0 };
        }
        at.value += pages;
    }
}
