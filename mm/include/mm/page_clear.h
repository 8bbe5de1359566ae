// Zeroing what the page allocator hands out, also where the direct map does not show it.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/page.h>

// Makes a block of 2^order pages zero; of any zone. The caller owns it. Any context.
void pages_clear(struct page *head, unsigned order);

// Start-up: how one page of HIGHMEM is made zero. Who shows such pages (<mm/kmap.h>) ranks above the allocator,
// so it says so here, before the first of them is asked for with __GFP_ZERO.
void pages_set_high_clear(void (*clear)(struct page *page));
