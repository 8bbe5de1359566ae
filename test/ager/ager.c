// The ager: takes all free pages, and frees whole groups and parts of groups in a seeded order.
// SPDX-License-Identifier: BSD-2-Clause
#include <ager/ager.h>

#include <base/assert.h>
#include <base/random.h>
#include <mm/page_alloc.h>
#include <mm/page_lists.h>

// One ageing under way. Groups are naturally aligned and have 2^order pages.
struct ageing {
    struct ager *ager;
    struct random random;
    uint64_t group_pages;
    uint64_t group_count;
    uint64_t whole_pages;          // freed in groups of which nothing is held
    uint64_t broken_pages;         // freed in other groups
};

static bool is_held(const struct ager *ager, const struct page *page)
{
    return page_type(page) == PAGE_RAW && page->owner == ager;
}

static void take_all(struct ager *ager)
{
    static const gfp_t zone_flags[] = { __GFP_HIGHMEM, 0, __GFP_DMA32, __GFP_DMA };
    struct page *page;

    // Each kind of request takes what is left of its zones to the last page.
    for (size_t i = 0; i < array_count(zone_flags); i++)
        while ((page = alloc_page(zone_flags[i] | __GFP_MEMALLOC | __GFP_NOWARN)) != NULL) {
            page->owner = ager;
            ager->held_pages++;
        }
}

static void free_held(struct ager *ager, struct page *page)
{
    page->owner = NULL;
    ager->held_pages--;
    __free_page(page);
}

// Groups that hold RAM; one that two ranges of RAM share counts twice, which does no harm.
static uint64_t groups_between(pfn_t start, pfn_t end, unsigned order)
{
    return ((end.value - 1) >> order) - (start.value >> order) + 1;
}

static uint64_t count_groups(unsigned order)
{
    uint64_t count = 0;
    pfn_t start, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);)
        count += groups_between(start, end, order);
    return count;
}

static struct page *group_at(uint64_t index, unsigned order)
{
    pfn_t start, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &start, &end);) {
        uint64_t count = groups_between(start, end, order);
        if (index < count)
            return pfn_to_page(pfn(((start.value >> order) + index) << order));
        index -= count;
    }
    return NULL;
}

// A permutation of the groups that needs no memory: a Feistel network over the next power of four, walked along
// its cycles back into the range (Black and Rogaway, CT-RSA 2002).
static uint64_t shuffled(uint64_t index, uint64_t count, uint64_t seed)
{
    unsigned half_bits = 1;

    while (1UL << 2 * half_bits < count)
        half_bits++;
    do {
        uint64_t mask = (1UL << half_bits) - 1, left = index >> half_bits, right = index & mask;
        for (unsigned round = 0; round < 4; round++) {
            struct random mixer = random_seeded(seed ^ (right << 2 | round));
            uint64_t mixed = left ^ (random_next(&mixer) & mask);
            left = right;
            right = mixed;
        }
        index = left << half_bits | right;
    } while (index >= count);
    return index;
}

static uint64_t count_held(const struct ageing *ageing, const struct page *group)
{
    uint64_t held = 0;

    for (uint64_t i = 0; i < ageing->group_pages; i++)
        held += is_held(ageing->ager, &group[i]);
    return held;
}

// Frees `wanted` of the `held` pages of a group, any of them with the same chance (Knuth, TAOCP 2, 3.4.2, S).
static void free_some(struct ageing *ageing, struct page *group, uint64_t held, uint64_t wanted)
{
    for (uint64_t i = 0; i < ageing->group_pages && wanted > 0; i++) {
        if (!is_held(ageing->ager, &group[i]))
            continue;
        if (random_below(&ageing->random, held) < wanted) {
            free_held(ageing->ager, &group[i]);
            wanted--;
        }
        held--;
    }
}

// Pages still to be freed in broken groups so that the index is the wanted one.
static uint64_t broken_pages_due(const struct ageing *ageing)
{
    uint64_t index = ageing->ager->wanted_index, due;

    if (index == 1000)
        return UINT64_MAX;
    due = ageing->whole_pages * index / (1000 - index);
    return due > ageing->broken_pages ? due - ageing->broken_pages : 0;
}

// Frees up to `most` of a group's pages, and keeps at least one.
static void break_group(struct ageing *ageing, struct page *group, uint64_t held, uint64_t most)
{
    uint64_t wanted = min_of(most, broken_pages_due(ageing));

    free_some(ageing, group, held, wanted);
    ageing->broken_pages += wanted;
}

static void visit_groups(struct ageing *ageing, uint64_t seed, bool is_first_time)
{
    for (uint64_t i = 0; i < ageing->group_count; i++) {
        struct page *group = group_at(shuffled(i, ageing->group_count, seed), ageing->ager->order);
        uint64_t held = count_held(ageing, group);

        if (!is_first_time) {
            if (held > 1)
                break_group(ageing, group, held, held - 1);
        } else if (broken_pages_due(ageing) > 0) {
            if (held > 1)
                break_group(ageing, group, held, 1 + random_below(&ageing->random, held - 1));
        } else if (held == ageing->group_pages) {
            free_some(ageing, group, held, held);
            ageing->whole_pages += held;
        }
    }
}

bool ager_age(struct ager *ager, unsigned order, unsigned index, uint64_t seed)
{
    struct ageing ageing = {
        .ager = ager,
        .random = random_seeded(~seed),
        .group_pages = 1UL << order,
        .group_count = count_groups(order),
    };
    struct free_counts counts;

    BUG_ON(order == 0 || order > MAX_ORDER || index > 1000 || ager->held_pages != 0);
    ager->order = order;
    ager->wanted_index = index;
    // Pages in harts' lists could neither be taken nor merge.
    page_lists_block();
    take_all(ager);
    visit_groups(&ageing, seed, true);
    // The last groups may have been too few: then more of the broken ones.
    visit_groups(&ageing, seed, false);

    counts = zones_free_counts();
    page_lists_unblock();
    ager->reached_index = unusable_index(&counts, order);
    return ager->reached_index + AGER_TOLERANCE >= index && ager->reached_index <= index + AGER_TOLERANCE;
}

void ager_release(struct ager *ager)
{
    pfn_t at, end;

    if (ager->held_pages == 0)
        return;
    page_lists_block();
    for (uint64_t cursor = 0; zones_next_ram(&cursor, &at, &end);)
        for (; at.value < end.value; at.value++)
            if (is_held(ager, pfn_to_page(at)))
                free_held(ager, pfn_to_page(at));
    page_lists_unblock();
}
