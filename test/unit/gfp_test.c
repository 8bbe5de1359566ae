// mm/phys/gfp.c: the names of flags, what is refused, and every row of the table by what happens.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/gfp.h>

#include "fake_shrinker.h"

#include <base/string.h>
#include <mm/page_lists.h>
#include <mm/pressure.h>
#include <mm/zone.h>

static struct fake_shrinker *const fake = &fake_shrinker[0];

// Every flag is named, together with others too; what is no flag is shown as a number; what has no room is cut.
KTEST(gfp, format_names_every_flag)
{
    char text[GFP_TEXT_BYTES], cut[8];

    for (unsigned i = 0; i < gfp_table_count; i++) {
        EXPECT_EQ(gfp_format(text, sizeof(text), gfp_table[i].flags), strlen(gfp_table[i].name));
        EXPECT_STREQ(text, gfp_table[i].name);
    }
    for (gfp_t flag = 1; flag & __GFP_ALL; flag <<= 1) {
        gfp_format(text, sizeof(text), flag);
        EXPECT_NOT_NULL(strstr(text, "GFP_"));
        EXPECT_NULL(strstr(text, "0x"));
    }
    gfp_format(text, sizeof(text), GFP_ATOMIC | __GFP_COMP | (gfp_t)1 << 20);
    EXPECT_STREQ(text, "GFP_ATOMIC|__GFP_COMP|0x100000");
    gfp_format(text, sizeof(text), UINT32_MAX);
    EXPECT_LT(strlen(text), sizeof(text) - 1);
    EXPECT_EQ(gfp_format(cut, sizeof(cut), GFP_KERNEL), 7);
    EXPECT_STREQ(cut, "GFP_KER");
}

// What contradicts itself, or does not exist, is refused and reported; no row of the table is.
KTEST(gfp, contradictions_are_refused)
{
    static const gfp_t refused[] = {
        (gfp_t)1 << 15, (gfp_t)1 << 31, GFP_DMA | GFP_DMA32, GFP_DMA | __GFP_HIGHMEM, GFP_DMA32 | __GFP_HIGHMEM,
        GFP_KERNEL | __GFP_NOFAIL | __GFP_NORETRY, GFP_KERNEL | __GFP_NOFAIL | __GFP_RETRY_MAYFAIL,
        GFP_KERNEL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL, GFP_ATOMIC | __GFP_NOFAIL, GFP_NOWAIT | __GFP_NOFAIL,
        GFP_KERNEL | __GFP_MOVABLE | __GFP_RECLAIMABLE,
    };

    for (unsigned i = 0; i < array_count(refused); i++) {
        EXPECT_NOT_NULL(gfp_fault(refused[i]));
        EXPECT_MISUSE(1, EXPECT_NULL(alloc_page(refused[i])));
    }
    for (unsigned i = 0; i < gfp_table_count; i++)
        EXPECT_NULL(gfp_fault(gfp_table[i].flags));
}

// --- The table, row by row

static struct page_chain taken, taken_below;

// Exactly so many pages of the zone are free, and none of any other.
static void leave_free(const struct zone *zone, uint64_t pages)
{
    static const struct zone *before;
    struct page *page;

    while (zone != before && (page = chain_pop(&taken_below)) != NULL)
        chain_push(&taken, page);
    before = zone;
    chain_fill(&taken, GFP_HIGHUSER | __GFP_MEMALLOC, 0, UINT64_MAX);
    while (zone->free_pages < pages && (page = chain_pop(&taken)) != NULL) {
        if (page_zone(page) != zone) {
            chain_push(&taken_below, page);
            continue;
        }
        __free_page(page);
        page_lists_drain();
    }
    EXPECT_EQ(zone->free_pages, pages);
}

static void free_all(void)
{
    chain_free(&taken);
    chain_free(&taken_below);
}

static bool succeeds(gfp_t gfp)
{
    struct page *page = alloc_page(gfp | __GFP_NOWARN);

    __free_pages(page, 0);
    page_lists_drain();
    return page != NULL;
}

static void expect_at(const struct gfp_row *row, const struct zone *zone, uint64_t pages, bool succeeds_there)
{
    leave_free(zone, pages);
    // What would wait for ever is not asked to.
    if (!succeeds_there && row->patience == GFP_TRIES_FOR_EVER)
        return;
    if (succeeds(row->flags) != succeeds_there) {
        EXPECT_EQ(succeeds_there, !succeeds_there);
        ktest_note("  %s with %lu pages free in %s", row->name, pages, zone->name);
    }
}

// In a zone of a few pages the marks lie too close to tell them apart.
static bool has_marks_apart(const struct zone *zone)
{
    return zone != NULL && zone->watermark_low - zone->watermark_min >= 4;
}

