// The page ledger: a walk from block to block over all RAM.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/ledger.h>

#include <mm/zone.h>

struct ledger ledger_take(void)
{
    struct ledger ledger = { 0 };
    pfn_t start, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);) {
        ledger.total += end.value - start.value;
        for (pfn_t at = start; at.value < end.value;) {
            const struct page *page = pfn_to_page(at);
            // Read once: it may change meanwhile, and then the sums are off, but nothing else is.
            unsigned type = page_type(page);
            uint64_t pages = 1, free = page_run_free(page);

            if (free > 0) {
                pages = min_of(free, end.value - at.value);
                ledger.pages[PAGE_FREE] += pages;
            } else if (type == PAGE_TAIL || type >= PAGE_TYPE_COUNT) {
                ledger.orphans++;
            } else {
                pages = 1UL << (page->order & 63);
                ledger.pages[type] += pages;
            }
            at.value += pages;
        }
    }
    return ledger;
}

static uint64_t free_pages(const struct ledger *ledger)
{
    return ledger->pages[PAGE_FREE] + ledger->pages[PAGE_HART];
}

bool ledger_equal(const struct ledger *a, const struct ledger *b)
{
    uint64_t tables = b->pages[PAGE_TABLE] - a->pages[PAGE_TABLE];
    uint64_t slabs = b->pages[PAGE_SLAB] - a->pages[PAGE_SLAB];

    for (unsigned type = 0; type < PAGE_TYPE_COUNT; type++)
        if (type != PAGE_TABLE && type != PAGE_SLAB && type != PAGE_FREE && type != PAGE_HART &&
            a->pages[type] != b->pages[type])
            return false;
    return b->pages[PAGE_TABLE] >= a->pages[PAGE_TABLE] &&
           free_pages(a) - tables - slabs == free_pages(b) && a->total == b->total &&
           a->orphans == b->orphans;
}
