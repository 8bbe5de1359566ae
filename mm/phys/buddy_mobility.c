// Page blocks and their mobility: whose memory is taken when one's own is gone, and the reserve for GFP_ATOMIC.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/buddy.h>

#include <base/bits.h>

// Whom a request takes from, in this order.
static const enum mobility fall_back_order[][2] = {
    [MOBILITY_UNMOVABLE] = { MOBILITY_RECLAIMABLE, MOBILITY_MOVABLE },
    [MOBILITY_MOVABLE] = { MOBILITY_RECLAIMABLE, MOBILITY_UNMOVABLE },
    [MOBILITY_RECLAIMABLE] = { MOBILITY_UNMOVABLE, MOBILITY_MOVABLE },
};

bool buddy_has(const struct buddy *buddy, unsigned order, enum mobility mobility)
{
    for (unsigned k = order; k < GROUP_ORDER; k++)
        if (buddy->groups[mobility][k] != 0)
            return true;
    for (unsigned k = max_of(order, (unsigned)GROUP_ORDER); k <= MAX_ORDER; k++)
        if (buddy->blocks[mobility][k - GROUP_ORDER] != 0)
            return true;
    return false;
}

// Walks the free memory of the page block around a frame: calls `visit` for each group with free pages and each large
// block.
static void for_each_free(uint64_t frame, void (*visit)(struct page_group *group, struct page *head, void *context),
                          void *context)
{
    uint64_t start = align_down(frame, PAGE_BLOCK_PAGES);

    for (uint64_t at = start, pages; at < start + PAGE_BLOCK_PAGES; at += pages) {
        struct page *head = pfn_to_page(pfn(at));
        struct page_group *group = pfn_to_group(pfn(at));
        bool is_large = group->rank == 0 && page_type(head) == PAGE_FREE;

        pages = is_large ? 1UL << head->order : GROUP_PAGES;
        if (is_large || group->rank != 0)
            visit(group, is_large ? head : NULL, context);
    }
}

static void add_free(struct page_group *group, struct page *head, void *sum)
{
    *(uint64_t *)sum += head != NULL ? 1UL << head->order : count_bits(group->free);
}

struct change {
    struct buddy *buddy;
    enum mobility to;
};

static void take_off(struct page_group *group, struct page *head, void *context)
{
    struct change *change = context;

    if (head != NULL) {
        buddy_block_unlink(change->buddy, head, head->order);
    } else {
        unsigned rank = group->rank;
        buddy_group_set_rank(change->buddy, group, 0);
        group->mobility = change->to & 0xff;
        buddy_group_set_rank(change->buddy, group, rank);
    }
}

static void put_on(struct page_group *group unused_arg, struct page *head, void *context)
{
    struct change *change = context;

    if (head != NULL)
        buddy_block_push(change->buddy, head, head->order, head->flags);
}

// The page block and its free memory change their mobility.
static void change_mobility(struct buddy *buddy, uint64_t frame, enum mobility to)
{
    struct change change = { .buddy = buddy, .to = to };

    buddy_merge_last(buddy);
    struct page_group *group = pfn_to_group(pfn(align_down(frame, PAGE_BLOCK_PAGES)));

    for_each_free(frame, take_off, &change);
    for (uint64_t i = 0; i < PAGE_BLOCK_PAGES / GROUP_PAGES; i++)
        group[i].mobility = to & 0xff;
    for_each_free(frame, put_on, &change);
}

// Whose the block shall be that a request of `mobility` found with somebody else.
static enum mobility settle_owner(struct buddy *buddy, uint64_t frame, unsigned order, enum mobility mobility)
{
    uint64_t free = 0;

    if (mobility != MOBILITY_MOVABLE || order >= MAX_ORDER / 2) {
        for_each_free(frame, add_free, &free);
        if (free >= PAGE_BLOCK_PAGES / 2) {
            change_mobility(buddy, frame, mobility);
            return mobility;
        }
    }
    return (enum mobility)pfn_to_group(pfn(frame))->mobility;
}

