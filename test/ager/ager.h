// The ager: free memory in pieces, as after long use, to order: for measuring what fragmentation costs.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Look at RAM in naturally aligned groups of 2^order pages. A group whose pages are all free can serve a request
// of that order; the free pages of any other group cannot. With S free pages in groups of the first kind and U in
// those of the second,
//
//     unusable_index(order) = 1000 * U / (U + S)          (<mm/fragmentation.h>)
//
// The ager takes every free page, one by one, and then visits the groups in an order shuffled by the seed. As
// long as U is behind S, by the index asked for, it frees a random part of the group's pages, and else all of
// them. U grows by single pages, so the index is met exactly while there are enough groups. It keeps no list:
// the struct pages that it holds name it as their owner.
//
// The same free memory, order, index and seed leave the same pages free.
#pragma once

#include <mm/fragmentation.h>

#define AGER_TOLERANCE 20          // 1/1000

// All zero before the first use.
struct ager {
    unsigned order;
    unsigned wanted_index;         // 1/1000
    unsigned reached_index;        // of all free memory, measured behind it
    uint64_t held_pages;
};

// Brings free memory to `index` for requests of `order`: true when it came within AGER_TOLERANCE; otherwise
// reached_index says how near, and the memory stays as it is. Order is 1 to MAX_ORDER, index at most 1000, and the
// ager holds nothing (held_pages is 0). The caller may sleep. For a moment nothing at all is free: others that
// allocate meanwhile may fail, and blur the result.
must_check bool ager_age(struct ager *ager, unsigned order, unsigned index, uint64_t seed);

// Gives everything back. The caller may sleep.
void ager_release(struct ager *ager);
