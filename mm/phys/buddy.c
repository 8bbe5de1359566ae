// The buddy engine: blocks out of masks and lists, and back. Theory: <mm/buddy.h>.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/buddy.h>

#include "phys_private.h"

#include <arch/page_ops.h>
#include <base/bits.h>
#include <base/errno.h>
#include <base/string.h>
#include <mm/pressure.h>

// Groups that a request gives their rank, with interrupts masked.
#define RANKED_AT_ONCE 16

// Groups that get a rank or become a block, and large blocks that are merged, while memory comes back with
// interrupts masked: each costs ten times what a page of a group with a rank does.
#define GROWN_AT_ONCE 12

// Not where a group is a largest block.
#define CAN_MERGE (LARGE_ORDERS > 1)

static struct buddy buddies[ZONE_COUNT];

static uint64_t group_number(const struct page_group *group) { return (uint64_t)(group - PAGE_GROUPS); }

static struct page *group_first_page(const struct page_group *group)
{
    return MEMMAP + group_number(group) * GROUP_PAGES;
}

void buddy_group_set_rank(struct buddy *buddy, struct page_group *group, unsigned rank)
{
    uint32_t *first;

    if (group->rank != 0) {
        first = &buddy->groups[group->mobility][group->rank - 1];
        if (group->next != 0)
            PAGE_GROUPS[group->next].prev = group->prev;
        if (group->prev != 0)
            PAGE_GROUPS[group->prev].next = group->next;
        else
            *first = group->next;
    }
    group->rank = (uint8_t)rank;
    if (rank != 0) {
        first = &buddy->groups[group->mobility][rank - 1];
        uint32_t number = (uint32_t)group_number(group), next = *first;
        group->prev = 0;
        group->next = next;
        if (next != 0)
            PAGE_GROUPS[next].prev = number;
        *first = number;
    }
}

// The struct pages behind the head of a blank block.
static cold void write_blank(struct page *head, unsigned order)
{
    struct page first = *head;
    uint64_t bytes = sizeof(struct page) << order;

    if (bytes % MMU_PAGE_SIZE == 0)
        arch_clear_granules(head, (unsigned)(bytes / MMU_PAGE_SIZE));
    else
        memset(head, 0, bytes);
    *head = first;
    head->flags &= (uint8_t)~PAGE_FLAG_BLANK;
}

// Merges the block that came last with its buddies. Across the end of RAM or of the zone there is no buddy: largest
// blocks do not cross either.
void buddy_merge_last(struct buddy *buddy)
{
    if (buddy->unmerged == 0)
        return;
    struct page *head = pfn_to_page(pfn(buddy->unmerged));
    unsigned order = head->order, blank = 0;

    buddy->unmerged = 0;
    buddy_block_unlink(buddy, head, order);
    // A struct page's address is the page's number too: one bit of it tells the buddies apart.
    for (uintptr_t bit = sizeof(struct page) << order; CAN_MERGE && order < MAX_ORDER; order++, bit *= 2) {
        struct page *other = (struct page *)((uintptr_t)head ^ bit);

        if (page_type(other) != PAGE_FREE || other->order != order)
            break;
        buddy_block_unlink(buddy, other, order);
        blank |= other->flags & PAGE_FLAG_BLANK;
        ((struct page *)((uintptr_t)head | bit))->state = PAGE_STATE(PAGE_TAIL, 0, 0);
        head = (struct page *)((uintptr_t)head & ~bit);
    }
    buddy_block_push(buddy, head, order, blank);
}

// A block of GROUP_ORDER or above comes back. It may be wanted at once, so it is merged when the next one comes, or
// when another order is asked for.
static always_inline void give_large(struct buddy *buddy, struct page *head, unsigned order)
{
    if (CAN_MERGE && buddy->unmerged != 0)
        buddy_merge_last(buddy);
    buddy_block_push(buddy, head, order, 0);
    if (CAN_MERGE)
        buddy->unmerged = (uint32_t)page_to_pfn(head).value;
}

// The first block of a list that has one: whose list it is needs no look at its group.
static always_inline struct page *pop_block(uint32_t *first)
{
    struct page *head = pfn_to_page(pfn(*first));

    *first = head->next;
    if (head->next != 0)
        pfn_to_page(pfn(head->next))->prev = 0;
    return head;
}