static bool find_largest(const struct buddy *buddy, unsigned order, const enum mobility *from, unsigned from_count,
                         uint64_t *frame, unsigned *found_order)
{
    for (unsigned k = MAX_ORDER + 1; k-- > order;) {
        for (unsigned i = 0; i < from_count; i++) {
            uint64_t first = k >= GROUP_ORDER ? buddy->blocks[from[i]][k - GROUP_ORDER]
                                              : buddy->groups[from[i]][k] * GROUP_PAGES;
            if (first != 0) {
                *frame = first;
                *found_order = k;
                return true;
            }
        }
    }
    return false;
}

enum mobility buddy_fall_back(struct zone *zone, unsigned order, enum mobility mobility, bool may_use_reserve)
{
    struct buddy *buddy = buddy_of(zone);
    uint64_t frame;
    unsigned found;

    if (find_largest(buddy, order, fall_back_order[mobility], array_count(fall_back_order[mobility]), &frame, &found))
        return settle_owner(buddy, frame, found, mobility);
    return may_use_reserve && buddy_has(buddy, order, MOBILITY_ATOMIC) ? MOBILITY_ATOMIC : MOBILITY_COUNT;
}

// At most 1 % of the zone, but one page block in any case (as Linux's reserve_highatomic_pageblock).
void buddy_reserve(struct zone *zone, struct page *page)
{
    uint64_t frame = page_to_pfn(page).value;
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    if (zone->reserved_pages < zone->managed_pages / 100 + PAGE_BLOCK_PAGES - 1 &&
        pfn_to_group(pfn(frame))->mobility != MOBILITY_ATOMIC) {
        change_mobility(buddy_of(zone), frame, MOBILITY_ATOMIC);
        store_relaxed(&zone->reserved_pages, zone->reserved_pages + PAGE_BLOCK_PAGES);
    }
    spin_unlock_irqrestore(&zone->lock, flags);
}

bool buddy_unreserve(struct zone *zone)
{
    irqflags_t flags = spin_lock_irqsave(&zone->lock);
    const struct buddy *buddy = buddy_of(zone);
    const enum mobility reserve = MOBILITY_ATOMIC;
    uint64_t frame = buddy->groups[reserve][GROUP_UNRANKED - 1] * GROUP_PAGES;
    unsigned order;
    bool is_found = frame != 0 || find_largest(buddy, 0, &reserve, 1, &frame, &order);

    if (is_found) {
        change_mobility(buddy_of(zone), frame, MOBILITY_UNMOVABLE);
        store_relaxed(&zone->reserved_pages, zone->reserved_pages - PAGE_BLOCK_PAGES);
    }
    spin_unlock_irqrestore(&zone->lock, flags);
    return is_found;
}

static void count_group(const struct page_group *group, struct free_counts *counts)
{
    uint64_t free = group->free;

    counts->pages += count_bits(free);
    for (unsigned order = GROUP_ORDER; order-- > 0 && free != 0;) {
        uint64_t starts = group_block_starts(free, order);
        counts->blocks[order] += count_bits(starts);
        for (unsigned k = 0; k < order; k++)
            starts |= starts << (1U << k);
        free &= ~starts;
    }
}

// Counts from `at`, a few groups; returns where to go on.
static uint64_t count_some(struct zone *zone, uint64_t at, uint64_t end, struct free_counts *counts)
{
    enum { AT_ONCE = 8 };
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    buddy_merge_last(buddy_of(zone));
    for (unsigned i = 0; i < AT_ONCE && at < end; i++) {
        const struct page *head = buddy_large_head(pfn(at));
        const struct page_group *group = pfn_to_group(pfn(at));

        if (head != NULL) {
            at = page_to_pfn(head).value + (1UL << head->order);
            counts->blocks[head->order]++;
            counts->pages += 1UL << head->order;
        } else {
            at += GROUP_PAGES;
            if (group->rank != 0)
                count_group(group, counts);
        }
    }
    spin_unlock_irqrestore(&zone->lock, flags);
    return at;
}

void buddy_count(struct zone *zone, struct free_counts *counts)
{
    pfn_t start, end;

    *counts = (struct free_counts){ 0 };
    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);) {
        uint64_t at = align_down(max_of(start.value, zone->start_pfn), GROUP_PAGES);
        uint64_t past = min_of(end.value, zone->end_pfn);
        while (at < past)
            at = count_some(zone, at, past, counts);
    }
}
