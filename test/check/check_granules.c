// Granule pools: lists, maps and counters against the pages that say they belong to them.
// SPDX-License-Identifier: BSD-2-Clause
#include <check/check.h>

#include "check_private.h"

#include <base/bits.h>
#include <mm/granule.h>
#include <mm/zone.h>

// What a walk over the memmap found of one pool.
struct census {
    uint64_t pages, used, partial;
};

static void check_page(struct check *check, const struct page *page, struct census *census)
{
    uint64_t frame = page_to_pfn(page).value;
    unsigned free = count_bits(page->map);

    census->pages++;
    census->used += page->refcount;
    census->partial += page->map != 0;
    if (page->order != 0)
        check_defect(check, "frame %#lx: a block of order %u", frame, page->order);
    if (page->map & ~low_bits(GRANULES_PER_PAGE))
        check_defect(check, "frame %#lx: map %#lx has granules that do not exist", frame, page->map);
    if (page->refcount == 0 || page->refcount + free != GRANULES_PER_PAGE)
        check_defect(check, "frame %#lx: %u granules in use and %u free, of %lu", frame, page->refcount, free,
                     GRANULES_PER_PAGE);
}

static struct census check_pages_of(struct check *check, enum page_type type)
{
    struct census census = { 0 };
    pfn_t at, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &at, &end);)
        while (at.value < end.value) {
            const struct page *page = pfn_to_page(at);

            if (page->type == type)
                check_page(check, page, &census);
            at.value += page->type == PAGE_TAIL ? 1 : 1UL << (page->order & 63);
        }
    return census;
}

static void check_list(struct check *check, const struct granule_pool *pool, uint64_t expected)
{
    uint64_t length = 0, previous = 0;

    for (uint64_t frame = pool->first_partial; frame != 0 && length <= expected; length++) {
        const struct page *page = pfn_to_page(pfn(frame));

        if (page->type != pool->type || page->map == 0 || page->prev != previous) {
            check_defect(check, "frame %#lx on the list: %s, map %#lx, behind %#x instead of %#lx", frame,
                         page_type_name(page->type), page->map, page->prev, previous);
            return;
        }
        previous = frame;
        frame = page->next;
    }
    if (length != expected)
        check_defect(check, "%lu pages with free granules, and %lu on the list", expected, length);
}

static unsigned check_pool(const struct granule_pool *pool)
{
    struct check check = { .name = pool->name };
    struct census census = check_pages_of(&check, pool->type);

    check_list(&check, pool, census.partial);
    if (census.pages != pool->page_count || census.used != pool->used_count)
        check_defect(&check, "counts %lu pages and %lu granules in use, but there are %lu and %lu",
                     pool->page_count, pool->used_count, census.pages, census.used);
    return check.defects;
}

unsigned check_granules(void)
{
    return check_pool(&granule_tables) + check_pool(&granule_stacks);
}
