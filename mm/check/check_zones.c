// Zones: every block of the memmap well formed, every free block on its list, every counter right.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/check.h>

#include "check_private.h"

#include <mm/zone.h>

// What a walk over the memmap found of one zone.
struct census {
    uint64_t present, managed, free;
    uint64_t free_blocks[MAX_ORDER + 1];
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

// Checks the block and returns its size in pages; whatever is there, at least 1 and not past `end`.
static uint64_t check_block(struct check *check, pfn_t at, pfn_t end, struct census census[ZONE_COUNT])
{
    const struct page *head = pfn_to_page(at);
    const struct zone *zone = zone_of(at);
    struct census *found = &census[zone - zones];

    if (head->type == PAGE_TAIL || head->type >= PAGE_TYPE_COUNT) {
        check_defect(check, "frame %#lx: %s in no block", at.value, page_type_name(head->type));
        return 1;
    }
    if (head->order > MAX_ORDER || !is_aligned(at.value, 1UL << head->order) ||
        at.value + (1UL << head->order) > end.value) {
        check_defect(check, "frame %#lx: a block cannot be of order %u there", at.value, head->order);
        return 1;
    }
    if (page_zone(head) != zone || at.value < zone->start_pfn || at.value >= zone->end_pfn)
        check_defect(check, "frame %#lx: in zone %u, not in %s", at.value, head->zone, zone->name);
    if (head->type == PAGE_FREE && (head->refcount != 0 || head->flags != 0))
        check_defect(check, "frame %#lx: free, but with count %u and flags %#x", at.value, head->refcount,
                     head->flags);
    if (head->type == PAGE_RAW && head->refcount == 0)
        check_defect(check, "frame %#lx: handed out, but without a reference", at.value);
    check_inside(check, head);

    found->present += 1UL << head->order;
    if (is_managed(head->type))
        found->managed += 1UL << head->order;
    if (head->type == PAGE_FREE) {
        found->free += 1UL << head->order;
        found->free_blocks[head->order]++;
    }
    return 1UL << head->order;
}

static bool is_free_block(uint64_t frame, unsigned order)
{
    const struct page *page = pfn_to_page(pfn(frame));

    return page->type == PAGE_FREE && page->order == order;
}

// The list's links both ways, and that no two of its blocks should have been one.
static void check_list(struct check *check, const struct zone *zone, unsigned order, uint64_t blocks_found)
{
    const struct free_area *area = &zone->free_area[order];
    uint64_t length = 0, previous = 0;

    for (uint64_t frame = area->first; frame != 0; length++) {
        const struct page *head = pfn_to_page(pfn(frame));

        // With a link astray the rest of the list means nothing.
        if (frame < zone->start_pfn || frame >= zone->end_pfn || !is_free_block(frame, order) ||
            head->prev != previous || length == area->block_count) {
            check_defect(check, "%s order %u: entry %lu, frame %#lx, behind %#lx, does not belong there",
                         zone->name, order, length, frame, previous);
            return;
        }
        if (order < MAX_ORDER && is_free_block(frame ^ (1UL << order), order))
            check_defect(check, "%s order %u: frame %#lx and its buddy are both free", zone->name, order,
                         frame);
        previous = frame;
        frame = head->next;
    }
    if (area->last != previous)
        check_defect(check, "%s order %u: the list ends with frame %#lx, not %#x", zone->name, order,
                     previous, area->last);
    if (length != area->block_count || length != blocks_found)
        check_defect(check, "%s order %u: %lu blocks on the list, %lu counted, %lu in the memmap", zone->name,
                     order, length, area->block_count, blocks_found);
}

static void check_zone(struct check *check, const struct zone *zone, const struct census *found)
{
    uint64_t free = 0;

    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        check_list(check, zone, order, found->free_blocks[order]);
        free += zone->free_area[order].block_count << order;
    }
    if (zone->free_pages != free || zone->free_pages != found->free)
        check_defect(check, "%s: counts %lu free pages; %lu are on lists, %lu in the memmap", zone->name,
                     zone->free_pages, free, found->free);
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
    return check.defects;
}
