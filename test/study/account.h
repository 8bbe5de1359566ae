// Where memory is during a replay: what was asked for, what is held, and what the difference is made of.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// What is asked for is counted request by request. What is held is what the zones have less than at the
// baseline; it is put down to
//
//     held = requested + page rounding + slab rounding + slab_free + page_tables + other
//
//     page rounding   pages behind page requests, vmalloc areas and large kmallocs, less what these asked for
//     slab rounding   a slab's stride, less what was asked for, over the live objects
//     slab_free       growth of all slabs, less growth of all objects in use: free objects, headers, tails
//     page_tables     growth of the kernel page tables' backing pages
//     other           the rest: objects that the allocators use for themselves, such as vmalloc's descriptors
//
// Growth is counted from the baseline. So that the kernel's own half-empty slabs do not take objects in for
// nothing, they are filled up before (account_fill_slabs); the replay's objects then lie in slabs of their
// own.
//
// Samples are kept in static memory until the replay is over: printing would cost time but no memory.
// One hart at a time.
#pragma once

#include <mm/zone.h>

struct kmem_cache;

#define ACCOUNT_SAMPLES 200

struct account_breakdown {
    int64_t requested, held;
    int64_t page_rounding, slab_rounding, slab_free, page_tables, other;
    uint64_t live_objects, live_pages, live_areas;
};

struct account_sample {
    uint64_t event;                        // operations carried out before it
    int64_t requested, held;
    uint64_t free_blocks[MAX_ORDER + 1];
};

struct account_result {
    int64_t peak_requested, peak_held;
    uint64_t peak_event;                   // operations carried out when held was highest first
    struct account_breakdown peak;
};

// Takes the free objects of all slabs there are, and gives them back. False: no memory, and nothing is taken.
must_check bool account_fill_slabs(void);
void account_empty_slabs(void);

// The baseline is now. Samples are spread evenly over that many events, the first before event 0 taken here.
void account_begin(uint32_t event_count);
uint64_t account_baseline_free(void);      // bytes

// A request came to life or ended. stride_bytes: what its object takes in a slab, 0 if it lies in none.
enum account_kind { ACCOUNT_OBJECT, ACCOUNT_PAGE, ACCOUNT_AREA, ACCOUNT_KINDS };
void account_add(enum account_kind kind, uint32_t bytes, uint32_t stride_bytes);
void account_remove(enum account_kind kind, uint32_t bytes, uint32_t stride_bytes);

// After each event: takes samples and peaks. `done` events have been carried out.
void account_event(uint32_t done);

struct account_breakdown account_now(void);
const struct account_result *account_result(void);
const struct account_sample *account_samples(unsigned *count);

// The share of the sample's free memory, in thousandths, in blocks too small for the order (Gorman and
// Whitcroft, "The What, The Why and the Where To of Anti-Fragmentation", Ottawa Linux Symposium 2006). 0 if
// nothing is free.
uint64_t account_unusable(const struct account_sample *sample, unsigned order);
