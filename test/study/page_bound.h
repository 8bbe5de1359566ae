// Page requests of a kernel with 4 KB pages, carried out in pages of this kernel's size.
// SPDX-License-Identifier: BSD-2-Clause
//
// Own: each request gets a block of its own, the smallest that holds its bytes. That is the most a kernel
// with larger pages could take for the same requests.
//
// Packed: requests below the page size share a page with their neighbours, since what a kernel asks for next
// is likely to belong next to it (the next page of a file, of a stack, of a buffer):
//
//      open page of (hart, kind)      | 4K req | 4K req |   8K req    | ...... |   one reference a request
//                                     0                                used     PAGE_SIZE
//
// A kind is what a page can only be as a whole: movability, zone, zeroed. Each hart fills a page of each kind
// from the start; a request that no longer fits opens the next one. A part is not used twice, and the page
// goes back with its last part. With 4 KB pages no request is below the page size, and the bounds are the
// same.
//
// One hart at a time. The calls measure themselves (MEASURE_PAGE_ALLOC, MEASURE_PAGE_FREE).
#pragma once

#include <mm/gfp.h>
#include <mm/page.h>

enum page_bound { PAGE_BOUND_OWN, PAGE_BOUND_PACKED };

void page_bound_choose(enum page_bound bound);

// The page that the request's bytes lie in or start with; NULL when there is none. `bytes` is a power of two
// up to the largest block. `hart` is the one that asks.
must_check struct page *page_bound_alloc(uint32_t bytes, gfp_t gfp, unsigned hart);

// Ends a request of that many bytes, on any hart.
void page_bound_free(struct page *page, uint32_t bytes);

// Bytes of the pages behind live requests.
uint64_t page_bound_held_bytes(void);

// The largest order asked for so far.
unsigned page_bound_largest_order(void);
