// mm/phys/granule.c: 4 KB pieces, whatever the kernel page is.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/granule.h>

#include "page_chain.h"

#include <arch/smp.h>
#include <base/string.h>
#include <check/check.h>
#include <mm/zone.h>

#define MANY (4 * GRANULES_PER_PAGE + 3)

static struct granule_pool *const pools[] = { &granule_tables, &granule_stacks };

// Takes the granules that are free in the pool's pages, so that the next one needs a new page; chained
// through their first words.
static void **take_rest(struct granule_pool *pool)
{
    uint64_t pages = pool->page_count;
    void **chain = NULL;

    while (pool->page_count * GRANULES_PER_PAGE > pool->used_count) {
        void **granule = granule_alloc(pool, GFP_KERNEL);
        if (!EXPECT(granule))
            break;
        *granule = chain;
        chain = granule;
    }
    EXPECT_EQ(pool->page_count, pages);
    return chain;
}

static void give_back_rest(struct granule_pool *pool, void **chain)
{
    while (chain != NULL) {
        void **granule = chain;
        chain = *granule;
        granule_free(pool, granule);
    }
}

static bool is_zero(const void *granule)
{
    const uint64_t *words = granule;

    for (unsigned i = 0; i < MMU_PAGE_SIZE / sizeof(*words); i++)
        if (words[i] != 0)
            return false;
    return true;
}

// Granules are apart, aligned, in the direct map, and zero, however dirty they came back.
KTEST(granule, granules_are_apart_and_zero)
{
    static void *granule[MANY];

    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            granule[i] = granule_alloc(&granule_stacks, GFP_KERNEL);
            REQUIRE(granule[i]);
            EXPECT(is_zero(granule[i]));
            EXPECT(is_aligned((uintptr_t)granule[i], MMU_PAGE_SIZE));
            EXPECT_EQ(virt_to_page(granule[i])->type, PAGE_STACK);
            memset(granule[i], (int)i + 1, MMU_PAGE_SIZE);
        }
        for (unsigned i = 0; i < MANY; i++) {
            const uint8_t *bytes = granule[i];
            EXPECT_EQ(bytes[0], (uint8_t)(i + 1));
            EXPECT_EQ(bytes[MMU_PAGE_SIZE - 1], (uint8_t)(i + 1));
        }
        EXPECT_EQ(check_granules(), 0);
        for (unsigned i = 0; i < MANY; i++)
            granule_free(&granule_stacks, granule[(i * 5 + round) % MANY]);
    }
}

_Static_assert(MANY % 5 != 0, "a step of 5 visits every granule");

// A page is filled before another one is taken, and goes back with its last granule.
KTEST(granule, page_lives_as_long_as_its_granules)
{
    for (size_t p = 0; p < array_count(pools); p++) {
        struct granule_pool *pool = pools[p];
        uint64_t pages = pool->page_count, used = pool->used_count;
        void *granule[2 * GRANULES_PER_PAGE], **rest = take_rest(pool);

        EXPECT_EQ(pool->used_count, pages * GRANULES_PER_PAGE);
        for (unsigned i = 0; i < 2 * GRANULES_PER_PAGE; i++) {
            granule[i] = granule_alloc(pool, GFP_KERNEL);
            REQUIRE(granule[i]);
            EXPECT_EQ(pool->page_count, pages + i / GRANULES_PER_PAGE + 1);
            EXPECT_EQ(virt_to_page(granule[i]), virt_to_page(granule[i - i % GRANULES_PER_PAGE]));
            EXPECT_EQ(virt_to_page(granule[i])->refcount, i % GRANULES_PER_PAGE + 1);
        }
        EXPECT_EQ(pool->used_count, (pages + 2) * GRANULES_PER_PAGE);
        for (unsigned i = 0; i < 2 * GRANULES_PER_PAGE; i++) {
            EXPECT_EQ(pool->page_count, pages + 2 - i / GRANULES_PER_PAGE);
            granule_free(pool, granule[i]);
        }
        give_back_rest(pool, rest);
        EXPECT_EQ(pool->page_count, pages);
        EXPECT_EQ(pool->used_count, used);
    }
}

