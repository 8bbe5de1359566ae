// mm/phys/page_alloc.c: what callers are promised.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "page_chain.h"

#include <arch/smp.h>
#include <base/string.h>
#include <mm/zone.h>

#define SCENARIO_PAGES 1024

// Blocks of 1, 2, 4 ... 1024 pages, 1024 / n of each, all given back: the second time around there are just
// as many.
KTEST(page_alloc, second_round_gives_as_much)
{
    uint64_t got[2][MAX_ORDER + 1] = { 0 };

    for (unsigned round = 0; round < 2; round++)
        for (unsigned order = 0; order <= MAX_ORDER; order++) {
            struct page_chain chain = { 0 };
            got[round][order] = chain_fill(&chain, GFP_KERNEL, order, SCENARIO_PAGES >> order);
            chain_free(&chain);
        }
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        EXPECT_EQ(got[0][order], got[1][order]);
        EXPECT_GE(got[0][order], 1);
    }
}

// Blocks of any number of pages from 1 to 1024 by their order, all alive at once as far as memory goes,
// twice.
KTEST(page_alloc, mixed_sizes_twice)
{
    uint64_t got[2] = { 0 }, step = 2 * ktest_random_below(SCENARIO_PAGES / 2) + 1;

    for (unsigned round = 0; round < 2; round++) {
        struct page_chain chain = { 0 };
        for (uint64_t i = 0, at = 0; i < SCENARIO_PAGES; i++, at += step) {
            unsigned order = get_order((at % SCENARIO_PAGES + 1) * PAGE_SIZE);
            if (order <= MAX_ORDER)
                got[round] += chain_fill(&chain, GFP_KERNEL, order, 1);
        }
        chain_free(&chain);
    }
    EXPECT_EQ(got[0], got[1]);
    EXPECT_GE(got[0], 1);
}

// Taken to the last page, the pages are all that were free, each one once; then a request fails and harms
// nothing.
KTEST(page_alloc, exhaustion_gives_every_frame_once)
{
    struct frame_set frames = frame_set_open();
    struct page_chain chain = { 0 };
    uint64_t free = zones_free_pages(), twice = 0;

    REQUIRE(frames.block);
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL | __GFP_MEMALLOC, 0, UINT64_MAX), free);
    EXPECT_EQ(zones_free_pages(), 0);
    for (const struct page *page = chain.first; page != NULL; page = page->owner)
        twice += !frame_set_add(&frames, page);
    EXPECT_EQ(twice, 0);
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        EXPECT_NULL(alloc_pages(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN, order));
    __free_page(chain_pop(&chain));
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL | __GFP_MEMALLOC, 0, UINT64_MAX), 1);
    chain_free(&chain);
    EXPECT_EQ(zones_free_pages(), free);
    frame_set_close(&frames);
}

// Of a block of every order that was dirty, __GFP_ZERO gives zeros, and get_zeroed_page too.
KTEST(page_alloc, zeroed_means_zero)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        uint64_t *words = __get_free_pages(GFP_KERNEL, order), stray = 0;
        REQUIRE(words);
        memset(words, 0xa5, PAGE_SIZE << order);
        free_pages(words, order);
        words = __get_free_pages(GFP_KERNEL | __GFP_ZERO, order);
        REQUIRE(words);
        for (uint64_t i = 0; i < (PAGE_SIZE << order) / sizeof(*words); i++)
            stray |= words[i];
        EXPECT_EQ(stray, 0);
        free_pages(words, order);
    }
    uint8_t *dirty = __get_free_page(GFP_KERNEL), *clean;
    REQUIRE(dirty);
    memset(dirty, 0xa5, PAGE_SIZE);
    free_page(dirty);
    clean = get_zeroed_page(GFP_KERNEL);
    REQUIRE(clean);
    EXPECT_EQ(clean, dirty);
    EXPECT_EQ(clean[0] | clean[PAGE_SIZE / 2] | clean[PAGE_SIZE - 1], 0);
    free_page(clean);
}

// A fresh block is raw, has one reference, no flags, and nothing of its former life in its struct page.
KTEST(page_alloc, fresh_block_is_blank)
{
    struct page *page = alloc_pages(GFP_KERNEL, 1);

    REQUIRE(page);
    page->owner = page;
    page->map = UINT64_MAX;
    page->next = page->prev = 5;
    __free_pages(page, 1);
    page = alloc_pages(GFP_KERNEL, 1);
    REQUIRE(page);
    EXPECT_EQ(page->type, PAGE_RAW);
    EXPECT_EQ(page->order, 1);
    EXPECT_EQ(page->refcount, 1);
    EXPECT_EQ(page->flags, 0);
    EXPECT_EQ(page->next | page->prev, 0);
    EXPECT_NULL(page->owner);
    EXPECT_EQ(page->map, 0);
    EXPECT_EQ(page[1].type, PAGE_TAIL);
    EXPECT_EQ(page[1].refcount, 0);
    __free_pages(page, 1);
}