// Just above each mark a page can be had, and at the mark by those alone who may go below it.
KTEST(gfp, rows_go_as_deep_as_they_say)
{
    for (unsigned i = 0; i < gfp_table_count; i++) {
        const struct gfp_row *row = &gfp_table[i];
        const struct zone *zone = gfp_zone(row->flags);
        if (!has_marks_apart(zone))
            continue;
        expect_at(row, zone, zone->watermark_min + 1, true);
        expect_at(row, zone, zone->watermark_min, row->reserve >= GFP_RESERVE_HALF);
        expect_at(row, zone, zone->watermark_min / 2 + 1, row->reserve >= GFP_RESERVE_HALF);
        expect_at(row, zone, zone->watermark_min / 2, row->reserve == GFP_RESERVE_ALL);
        expect_at(row, zone, 1, row->reserve == GFP_RESERVE_ALL);
        expect_at(row, zone, 0, false);
    }
    free_all();
}

// Below the low mark kswapd is asked for by those who may, and not above it.
KTEST(gfp, rows_wake_kswapd_as_they_say)
{
    // What harts keep in their lists is given out without a look at the marks.
    page_lists_block();
    for (unsigned i = 0; i < gfp_table_count; i++) {
        const struct gfp_row *row = &gfp_table[i];
        const struct zone *zone = gfp_zone(row->flags);
        if (!has_marks_apart(zone))
            continue;
        leave_free(zone, zone->watermark_low + 1);
        uint64_t wakes = kswapd_wake_count();
        EXPECT(succeeds(row->flags));
        EXPECT_EQ(kswapd_wake_count() - wakes, 0);
        leave_free(zone, zone->watermark_low);
        wakes = kswapd_wake_count();
        EXPECT(succeeds(row->flags));
        EXPECT_EQ(kswapd_wake_count() - wakes, row->wakes_kswapd);
    }
    free_all();
    page_lists_unblock();
}

// Calls of a shrinker that brings a round's worth 40 times, but nothing that helps; then, if the request may not fail,
// the block.
static uint64_t calls_of(gfp_t gfp, unsigned order)
{
    struct page_chain stash = fake->stash;

    fake_shrinkers_reset();
    fake->stash = stash;
    fake->pretended_count = 1UL << SHRINK_PRIORITY_MAX;
    fake->pretend_calls = 40;
    fake->pretended_freed = 1UL << MAX_ORDER;
    fake->give_from_call = gfp & __GFP_NOFAIL ? 41 : 0;
    struct page *page = alloc_pages(gfp | __GFP_NOWARN, order);
    EXPECT_EQ(page != NULL, (gfp & __GFP_NOFAIL) != 0);
    if (page != NULL)
        chain_push(&fake->stash, page);
    return fake->calls;
}

static bool is_as_patient(enum gfp_patience patience, uint64_t calls)
{
    switch (patience) {
    case GFP_TRIES_ONCE:
        return calls == 0;
    case GFP_TRIES_LIGHTLY:
    case GFP_TRIES_A_ROUND:
        return calls == 1;
    case GFP_TRIES_SOME_ROUNDS:
        return calls == GFP_ROUNDS_MAX;
    case GFP_TRIES_WITH_PROGRESS:
        return calls == 40 + SHRINK_PRIORITY_MAX + 1;
    default:
        return calls >= 41;
    }
}

// Who may reclaim has the shrinkers asked as often as the row says, for a page and for a costly block.
KTEST(gfp, rows_are_as_patient_as_they_say)
{
    unsigned costly = get_order(KB(64)) > 0 ? get_order(KB(64)) : 1;

    fake_shrinkers_reset();
    for (unsigned order = 0; order <= costly; order += costly) {
        // The block for those who may not fail; the reserve keeps nobody from it who has got it back.
        struct zone *zone = gfp_zone(GFP_KERNEL);
        leave_free(zone, zone->watermark_min);
        chain_free(&taken);
        chain_fill(&fake->stash, GFP_KERNEL, order, 1);
        leave_free(zone, 0);
        for (unsigned i = 0; i < gfp_table_count; i++) {
            const struct gfp_row *row = &gfp_table[i];
            bool may_not_fail = row->patience == GFP_TRIES_FOR_EVER;
            if (gfp_zone(row->flags) == NULL)
                continue;
            leave_free(zone, may_not_fail ? zone->watermark_min : 0);
            uint64_t calls = calls_of(row->flags, order);
            enum gfp_patience patience = order == 0 ? row->patience : row->costly_patience;
            EXPECT_EQ(row->may_sleep, gfp_may_sleep(row->flags));
            EXPECT_EQ(row->may_reclaim, calls > 0);
            if (!EXPECT(is_as_patient(patience, calls)))
                ktest_note("  %s, order %u: %lu calls", row->name, order, calls);
        }
        free_all();
        chain_free(&fake->stash);
    }
    fake_shrinkers_reset();
}