// Without a page there is no granule, and the pool is as it was.
KTEST(granule, fails_cleanly)
{
    struct granule_pool *pool = &granule_stacks;
    struct page_chain chain = { 0 };
    void **rest = take_rest(pool);

    chain_fill(&chain, GFP_KERNEL | __GFP_MEMALLOC, 0, UINT64_MAX);
    EXPECT_NULL(granule_alloc(pool, GFP_KERNEL | __GFP_NOWARN));
    EXPECT_NULL(granule_alloc(pool, GFP_ATOMIC | __GFP_NOWARN));
    chain_free(&chain);
    give_back_rest(pool, rest);
}

static bool refuse_tables(enum fault_site site, gfp_t gfp unused_arg)
{
    return site == FAULT_TABLE;
}

// Failure injection reaches granules too.
KTEST(granule, fault_hook_is_asked)
{
    void *granule;

    mm_set_fault_hook(refuse_tables);
    EXPECT_NULL(granule_alloc(&granule_tables, GFP_KERNEL));
    granule = granule_alloc(&granule_tables, GFP_KERNEL | __GFP_NOFAIL);
    mm_set_fault_hook(NULL);
    REQUIRE(granule);
    granule_free(&granule_tables, granule);
}

// A second free, another pool's granule, an address between granules, and memory that is none: one report
// each.
KTEST(granule, catches_misuse)
{
    char *first = granule_alloc(&granule_stacks, GFP_KERNEL);
    char *second = granule_alloc(&granule_stacks, GFP_KERNEL);
    struct page *page = alloc_page(GFP_KERNEL);
    uint64_t used = granule_stacks.used_count;
    char local;

    REQUIRE(first);
    REQUIRE(second);
    REQUIRE(page);
    EXPECT_MISUSE(1, granule_free(&granule_tables, first));
    EXPECT_MISUSE(1, granule_free(&granule_stacks, first + 8));
    EXPECT_MISUSE(1, granule_free(&granule_stacks, first + MMU_PAGE_SIZE - 1));
    EXPECT_MISUSE(1, granule_free(&granule_stacks, page_to_virt(page)));
    EXPECT_MISUSE(1, granule_free(&granule_stacks, NULL));
    EXPECT_MISUSE(1, granule_free(&granule_stacks, &local));
    EXPECT_MISUSE(1, granule_free(&granule_stacks, (void *)ARCH_DIRECT_BASE));
    EXPECT_MISUSE(1, free_page((void *)align_down((uintptr_t)first, PAGE_SIZE)));
    EXPECT_EQ(granule_stacks.used_count, used);
    granule_free(&granule_stacks, first);
    EXPECT_MISUSE(1, granule_free(&granule_stacks, first));
    granule_free(&granule_stacks, second);
    EXPECT_MISUSE(1, granule_free(&granule_stacks, second));
    EXPECT_EQ(granule_stacks.used_count, used - 2);
    __free_page(page);
}

static struct {
    uint64_t rounds, seed;
    uint64_t damaged;              // (A)
} churn;

static void churn_on_hart(unsigned index, void *unused unused_arg)
{
    struct random random = random_seeded(churn.seed + index);
    uint64_t *granule[24] = { NULL };

    for (uint64_t i = 0; i < churn.rounds + array_count(granule); i++) {
        bool is_over = i >= churn.rounds;
        uint64_t k = is_over ? i - churn.rounds : random_below(&random, array_count(granule));

        if (granule[k] != NULL) {
            uint64_t tag = (uintptr_t)granule[k] + index;
            if (granule[k][0] != tag || granule[k][511] != tag)
                __atomic_fetch_add(&churn.damaged, 1, __ATOMIC_RELAXED);
            granule_free(&granule_stacks, granule[k]);
            granule[k] = NULL;
        } else if (!is_over) {
            granule[k] = granule_alloc(&granule_stacks, GFP_ATOMIC);
            if (granule[k] != NULL)
                granule[k][0] = granule[k][511] = (uintptr_t)granule[k] + index;
        }
    }
}

// Harts that share a pool never share a granule.
KTEST(granule, harts_share_a_pool)
{
    uint64_t used = granule_stacks.used_count;

    churn.rounds = ktest_rounds(20000UL, 2000UL);
    churn.seed = ktest_random();
    churn.damaged = 0;
    ktest_run_on_harts(churn_on_hart, NULL);
    EXPECT_EQ(churn.damaged, 0);
    EXPECT_EQ(granule_stacks.used_count, used);
}
