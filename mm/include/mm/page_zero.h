// Pages zeroed in advance: idle harts clear them, get_zeroed_page and __GFP_ZERO find them done (prezero=on).
// SPDX-License-Identifier: BSD-2-Clause
//
// Clearing a page is most of what a zeroed one costs. A hart that has nothing to do clears single pages of the kernel's
// home into a list of its own (<mm/page_lists.h>), and when that is full leaves half of it in a depot for the others:
//
//     idle hart: alloc_page, clear --> list of zeroed pages --batch--> depot --batch--> a busy hart's list --> caller
//
// The gain is the caller's time, not the machine's: every page is still cleared, by instructions that an idle hart
// would not have run, and comes to its user out of the cache. What is cleared and never asked for is lost work. So it
// is off unless asked for, and reported whole: pages cleared, served and held, and the instructions spent (console
// command pagelists). When it is off, get_zeroed_page looks at one empty list and nothing else.
//
// Idle harts stop while the zone is at its high mark, and when lists are drained the pages go back with all others.
// Checked builds look at every page before it is handed out: one that is not all zero was written to while it was free.
#pragma once

#include <mm/page.h>

// Before page_lists_init, once.
void page_zero_init(bool enabled);
bool page_zero_is_on(void);

// Clears one page more; false when this hart's list and the depot are full, or memory is not plentiful. For a hart's
// idle thread, interrupts enabled.
bool page_zero_one(void);

// A page that holds zeroes, of type PAGE_HART, or NULL. Any context.
struct page *page_zero_pop(void);

// Since boot, but for what is held now.
struct page_zero_stats {
    uint64_t cleared, served;      // pages
    uint64_t held;                 // pages in lists and the depot
    uint64_t instructions;         // of idle harts, for what was cleared
};
struct page_zero_stats page_zero_stats(void);
