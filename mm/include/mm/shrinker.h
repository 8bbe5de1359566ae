// Shrinkers: whoever keeps memory that he could do without gives it back when it is short.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Who runs short does not know who could best do without, so everybody is asked, each for a share of what he has: at
// priority p for one page of 2^p. Priority 12 is a gentle question, 0 takes everything; whoever needs memory begins
// gently and presses on for as long as too little comes. (The way and the number are those of Linux, do_shrink_slab in
// mm/shrinker.c and DEF_PRIORITY in mm/vmscan.c. There caches are asked for objects in batches, and what is below a
// batch is put off; here it is pages, and what is put off is the fraction of a page.)
//
//     share     = (deferred + count * 2^(12 - p)) / 2^12       whole pages
//     deferred' =  the remainder
//
// So a shrinker with few pages is not passed over for ever, and two with counts of 3 to 1 give 3 to 1. At priority 0
// the share is the count, and nothing stays deferred.
//
// `count` and `scan` are called in process context, by several callers at once (kswapd and those who reclaim for
// themselves), with no lock held. They may not allocate and may not sleep.
#pragma once

#include <base/compiler.h>

#define SHRINK_PRIORITY_MAX 12

// (C) constant, (A) atomic
struct shrinker {
    const char *name;                              // (C)
    uint64_t (*count)(void);                       // (C) pages that it could give now
    uint64_t (*scan)(uint64_t pages_wanted);       // (C) gives at least so many if it can; returns the pages freed
    uint32_t deferred;                             // (A) part of a page in 1/4096, starts at 0
    uint64_t asked_pages, freed_pages;             // (A) since the start
    struct shrinker *next;                         // the registry's
};

// For ever: the shrinker is never taken out again. Start-up only.
void shrinker_register(struct shrinker *shrinker);

// Asks every shrinker for its share at that priority (0 .. SHRINK_PRIORITY_MAX); returns the pages freed.
uint64_t shrinkers_run(unsigned priority);

// Walks all shrinkers, the last registered first.
void shrinkers_for_each(void (*visit)(const struct shrinker *shrinker, void *context), void *context);