// The four names of a page lead to each other.
KTEST(page_alloc, names_agree)
{
    char *address = __get_free_pages(GFP_KERNEL, 1);
    struct page *page = virt_to_page(address);

    REQUIRE(address);
    EXPECT_EQ(page_to_virt(page), address);
    EXPECT_EQ(pfn_to_page(page_to_pfn(page)), page);
    EXPECT_EQ(page_to_phys(page).value, virt_to_phys(address).value);
    EXPECT_EQ(virt_to_page(address + PAGE_SIZE + 5), page + 1);
    EXPECT(virt_is_direct(address));
    EXPECT(!virt_is_direct(NULL));
    EXPECT(!virt_is_direct(page));
    free_pages(address, 1);
}

// --- References, compound blocks, splitting ---

// A block lives as long as somebody holds a reference, whoever lets go last.
KTEST(page_alloc, last_reference_frees)
{
    uint64_t free = zones_free_pages();
    struct page *page = alloc_pages(GFP_KERNEL, 2);

    REQUIRE(page);
    page_get(page);
    page_get(page);
    __free_pages(page, 2);
    EXPECT_EQ(page->refcount, 2);
    put_page(page);
    EXPECT_EQ(page->refcount, 1);
    EXPECT_EQ(zones_free_pages(), free - 4);
    put_page(page);
    EXPECT_EQ(zones_free_pages(), free);
}

// Every page of a compound block names its head; once the block is gone, no tail names anything.
KTEST(page_alloc, compound_tails_know_their_head)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, order);
        uint64_t pages = 1UL << order, last = pages - 1;

        REQUIRE(head);
        EXPECT_EQ(page_head(head), head);
        EXPECT_EQ(page_head(head + pages / 2), head);
        EXPECT_EQ(page_head(head + last), head);
        put_page(head + last);
        EXPECT_EQ(page_head(head + last), head + last);
    }

    // Stale names: the same memory again as a plain block, and as a smaller compound one (which it is made
    // for a moment).
    struct page *head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
    REQUIRE(head);
    __free_pages(head, 2);
    head = alloc_pages(GFP_KERNEL, 2);
    REQUIRE(head);
    EXPECT_EQ(page_head(head + 3), head + 3);
    __free_pages(head, 2);
    head = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
    REQUIRE(head);
    head->order = 1;
    EXPECT_EQ(page_head(head + 1), head);
    EXPECT_EQ(page_head(head + 2), head + 2);
    EXPECT_EQ(page_head(head + 3), head + 3);
    head->order = 2;
    __free_pages(head, 2);
}

// The pages of a split block are freed one by one, and the counters know of each.
KTEST(page_alloc, split_makes_single_pages)
{
    struct page_alloc_stats before = page_alloc_stats(), after;
    struct page *head = alloc_pages(GFP_KERNEL, 3);

    REQUIRE(head);
    split_page(head, 3);
    for (unsigned i = 0; i < 8; i++) {
        EXPECT_EQ(head[i].type, PAGE_RAW);
        EXPECT_EQ(head[i].order, 0);
        EXPECT_EQ(head[i].refcount, 1);
        EXPECT(page_zone(&head[i]) == page_zone(head));
    }
    for (unsigned i = 0; i < 8; i++)
        __free_page(&head[i ^ 5]);
    after = page_alloc_stats();
    EXPECT_EQ(after.alloc_count - before.alloc_count, 8);
    EXPECT_EQ(after.free_count - before.free_count, 8);
    split_page(head = alloc_page(GFP_KERNEL), 0);
    __free_page(head);
}

// --- Failure and reclaim ---

static uint64_t countdown, questions;

static bool fail_at_zero(enum fault_site site, gfp_t gfp unused_arg)
{
    questions += site == FAULT_PAGE;
    return site == FAULT_PAGE && countdown-- == 0;
}

