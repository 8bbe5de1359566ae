// The buddy engine: every group and large block on the list that its rank, order and mobility say.
// SPDX-License-Identifier: BSD-2-Clause
#include <check/check.h>

#include <mm/buddy.h>
#include "check_private.h"

// Free groups and blocks of one zone, as a walk over the memmap found them.
struct census {
    uint64_t groups[MOBILITY_COUNT][GROUP_UNRANKED];
    uint64_t blocks[MOBILITY_COUNT][LARGE_ORDERS];
    uint64_t reserved;
};

static unsigned rank_of(uint64_t free)
{
    unsigned rank = 0;

    while (rank <= GROUP_ORDER && group_block_starts(free, rank) != 0)
        rank++;
    return rank;
}

static void check_group(struct check *check, uint64_t frame, struct census *census)
{
    const struct page_group *group = pfn_to_group(pfn(frame));
    const struct page_group *first = pfn_to_group(pfn(align_down(frame, PAGE_BLOCK_PAGES)));

    if (group->rank == GROUP_UNRANKED ? group->free == 0 || ~group->free == 0 : group->rank != rank_of(group->free))
        check_defect(check, "group of frame %#lx: rank %u with mask %#lx", frame, group->rank, group->free);
    else if (group->mobility >= MOBILITY_COUNT || group->mobility != first->mobility)
        check_defect(check, "group of frame %#lx: mobility %u, and %u at the start of its page block", frame,
                     group->mobility, first->mobility);
    else if (group->rank != 0)
        census->groups[group->mobility][group->rank - 1]++;
}

static void take_census(struct check *check, struct census census[ZONE_COUNT])
{
    uint64_t counted_block = UINT64_MAX;
    pfn_t start, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);)
        for (uint64_t at = align_down(start.value, GROUP_PAGES); at < end.value;) {
            const struct page *head = pfn_to_page(pfn(at));
            struct census *found = &census[zone_of(pfn(at)) - zones];
            const struct page_group *group = pfn_to_group(pfn(at));

            if (group->mobility == MOBILITY_ATOMIC && at / PAGE_BLOCK_PAGES != counted_block) {
                counted_block = at / PAGE_BLOCK_PAGES;
                found->reserved += PAGE_BLOCK_PAGES;
            }
            if (group->rank == 0 && head->type == PAGE_FREE && head->order >= GROUP_ORDER && head->order <= MAX_ORDER &&
                group->mobility < MOBILITY_COUNT) {
                found->blocks[group->mobility][head->order - GROUP_ORDER]++;
                at += 1UL << head->order;
            } else {
                check_group(check, at, found);
                at += GROUP_PAGES;
            }
        }
}

static void check_group_list(struct check *check, const struct zone *zone, unsigned mobility, unsigned rank,
                             uint64_t expected)
{
    uint64_t length = 0, previous = 0, most = expected + 1;

    for (uint64_t number = buddy_of(zone)->groups[mobility][rank - 1]; number != 0 && length < most; length++) {
        const struct page_group *group = PAGE_GROUPS + number;
        pfn_t frame = pfn(number * GROUP_PAGES);

        // With a link astray the rest of the list means nothing.
        if (frame.value + GROUP_PAGES <= zone->start_pfn || frame.value >= zone->end_pfn || group->rank != rank ||
            group->mobility != mobility || group->prev != previous) {
            check_defect(check, "%s rank %u, mobility %u: entry %lu, frame %#lx, behind group %#lx, is astray",
                         zone->name, rank, mobility, length, frame.value, previous);
            return;
        }
        previous = number;
        number = group->next;
    }
    if (length != expected)
        check_defect(check, "%s rank %u, mobility %u: %lu groups on the list, %lu in the memmap", zone->name, rank,
                     mobility, length, expected);
}

static void check_block_list(struct check *check, const struct zone *zone, unsigned mobility, unsigned order,
                             uint64_t expected)
{
    uint64_t length = 0, previous = 0, frame = buddy_of(zone)->blocks[mobility][order - GROUP_ORDER];

    for (; frame != 0 && length <= expected; length++) {
        const struct page *head = pfn_to_page(pfn(frame));

        if (frame < zone->start_pfn || frame >= zone->end_pfn || head->type != PAGE_FREE || head->order != order ||
            head->prev != previous || pfn_to_group(pfn(frame))->mobility != mobility) {
            check_defect(check, "%s order %u, mobility %u: entry %lu, frame %#lx, behind %#lx, does not belong there",
                         zone->name, order, mobility, length, frame, previous);
            return;
        }
        const struct page *other = pfn_to_page(pfn(frame ^ (1UL << order)));
        if (order < MAX_ORDER && other->type == PAGE_FREE && other->order == order &&
            buddy_of(zone)->unmerged != frame && buddy_of(zone)->unmerged != (frame ^ (1UL << order)))
            check_defect(check, "frame %#lx: a block of order %u and its buddy are both free", frame, order);
        previous = frame;
        frame = head->next;
    }
    if (length != expected)
        check_defect(check, "%s order %u, mobility %u: %lu blocks on the list, %lu in the memmap", zone->name, order,
                     mobility, length, expected);
}

unsigned check_buddy(void)
{
    struct check check = { .name = "buddy" };
    struct census census[ZONE_COUNT] = { 0 };

    take_census(&check, census);
    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        for (unsigned mobility = 0; mobility < MOBILITY_COUNT; mobility++) {
            for (unsigned rank = 1; rank <= GROUP_UNRANKED; rank++)
                check_group_list(&check, &zones[id], mobility, rank, census[id].groups[mobility][rank - 1]);
            for (unsigned order = GROUP_ORDER; order <= MAX_ORDER; order++)
                check_block_list(&check, &zones[id], mobility, order, census[id].blocks[mobility][order - GROUP_ORDER]);
        }
        if (zones[id].reserved_pages != census[id].reserved)
            check_defect(&check, "%s: counts %lu pages set aside; there are %lu", zones[id].name,
                         zones[id].reserved_pages, census[id].reserved);
    }
    return check.defects;
}
