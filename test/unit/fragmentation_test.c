// mm/check/fragmentation.c: the indices against values computed by hand, and against what the allocator can do.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/fragmentation.h>

#include "capture.h"
#include "page_chain.h"

#include <base/string.h>
#include <debug/shell.h>

// The counts that block numbers by order, from 0 on, stand for.
static struct free_counts counts_of(const uint64_t *blocks, unsigned orders)
{
    struct free_counts counts = { 0 };

    for (unsigned order = 0; order < orders; order++) {
        counts.blocks[order] = blocks[order];
        counts.pages += blocks[order] << order;
    }
    return counts;
}

#define COUNTS(...) counts_of((const uint64_t[]){ __VA_ARGS__ }, array_count(((const uint64_t[]){ __VA_ARGS__ })))

// 10 pages, 5 pairs, 3 fours and 1 eight: 40 pages, of which 30, 20 and 8 are in blocks of at least 2, 4 and 8.
KTEST(fragmentation, unusable_index_by_hand)
{
    struct free_counts counts = COUNTS(10, 5, 3, 1), none = { 0 }, one = COUNTS(1), third = COUNTS(1, 1);

    EXPECT_EQ(counts.pages, 40);
    EXPECT_EQ(unusable_index(&counts, 0), 0);
    EXPECT_EQ(unusable_index(&counts, 1), 250);
    EXPECT_EQ(unusable_index(&counts, 2), 500);
    EXPECT_EQ(unusable_index(&counts, 3), 800);
    EXPECT_EQ(unusable_index(&counts, 4), 1000);
    EXPECT_EQ(unusable_index(&counts, MAX_ORDER), 1000);
    EXPECT_EQ(unusable_index(&one, 0), 0);
    EXPECT_EQ(unusable_index(&one, 1), 1000);
    EXPECT_EQ(unusable_index(&third, 1), 333);
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        EXPECT_EQ(unusable_index(&none, order), 1000);
}

// Larger blocks count for a smaller request with all of their pages.
KTEST(fragmentation, large_blocks_serve_small_requests)
{
    struct free_counts counts = { 0 };

    counts.blocks[MAX_ORDER] = 3;
    counts.pages = 3UL << MAX_ORDER;
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        EXPECT_EQ(unusable_index(&counts, order), 0);
        EXPECT_EQ((uint64_t)fragmentation_index(&counts, order), (uint64_t)-1000);
    }
    // As many pages again, but single: half is of no use to anything larger.
    counts.blocks[0] = counts.pages;
    counts.pages *= 2;
    EXPECT_EQ(unusable_index(&counts, 0), 0);
    EXPECT_EQ(unusable_index(&counts, 1), 500);
    EXPECT_EQ(unusable_index(&counts, MAX_ORDER), 500);
}

// 1000 - (1000 + 1000 * pages / 2^order) / blocks, each division rounded down.
KTEST(fragmentation, index_by_hand)
{
    struct free_counts counts = COUNTS(10, 5, 3, 1), none = { 0 }, pieces = COUNTS(1024), one = COUNTS(1);

    // A block is there.
    EXPECT_EQ((uint64_t)fragmentation_index(&counts, 0), (uint64_t)-1000);
    EXPECT_EQ((uint64_t)fragmentation_index(&counts, 3), (uint64_t)-1000);
    // 40 pages in 19 blocks. Order 4: 1000 * 40 / 16 = 2500, 3500 / 19 = 184. Order 6: 625, 1625 / 19 = 85.
    EXPECT_EQ(fragmentation_index(&counts, 4), 816);
    EXPECT_EQ(fragmentation_index(&counts, 6), 915);
    // 1024 single pages. Order 1: 512000 + 1000 = 513000, / 1024 = 500. Order 5: 33000 / 1024 = 32.
    EXPECT_EQ(fragmentation_index(&pieces, 1), 500);
    EXPECT_EQ(fragmentation_index(&pieces, 5), 968);
    // One page is all there is: memory is short. Order 1: 1500 / 1; order 6: 1015 / 1.
    EXPECT_EQ((uint64_t)fragmentation_index(&one, 1), (uint64_t)-500);
    EXPECT_EQ((uint64_t)fragmentation_index(&one, 6), (uint64_t)-15);
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        EXPECT_EQ(fragmentation_index(&none, order), 0);
}

// The counts of the zones are their free pages, and say truly which orders can be had.
KTEST(fragmentation, counts_tell_what_can_be_had)
{
    struct page_chain held = { 0 }, freed = { 0 };
    uint64_t pages = 0, free = free_pages_now();
    struct free_counts counts = zones_free_counts();

    for (unsigned order = 0; order <= MAX_ORDER; order++)
        pages += counts.blocks[order] << order;
    EXPECT_EQ(pages, counts.pages);
    EXPECT_EQ(counts.pages, free);

    // Every other page of all memory is free: no pair can be had, and half of nothing is of use.
    chain_fill(&held, GFP_HIGHUSER | __GFP_MEMALLOC, 0, UINT64_MAX);
    chain_fill(&held, GFP_KERNEL | __GFP_MEMALLOC, 0, UINT64_MAX);
    for (struct page **link = &held.first; *link != NULL;) {
        struct page *page = *link;
        if (page_to_pfn(page).value % 2 != 0) {
            link = (struct page **)&page->owner;
            continue;
        }
        *link = page->owner;
        page->owner = freed.first;
        freed.first = page;
    }
    chain_free(&freed);
    free_pages_now();
    counts = zones_free_counts();
    EXPECT_LT(0, counts.pages);
    EXPECT_EQ(counts.blocks[0], counts.pages);
    EXPECT_EQ(unusable_index(&counts, 0), 0);
    EXPECT_EQ(unusable_index(&counts, 1), 1000);
    EXPECT_LE(490, fragmentation_index(&counts, 1));
    EXPECT_NULL(alloc_pages(GFP_NOWAIT | __GFP_MEMALLOC | __GFP_NOWARN, 1));
    chain_free(&held);
}

// The command prints two lines for every zone with RAM, an index for every order in each.
KTEST(fragmentation, command_prints_every_order)
{
    char line[] = "fragmentation";
    unsigned zone_count = 0, lines = 0, points = 0;

    for (unsigned id = 0; id < ZONE_COUNT; id++)
        zone_count += zones[id].present_pages != 0;
    capture_start();
    EXPECT_EQ(shell_run_line(line), 0);
    char *output = capture_stop();
    REQUIRE(output != NULL);
    for (const char *at = output; *at != '\0'; at++) {
        lines += *at == '\n';
        points += *at == '.';
    }
    EXPECT_EQ(lines, 2 * zone_count);
    EXPECT_EQ(points, 2 * zone_count * (MAX_ORDER + 1));
    EXPECT_NOT_NULL(strstr(output, ", unusable  0.000 "));
    EXPECT_NOT_NULL(strstr(output, ", index    -1.000 "));
}
