// The page ledger: every page of RAM has exactly one owner, and the owners' sums are all of RAM.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/page.h>

struct ledger {
    uint64_t pages[PAGE_TYPE_COUNT];       // by type of the owning head
    uint64_t total;                        // RAM, in pages: the sum of the above when the ledger balances
    uint64_t orphans;                      // pages that no head covers
};

// Walks the memmap of all RAM. Exact only while nobody allocates; costs a visit per block.
struct ledger ledger_take(void);

// True when nobody owns more or fewer pages in `b`, the later one, than in `a`, but for two: page tables may
// have grown, taken from what was free, since the kernel keeps emptied ones; and slabs may be more or fewer,
// since the same number of objects may lie in another number of slabs (check_slabs and the counts of objects
// are exact). Shrink the slab caches before both. Pages in harts' lists are free.
bool ledger_equal(const struct ledger *a, const struct ledger *b);