// The hook makes just the request fail that it picks, is not asked by what may not fail, and leaves no trace.
KTEST(page_alloc, fault_hook_picks_the_request)
{
    struct page_alloc_stats before = page_alloc_stats();
    struct page_chain chain = { 0 };

    countdown = 3;
    questions = 0;
    mm_fault_hook = fail_at_zero;
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL, 0, 100), 3);
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL, 1, 2), 2);
    EXPECT_EQ(questions, 6);
    countdown = 0;
    EXPECT_NULL(get_zeroed_page(GFP_KERNEL));
    countdown = 0;
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL | __GFP_NOFAIL, 0, 1), 1);
    mm_fault_hook = NULL;
    EXPECT_EQ(questions, 7);
    EXPECT_EQ(page_alloc_stats().failed_count - before.failed_count, 2);
    chain_free(&chain);
}

// A shrinker of ours that stays registered but sleeps unless a case wakes it.
static struct {
    struct page_chain stash;
    uint64_t calls;
    uint64_t give_from_call;       // from this call on it gives a page; 0: sleeps
    bool pretends;                 // says that it freed something although it did not
} helper;

static uint64_t shrink_helper(uint64_t pages_wanted unused_arg)
{
    if (helper.give_from_call == 0)
        return 0;
    helper.calls++;
    if (helper.calls < helper.give_from_call || helper.stash.first == NULL)
        return helper.pretends;
    __free_page(chain_pop(&helper.stash));
    return 1;
}

static void wake_helper(uint64_t give_from_call, bool pretends)
{
    static struct shrinker shrinker = { .name = "test", .shrink = shrink_helper };
    static bool is_registered;

    if (!is_registered)
        shrinker_register(&shrinker);
    is_registered = true;
    helper.calls = 0;
    helper.give_from_call = give_from_call;
    helper.pretends = pretends;
}

// With all memory in the stash and the chain: calls of the shrinker until a request gives up, or -1 when it
// succeeds.
static int64_t calls_until_failure(gfp_t gfp, unsigned order)
{
    struct page *page;

    helper.calls = 0;
    page = alloc_pages(gfp | __GFP_NOWARN, order);
    if (page == NULL)
        return (int64_t)helper.calls;
    __free_pages(page, order);
    return -1;
}

// Only who may sleep reclaims; the patience is what the flags and the size of the block allow.
KTEST(page_alloc, reclaims_as_the_flags_allow)
{
    unsigned costly = get_order(KB(64));
    struct page_chain chain = { 0 };

    chain_fill(&helper.stash, GFP_NOWAIT, 0, 4);
    chain_fill(&chain, GFP_NOWAIT, 0, UINT64_MAX);

    // Nothing comes, and nobody claims it does: one round tells.
    wake_helper(UINT64_MAX, false);
    EXPECT_EQ(calls_until_failure(GFP_KERNEL, 0), 1);
    EXPECT_EQ(calls_until_failure(GFP_NOWAIT, 0), 0);
    EXPECT_EQ(calls_until_failure(GFP_KERNEL | __GFP_NORETRY, 0), 1);

    // Always some progress, never enough.
    wake_helper(UINT64_MAX, true);
    EXPECT_EQ(calls_until_failure(GFP_KERNEL, 0), 16);
    EXPECT_EQ(calls_until_failure(GFP_KERNEL | __GFP_NORETRY, 0), 1);
    EXPECT_EQ(calls_until_failure(GFP_KERNEL | __GFP_RETRY_MAYFAIL, costly + 1), 16);
    EXPECT_EQ(calls_until_failure(GFP_KERNEL, costly + 1), 1);
    EXPECT_EQ(calls_until_failure(GFP_NOWAIT, 0), 0);

    // Help that comes is used; what may not fail waits for it, however long.
    wake_helper(1, false);
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL, 0, 1), 1);
    EXPECT_EQ(helper.calls, 1);
    wake_helper(10, true);
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL, 0, 1), 1);
    EXPECT_EQ(helper.calls, 10);
    wake_helper(40, false);
    EXPECT_EQ(chain_fill(&chain, GFP_KERNEL | __GFP_NOFAIL, 0, 1), 1);
    EXPECT_EQ(helper.calls, 40);

    wake_helper(0, false);
    chain_free(&chain);
    chain_free(&helper.stash);
}

