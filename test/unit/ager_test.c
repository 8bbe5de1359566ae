// mm/check/ager.c: the index that was asked for, the same one again from the same seed, and no trace behind it.
// SPDX-License-Identifier: BSD-2-Clause
#include <ager/ager.h>

#include "capture.h"
#include "memory_left.h"

#include <base/string.h>
#include <debug/shell.h>

// So little memory that a case is quick, and enough groups of any order for every index: 16 of the largest.
#define AGED_BYTES MB(64)

static bool counts_equal(const struct free_counts *a, const struct free_counts *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

// Indices from low to high, of orders from pairs to the largest blocks, are met; what is free then can be had; after
// the release free memory is as whole as it was.
KTEST(ager, reaches_the_index)
{
    static const unsigned targets[] = { 200, 500, 800 };
    const unsigned orders[] = { 1, 2, 4, MAX_ORDER - 1 };
    struct page_chain rest = { 0 };

    leave_memory(&rest, AGED_BYTES);
    struct free_counts before = zones_free_counts();
    for (size_t i = 0; i < array_count(orders); i++)
        for (size_t k = 0; k < array_count(targets); k++) {
            struct ager ager = { 0 };
            struct free_counts counts;
            EXPECT(ager_age(&ager, orders[i], targets[k], ktest_random()));
            counts = zones_free_counts();
            EXPECT_LE(targets[k] - AGER_TOLERANCE, unusable_index(&counts, orders[i]));
            EXPECT_LE(unusable_index(&counts, orders[i]), targets[k] + AGER_TOLERANCE);
            EXPECT_EQ(ager.reached_index, unusable_index(&counts, orders[i]));
            EXPECT_EQ(ager.held_pages, before.pages - counts.pages);
            EXPECT_EQ((uint64_t)fragmentation_index(&counts, orders[i]), (uint64_t)-1000);
            ager_release(&ager);
            EXPECT_EQ(ager.held_pages, 0);
            counts = zones_free_counts();
            EXPECT(counts_equal(&counts, &before));
        }
    chain_free(&rest);
}

// The ends: nothing unusable, and nothing usable at all, so that a request of that order fails.
KTEST(ager, reaches_both_ends)
{
    struct page_chain rest = { 0 };
    struct ager ager = { 0 };
    struct free_counts counts;

    leave_memory(&rest, AGED_BYTES);
    EXPECT(ager_age(&ager, 3, 0, ktest_random()));
    EXPECT_EQ(ager.reached_index, 0);
    ager_release(&ager);
    EXPECT(ager_age(&ager, 3, 1000, ktest_random()));
    EXPECT_EQ(ager.reached_index, 1000);
    counts = zones_free_counts();
    EXPECT_LT(AGED_BYTES >> PAGE_SHIFT >> 2, counts.pages);
    EXPECT_LE(500, fragmentation_index(&counts, 3));
    EXPECT_NULL(alloc_pages(GFP_NOWAIT | __GFP_HIGHMEM | __GFP_MEMALLOC | __GFP_NOWARN, 3));
    ager_release(&ager);
    chain_free(&rest);
}

// A number that depends on which pages of RAM the ager holds.
static uint64_t held_hash(const struct ager *ager)
{
    uint64_t hash = 0xcbf29ce484222325;
    pfn_t at, end;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &at, &end);)
        for (; at.value < end.value; at.value++)
            if (pfn_to_page(at)->type == PAGE_RAW && pfn_to_page(at)->owner == ager)
                hash = (hash ^ at.value) * 0x100000001b3;
    return hash;
}

// One seed leaves the same pages free every time, whatever was allocated between; another seed leaves others.
KTEST(ager, same_seed_same_pages)
{
    struct page_chain rest = { 0 }, churn = { 0 };
    struct ager ager = { 0 };
    uint64_t seed = ktest_random(), hash[3];

    leave_memory(&rest, AGED_BYTES);
    for (unsigned i = 0; i < 3; i++) {
        EXPECT(ager_age(&ager, 4, 500, i < 2 ? seed : seed + 1));
        hash[i] = held_hash(&ager);
        ager_release(&ager);
        chain_fill(&churn, GFP_KERNEL, 2, 300);
        chain_free(&churn);
    }
    EXPECT_EQ(hash[0], hash[1]);
    EXPECT_NE(hash[0], hash[2]);
    chain_free(&rest);
}

// With too few groups for the index it says so, and how near it came.
KTEST(ager, says_when_it_cannot)
{
    struct page_chain rest = { 0 }, one = { 0 };
    struct ager ager = { 0 };

    // All memory taken but one largest block: its order can only be all or nothing.
    REQUIRE(chain_fill(&one, GFP_KERNEL, MAX_ORDER, 1) == 1);
    for (unsigned order = MAX_ORDER + 1; order-- > 0;)
        chain_fill(&rest, GFP_HIGHUSER | __GFP_MEMALLOC, order, UINT64_MAX);
    EXPECT_EQ(free_pages_now(), 0);
    chain_free(&one);
    EXPECT(!ager_age(&ager, MAX_ORDER, 500, ktest_random()));
    EXPECT_EQ(ager.reached_index, 0);
    EXPECT_EQ(ager.held_pages, 0);
    ager_release(&ager);
    chain_free(&rest);
}

static char *run(const char *text, int expected_code)
{
    char line[64];

    (void)string_copy(line, text, sizeof(line));
    capture_start();
    int code = shell_run_line(line);
    char *output = capture_stop();
    EXPECT_EQ(code, expected_code);
    return output != NULL ? output : "";
}

// The command ages, ages anew, and gives back; bad arguments change nothing.
KTEST(ager, command_ages_and_gives_back)
{
    struct free_counts before, counts;

    free_pages_now();
    before = zones_free_counts();
    EXPECT_NOT_NULL(strstr(run("age 3 400 7", 0), "age: unusable index for order 3 is "));
    EXPECT_NOT_NULL(strstr(run("age 2 300", 0), "asked were 300"));
    counts = zones_free_counts();
    EXPECT_LE(280, unusable_index(&counts, 2));
    EXPECT_LE(unusable_index(&counts, 2), 320);
    static const char *const bad[] = {
        "age", "age 3", "age 0 300", "age 99 300", "age 3 1001", "age 3 x", "age 3 300 y", "age 3 300 1 1",
        "age on",
    };
    for (size_t i = 0; i < array_count(bad); i++)
        EXPECT_NOT_NULL(strstr(run(bad[i], 1), "age: wants an order"));
    run("age off", 0);
    counts = zones_free_counts();
    EXPECT(counts_equal(&counts, &before));
}
