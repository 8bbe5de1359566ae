// test/study/page_bound.c, measure.c and account.c: who shares a page with whom, and what is counted.
// SPDX-License-Identifier: BSD-2-Clause
#include "page_bound.h"

#include "account.h"
#include "measure.h"
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/slab.h>

#define REQUEST 4096
#define PER_PAGE (PAGE_SIZE / REQUEST)

static struct page *request(uint32_t bytes, gfp_t gfp, unsigned hart)
{
    return page_bound_alloc(bytes, GFP_KERNEL | gfp, hart);
}

// In the bound own, neighbours have pages of their own, and large requests the order that holds them.
KTEST(page_bound, own_shares_nothing)
{
    page_bound_choose(PAGE_BOUND_OWN);
    struct page *a = request(REQUEST, 0, 0), *b = request(REQUEST, 0, 0), *c = request(4 * PAGE_SIZE, 0, 0);

    REQUIRE(a && b && c);
    EXPECT_NE(a, b);
    EXPECT_EQ(c->order, 2);
    EXPECT_EQ(page_bound_held_bytes(), 6 * PAGE_SIZE);
    EXPECT_LE(2, page_bound_largest_order());
    page_bound_free(b, REQUEST);
    page_bound_free(c, 4 * PAGE_SIZE);
    page_bound_free(a, REQUEST);
    EXPECT_EQ(page_bound_held_bytes(), 0);
}

// In the bound packed, the requests of one kind and hart fill a page, and it lives as long as one of them.
KTEST(page_bound, packed_fills_a_page)
{
    struct page *part[PER_PAGE + 1];

    page_bound_choose(PAGE_BOUND_PACKED);
    for (unsigned i = 0; i <= PER_PAGE; i++) {
        part[i] = request(REQUEST, __GFP_MOVABLE, 0);
        REQUIRE(part[i]);
        EXPECT_EQ(part[i] == part[0], i < PER_PAGE);
    }
    EXPECT_EQ(page_bound_held_bytes(), 2 * PAGE_SIZE);
    for (unsigned i = 0; i < PER_PAGE; i++) {
        EXPECT_EQ(page_count(part[0]), PER_PAGE - i);
        page_bound_free(part[i], REQUEST);
    }
    EXPECT_EQ(page_bound_held_bytes(), PAGE_SIZE);
    page_bound_free(part[PER_PAGE], REQUEST);
    EXPECT_EQ(page_bound_held_bytes(), 0);
}

// Kinds and harts do not mix; a request as large as a page has one of its own.
KTEST(page_bound, packed_keeps_kinds_apart)
{
    static const gfp_t kinds[] = {
        0, __GFP_MOVABLE, __GFP_RECLAIMABLE, __GFP_ZERO, __GFP_ZERO | __GFP_MOVABLE,
    };
    struct page *pages[array_count(kinds)], *elsewhere, *large;

    page_bound_choose(PAGE_BOUND_PACKED);
    for (unsigned i = 0; i < array_count(kinds); i++) {
        pages[i] = request(REQUEST, kinds[i], 0);
        REQUIRE(pages[i]);
        for (unsigned j = 0; j < i; j++)
            EXPECT_NE(pages[i], pages[j]);
    }
    elsewhere = request(REQUEST, 0, 1);
    large = request(PAGE_SIZE, 0, 0);
    REQUIRE(elsewhere && large);
    EXPECT_NE(elsewhere, pages[0]);
    EXPECT_NE(large, pages[0]);
    page_bound_free(elsewhere, REQUEST);
    page_bound_free(large, PAGE_SIZE);
    for (unsigned i = 0; i < array_count(kinds); i++)
        page_bound_free(pages[i], REQUEST);
    EXPECT_EQ(page_bound_held_bytes(), 0);
}