// A failed request is counted, whoever asked, and NULL is all that happens. (One report a second goes to the
// log.)
KTEST(page_alloc, failure_is_counted)
{
    struct page_alloc_stats before = page_alloc_stats();
    struct page_chain chain = { 0 };

    chain_fill(&chain, GFP_NOWAIT | __GFP_MEMALLOC, 0, UINT64_MAX);
    EXPECT_NULL(alloc_page(GFP_KERNEL));
    EXPECT_NULL(__get_free_pages(GFP_ATOMIC, 1));
    EXPECT_NULL(get_zeroed_page(GFP_NOWAIT));
    chain_free(&chain);
    EXPECT_EQ(page_alloc_stats().failed_count - before.failed_count, 4);
}

// --- Misuse ---

// Flags that do not exist or contradict each other, and orders there are not: one report each, and NULL.
KTEST(page_alloc, refuses_bad_requests)
{
    static const gfp_t bad[] = {
        GFP_KERNEL | (gfp_t)1 << 15, GFP_KERNEL | (gfp_t)1 << 31, GFP_KERNEL | __GFP_DMA | __GFP_DMA32,
        GFP_HIGHUSER | __GFP_DMA, GFP_KERNEL | __GFP_NOFAIL | __GFP_NORETRY, GFP_NOWAIT | __GFP_NOFAIL,
        GFP_ATOMIC | __GFP_NOFAIL, GFP_KERNEL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL,
        GFP_KERNEL | __GFP_RETRY_MAYFAIL | __GFP_NOFAIL, GFP_KERNEL | __GFP_MOVABLE | __GFP_RECLAIMABLE,
    };
    uint64_t free = zones_free_pages();

    for (size_t i = 0; i < array_count(bad); i++) {
        EXPECT_MISUSE(1, EXPECT_NULL(alloc_page(bad[i])));
        EXPECT_MISUSE(1, EXPECT_NULL(alloc_page(bad[i] | __GFP_NOWARN)));
    }
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages(GFP_KERNEL, MAX_ORDER + 1)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages(GFP_ATOMIC, 64)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages(GFP_KERNEL | __GFP_NOFAIL, UINT32_MAX)));
    EXPECT_MISUSE(1, EXPECT_NULL(__get_free_pages(GFP_KERNEL, MAX_ORDER + 1)));
    EXPECT_MISUSE(1, EXPECT_NULL(__get_free_page(GFP_HIGHUSER)));
    EXPECT_MISUSE(1, EXPECT_NULL(get_zeroed_page(GFP_HIGHUSER)));
    EXPECT_EQ(zones_free_pages(), free);
}

// Every flag on its own that there is, with a way to be used, is accepted.
KTEST(page_alloc, accepts_every_flag)
{
    for (gfp_t flag = 1; flag & __GFP_ALL; flag <<= 1) {
        struct page *page = alloc_page(GFP_KERNEL | flag);
        if (!(flag & __GFP_DMA32) || zones[ZONE_DMA32].present_pages > 0)
            EXPECT_NOT_NULL(page);
        __free_pages(page, 0);
    }
}

// A block freed twice, in any of the ways to free, is reported each time and freed once.
KTEST(page_alloc, catches_a_second_free)
{
    uint64_t free = zones_free_pages();

    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *block = alloc_pages(GFP_KERNEL, order);
        REQUIRE(block);
        __free_pages(block, order);
        EXPECT_MISUSE(1, __free_pages(block, order));
        EXPECT_MISUSE(1, free_pages(page_to_virt(block), order));
        EXPECT_MISUSE(1, put_page(block));
        EXPECT_EQ(zones_free_pages(), free);
    }

    // On its way from the last reference to the free list, when another hart frees it too.
    struct page *page = alloc_page(GFP_KERNEL);
    REQUIRE(page);
    page->refcount = 0;
    EXPECT_MISUSE(1, __free_page(page));
    EXPECT_EQ(page->refcount, 0);
    page->refcount = 1;
    __free_page(page);

    // With the neighbour alive the page stays a block of its own, so it is found free, not inside another.
    struct page *pair = alloc_pages(GFP_KERNEL, 1);
    REQUIRE(pair);
    split_page(pair, 1);
    __free_page(pair + 1);
    EXPECT_MISUSE(1, __free_page(pair + 1));
    __free_page(pair);
    EXPECT_MISUSE(1, __free_page(pair + 1));
    EXPECT_EQ(zones_free_pages(), free);
}

