// The page allocator: zones in turn, watermarks, reclaim for those who can wait, checks on what is given back.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "phys_private.h"

#include <base/bits.h>
#include <mm/buddy.h>
#include <mm/page_clear.h>
#include <sync/preempt.h>
#include <sync/sched.h>

#define COSTLY_BYTES KB(32)        // above this, and above a page, nobody counts on success: less is done for it
#define RECLAIM_ROUNDS 16
#define RECLAIM_PAGES 32           // asked for at least, so that the next requests need not ask again

#define RETRY_FLAGS (__GFP_NOFAIL | __GFP_NORETRY | __GFP_RETRY_MAYFAIL)
#define ZONE_FLAGS (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM)
#define MOBILITY_FLAGS (__GFP_MOVABLE | __GFP_RECLAIMABLE)

fault_hook_t mm_fault_hook;

static uint64_t failed_count;      // (A)

static const char *gfp_fault(gfp_t gfp)
{
    if (gfp & ~__GFP_ALL)
        return "unknown gfp flags";
    if (!has_at_most_one_bit(gfp & ZONE_FLAGS) || !has_at_most_one_bit(gfp & RETRY_FLAGS) ||
        !has_at_most_one_bit(gfp & MOBILITY_FLAGS))
        return "contradictory gfp flags";
    if ((gfp & __GFP_NOFAIL) && !gfp_may_sleep(gfp))
        return "__GFP_NOFAIL for a caller that cannot wait";
    return NULL;
}

// The pages of a zone that a request has to leave.
static uint64_t pages_to_keep(const struct zone *zone, gfp_t gfp)
{
    if (gfp & __GFP_MEMALLOC)
        return 0;
    return gfp & __GFP_HIGH ? zone->watermark_min / 2 : zone->watermark_min;
}

static struct page *take_from_zones(gfp_t gfp, unsigned order)
{
    struct zone *highest = gfp_zone(gfp);

    if (highest == NULL)
        return NULL;
    for (size_t id = (size_t)(highest - zones) + 1; id-- > 0;) {
        struct page *page = buddy_alloc(&zones[id], order, pages_to_keep(&zones[id], gfp));
        if (page != NULL)
            return page;
    }
    return NULL;
}

// Asks the shrinkers for as long as that helps, within the patience that the flags tell of.
static struct page *take_with_reclaim(gfp_t gfp, unsigned order)
{
    bool is_costly = order > 0 && (PAGE_SIZE << order) > COSTLY_BYTES && !(gfp & __GFP_RETRY_MAYFAIL);
    unsigned rounds = (gfp & __GFP_NORETRY) || is_costly ? 1 : RECLAIM_ROUNDS;

    for (unsigned round = 0; round < rounds || (gfp & __GFP_NOFAIL); round++) {
        uint64_t freed = shrinkers_run(max_of(1UL << order, (uint64_t)RECLAIM_PAGES));
        struct page *page = take_from_zones(gfp, order);

        if (page != NULL)
            return page;
        if (freed == 0 && !(gfp & __GFP_NOFAIL))
            break;
        // Whoever could free more may wait for this hart.
        if (sched_is_running())
            thread_yield();
    }
    return NULL;
}

// A tail knows its head, so that an address anywhere in the block leads to its owner.
static void name_head_in_tails(struct page *head, unsigned order)
{
    uint32_t frame = (uint32_t)page_to_pfn(head).value;

    head->flags |= PAGE_FLAG_COMPOUND;
    for (uint64_t i = 1; i < 1UL << order; i++)
        head[i].next = frame;
}

static struct page *alloc_for(const void *caller, gfp_t gfp, unsigned order)
{
    const char *fault = order > MAX_ORDER ? "order too large" : gfp_fault(gfp);
    bool is_injected = mm_fault_hook != NULL && !(gfp & __GFP_NOFAIL) && mm_fault_hook(FAULT_PAGE, gfp);
    struct page *page = NULL;

    might_sleep_if(gfp_may_sleep(gfp));
    if (fault != NULL) {
        page_misuse_request(caller, gfp, order, fault);
    } else if (!is_injected) {
        page = take_from_zones(gfp, order);
        if (page == NULL && gfp_may_sleep(gfp) && !(gfp & __GFP_MEMALLOC))
            page = take_with_reclaim(gfp, order);
        if (page == NULL && !(gfp & __GFP_NOWARN))
            page_report_failure(caller, gfp, order);
    }
    if (page == NULL) {
        __atomic_fetch_add(&failed_count, 1, __ATOMIC_RELAXED);
        return NULL;
    }
    if (gfp & __GFP_COMP)
        name_head_in_tails(page, order);
    if (gfp & __GFP_ZERO)
        pages_clear(page, order);
    return page;
}