// A block of GROUP_ORDER or above off the lists, not blank, of any head state; NULL when there is none.
static always_inline struct page *take_large(struct buddy *buddy, unsigned order, enum mobility mobility)
{
    unsigned from = order;

    if (CAN_MERGE) {
        if (buddy->unmerged != 0 && buddy->unmerged != buddy->blocks[mobility][order - GROUP_ORDER])
            buddy_merge_last(buddy);
        buddy->unmerged = 0;
    }
    while (buddy->blocks[mobility][from - GROUP_ORDER] == 0)
        if (++from > MAX_ORDER)
            return NULL;
    struct page *head = pop_block(&buddy->blocks[mobility][from - GROUP_ORDER]);
    unsigned blank = head->flags & PAGE_FLAG_BLANK;
    // The upper halves stay free.
    while (from > order) {
        from--;
        buddy_block_push(buddy, head + (1UL << from), from, blank);
    }
    if (blank)
        write_blank(head, order);
    return head;
}

// 1 + the largest order of a free block, at most GROUP_ORDER: a group that is free all over is a block without mask.
static unsigned rank_of(uint64_t free)
{
    unsigned rank = 0;

    for (; free != 0 && rank < GROUP_ORDER; rank++)
        free = group_pairs(free, rank);
    return rank;
}

// Single pages of a group that was a block, from its start.
static unsigned take_from_whole(struct buddy *buddy, struct page *first, unsigned count, uint64_t state,
                                struct page **blocks)
{
    struct page_group *group = page_to_group(first);
    struct page *end = first + min_of(count, (unsigned)GROUP_PAGES);

    if (count < GROUP_PAGES) {
        group->free = ~0UL << count;
        buddy_group_set_rank(buddy, group, GROUP_UNRANKED);
    }
    for (struct page *page = first; page < end; page++) {
        page->state = state;
        *blocks++ = page;
    }
    return (unsigned)(end - first);
}

// Takes blocks of a group: first those whose buddy is not free, so that larger blocks stay whole.
static unsigned take_from_group(struct buddy *buddy, struct page_group *group, unsigned order, unsigned count,
                                uint64_t state, struct page **blocks)
{
    uint64_t free = group->free, starts = group_block_starts(free, order), pairs = group_pairs(starts, order);
    uint64_t single = starts & ~(pairs | pairs << (1U << order)), left;
    struct page *first = group_first_page(group), **to = blocks, **end = blocks + count;

    if (single != 0)
        starts = single;
    left = starts;
    do {
        struct page *head = first + lowest_bit(left);
        head->state = state;
        *to++ = head;
        left &= left - 1;
    } while (left != 0 && to < end);
    // Blocks do not overlap, so the product is the sum of their spans.
    free &= ~((starts ^ left) * low_bits(1U << order));
    group->free = free;
    if (free == 0 || group->rank != GROUP_UNRANKED) {
        unsigned rank = rank_of(free);
        if (rank != group->rank)
            buddy_group_set_rank(buddy, group, rank);
    }
    return (unsigned)(to - blocks);
}

// Gives up to RANKED_AT_ONCE groups their rank back; true when none is without.
static bool rank_some(struct buddy *buddy)
{
    unsigned left = RANKED_AT_ONCE;

    for (unsigned mobility = 0; mobility < MOBILITY_COUNT; mobility++) {
        for (uint32_t *first = &buddy->groups[mobility][GROUP_UNRANKED - 1]; *first != 0; left--) {
            if (left == 0)
                return false;
            struct page_group *group = PAGE_GROUPS + *first;
            buddy_group_set_rank(buddy, group, rank_of(group->free));
        }
    }
    return true;
}

// Blocks smaller than a group: of the group with the smallest block that is large enough, or of a whole one. Single
// pages come from a group without a rank first.
static unsigned take_small(struct buddy *buddy, const struct page_request *request, enum mobility mobility,
                           unsigned count, struct page **blocks)
{
    uint32_t number = request->order == 0 ? buddy->groups[mobility][GROUP_UNRANKED - 1] : 0;

    for (unsigned k = request->order; k < GROUP_ORDER && number == 0; k++)
        number = buddy->groups[mobility][k];
    if (number != 0)
        return take_from_group(buddy, PAGE_GROUPS + number, request->order, count, request->state, blocks);

    struct page *head = take_large(buddy, GROUP_ORDER, mobility);
    if (head == NULL)
        return 0;
    if (request->order == 0)
        return take_from_whole(buddy, head, count, request->state, blocks);
    struct page_group *group = page_to_group(head);
    head->state = PAGE_STATE(PAGE_TAIL, 0, 0);
    group->free = ~0UL;
    buddy_group_set_rank(buddy, group, GROUP_ORDER);
    return take_from_group(buddy, group, request->order, count, request->state, blocks);
}