// Parts are aligned to their size; one that does not fit opens the next page; a dead open page is forgotten.
KTEST(page_bound, packed_aligns_and_forgets)
{
    if (PER_PAGE < 4)
        ktest_skip("a page holds fewer than four requests");
    page_bound_choose(PAGE_BOUND_PACKED);
    struct page *small = request(PAGE_SIZE / 4, 0, 0), *half = request(PAGE_SIZE / 2, 0, 0);
    struct page *next = request(PAGE_SIZE / 4, 0, 0);

    REQUIRE(small && half && next);
    EXPECT_EQ(half, small);
    EXPECT_NE(next, small);
    page_bound_free(next, PAGE_SIZE / 4);
    struct page *fresh = request(PAGE_SIZE / 4, 0, 0);
    REQUIRE(fresh);
    EXPECT_EQ(page_count(fresh), 1);
    page_bound_free(small, PAGE_SIZE / 4);
    page_bound_free(half, PAGE_SIZE / 2);
    page_bound_free(fresh, PAGE_SIZE / 4);
    EXPECT_EQ(page_bound_held_bytes(), 0);
}

// A zeroed page comes zeroed, whole or in parts.
KTEST(page_bound, zeroes_when_asked)
{
    for (unsigned round = 0; round < 2; round++) {
        page_bound_choose(round ? PAGE_BOUND_PACKED : PAGE_BOUND_OWN);
        struct page *page = request(REQUEST, __GFP_ZERO, 0);
        REQUIRE(page);
        const uint64_t *words = page_to_virt(page);
        uint64_t any = 0;
        for (unsigned i = 0; i < PAGE_SIZE / sizeof any; i++)
            any |= words[i];
        EXPECT_EQ(any, 0);
        memset(page_to_virt(page), 0x5a, PAGE_SIZE);
        page_bound_free(page, REQUEST);
    }
}

// What measuring costs is not counted; the histogram is by powers of two.
KTEST(measure, counts_without_its_own_cost)
{
    const struct measure *measure = measure_of(MEASURE_AREA_FREE);
    uint64_t empty_cost = measure_calibrate();
    struct measure before = *measure;

    measure_add(MEASURE_AREA_FREE, 1000, 1000 + empty_cost, false);
    EXPECT_EQ(measure->instructions, before.instructions);
    EXPECT_EQ(measure->min, 0);
    EXPECT_EQ(measure->log2[0], before.log2[0] + 1);
    measure_add(MEASURE_AREA_FREE, 1000, 1000 + empty_cost + 100, true);
    EXPECT_EQ(measure->instructions, before.instructions + 100);
    EXPECT_LE(100, measure->max);
    EXPECT_EQ(measure->log2[6], before.log2[6] + 1);
    EXPECT_EQ(measure->count, before.count + 2);
    EXPECT_EQ(measure->failed, before.failed + 1);
}

// The index is the share of free memory in blocks too small for the order.
KTEST(account, unusable_free_space)
{
    struct account_sample sample = { .free_blocks = { 6, 5, 1 } };

    EXPECT_EQ(account_unusable(&sample, 0), 0);
    EXPECT_EQ(account_unusable(&sample, 1), 300);
    EXPECT_EQ(account_unusable(&sample, 2), 800);
    EXPECT_EQ(account_unusable(&sample, 3), 1000);
    sample = (struct account_sample){ .event = 0 };
    EXPECT_EQ(account_unusable(&sample, 1), 0);
}

static void add_free_objects(struct kmem_cache *cache, void *sum)
{
    *(uint64_t *)sum += cache->slab_count * cache->objects_per_slab - kmem_cache_live_objects(cache);
}

// After the filling no slab has a free object, so that a new object needs a new slab.
KTEST(account, fills_every_slab)
{
    uint64_t free_objects = 0;

    REQUIRE(account_fill_slabs());
    kmem_cache_for_each(add_free_objects, &free_objects);
    EXPECT_EQ(free_objects, 0);
    account_empty_slabs();
}
