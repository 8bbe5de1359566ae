// The last transitions of every page frame, in checked builds: who did what to it, where and when.
// SPDX-License-Identifier: BSD-2-Clause
//
// A block's transition is noted at its head alone, so that noting costs nothing per page; looking for a frame's history
// asks all heads of which a block could have covered it. 64 bytes for each page of RAM, beside the memmap (and owned as
// memmap in the ledger). In other builds nothing is kept, and every call is nothing.
#pragma once

#include <base/addr.h>

// What happened, and what `detail` is: the block's order, or for PAGE_NOW_TYPE the enum page_type that it became.
enum page_event {
    PAGE_NO_EVENT,
    PAGE_ALLOCATED,        // handed out by the page allocator
    PAGE_FREED,            // given back to it
    PAGE_NOW_TYPE,         // by page_set_type
    PAGE_SPLIT,            // into single pages
    PAGE_EVENT_COUNT,
};

#define PAGE_EVENTS_KEPT 4

#if CONFIG_CHECKED

// Takes the memory, from memblock, for the RAM that memblock knows of. Called once, between kernel_map_init and
// zones_init. Where that fails there is no history, and the log says so.
void page_history_init(void);

// Any context, any locks. The frame is RAM; `caller` is a code address.
void page_history_note(pfn_t frame, enum page_event event, unsigned detail, const void *caller);

// The same by the function that calls it, for functions that are inlined.
void page_history_note_here(pfn_t frame, enum page_event event, unsigned detail);

// Logs the latest PAGE_EVENTS_KEPT transitions of whatever blocks covered the frame, the latest first; says so when
// there are none. Any context; what others note meanwhile may be shown twice or not at all.
void page_history_print(pfn_t frame);

// Bytes of RAM that it takes.
uint64_t page_history_bytes(void);

#else

static always_inline void page_history_init(void) { }
static always_inline void page_history_note(pfn_t frame unused_arg, enum page_event event unused_arg,
                                            unsigned detail unused_arg, const void *caller unused_arg)
{
}
static always_inline void page_history_note_here(pfn_t frame unused_arg, enum page_event event unused_arg,
                                                 unsigned detail unused_arg)
{
}
static always_inline void page_history_print(pfn_t frame unused_arg) { }
static always_inline uint64_t page_history_bytes(void) { return 0; }

#endif