// A wrong order, the middle of a block and a block that was cut up are refused, and the block is still whole.
KTEST(page_alloc, catches_the_wrong_block)
{
    struct page *page = alloc_pages(GFP_KERNEL, 2);

    REQUIRE(page);
    for (unsigned order = 0; order <= MAX_ORDER + 1; order++)
        if (order != 2)
            EXPECT_MISUSE(1, __free_pages(page, order));
    EXPECT_MISUSE(1, __free_pages(page, 1000));
    EXPECT_MISUSE(1, __free_page(page + 1));
    EXPECT_MISUSE(1, __free_pages(page + 2, 1));
    EXPECT_MISUSE(1, put_page(page + 3));
    EXPECT_MISUSE(1, free_page((char *)page_to_virt(page) + PAGE_SIZE));
    EXPECT_EQ(page->refcount, 1);
    split_page(page, 2);
    EXPECT_MISUSE(1, __free_pages(page, 2));
    for (unsigned i = 0; i < 4; i++)
        __free_page(page + i);
}

// Pointers that name no page, or one that was never to be had.
KTEST(page_alloc, catches_strangers)
{
    struct page *page = alloc_page(GFP_KERNEL);
    char *address, local;

    REQUIRE(page);
    address = page_to_virt(page);
    EXPECT_MISUSE(1, __free_page((struct page *)((char *)page + 8)));
    EXPECT_MISUSE(1, __free_page((struct page *)address));
    EXPECT_MISUSE(1, __free_page(MEMMAP + MAX_PFN));
    EXPECT_MISUSE(1, __free_page(MEMMAP - 1));
    EXPECT_MISUSE(1, __free_page(MEMMAP));
    EXPECT_MISUSE(1, __free_page(MEMMAP + MAX_PFN - 1));
    EXPECT_MISUSE(1, put_page((struct page *)((char *)page + 1)));
    EXPECT_MISUSE(1, put_page(NULL));
    EXPECT_MISUSE(1, free_page(address + 1));
    EXPECT_MISUSE(1, free_page(address + PAGE_SIZE - 1));
    EXPECT_MISUSE(1, free_page(&local));
    EXPECT_MISUSE(1, free_page(page));
    EXPECT_MISUSE(1, free_page((void *)ARCH_DIRECT_BASE));
    EXPECT_MISUSE(1, free_page((void *)(ARCH_DIRECT_BASE + ARCH_PHYS_LIMIT)));
    __free_pages(NULL, 0);
    __free_pages(NULL, 77);
    free_pages(NULL, 3);
    __free_page(page);
}

// Memory with an owner is the owner's: slabs, large objects, tables, stacks, and what is reserved for ever.
KTEST(page_alloc, catches_pages_of_others)
{
    static const enum page_type owned[] = { PAGE_SLAB, PAGE_KMALLOC, PAGE_VMALLOC, PAGE_TABLE, PAGE_STACK };
    struct page *page = alloc_page(GFP_KERNEL);
    unsigned reserved = 0;
    pfn_t at, end;

    REQUIRE(page);
    for (size_t i = 0; i < array_count(owned); i++) {
        page_set_type(page, owned[i]);
        EXPECT_MISUSE(1, __free_page(page));
        EXPECT_MISUSE(1, put_page(page));
        EXPECT_MISUSE(1, split_page(page, 0));
    }
    page_set_type(page, PAGE_RAW);
    __free_page(page);

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &at, &end);)
        while (at.value < end.value) {
            page = pfn_to_page(at);
            if (page->type >= PAGE_MEMMAP && reserved++ < 20)
                EXPECT_MISUSE(1, __free_pages(page, page->order));
            at.value += 1UL << page->order;
        }
    EXPECT_GE(reserved, 1);
}

// Only a plain block of that order with one reference can be split.
KTEST(page_alloc, catches_bad_splits)
{
    struct page *page = alloc_pages(GFP_KERNEL, 2), *compound = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);

    REQUIRE(page);
    REQUIRE(compound);
    EXPECT_MISUSE(1, split_page(page, 1));
    EXPECT_MISUSE(1, split_page(page + 1, 0));
    EXPECT_MISUSE(1, split_page(compound, 1));
    EXPECT_MISUSE(1, split_page((struct page *)page_to_virt(page), 2));
    page_get(page);
    EXPECT_MISUSE(1, split_page(page, 2));
    put_page(page);
    EXPECT_EQ(page->order, 2);
    __free_pages(page, 2);
    EXPECT_MISUSE(1, split_page(page, 2));
    __free_pages(compound, 1);
}

// --- Many harts ---

#define CHURN_SLOTS 64

static struct {
    uint64_t operations, seed;
    uint64_t damaged;              // (A) pages that another hart wrote to
    uint64_t refused;              // (A)
} churn;

