// Validators: each walks one whole structure and says what is wrong. For tests, and for a kernel in doubt.
// SPDX-License-Identifier: BSD-2-Clause
//
// Nobody else may use the structure meanwhile. Each returns the number of defects, having reported every one
// of them (the first 10) with klog.
#pragma once

#include <base/compiler.h>

unsigned check_zones(void);      // blocks, counters, alignment, types; and check_buddy
unsigned check_buddy(void);      // groups, ranks, mobilities, free lists
unsigned check_ledger(void);     // the owners' sums are all of RAM; slab, table and stack counters agree
unsigned check_slabs(void);      // every slab on the list that its use says; bitmaps, counters, owners agree
unsigned check_granules(void);   // granule maps and counters
unsigned check_vmalloc(void);    // arena consistent; every area mapped as it says, its guard not; pages owned
unsigned check_kernel_map(void); // nothing both writable and executable, aliases counted

unsigned check_all(void);
