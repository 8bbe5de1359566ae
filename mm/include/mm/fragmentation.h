// Fragmentation: how much of free memory a request of some order cannot use, and why it fails.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Gorman ("Understanding the Linux Virtual Memory Manager", 2004; Gorman and Whitcroft, OLS 2006) measures a zone
// from its counts of free blocks alone. With b_i free blocks of order i, f = sum b_i 2^i pages, n = sum b_i blocks:
//
//     unusable_index(j)       1000 * (f - sum over i >= j of b_i 2^i) / f
//     fragmentation_index(j)  -1000 when some b_i > 0 with i >= j: the request succeeds;
//                             else 1000 - (1000 + 1000 * f / 2^j) / n
//
// The first says how much of free memory is in blocks too small for order j. The second says of a request that
// fails whether memory is short (toward 0) or in pieces (toward 1000). Both as Linux computes them
// (mm/vmstat.c), so that figures can be compared with its extfrag files. With nothing free all of it is unusable
// (1000), and the failure is for want of memory (0).
#pragma once

#include <mm/page_engine.h>

// In 1/1000: 0 to 1000. Order is at most MAX_ORDER.
unsigned unusable_index(const struct free_counts *counts, unsigned order);

// In 1/1000: -1000, or -500 to 1000 (below 0 when a single block is all there is). Order is at most MAX_ORDER.
int fragmentation_index(const struct free_counts *counts, unsigned order);

// What is free now in one zone, and in all of them; without the pages in harts' lists. Of one moment for a zone,
// not for several. Any context.
struct free_counts zone_free_counts(struct zone *zone);
struct free_counts zones_free_counts(void);
