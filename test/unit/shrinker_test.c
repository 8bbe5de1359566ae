// mm/phys/shrinker.c: who is asked for how much; and that the shrinkers there are say what they have.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/shrinker.h>

#include "fake_shrinker.h"

#include <mm/slab.h>

static struct fake_shrinker *const one = &fake_shrinker[0], *const three = &fake_shrinker[1];

// Two with three times as much as the other are asked for three times as much, at every priority, and together for
// count / 2^priority of what they have.
KTEST(shrinker, asked_in_proportion)
{
    for (unsigned priority = 0; priority <= SHRINK_PRIORITY_MAX; priority++) {
        uint64_t count = 1 + ktest_random_below(100000), rounds = 2UL << priority;

        fake_shrinkers_reset();
        one->pretended_count = count;
        three->pretended_count = 3 * count;
        for (uint64_t i = 0; i < rounds; i++)
            EXPECT_EQ(shrinkers_run(priority), 0);
        EXPECT_EQ(one->asked_pages, 2 * count);
        EXPECT_EQ(three->asked_pages, 3 * one->asked_pages);
    }
    fake_shrinkers_reset();
}

// Who has too little for a whole page at that priority is asked in his turn, not in every round and not never.
KTEST(shrinker, fractions_are_carried_over)
{
    fake_shrinkers_reset();
    one->pretended_count = 1;
    three->pretended_count = 3;
    for (unsigned i = 0; i < 80; i++)
        shrinkers_run(3);
    EXPECT_EQ(one->calls, 10);
    EXPECT_EQ(one->asked_pages, 10);
    EXPECT_EQ(three->calls, 30);
    EXPECT_EQ(three->asked_pages, 30);
    fake_shrinkers_reset();
}

// What came is what was freed, and is kept in the statistic; who has nothing is not asked.
KTEST(shrinker, freed_pages_are_counted)
{
    uint64_t asked = fake_shrinker_entry(0)->asked_pages, freed = fake_shrinker_entry(0)->freed_pages;

    fake_shrinkers_reset();
    REQUIRE(chain_fill(&one->stash, GFP_KERNEL, 0, 64) == 64);
    one->give_from_call = 1;
    EXPECT_EQ(shrinkers_run(3), 8);
    EXPECT_EQ(shrinkers_run(1), 28);
    EXPECT_EQ(shrinkers_run(0), 28);
    EXPECT_EQ(shrinkers_run(0), 0);
    EXPECT_EQ(one->calls, 3);
    EXPECT_EQ(three->calls, 0);
    EXPECT_EQ(fake_shrinker_entry(0)->asked_pages - asked, 64);
    EXPECT_EQ(fake_shrinker_entry(0)->freed_pages - freed, 64);
    fake_shrinkers_reset();
}

// The caches' count is what they can give, and all of it at priority 0.
KTEST(shrinker, slab_counts_what_it_can_give)
{
    struct kmem_cache *cache = kmem_cache_create("shrinker_test", 1024, 0, SLAB_NO_MAGAZINES, NULL, NULL);
    uint64_t before = kmem_cache_empty_pages();
    void *object;

    REQUIRE(cache);
    object = kmem_cache_alloc(cache, GFP_KERNEL);
    EXPECT_EQ(kmem_cache_empty_pages(), before);
    kmem_cache_free(cache, object);
    EXPECT_EQ(kmem_cache_empty_pages(), before + (1UL << cache->slab_order));
    EXPECT_EQ(shrinkers_run(0), before + (1UL << cache->slab_order));
    EXPECT_EQ(kmem_cache_empty_pages(), 0);
    kmem_cache_destroy(cache);
}
