// A shrinker for tests: it says what it is told to, gives what it was given, and counts how it is asked.
// SPDX-License-Identifier: BSD-2-Clause
//
// There are two, registered for ever by fake_shrinkers_reset, which has them say that they have nothing.
#pragma once

#include "page_chain.h"

#include <mm/shrinker.h>

#define FAKE_SHRINKERS 2

struct fake_shrinker {
    struct page_chain stash;       // given back block by block
    uint64_t give_from_call;       // from this call on, counted from 1; 0: never
    uint64_t pretended_count;      // says that it has so many pages when the stash does not count, 0: it does
    uint64_t pretended_freed;      // says that it freed so many when it gave none,
    uint64_t pretend_calls;        // in the first so many calls
    uint64_t calls, asked_pages, freed_pages;
};

extern struct fake_shrinker fake_shrinker[FAKE_SHRINKERS];

// Both say that they have nothing, and have counted nothing. The stashes are empty.
void fake_shrinkers_reset(void);

// The statistic that the registry keeps of one.
const struct shrinker *fake_shrinker_entry(unsigned index);
