// Between the files of mm/phys.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/gfp.h>
#include <mm/granule.h>
#include <mm/page.h>
#include <mm/zone.h>

// Marks [start, end) as owned: heads of that type, in blocks as large as fit. The memmap is blank there.
void memmap_mark(pfn_t start, pfn_t end, enum page_type type);

// Makes the memmap blank in [start, end), cutting blocks that reach out of it. Nothing there is managed.
void memmap_erase(pfn_t start, pfn_t end);

// The largest order of a block that starts at `start` and ends at or below `end`.
unsigned memmap_largest_order(pfn_t start, pfn_t end);

// Makes struct pages of [start, end) blank at start-up, when they may hold anything.
void memmap_clear(pfn_t start, pfn_t end);

// Takes a page, every granule of which is in use, into its pool: for tables made before the pool could.
void granule_adopt(struct granule_pool *pool, struct page *page);

// Report and count a misuse of the page allocator by `caller`: of a block (`page` may be any pointer), of an
// address that should name a page or granule, of a request's arguments.
void page_misuse(const void *caller, const struct page *page, unsigned order, const char *what);
void page_misuse_address(const void *caller, const void *address, const char *what);
void page_misuse_request(const void *caller, gfp_t gfp, unsigned order, const char *what);
uint64_t page_misuse_count(void);

// Reports a failed request, once a second at most. Any context.
void page_report_failure(const void *caller, gfp_t gfp, unsigned order);

// What take(request) could not get at first: asks the shrinkers and tries again, and waits, for as long as the flags
// tell of. `take` is called with no lock held, and returns the block or NULL. Returns what it got, or NULL. The caller
// has __GFP_DIRECT_RECLAIM and may sleep.
struct page *page_reclaim_and_retry(gfp_t gfp, unsigned order, struct page *(*take)(void *request), void *request);

// The pages of a zone that a request has to leave, where its watermark is `mark` and it may start at `highest`.
static inline uint64_t page_keep_above(const struct zone *zone, gfp_t gfp, uint64_t mark, const struct zone *highest)
{
    enum gfp_reserve reserve = gfp_reserve(gfp);
    uint64_t lower = zone->lowmem_reserve[highest - zones];

    return reserve == GFP_RESERVE_ALL    ? 0
           : reserve == GFP_RESERVE_HALF ? mark / 2 + lower
                                         : mark + lower + zone->reserved_pages;
}

// The same for the min mark, below which nobody but those with a reserve may go. Such a request has a zone.
static inline uint64_t page_keep(const struct zone *zone, gfp_t gfp)
{
    return page_keep_above(zone, gfp, zone->watermark_min, gfp_zone(gfp));
}

// Whether a pointer is one to an element of the memmap, so that it may be looked at. The window is as large as it is
// aligned.
static always_inline bool is_memmap_page(const struct page *page)
{
    const unsigned shift = (unsigned)__builtin_ctzl(MAX_PFN * sizeof(struct page));
    _Static_assert(ARCH_MEMMAP_BASE % (MAX_PFN * sizeof(struct page)) == 0, "the window is aligned to its size");

    return (int64_t)(uintptr_t)page >> shift == (int64_t)ARCH_MEMMAP_BASE >> shift &&
           (uintptr_t)page % sizeof(struct page) == 0;
}
