// mm/include/mm/page_ops.h and the port's part of it: all of the page, and nothing beside it.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_ops.h>

#include <arch/page_ops.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/page_alloc.h>

#define BLOCK_ORDER 2
#define BLOCK_BYTES (PAGE_SIZE << BLOCK_ORDER)
#define WORDS_PER_PAGE (PAGE_SIZE / sizeof(uint64_t))

// Every word of a block tells where it stands, and none is 0.
static uint64_t *block_open(uint64_t salt)
{
    uint64_t *words = __get_free_pages(GFP_KERNEL, BLOCK_ORDER);

    for (uint64_t i = 0; words && i < BLOCK_BYTES / sizeof *words; i++)
        words[i] = salt ^ (i + 1);
    return words;
}

static bool is_kept(const uint64_t *words, uint64_t salt, uint64_t first, uint64_t past)
{
    for (uint64_t i = first; i < past; i++)
        if (words[i] != (salt ^ (i + 1)))
            return false;
    return true;
}

static bool is_clear(const uint64_t *words, uint64_t first, uint64_t past)
{
    for (uint64_t i = first; i < past; i++)
        if (words[i] != 0)
            return false;
    return true;
}

// A cleared page is zero from its first to its last byte, and its neighbours are as they were.
KTEST(page_ops, clears_one_page)
{
    const uint64_t salt = 0xa5UL << 56;
    uint64_t *words = block_open(salt);

    REQUIRE(words);
    clear_page(words + WORDS_PER_PAGE);
    EXPECT(is_kept(words, salt, 0, WORDS_PER_PAGE));
    EXPECT(is_clear(words, WORDS_PER_PAGE, 2 * WORDS_PER_PAGE));
    EXPECT(is_kept(words, salt, 2 * WORDS_PER_PAGE, 4 * WORDS_PER_PAGE));
    free_pages(words, BLOCK_ORDER);
}

// A copied page equals the first in every word; the source and the neighbours of the copy are as they were.
KTEST(page_ops, copies_one_page)
{
    const uint64_t salt = 0x5aUL << 56, other_salt = 0xc3UL << 56;
    uint64_t *to = block_open(salt), *from = block_open(other_salt);

    if (EXPECT(to && from)) {
        copy_page(to + 2 * WORDS_PER_PAGE, from + WORDS_PER_PAGE);
        EXPECT(memcmp(to + 2 * WORDS_PER_PAGE, from + WORDS_PER_PAGE, PAGE_SIZE) == 0);
        EXPECT(is_kept(to, salt, 0, 2 * WORDS_PER_PAGE));
        EXPECT(is_kept(to, salt, 3 * WORDS_PER_PAGE, 4 * WORDS_PER_PAGE));
        EXPECT(is_kept(from, other_salt, 0, 4 * WORDS_PER_PAGE));
    }
    free_pages(to, BLOCK_ORDER);
    free_pages(from, BLOCK_ORDER);
}

// Any number of granules is cleared, and not a word more on either side.
KTEST(page_ops, clears_granules)
{
    const uint64_t salt = 0x69UL << 56, words_per_granule = MMU_PAGE_SIZE / sizeof(uint64_t);
    const uint64_t granules = BLOCK_BYTES / MMU_PAGE_SIZE;

    for (uint64_t count = 1; count + 2 <= granules; count++) {
        uint64_t *words = block_open(salt);
        REQUIRE(words);
        arch_clear_granules(words + words_per_granule, (unsigned)count);
        EXPECT(is_kept(words, salt, 0, words_per_granule));
        EXPECT(is_clear(words, words_per_granule, (count + 1) * words_per_granule));
        EXPECT(is_kept(words, salt, (count + 1) * words_per_granule, granules * words_per_granule));
        free_pages(words, BLOCK_ORDER);
    }
}