struct page *alloc_pages(gfp_t gfp, unsigned order)
{
    return alloc_for(__builtin_return_address(0), gfp, order);
}

static void *address_for(const void *caller, gfp_t gfp, unsigned order)
{
    struct page *page;

    if (gfp & __GFP_HIGHMEM) {
        page_misuse_request(caller, gfp, order, "an address asked of memory that may have none");
        return NULL;
    }
    page = alloc_for(caller, gfp, order);
    return page != NULL ? page_to_virt(page) : NULL;
}

void *__get_free_pages(gfp_t gfp, unsigned order)
{
    return address_for(__builtin_return_address(0), gfp, order);
}

void *get_zeroed_page(gfp_t gfp)
{
    return address_for(__builtin_return_address(0), gfp | __GFP_ZERO, 0);
}

// Why a block cannot be given back, or NULL.
static const char *block_fault(const struct page *page, unsigned order)
{
    if (!is_memmap_page(page))
        return "no struct page";
    switch (page_type(page)) {
    case PAGE_RAW:
        return page->order != order ? "freed with another order" : NULL;
    case PAGE_FREE:
        return "freed twice";
    case PAGE_TAIL:
        return "freed where no block starts";
    default:
        return "freed by another than its owner";
    }
}

static void free_for(const void *caller, struct page *page, unsigned order)
{
    const char *fault = block_fault(page, order);

    if (fault == NULL) {
        uint32_t references = __atomic_load_n(&page->refcount, __ATOMIC_RELAXED);

        // Two harts that free the same block both come here; only one finds the last reference.
        while (references != 0 &&
               !__atomic_compare_exchange_n(&page->refcount, &references, references - 1, true, __ATOMIC_ACQ_REL,
                                            __ATOMIC_RELAXED)) {
        }
        if (references > 1)
            return;
        if (references == 0)
            fault = "freed twice";
    }
    if (fault != NULL)
        page_misuse(caller, page, order, fault);
    else
        buddy_free(page, order);
}

void __free_pages(struct page *page, unsigned order)
{
    if (page != NULL)
        free_for(__builtin_return_address(0), page, order);
}

void free_pages(void *address, unsigned order)
{
    const void *caller = __builtin_return_address(0);

    if (address == NULL)
        return;
    if (!virt_is_direct(address) || !is_aligned((uintptr_t)address, PAGE_SIZE))
        page_misuse_address(caller, address, "freed, but no address of a page");
    else
        free_for(caller, virt_to_page(address), order);
}

void put_page(struct page *page)
{
    const void *caller = __builtin_return_address(0);

    if (is_memmap_page(page)) {
        page = page_head(page);
        free_for(caller, page, page->order);
    } else {
        page_misuse(caller, page, 0, "no struct page");
    }
}

void split_page(struct page *head, unsigned order)
{
    struct zone *zone;
    irqflags_t flags;

    if (!is_memmap_page(head) || page_type(head) != PAGE_RAW || head->order != order || head->refcount != 1 ||
        (head->flags & PAGE_FLAG_COMPOUND)) {
        page_misuse(__builtin_return_address(0), head, order, "split, but no plain block of that order");
        return;
    }
    for (uint64_t i = 0; i < 1UL << order; i++)
        head[i] = (struct page){ .type = PAGE_RAW, .zone = head->zone, .refcount = 1 };

    zone = page_zone(head);
    flags = spin_lock_irqsave(&zone->lock);
    zone->alloc_count += (1UL << order) - 1;
    spin_unlock_irqrestore(&zone->lock, flags);
}

struct page_alloc_stats page_alloc_stats(void)
{
    struct page_alloc_stats stats = {
        .failed_count = __atomic_load_n(&failed_count, __ATOMIC_RELAXED),
        .misuse_count = page_misuse_count(),
    };

    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        irqflags_t flags = spin_lock_irqsave(&zones[id].lock);
        stats.alloc_count += zones[id].alloc_count;
        stats.free_count += zones[id].free_count;
        spin_unlock_irqrestore(&zones[id].lock, flags);
    }
    return stats;
}
