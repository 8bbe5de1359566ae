// Zeroing blocks: through the direct map, or page by page through whoever shows what is not in it.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_clear.h>

#include <arch/page_ops.h>
#include <mm/zone_layout.h>

static void (*clear_high)(struct page *page);      // (C) after start-up

void pages_set_high_clear(void (*clear)(struct page *page))
{
    clear_high = clear;
}

void pages_clear(struct page *head, unsigned order)
{
    // Zones end at multiples of the largest block: all of it is high, or none.
    if (!page_is_high(head)) {
        arch_clear_granules(page_to_virt(head), (unsigned)((PAGE_SIZE << order) / MMU_PAGE_SIZE));
        return;
    }
    BUG_ON(clear_high == NULL);
    for (uint64_t i = 0; i < 1UL << order; i++)
        clear_high(head + i);
}
