// The page allocator as the kernel calls it. Orders are in kernel pages: a block has 2^order of them.
// SPDX-License-Identifier: BSD-2-Clause
//
// Context: GFP_KERNEL only where one may sleep; GFP_ATOMIC and GFP_NOWAIT anywhere, interrupt handlers
// included. Freeing is allowed anywhere. No lock of the caller's is needed; zone locks are taken inside.
//
// Misuse (a free page freed again, a wrong order, no page at all, the middle of a block, a page of another
// owner, flags that contradict each other) is reported with what was given, by whom, and what stands there;
// it is counted, and the call is ignored: nothing is corrupted.
#pragma once

#include <mm/gfp.h>
#include <mm/page.h>
#include <mm/shrinker.h>

// A block of 2^order pages, naturally aligned, contents undefined unless __GFP_ZERO, type PAGE_RAW, one reference.
// NULL when there is none (reported once a second at most, unless __GFP_NOWARN), or as misuse: order > MAX_ORDER;
// flags that do not exist; more than one of __GFP_DMA, __GFP_DMA32, __GFP_HIGHMEM; more than one of __GFP_NOFAIL,
// __GFP_NORETRY, __GFP_RETRY_MAYFAIL; __GFP_NOFAIL without __GFP_DIRECT_RECLAIM; __GFP_MOVABLE with
// __GFP_RECLAIMABLE.
//
// Who may sleep has the shrinkers asked, and tries again for as long as they free something, up to 16 times
// (once with __GFP_NORETRY, and for blocks above 32 KB without __GFP_RETRY_MAYFAIL). __GFP_NOFAIL tries for
// ever.
must_check struct page *__alloc_pages(gfp_t gfp, unsigned order);

// The same with the commonest flags, checked by the compiler, and an order that harts keep lists of: what alloc_pages
// comes down to where both are constants.
must_check struct page *page_alloc_order0(gfp_t gfp);
must_check struct page *page_alloc_order1(gfp_t gfp);
must_check struct page *page_alloc_order2(gfp_t gfp);
must_check struct page *page_alloc_order3(gfp_t gfp);
must_check struct page *page_alloc_listed(gfp_t gfp, unsigned order);     // 4 to PAGE_LISTED_ORDER
must_check struct page *page_alloc_large(gfp_t gfp, unsigned order);      // above
must_check void *page_alloc_zeroed(gfp_t gfp);

// Harts keep lists of blocks up to this order (<mm/page_lists.h>), but none of largest blocks.
#define PAGE_LISTED_ORDER (MAX_ORDER > 6 ? 6 : MAX_ORDER - 1)

static always_inline must_check struct page *alloc_pages(gfp_t gfp, unsigned order)
{
    if (GFP_IS_PLAIN(gfp) && __builtin_constant_p(order))
        return order == 0   ? page_alloc_order0(gfp)
               : order == 1 ? page_alloc_order1(gfp)
               : order == 2 ? page_alloc_order2(gfp)
               : order == 3 ? page_alloc_order3(gfp)
               : order <= PAGE_LISTED_ORDER
                   ? page_alloc_listed(gfp, order)
                   : page_alloc_large(gfp, order);
    return __alloc_pages(gfp, order);
}
static always_inline must_check struct page *alloc_page(gfp_t gfp) { return alloc_pages(gfp, 0); }

// `count` single pages into pages[], which may lie anywhere; as many as there are without waiting for others to be
// freed, and at least one where alloc_page would give one. Returns how many. Flags as alloc_page, but no __GFP_COMP.
unsigned alloc_pages_bulk(gfp_t gfp, unsigned count, struct page **pages);

// Gives back a block that alloc_pages gave, with its order. Page NULL is ignored. Drops one reference, and
// frees with the last. A block whose type was changed by page_set_type is PAGE_RAW again.
void page_free_any(struct page *page, unsigned order);
void page_free_order0(struct page *page);
void page_free_order1(struct page *page);
void page_free_order2(struct page *page);
void page_free_order3(struct page *page);
void page_free_listed(struct page *page, unsigned order);
void page_free_large(struct page *page, unsigned order);

static always_inline void __free_pages(struct page *page, unsigned order)
{
    if (!__builtin_constant_p(order))
        page_free_any(page, order);
    else if (order == 0)
        page_free_order0(page);
    else if (order == 1)
        page_free_order1(page);
    else if (order == 2)
        page_free_order2(page);
    else if (order == 3)
        page_free_order3(page);
    else if (order <= PAGE_LISTED_ORDER)
        page_free_listed(page, order);
    else
        page_free_large(page, order);
}
static always_inline void __free_page(struct page *page) { __free_pages(page, 0); }

// The same by direct-map address. NULL when there is no memory; freeing NULL is ignored. gfp without
// __GFP_HIGHMEM.
must_check void *__get_free_pages(gfp_t gfp, unsigned order);
static inline must_check void *__get_free_page(gfp_t gfp) { return __get_free_pages(gfp, 0); }
static always_inline must_check void *get_zeroed_page(gfp_t gfp)
{
    return GFP_IS_PLAIN(gfp) ? page_alloc_zeroed(gfp) : __get_free_pages(gfp | __GFP_ZERO, 0);
}
void free_pages(void *address, unsigned order);
void free_page(void *address);

// `bytes` in whole pages side by side, of which no more than needed are kept; each is a block of its own. Address or
// NULL, as __get_free_pages. Given back with the same size.
must_check void *alloc_pages_exact(size_t bytes, gfp_t gfp);
void free_pages_exact(void *address, size_t bytes);

// Drops a reference that page_get took; the last one frees the block, whatever its order.
void put_page(struct page *page);

// Makes 2^order separate pages of one block: each is then freed on its own. The block is PAGE_RAW, not
// compound, and has one reference; anything else is misuse.
void split_page(struct page *head, unsigned order);

// Counters since boot.
struct page_alloc_stats {
    uint64_t engine_calls;                        // times that a zone's free memory was gone to, under its lock
    uint64_t depot_calls;                         // batches that harts left for each other or took
    uint64_t failed_count;                        // requests answered with NULL
    uint64_t misuse_count;                        // reported misuses, of granules too
};
struct page_alloc_stats page_alloc_stats(void);

// The one hook of failure injection, for pages, objects and address space alike. When set, it is asked before
// every allocation and answers true to make that allocation fail; what may not fail (__GFP_NOFAIL) does not
// ask. An injected failure is counted but not reported. Tests set it, in a context that may sleep: the harts' lists are
// emptied and stay so, since they hand out pages without asking. NULL is the normal state.
enum fault_site { FAULT_PAGE, FAULT_SLAB, FAULT_VMEM, FAULT_TABLE };
typedef bool (*fault_hook_t)(enum fault_site site, gfp_t gfp);
extern fault_hook_t mm_fault_hook;
void mm_set_fault_hook(fault_hook_t hook);
