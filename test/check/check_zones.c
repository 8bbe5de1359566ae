// Zones: every block of the memmap well formed, every free page known once, every counter right.
// SPDX-License-Identifier: BSD-2-Clause
#include <check/check.h>

#include "check_private.h"

#include <base/bits.h>
#include <mm/page_group.h>
#include <mm/page_lists.h>
#include <mm/zone.h>

// What a walk over the memmap found of one zone.
struct census {
    uint64_t present, managed, free, in_lists;
};

static bool is_managed(unsigned type)
{
    return type >= PAGE_FREE && type <= PAGE_STACK;
}

static void check_inside(struct check *check, const struct page *head)
{
    for (uint64_t i = 1; i < 1UL << head->order; i++)
        if (head[i].type != PAGE_TAIL || head[i].refcount != 0)
            check_defect(check, "frame %#lx in the block at %#lx of order %u: %s, count %u",
                         page_to_pfn(&head[i]).value, page_to_pfn(head).value, head->order,
                         page_type_name(head[i].type), head[i].refcount);
}

// No page of a block that has a head is free by its group's mask.
static void check_masks(struct check *check, const struct page *head)
{
    uint64_t frame = page_to_pfn(head).value, pages = 1UL << head->order;

    for (uint64_t at = frame; at < frame + pages; at += GROUP_PAGES) {
        uint64_t here = low_bits((unsigned)min_of(pages, GROUP_PAGES));
        uint64_t free = pfn_to_group(pfn(at))->free >> at % GROUP_PAGES & here;
        if (free != 0)
            check_defect(check, "frame %#lx: %s of order %u, but free by its group, bits %#lx", at,
                         page_type_name(head->type), head->order, free);
    }
}

static void check_free_head(struct check *check, const struct page *head)
{
    uint64_t frame = page_to_pfn(head).value;

    if (head->order < GROUP_ORDER || head->refcount != 0 || (head->flags & ~PAGE_FLAG_BLANK) != 0)
        check_defect(check, "frame %#lx: free, but of order %u, with count %u and flags %#x", frame, head->order,
                     head->refcount, head->flags);
}

// A page that is free by its group's mask.
static void check_free_page(struct check *check, const struct page *page)
{
    if (page->state != PAGE_STATE(PAGE_TAIL, 0, 0))
        check_defect(check, "frame %#lx: free in its group, but %s of order %u, count %u", page_to_pfn(page).value,
                     page_type_name(page->type), page->order, page->refcount);
}

static void check_owned_head(struct check *check, const struct page *head, const struct zone *zone)
{
    uint64_t frame = page_to_pfn(head).value;

    if (home_zone(head->home) != zone || head->home >= PAGE_LIST_HOMES)
        check_defect(check, "frame %#lx: its home %u is not in zone %s", frame, head->home, zone->name);
    if (head->type == PAGE_HART && (head->refcount != 0 || head->flags != 0 || head->order >= PAGE_LIST_ORDERS))
        check_defect(check, "frame %#lx: in a hart's list, but of order %u with count %u and flags %#x", frame,
                     head->order, head->refcount, head->flags);
}

// Checks the block and returns its size in pages; whatever is there, at least 1 and not past `end`.
static uint64_t check_block(struct check *check, pfn_t at, pfn_t end, struct census census[ZONE_COUNT])
{
    const struct page *head = pfn_to_page(at);
    const struct zone *zone = zone_of(at);
    struct census *found = &census[zone - zones];
    uint64_t pages = 1;

    if (at.value < zone->start_pfn || at.value >= zone->end_pfn)
        check_defect(check, "frame %#lx: outside of its zone %s", at.value, zone->name);
    if (pfn_to_group(at)->free >> at.value % GROUP_PAGES & 1) {
        check_free_page(check, head);
        found->present++, found->managed++, found->free++;
        return 1;
    }
    if (head->type == PAGE_TAIL || head->type >= PAGE_TYPE_COUNT) {
        check_defect(check, "frame %#lx: %s in no block", at.value, page_type_name(head->type));
        found->present++;
        return 1;
    }
    if (head->order > MAX_ORDER || !is_aligned(at.value, 1UL << head->order) ||
        at.value + (1UL << head->order) > end.value) {
        check_defect(check, "frame %#lx: a block cannot be of order %u there", at.value, head->order);
        return 1;
    }
    pages = 1UL << head->order;
    if (head->type == PAGE_FREE)
        check_free_head(check, head);
    else
        check_owned_head(check, head, zone);
    check_masks(check, head);
    if ((head->flags & PAGE_FLAG_BLANK) == 0)
        check_inside(check, head);

    found->present += pages;
    found->managed += is_managed(head->type) ? pages : 0;
    found->free += head->type == PAGE_FREE ? pages : 0;
    found->in_lists += head->type == PAGE_HART ? pages : 0;
    return pages;
}

static void check_zone(struct check *check, const struct zone *zone, const struct census *found)
{
    if (zone->free_pages != found->free)
        check_defect(check, "%s: counts %lu free pages; there are %lu", zone->name, zone->free_pages, found->free);
    if (page_lists_pages(zone) != found->in_lists)
        check_defect(check, "%s: %lu pages are in the harts' lists, and %lu say so", zone->name,
                     page_lists_pages(zone), found->in_lists);
    if (zone->managed_pages != found->managed || zone->present_pages != found->present)
        check_defect(check, "%s: counts %lu pages, %lu of them managed; there are %lu and %lu", zone->name,
                     zone->present_pages, zone->managed_pages, found->present, found->managed);
    if (spin_is_locked(&zone->lock))
        check_defect(check, "%s: its lock is held", zone->name);
}

unsigned check_zones(void)
{
    struct check check = { .name = "zones" };
    struct census census[ZONE_COUNT] = { 0 };
    pfn_t at, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &at, &end);)
        while (at.value < end.value)
            at.value += check_block(&check, at, end, census);
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        check_zone(&check, &zones[id], &census[id]);
    return check.defects + check_buddy();
}