// From the lists of one mobility: as many as one group has, or one large block; 0 when there is none.
static unsigned take_from(struct buddy *buddy, const struct page_request *request, enum mobility mobility,
                          unsigned count, struct page **blocks)
{
    if (request->order < GROUP_ORDER)
        return take_small(buddy, request, mobility, count, blocks);
    struct page *head = take_large(buddy, request->order, mobility);
    if (head == NULL)
        return 0;
    head->state = request->state;
    blocks[0] = head;
    return 1;
}

// When the request's own lists have nothing. Others' memory is for who needs it, not for whom it would be handy, so
// that only the first block comes from it.
static noinline unsigned take_from_others(struct zone *zone, const struct page_request *request,
                                          struct page **blocks)
{
    enum mobility from = buddy_fall_back(zone, request->order, (enum mobility)request->mobility,
                                         request->may_use_reserve);

    return from == MOBILITY_COUNT ? 0 : take_from(buddy_of(zone), request, from, 1, blocks);
}

static int take_locked(struct zone *zone, const struct page_request *request, unsigned count, struct page **blocks)
{
    struct buddy *buddy = buddy_of(zone);
    unsigned taken = 0, got;

    if (request->order > 0)
        (void)rank_some(buddy);
    if (count > 0 && request->order > 0 && request->may_use_reserve)
        taken = take_from(buddy, request, MOBILITY_ATOMIC, 1, blocks);
    for (; taken < count; taken += got) {
        got = take_from(buddy, request, (enum mobility)request->mobility, count - taken, blocks + taken);
        if (got == 0 && taken == 0) {
            if (!rank_some(buddy))
                return -EAGAIN;
            got = take_from_others(zone, request, blocks);
        }
        if (got == 0)
            break;
    }
    return (int)taken;
}

static int buddy_take(struct zone *zone, const struct page_request *request, unsigned count, struct page **blocks)
{
    irqflags_t flags = spin_lock_irqsave(&zone->lock);
    uint64_t spare = zone->free_pages - min_of(zone->free_pages, request->keep_pages);
    int taken = 0;

    zone->lock_count++;
    if (spare >> request->order > 0)
        taken = take_locked(zone, request, (unsigned)min_of((uint64_t)count, spare >> request->order), blocks);
    if (taken > 0)
        store_relaxed(&zone->free_pages, zone->free_pages - ((uint64_t)taken << request->order));
    spin_unlock_irqrestore(&zone->lock, flags);
    return taken;
}

static struct page *buddy_take_large(struct zone *zone, unsigned order, enum mobility mobility, uint64_t keep_pages,
                                     uint64_t state)
{
    uint64_t pages = 1UL << order;
    irqflags_t flags = spin_lock_irqsave(&zone->lock);
    uint64_t free = zone->free_pages;
    struct page *head = free >= keep_pages + pages ? take_large(buddy_of(zone), order, mobility) : NULL;

    if (likely(head != NULL)) {
        store_relaxed(&zone->free_pages, free - pages);
        head->state = state;
    }
    zone->lock_count++;
    spin_unlock_irqrestore(&zone->lock, flags);
    return head;
}

// The group that gets free pages again, or is free all over.
static noinline void group_grew(struct buddy *buddy, struct page_group *group)
{
    if (~group->free != 0) {
        buddy_group_set_rank(buddy, group, GROUP_UNRANKED);
        return;
    }
    buddy_group_set_rank(buddy, group, 0);
    group->free = 0;
    give_large(buddy, group_first_page(group), GROUP_ORDER);
}

// Returns whether the group's place had to change.
static always_inline bool give_to_group(struct buddy *buddy, struct page *head, uint64_t span)
{
    struct page_group *group = page_to_group(head);
    uint64_t free = group->free | span << page_to_bit(head) % GROUP_PAGES;

    head->state = PAGE_STATE(PAGE_TAIL, 0, 0);
    group->free = free;
    if (likely(group->rank == GROUP_UNRANKED && ~free != 0))
        return false;
    group_grew(buddy, group);
    return true;
}

// As page_engine's give.
static noinline unsigned give_locked(struct buddy *buddy, unsigned order, unsigned count, struct page **blocks)
{
    struct page **end = blocks + count, **at = end;
    unsigned grown = 0;

    if (order >= GROUP_ORDER) {
        while (at != blocks && grown++ < GROWN_AT_ONCE)
            give_large(buddy, *--at, order);
        return (unsigned)(end - at);
    }
    uint64_t span = low_bits(1U << order);
    while (at != blocks)
        if (unlikely(give_to_group(buddy, *--at, span)) && ++grown == GROWN_AT_ONCE)
            break;
    return (unsigned)(end - at);
}

