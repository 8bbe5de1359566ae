// The buddy engine: blocks out of masks and lists, and back. Theory: buddy_private.h.
// SPDX-License-Identifier: BSD-2-Clause
#include "buddy_private.h"

#include "phys_private.h"

#include <arch/page_ops.h>
#include <base/bits.h>
#include <base/string.h>

struct buddy buddies[ZONE_COUNT];

static uint64_t group_number(const struct page_group *group) { return (uint64_t)(group - PAGE_GROUPS); }

static struct page *group_first_page(const struct page_group *group)
{
    return MEMMAP + group_number(group) * GROUP_PAGES;
}

static struct page_group *page_to_group(const struct page *page) { return pfn_to_group(page_to_pfn(page)); }

void buddy_group_set_rank(struct buddy *buddy, struct page_group *group, unsigned rank)
{
    unsigned number = (unsigned)group_number(group) & 0xffffff;
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
    group->rank = rank & 0xff;
    if (rank != 0) {
        first = &buddy->groups[group->mobility][rank - 1];
        group->prev = 0;
        group->next = *first & 0xffffff;
        if (*first != 0)
            PAGE_GROUPS[*first].prev = number & 0xffffff;
        *first = number;
    }
}

void buddy_block_push(struct buddy *buddy, struct page *head, unsigned order, unsigned flags)
{
    uint32_t *first = &buddy->blocks[page_to_group(head)->mobility][order - GROUP_ORDER];
    uint32_t frame = (uint32_t)page_to_pfn(head).value;

    head->state = PAGE_STATE(PAGE_FREE, order, 0) | (uint64_t)flags << 16;
    head->prev = 0;
    head->next = *first;
    if (*first != 0)
        pfn_to_page(pfn(*first))->prev = frame;
    *first = frame;
}

void buddy_block_unlink(struct buddy *buddy, struct page *head)
{
    if (head->prev != 0)
        pfn_to_page(pfn(head->prev))->next = head->next;
    else
        buddy->blocks[page_to_group(head)->mobility][head->order - GROUP_ORDER] = head->next;
    if (head->next != 0)
        pfn_to_page(pfn(head->next))->prev = head->prev;
}

// The struct pages behind the head of a blank block.
static void write_blank(struct page *head, unsigned order)
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

// A block of GROUP_ORDER or above off the lists, not blank, of any head state. The caller has seen that there is one.
static struct page *take_large(struct buddy *buddy, unsigned order, enum mobility mobility)
{
    unsigned from = order;

    while (buddy->blocks[mobility][from - GROUP_ORDER] == 0)
        from++;
    struct page *head = pfn_to_page(pfn(buddy->blocks[mobility][from - GROUP_ORDER]));
    buddy_block_unlink(buddy, head);
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

// Merges a block of GROUP_ORDER or above with its buddies, and puts it on its list. Across the end of RAM or of the
// zone there is no buddy: largest blocks do not cross either.
static void give_large(struct buddy *buddy, struct page *head, unsigned order)
{
    unsigned blank = 0;

    for (; order < MAX_ORDER; order++) {
        struct page *other = pfn_to_page(pfn(page_to_pfn(head).value ^ (1UL << order)));

        if (page_type(other) != PAGE_FREE || other->order != order)
            break;
        buddy_block_unlink(buddy, other);
        blank |= other->flags & PAGE_FLAG_BLANK;
        struct page *upper = other > head ? other : head;
        head = other > head ? head : other;
        upper->state = PAGE_STATE(PAGE_TAIL, 0, 0);
    }
    buddy_block_push(buddy, head, order, blank);
}

// Takes blocks of a group: first those whose buddy is not free, so that larger blocks stay whole.
static unsigned take_from_group(struct buddy *buddy, struct page_group *group, unsigned order, unsigned count,
                                uint64_t state, struct page **blocks)
{
    uint64_t free = group->free, starts = group_block_starts(free, order);
    uint64_t pairs = group_block_starts(free, order + 1), span = low_bits(1U << order);
    uint64_t single = starts & ~(pairs | pairs << (1U << order));
    struct page *first = group_first_page(group);
    unsigned taken = 0;

    if (single != 0)
        starts = single;
    for (; starts != 0 && taken < count; starts &= starts - 1) {
        unsigned bit = lowest_bit(starts);
        struct page *head = first + bit;
        free &= ~(span << bit);
        head->state = state;
        blocks[taken++] = head;
    }
    group->free = free;

    // What is gone can only have lowered the rank.
    unsigned rank = group->rank;
    while (rank > 0 && group_block_starts(free, rank - 1) == 0)
        rank--;
    if (rank != group->rank)
        buddy_group_set_rank(buddy, group, rank);
    return taken;
}

// The group with the smallest block that is large enough: of a whole group when there is no smaller one. The caller has
// seen that there is one.
static struct page_group *find_group(struct buddy *buddy, unsigned order, enum mobility mobility)
{
    for (unsigned rank = order + 1; rank <= GROUP_ORDER; rank++)
        if (buddy->groups[mobility][rank - 1] != 0)
            return PAGE_GROUPS + buddy->groups[mobility][rank - 1];

