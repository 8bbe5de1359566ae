// Between the runner and what surrounds it.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <ktest/ktest.h>
#include <mm/ledger.h>

// All registered cases; the section's bounds, under the names that the linker gives them.
#ifdef QUIRE_HOST
#define ktest_cases_start __start_ktest
#define ktest_cases_end __stop_ktest
#else
#define ktest_cases_start __ktest_start
#define ktest_cases_end __ktest_end
#endif

extern const struct ktest_case ktest_cases_start[], ktest_cases_end[];

// What a case must leave as it found it. Caches are shrunk before a state is taken.
struct ktest_state {
    struct ledger ledger;
    uint64_t live_objects;         // of the slab caches whose users keep no stock
    uint64_t vmalloc_areas;
    uint64_t kmap_slots;
    uint64_t misuse_count;
};

struct ktest_state ktest_state_take(void);

// True when nothing of it has changed; otherwise what differs is printed as comments.
bool ktest_state_is_kept(const struct ktest_state *before);