// Every 64th word says whose page it is.
static void tag_block(struct page *page, uint64_t tag)
{
    uint64_t *words = page_to_virt(page);

    for (uint64_t i = 0; i < (PAGE_SIZE << page->order) / sizeof(*words); i += 64)
        words[i] = tag ^ i;
}

static bool tag_stands(const struct page *page, uint64_t tag)
{
    const uint64_t *words = page_to_virt(page);

    for (uint64_t i = 0; i < (PAGE_SIZE << page->order) / sizeof(*words); i += 64)
        if (words[i] != (tag ^ i))
            return false;
    return true;
}

static void churn_on_hart(unsigned index, void *unused unused_arg)
{
    struct random random = random_seeded(churn.seed + index);
    struct { struct page *page; uint64_t tag; } slot[CHURN_SLOTS] = { 0 };
    uint64_t damaged = 0, refused = 0;

    for (uint64_t i = 0; i < churn.operations + CHURN_SLOTS; i++) {
        bool is_over = i >= churn.operations;
        unsigned k = (unsigned)(is_over ? i - churn.operations : random_below(&random, CHURN_SLOTS));

        // Three frees to five allocations, as long as the slots allow.
        if (slot[k].page != NULL && (is_over || random_below(&random, 8) < 3)) {
            damaged += !tag_stands(slot[k].page, slot[k].tag);
            __free_pages(slot[k].page, slot[k].page->order);
            slot[k].page = NULL;
        } else if (slot[k].page == NULL && !is_over) {
            slot[k].page = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, (unsigned)random_below(&random, 4));
            slot[k].tag = random_next(&random);
            if (slot[k].page != NULL)
                tag_block(slot[k].page, slot[k].tag);
            else
                refused++;
        }
    }
    __atomic_fetch_add(&churn.damaged, damaged, __ATOMIC_RELAXED);
    __atomic_fetch_add(&churn.refused, refused, __ATOMIC_RELAXED);
}

// However many harts take and give back blocks at once, nobody's memory is written to by another.
KTEST(page_alloc, harts_never_share_a_block)
{
    uint64_t free = zones_free_pages();

    churn.operations = ktest_rounds(40000UL, 5000UL);
    churn.seed = ktest_random();
    churn.damaged = churn.refused = 0;
    ktest_run_on_harts(churn_on_hart, NULL);
    EXPECT_EQ(churn.damaged, 0);
    EXPECT_EQ(zones_free_pages(), free);
}

static struct page_chain chain_of_hart[MAX_HARTS];

static void exhaust_on_hart(unsigned index, void *unused unused_arg)
{
    chain_of_hart[index] = (struct page_chain){ 0 };
    chain_fill(&chain_of_hart[index], GFP_KERNEL | __GFP_MEMALLOC, 0, UINT64_MAX);
}

static void give_back_on_hart(unsigned index, void *unused unused_arg)
{
    chain_free(&chain_of_hart[index]);
}

// All harts together take every free frame, each one once, and give all of them back at once.
KTEST(page_alloc, harts_exhaust_memory_together)
{
    struct frame_set frames = frame_set_open();
    uint64_t free = zones_free_pages(), taken = 0, twice = 0;
    unsigned harts;

    REQUIRE(frames.block);
    harts = ktest_run_on_harts(exhaust_on_hart, NULL);
    EXPECT_EQ(zones_free_pages(), 0);
    for (unsigned index = 0; index < harts; index++) {
        taken += chain_of_hart[index].pages;
        for (const struct page *page = chain_of_hart[index].first; page != NULL; page = page->owner)
            twice += !frame_set_add(&frames, page);
    }
    EXPECT_EQ(taken, free);
    EXPECT_EQ(twice, 0);
    EXPECT_NULL(alloc_page(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN));
    ktest_run_on_harts(give_back_on_hart, NULL);
    EXPECT_EQ(zones_free_pages(), free);
    frame_set_close(&frames);
}

static struct page *contested;

static void free_contested(unsigned index unused_arg, void *unused unused_arg)
{
    __free_page(contested);
}

// A page that all harts free at once is freed by one of them; the others are reported.
KTEST(page_alloc, concurrent_double_free_is_caught)
{
    for (unsigned round = 0; round < ktest_rounds(50, 5); round++) {
        uint64_t free = zones_free_pages();

        contested = alloc_page(GFP_KERNEL);
        REQUIRE(contested);
        EXPECT_MISUSE(arch_hart_count() - 1, ktest_run_on_harts(free_contested, NULL));
        EXPECT_EQ(zones_free_pages(), free);
    }
}
