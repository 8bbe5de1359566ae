// mm/phys/page_alloc.c on many harts at once.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "capture.h"
#include "page_chain.h"
#include "sync_support.h"

#include <base/string.h>
#include <mm/page_lists.h>
#include <mm/pressure.h>
#include <mm/zone.h>

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
    uint64_t free = free_pages_now();

    churn.operations = ktest_rounds(40000UL, 5000UL);
    churn.seed = ktest_random();
    churn.damaged = churn.refused = 0;
    ktest_run_on_harts(churn_on_hart, NULL);
    EXPECT_EQ(churn.damaged, 0);
    EXPECT_EQ(free_pages_now(), free);
}

static struct page_chain chain_of_hart[MAX_HARTS];

static void exhaust_on_hart(unsigned index, void *unused unused_arg)
{
    chain_of_hart[index] = (struct page_chain){ 0 };
    chain_fill(&chain_of_hart[index], GFP_HIGHUSER | __GFP_MEMALLOC, 0, UINT64_MAX);
}

static void give_back_on_hart(unsigned index, void *unused unused_arg)
{
    chain_free(&chain_of_hart[index]);
}

// All harts together take every free frame, each one once, and give all of them back at once.
KTEST(page_alloc, harts_exhaust_memory_together)
{
    struct frame_set frames = frame_set_open();
    uint64_t free = free_pages_now(), taken = 0, twice = 0;
    unsigned harts;

    REQUIRE(frames.block);
    harts = ktest_run_on_harts(exhaust_on_hart, NULL);
    EXPECT_EQ(free_pages_now(), 0);
    for (unsigned index = 0; index < harts; index++) {
        taken += chain_of_hart[index].pages;
        for (const struct page *page = chain_of_hart[index].first; page != NULL; page = page->owner)
            twice += !frame_set_add(&frames, page);
    }
    EXPECT_EQ(taken, free);
    EXPECT_EQ(twice, 0);
    EXPECT_NULL(alloc_page(GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOWARN));
    ktest_run_on_harts(give_back_on_hart, NULL);
    EXPECT_EQ(free_pages_now(), free);
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
        uint64_t free = free_pages_now();

        contested = alloc_page(GFP_KERNEL);
        REQUIRE(contested);
        EXPECT_MISUSE(arch_hart_count() - 1, ktest_run_on_harts(free_contested, NULL));
        EXPECT_EQ(free_pages_now(), free);
    }
}

#define SWEPT_PAGES 1024

static struct {
    struct page *page[SWEPT_PAGES];
    uint64_t count, tries;         // tries: (A)
    unsigned arrived;              // (A)
} sweep;

// All harts go over the pages at the same time and free each that nobody has freed yet, as far as they can see. One
// that is interrupted in the midst of a free is overtaken by the others, at the very page.
static void sweep_on_hart(unsigned index unused_arg, void *unused unused_arg)
{
    uint64_t tries = 0;

    ADD(sweep.arrived, 1);
    for (unsigned spin = 0; LOAD(sweep.arrived) < arch_hart_count(); spin++)
        if (spin > 2000)
            arch_relax(spin);
    for (uint64_t i = 0; i < sweep.count; i++) {
        if ((__atomic_load_n(&sweep.page[i]->state, __ATOMIC_RELAXED) & 0xff) != PAGE_RAW)
            continue;
        tries++;
        __free_page(sweep.page[i]);
    }
    ADD(sweep.tries, tries);
}

// Of all who free a page at the same moment one succeeds, and each of the others is reported: for plain pages, which
// are freed in one step, and for those that take the way through all checks. (The reports are not shown.)
KTEST(page_alloc, racing_frees_free_a_page_once)
{
    static const gfp_t kinds[] = { GFP_KERNEL, GFP_KERNEL | __GFP_MOVABLE };
    uint64_t free = free_pages_now();

    for (unsigned round = 0; round < ktest_rounds(200, 128); round++) {
        sweep.count = min_of(zones_free_direct_pages() / 4, (uint64_t)SWEPT_PAGES);
        sweep.tries = sweep.arrived = 0;
        for (uint64_t i = 0; i < sweep.count; i++) {
            sweep.page[i] = alloc_page(kinds[round % array_count(kinds)]);
            REQUIRE(sweep.page[i]);
        }
        EXPECT_MISUSE(sweep.tries - sweep.count, {
            capture_start();
            ktest_run_on_harts(sweep_on_hart, NULL);
            (void)capture_stop();
        });
        if (!EXPECT_EQ(free_pages_now(), free))
            return;
    }
}

// --- The last pages, in another hart's list

static struct {
    struct page_chain chain;
    struct page *page;
    uint32_t is_kept, is_answered; // (A)
} last;

static void ask_beside_keeper(unsigned index, void *unused unused_arg)
{
    if (index == 1) {
        chain_free(&last.chain);
        STORE(last.is_kept, 1);
        SPIN_UNTIL(LOAD(last.is_answered));
    }
    if (index != 0)
        return;
    SPIN_UNTIL(LOAD(last.is_kept));
    EXPECT(!pressure_has_room(GFP_KERNEL, 0));
    EXPECT_GE(page_lists_pages(&zones[zone_of_kernel]), 1);
    last.page = alloc_page(GFP_KERNEL | __GFP_NOWARN);
    STORE(last.is_answered, 1);
}

// When all that is left lies in another hart's list, who may sleep gets it, without that hart's doing.
KTEST(page_alloc, last_pages_in_another_harts_list)
{
    const struct page_list *list = page_list_of(0, 0);
    uint64_t free = free_pages_now(), kept = min_of((uint64_t)(list->limit - list->bottom), 4UL);
    struct page_chain rest = { 0 };

    if (arch_hart_count() < 2)
        ktest_skip("takes two harts");
    if (kept == 0)
        ktest_skip("the zone is too small for lists");
    memset(&last, 0, sizeof(last));
    EXPECT_EQ(chain_fill(&last.chain, GFP_KERNEL, 0, kept), kept);
    chain_fill(&rest, GFP_KERNEL, 0, UINT64_MAX);
    // The request that failed asked the others for their lists: they are not to do so later.
    (void)free_pages_now();
    ktest_run_on_harts(ask_beside_keeper, NULL);
    EXPECT_NOT_NULL(last.page);
    __free_pages(last.page, 0);
    chain_free(&rest);
    EXPECT_EQ(free_pages_now(), free);
}
