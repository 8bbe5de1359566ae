// The engine behind the page allocator: one zone's free blocks. Callers want <mm/page_alloc.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/zone.h>

// A block of 2^order pages (head type PAGE_RAW, refcount 1), or NULL when no block is large enough or fewer
// than `keep_pages` would stay free. Order is at most MAX_ORDER. Any context.
struct page *buddy_alloc(struct zone *zone, unsigned order, uint64_t keep_pages);

// Gives a block back and merges it. The head's type, order and refcount were checked by the caller. Any
// context.
void buddy_free(struct page *head, unsigned order);

// Gives RAM that no allocator manages yet to its zones: [start, end) page frames, any alignment, RAM
// throughout. Blocks that the memmap shows there (reserved memory) are cut at both ends and forgotten within.
// Any context.
void buddy_add_range(pfn_t start, pfn_t end);
