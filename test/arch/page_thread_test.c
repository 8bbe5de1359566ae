// The page allocator between threads that are preempted anywhere: nobody's pages are written to by another.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include <ktest/free_pages.h>
#include <ktest/ktest.h>
#include <task/thread.h>

#define THREADS 8
#define MOST_PAGES 256
#define HELD 4                     // blocks that a thread holds at once

struct owner {
    uint64_t tag, most_pages;
    unsigned rounds;
    uint64_t blocks, damaged;
};

// Every 64th word, and the last one.
static bool is_word_tagged(uint64_t i, uint64_t words) { return i % 64 == 0 || i == words - 1; }

static void fill(uint64_t *block, uint64_t pages, uint64_t tag)
{
    uint64_t words = pages * PAGE_SIZE / sizeof(*block);

    for (uint64_t i = 0; i < words; i++)
        if (is_word_tagged(i, words))
            block[i] = tag + i;
}

static uint64_t count_damage(const uint64_t *block, uint64_t pages, uint64_t tag)
{
    uint64_t words = pages * PAGE_SIZE / sizeof(*block), damaged = 0;

    for (uint64_t i = 0; i < words; i++)
        if (is_word_tagged(i, words))
            damaged += block[i] != tag + i;
    return damaged;
}

static void own_blocks(void *argument)
{
    struct owner *owner = argument;
    struct random random = random_seeded(owner->tag);

    for (unsigned round = 0; round < owner->rounds; round++) {
        uint64_t *block[HELD], pages[HELD];

        for (unsigned i = 0; i < HELD; i++) {
            pages[i] = 1 + random_below(&random, owner->most_pages);
            block[i] = alloc_pages_exact(pages[i] * PAGE_SIZE, GFP_KERNEL | __GFP_NOWARN);
            if (block[i] != NULL)
                fill(block[i], pages[i], owner->tag + i);
        }
        for (unsigned i = 0; i < HELD; i++) {
            if (block[i] == NULL)
                continue;
            owner->blocks++;
            owner->damaged += count_damage(block[i], pages[i], owner->tag + i);
            free_pages_exact(block[i], pages[i] * PAGE_SIZE);
        }
    }
}

// Eight threads hold blocks of 1 to 256 pages, filled with what only they write; when they give them back, all of it is
// still there.
KTEST(page_scenario, threads_keep_their_pages)
{
    struct thread *threads[THREADS];
    struct owner owners[THREADS];
    uint64_t free = free_pages_now();

    for (unsigned i = 0; i < THREADS; i++) {
        // In the largest pages that is half of what QEMU's default machine has.
        owners[i] = (struct owner){
            .tag = ktest_random(),
            .most_pages = min_of((uint64_t)MOST_PAGES, 1UL << MAX_ORDER),
            .rounds = ktest_rounds(200, 10),
        };
        threads[i] = thread_create("owner", own_blocks, &owners[i]);
        REQUIRE(threads[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        thread_join(threads[i]);
        EXPECT_LE(1, owners[i].blocks);
        EXPECT_EQ(owners[i].damaged, 0);
    }
    EXPECT_LE(free_pages_now(), free);
}