    struct page *head = take_large(buddy, GROUP_ORDER, mobility);
    struct page_group *group = page_to_group(head);
    head->state = PAGE_STATE(PAGE_TAIL, 0, 0);
    group->free = ~0UL;
    buddy_group_set_rank(buddy, group, GROUP_ORDER);
    return group;
}

static unsigned take_from(struct buddy *buddy, const struct page_request *request, enum mobility mobility,
                          unsigned count, struct page **blocks)
{
    unsigned order = request->order;

    if (order < GROUP_ORDER)
        return take_from_group(buddy, find_group(buddy, order, mobility), order, count, request->state, blocks);
    blocks[0] = take_large(buddy, order, mobility);
    blocks[0]->state = request->state;
    return 1;
}

static enum mobility choose_lists(struct zone *zone, const struct page_request *request, bool is_first)
{
    const struct buddy *buddy = buddy_of(zone);
    enum mobility mobility = (enum mobility)request->mobility;

    if (request->may_use_reserve && request->order > 0 && buddy_has(buddy, request->order, MOBILITY_ATOMIC))
        return MOBILITY_ATOMIC;
    if (buddy_has(buddy, request->order, mobility))
        return mobility;
    // Others' memory is for who needs it, not for whom it would be handy.
    return is_first ? buddy_fall_back(zone, request->order, mobility, request->may_use_reserve) : MOBILITY_COUNT;
}

static unsigned buddy_take(struct zone *zone, const struct page_request *request, unsigned count,
                           struct page **blocks)
{
    unsigned taken = 0, order = request->order;
    irqflags_t flags = spin_lock_irqsave(&zone->lock);
    uint64_t spare = zone->free_pages - min_of(zone->free_pages, request->keep_pages);

    zone->lock_count++;
    count = (unsigned)min_of((uint64_t)count, spare >> order);
    while (taken < count) {
        enum mobility from = choose_lists(zone, request, taken == 0);
        if (from == MOBILITY_COUNT)
            break;
        taken += take_from(buddy_of(zone), request, from, count - taken, blocks + taken);
    }
    store_relaxed(&zone->free_pages, zone->free_pages - ((uint64_t)taken << order));
    spin_unlock_irqrestore(&zone->lock, flags);
    return taken;
}

// Whether the block of `order` around a page of the group is free.
static always_inline bool is_block_free(uint64_t free, unsigned bit, unsigned order)
{
    unsigned pages = 1U << order;
    uint64_t span = low_bits(pages);

    return ((free >> (bit & -pages & (GROUP_PAGES - 1))) & span) == span;
}

static always_inline void give_to_group(struct buddy *buddy, struct page *head, uint64_t span)
{
    pfn_t frame = page_to_pfn(head);
    struct page_group *group = pfn_to_group(frame);
    unsigned bit = frame.value % GROUP_PAGES, rank = group->rank;
    uint64_t free = group->free | span << bit;

    head->state = PAGE_STATE(PAGE_TAIL, 0, 0);
    group->free = free;
    if (likely(!is_block_free(free, bit, rank)))
        return;
    while (++rank <= GROUP_ORDER && is_block_free(free, bit, rank)) {
    }
    if (rank <= GROUP_ORDER) {
        buddy_group_set_rank(buddy, group, rank);
        return;
    }
    buddy_group_set_rank(buddy, group, 0);
    group->free = 0;
    give_large(buddy, group_first_page(group), GROUP_ORDER);
}

static void give_locked(struct buddy *buddy, unsigned order, unsigned count, struct page **blocks)
{
    if (order >= GROUP_ORDER) {
        for (unsigned i = 0; i < count; i++)
            give_large(buddy, blocks[i], order);
        return;
    }
    uint64_t span = low_bits(1U << order);
    for (unsigned i = 0; i < count; i++)
        give_to_group(buddy, blocks[i], span);
}

static void buddy_give(struct zone *zone, unsigned order, unsigned count, struct page **blocks)
{
    irqflags_t flags = spin_lock_irqsave(&zone->lock);

    zone->lock_count++;
    give_locked(buddy_of(zone), order, count, blocks);
    store_relaxed(&zone->free_pages, zone->free_pages + ((uint64_t)count << order));
    spin_unlock_irqrestore(&zone->lock, flags);
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
        give_locked(buddy, order, 1, &head);
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

const struct page_engine buddy_engine = {
    .name = "buddy",
    .add = buddy_add,
    .take = buddy_take,
    .give = buddy_give,
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