// What came back is counted and told to those who wait for it.
static always_inline void end_give(struct zone *zone, uint64_t pages, irqflags_t flags)
{
    zone->lock_count++;
    store_relaxed(&zone->free_pages, zone->free_pages + pages);
    bool has_waiters = __atomic_load_n(&zone->waiters, __ATOMIC_RELAXED) != 0;
    spin_unlock_irqrestore(&zone->lock, flags);
    if (unlikely(has_waiters))
        page_freed_hint(zone);
}

static unsigned buddy_give(struct zone *zone, unsigned order, unsigned count, struct page **blocks)
{
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    count = give_locked(buddy_of(zone), order, count, blocks);
    end_give(zone, (uint64_t)count << order, flags);
    return count;
}

static void buddy_give_large(struct zone *zone, struct page *head, unsigned order)
{
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    give_large(buddy_of(zone), head, order);
    end_give(zone, 1UL << order, flags);
}

// One block of new memory. At start-up it is as large as can be, so it has nothing to merge with, and the struct pages
// around it may not be written.
static void add_block(struct zone *zone, struct page *head, unsigned order, bool is_blank)
{
    struct buddy *buddy = buddy_of(zone);
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    zone->managed_pages += 1UL << order;
    store_relaxed(&zone->free_pages, zone->free_pages + (1UL << order));
    if (is_blank && order >= GROUP_ORDER) {
        buddy_block_push(buddy, head, order, PAGE_FLAG_BLANK);
    } else {
        if (is_blank)
            memset(head, 0, sizeof(struct page) << order);
        (void)give_locked(buddy, order, 1, &head);
    }
    spin_unlock_irqrestore(&zone->lock, flags);
}

static void buddy_add(struct zone *zone, pfn_t start, pfn_t end, bool is_blank)
{
    for (pfn_t at = start; at.value < end.value;) {
        unsigned order = memmap_largest_order(at, end);
        add_block(zone, pfn_to_page(at), order, is_blank);
        at.value += 1UL << order;
    }
}

struct page *buddy_large_head(pfn_t frame)
{
    // A struct page at the start of a block is written unless a larger blank block covers it.
    for (unsigned order = MAX_ORDER + 1; order-- > GROUP_ORDER;) {
        struct page *head = pfn_to_page(pfn(align_down(frame.value, 1UL << order)));
        if (page_type(head) == PAGE_FREE && head->order == order)
            return head;
    }
    return NULL;
}

static pfn_t buddy_settle(struct zone *zone, pfn_t at, uint64_t *written)
{
    irqflags_t flags = spin_lock_irqsave(&zone->lock);
    struct page *head = buddy_large_head(at);
    pfn_t next = pfn(align_down(at.value, GROUP_PAGES) + GROUP_PAGES);

    if (head != NULL) {
        next = pfn(page_to_pfn(head).value + (1UL << head->order));
        if (head->flags & PAGE_FLAG_BLANK) {
            write_blank(head, head->order);
            *written += 1UL << head->order;
        }
    }
    spin_unlock_irqrestore(&zone->lock, flags);
    return next;
}

static void buddy_init(struct zone *zone)
{
    zone->engine = &buddies[zone - zones];
}

const struct page_engine buddy_engine = {
    .name = "buddy",
    .init = buddy_init,
    .add = buddy_add,
    .take = buddy_take,
    .give = buddy_give,
    .take_large = buddy_take_large,
    .give_large = buddy_give_large,
    .count = buddy_count,
    .reserve = buddy_reserve,
    .unreserve = buddy_unreserve,
    .settle = buddy_settle,
};

const struct page_engine *page_engine = &buddy_engine;

uint64_t page_run_free(const struct page *page)
{
    pfn_t frame = page_to_pfn(page);

    if (page_type(page) == PAGE_FREE)
        return 1UL << (page->order & 63);
    if (page_type(page) != PAGE_TAIL)
        return 0;
    uint64_t from = __atomic_load_n(&pfn_to_group(frame)->free, __ATOMIC_RELAXED) >> frame.value % GROUP_PAGES;
    return (from & 1) == 0 ? 0 : ~from == 0 ? GROUP_PAGES : lowest_bit(~from);
}
