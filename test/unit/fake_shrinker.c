// Shrinkers that do as a test says.
// SPDX-License-Identifier: BSD-2-Clause
#include "fake_shrinker.h"

struct fake_shrinker fake_shrinker[FAKE_SHRINKERS];

static uint64_t count(const struct fake_shrinker *fake)
{
    return fake->pretended_count != 0 ? fake->pretended_count : fake->stash.pages;
}

static uint64_t scan(struct fake_shrinker *fake, uint64_t pages_wanted)
{
    uint64_t freed = 0;

    fake->calls++;
    fake->asked_pages += pages_wanted;
    while (fake->give_from_call != 0 && fake->calls >= fake->give_from_call && freed < pages_wanted &&
           fake->stash.first != NULL) {
        struct page *page = chain_pop(&fake->stash);
        freed += 1UL << page->order;
        __free_pages(page, page->order);
    }
    if (freed == 0 && fake->calls <= fake->pretend_calls)
        freed = fake->pretended_freed;
    fake->freed_pages += freed;
    return freed;
}

static uint64_t count_first(void) { return count(&fake_shrinker[0]); }
static uint64_t count_second(void) { return count(&fake_shrinker[1]); }
static uint64_t scan_first(uint64_t pages_wanted) { return scan(&fake_shrinker[0], pages_wanted); }
static uint64_t scan_second(uint64_t pages_wanted) { return scan(&fake_shrinker[1], pages_wanted); }

static struct shrinker entry[FAKE_SHRINKERS] = {
    { .name = "fake", .count = count_first, .scan = scan_first },
    { .name = "fake-2", .count = count_second, .scan = scan_second },
};

void fake_shrinkers_reset(void)
{
    static bool is_registered;

    for (unsigned i = 0; i < FAKE_SHRINKERS; i++) {
        fake_shrinker[i] = (struct fake_shrinker){ .calls = 0 };
        if (!is_registered)
            shrinker_register(&entry[i]);
        entry[i].deferred = 0;
    }
    is_registered = true;
}

const struct shrinker *fake_shrinker_entry(unsigned index)
{
    return &entry[index];
}
