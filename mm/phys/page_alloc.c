// Taking pages: this hart's list, the zones in turn down to their watermarks, reclaim for those who can wait.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "phys_private.h"

#include <arch/atomic.h>
#include <arch/page_ops.h>
#include <mm/page_clear.h>
#include <mm/page_depot.h>
#include <mm/page_engine.h>
#include <mm/page_history.h>
#include <mm/page_lists.h>
#include <mm/page_zero.h>
#include <mm/pressure.h>
#include <sync/preempt.h>

fault_hook_t mm_fault_hook;

static uint64_t failed_count;      // (A)

static enum mobility gfp_mobility(gfp_t gfp)
{
    return gfp & __GFP_MOVABLE       ? MOBILITY_MOVABLE
           : gfp & __GFP_RECLAIMABLE ? MOBILITY_RECLAIMABLE
                                     : MOBILITY_UNMOVABLE;
}

// A batch for this hart's list, of which one block is the caller's. As the engine's take; 0 where the list has no room.
static int take_batch(struct zone *zone, const struct page_request *request, struct page **block)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of((unsigned)(request->state >> 24), request->order);
    unsigned wanted = page_list_refill_count(list);
    int taken = wanted > 0 ? page_engine->take(zone, request, wanted, list->top + 1) : 0;

    if (taken > 0) {
        *block = list->top[taken];
        list->top += taken - 1;
    }
    arch_irq_restore(flags);
    return taken;
}

static struct page *take_from_zone(struct zone *zone, gfp_t gfp, unsigned order, uint64_t keep_pages, bool may_refill)
{
    enum mobility mobility = gfp_mobility(gfp);
    const struct page_request request = {
        .order = (uint8_t)order,
        .mobility = (uint8_t)mobility,
        .may_use_reserve = (gfp & (__GFP_HIGH | __GFP_MEMALLOC)) != 0,
        .keep_pages = keep_pages,
        .state = PAGE_STATE(PAGE_HART, order, page_home(zone, mobility)),
    };
    struct page *page = NULL;
    int taken;

    do {
        taken = order < PAGE_LIST_ORDERS && may_refill ? take_batch(zone, &request, &page) : 0;
        if (taken == 0)
            taken = page_engine->take(zone, &request, 1, &page);
    } while (unlikely(taken < 0));
    if (order > 0 && (gfp & __GFP_HIGH) && page != NULL)
        page_engine->reserve(zone, page);
    return page;
}

// From the highest zone that the flags allow to the lowest, down to the mark that `is_low` says. Only those that stay
// above their low marks are asked for more than is needed.
static struct page *take_above_mark(gfp_t gfp, unsigned order, const struct zone *highest, bool is_low)
{
    for (size_t id = (size_t)(highest - zones) + 1; id-- > 0;) {
        struct zone *zone = &zones[id];
        // Above the low mark all are alike; the reserves are for when that fails, which is when kswapd wakes.
        uint64_t keep = is_low ? page_keep_above(zone, GFP_NOWAIT, zone->watermark_low, highest)
                               : page_keep_above(zone, gfp, zone->watermark_min, highest);

        if (__atomic_load_n(&zone->free_pages, __ATOMIC_RELAXED) < keep + (1UL << order))
            continue;
        struct page *page = take_from_zone(zone, gfp, order, keep, is_low);
        if (page != NULL)
            return page;
    }
    return NULL;
}

// So that the zones stay above their low marks, and if that cannot be, down to what the flags may dip into.
static struct page *take_from_zones(gfp_t gfp, unsigned order, const struct zone *highest)
{
    struct page *page = take_above_mark(gfp, order, highest, true);

    if (likely(page != NULL))
        return page;
    if (gfp & __GFP_KSWAPD_RECLAIM)
        kswapd_wake();
    return take_above_mark(gfp, order, highest, false);
}

static struct page *pop(unsigned home, unsigned order)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(home, order);
    struct page *page = *list->top;

    if (page != NULL)
        list->top--;
    arch_irq_restore(flags);
    return page;
}

// What other harts left there, and one of it for the caller; NULL when that is nothing, or the list has no room for it.
static struct page *refill_from_depot(void)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(0, 0);
    struct page *page = NULL;

    if (list->limit - list->top >= PAGE_DEPOT_BATCH && page_depot_take(&page_depot, list->top + 1)) {
        page = list->top[PAGE_DEPOT_BATCH];
        list->top += PAGE_DEPOT_BATCH - 1;
    }
    arch_irq_restore(flags);
    return page;
}

// From this hart's list, from the depot or from the zones.
static struct page *take(gfp_t gfp, unsigned order, const struct zone *highest)
{
    unsigned home = page_home(highest, gfp_mobility(gfp));
    struct page *page = order < PAGE_LIST_ORDERS ? pop(home, order) : NULL;

    if (page == NULL && home == 0 && order == 0)
        page = refill_from_depot();
    return page != NULL ? page : take_from_zones(gfp, order, highest);
}

// A tail knows its head, so that an address anywhere in the block leads to its owner.
static void name_head_in_tails(struct page *head, unsigned order)
{
    uint32_t frame = (uint32_t)page_to_pfn(head).value;

    head->flags |= PAGE_FLAG_COMPOUND;
    for (uint64_t i = 1; i < 1UL << order; i++)
        head[i].next = frame;
}

// Whether the request is one: it is reported when it is misuse, and only counted when a test makes it fail.
static cold bool is_request_good(const void *caller, gfp_t gfp, unsigned order)
{
    const char *fault = order > MAX_ORDER ? "order too large" : gfp_fault(gfp);

    if (fault != NULL)
        page_misuse_request(caller, gfp, order, fault);
    if (fault == NULL && (mm_fault_hook == NULL || (gfp & __GFP_NOFAIL) || !mm_fault_hook(FAULT_PAGE, gfp)))
        return true;
    __atomic_fetch_add(&failed_count, 1, __ATOMIC_RELAXED);
    return false;
}

struct request {
    gfp_t gfp;
    unsigned order;
    const struct zone *highest;
};

// As take; and with what this hart holds in other lists. The last look at the zones comes after these were seen empty:
// an interrupt may have given back what they held to a zone that was looked at before.
static struct page *take_again(void *request_pointer)
{
    const struct request *request = request_pointer;
    struct page *page;
    bool has_given;

    do {
        has_given = page_lists_give_some();
        page = take(request->gfp, request->order, request->highest);
    } while (page == NULL && has_given);
    return page;
}

// What was set aside for GFP_ATOMIC is given up before anybody who can wait is refused.
static struct page *take_from_reserve(struct request *request)
{
    struct page *page = NULL;

    for (size_t id = (size_t)(request->highest - zones) + 1; id-- > 0;)
        while (page == NULL && page_engine->unreserve(&zones[id]))
            page = take_again(request);
    return page;
}

// When the zones refuse: other lists, reclaim, the reserve, and then the report.
static cold struct page *take_hard(const void *caller, gfp_t gfp, unsigned order, const struct zone *highest)
{
    struct request request = { gfp, order, highest };
    struct page *page = highest != NULL ? take_again(&request) : NULL;

    if (page == NULL && highest != NULL && gfp_may_sleep(gfp)) {
        page = page_reclaim_and_retry(gfp, order, take_again, &request);
        if (page == NULL)
            page = take_from_reserve(&request);
    }
    if (page == NULL) {
        // Who cannot wait for the other harts leaves it to the next request to find what they hold.
        page_lists_request_drain();
        __atomic_fetch_add(&failed_count, 1, __ATOMIC_RELAXED);
        if (!(gfp & __GFP_NOWARN))
            page_report_failure(caller, gfp, order);
    }
    return page;
}

// A page that an idle hart has cleared, where that is what is asked for.
static struct page *take_zeroed(gfp_t gfp, unsigned order, const struct zone *highest)
{
    bool is_served = (gfp & __GFP_ZERO) && order == 0 && page_zero_is_on() && highest != NULL &&
                     page_home(highest, gfp_mobility(gfp)) == 0;

    return is_served ? page_zero_pop() : NULL;
}

// Flags that mean nothing to the way through the zones, and cannot contradict each other.
#define GFP_SIMPLE (GFP_PLAIN | __GFP_ZERO | __GFP_COMP)

// Any request, all of it: checks, the hart's list, the zones, reclaim.
static noinline struct page *alloc_any(const void *caller, gfp_t gfp, unsigned order)
{
    bool is_simple = (gfp & ~GFP_SIMPLE) == 0;

    might_sleep_if(gfp_may_sleep(gfp));
    if (unlikely(order > MAX_ORDER || !is_simple || mm_fault_hook != NULL) && !is_request_good(caller, gfp, order))
        return NULL;
    const struct zone *highest = is_simple ? &zones[zone_of_kernel] : gfp_zone(gfp);
    struct page *zeroed = take_zeroed(gfp, order, highest), *page = zeroed;
    if (page == NULL && likely(highest != NULL))
        page = take(gfp, order, highest);
    if (unlikely(page == NULL) && (page = take_hard(caller, gfp, order, highest)) == NULL)
        return NULL;
    page->state = PAGE_STATE(PAGE_RAW, order, page->home);
    page_history_note(page_to_pfn(page), PAGE_ALLOCATED, order, caller);
    if (gfp & (__GFP_COMP | __GFP_ZERO)) {
        if (gfp & __GFP_COMP)
            name_head_in_tails(page, order);
        if ((gfp & __GFP_ZERO) && zeroed == NULL)
            pages_clear(page, order);
    }
    return page;
}

struct page *__alloc_pages(gfp_t gfp, unsigned order)
{
    return alloc_any(__builtin_return_address(0), gfp, order);
}

// Where a list was empty: called last and by a jump, so the return address is that of who asked.
static noinline struct page *alloc_order(gfp_t gfp, unsigned order)
{
    return alloc_any(__builtin_return_address(0), gfp, order);
}

// What the kernel's own zone keeps when it gives unmovable memory out without a thought: its low mark, and what is set
// aside.
static uint64_t plenty_of(const struct zone *zone) { return zone->watermark_low + zone->reserved_pages; }

static noinline struct page *refill(unsigned order)
{
    struct zone *zone = &zones[zone_of_kernel];
    const struct page_request request = {
        .order = (uint8_t)order,
        .mobility = MOBILITY_UNMOVABLE,
        .keep_pages = plenty_of(zone),
        .state = PAGE_STATE(PAGE_HART, order, 0),
    };
    struct page *page = order == 0 ? refill_from_depot() : NULL;

    if (page == NULL)
        (void)take_batch(zone, &request, &page);
    return page;
}

// Where the list was empty; a larger block for GFP_ATOMIC has its page block set aside.
static noinline struct page *alloc_refilled(gfp_t gfp, unsigned order)
{
    struct page *page = order == 0 || !(gfp & __GFP_HIGH) ? refill(order) : NULL;

    if (unlikely(page == NULL))
        return alloc_order(gfp, order);
    page->state = PAGE_STATE(PAGE_RAW, order, 0);
    return page;
}

static always_inline struct page *alloc_fast(gfp_t gfp, unsigned order)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(0, order);
    struct page **top = list->top, *page = *top;

    if (unlikely(page == NULL)) {
        arch_irq_restore(flags);
        return alloc_refilled(gfp, order);
    }
    list->top = top - 1;
    arch_irq_restore(flags);
    page->state = PAGE_STATE(PAGE_RAW, order, 0);
    return page;
}

struct page *page_alloc_order0(gfp_t gfp) { return alloc_fast(gfp, 0); }
struct page *page_alloc_order1(gfp_t gfp) { return alloc_fast(gfp, 1); }
struct page *page_alloc_order2(gfp_t gfp) { return alloc_fast(gfp, 2); }
struct page *page_alloc_order3(gfp_t gfp) { return alloc_fast(gfp, 3); }

struct page *page_alloc_listed(gfp_t gfp, unsigned order)
{
    return alloc_fast(gfp, order);
}

struct page *page_alloc_large(gfp_t gfp, unsigned order)
{
    struct zone *zone = &zones[zone_of_kernel];

    // With plenty of memory there is nothing to think about.
    if (likely(order <= MAX_ORDER && !(gfp & (__GFP_HIGH | __GFP_MEMALLOC)) && mm_fault_hook == NULL)) {
        struct page *page = page_engine->take_large(zone, order, MOBILITY_UNMOVABLE, plenty_of(zone),
                                                    PAGE_STATE(PAGE_RAW, order, 0));
        if (likely(page != NULL))
            return page;
    }
    return alloc_order(gfp, order);
}

static void *address_for(const void *caller, gfp_t gfp, unsigned order)
{
    if (gfp & __GFP_HIGHMEM) {
        page_misuse_request(caller, gfp, order, "an address asked of memory that may have none");
        return NULL;
    }
    struct page *page = alloc_any(caller, gfp, order);
    return page != NULL ? page_to_virt(page) : NULL;
}

static noinline void *alloc_zeroed(gfp_t gfp)
{
    return address_for(__builtin_return_address(0), gfp | __GFP_ZERO, 0);
}

static noinline void *alloc_prezeroed(gfp_t gfp)
{
    struct page *page = page_zero_pop();
    bool is_zeroed = page != NULL;

    if (!is_zeroed && (page = pop(0, 0)) == NULL)
        return alloc_zeroed(gfp);
    page->state = PAGE_STATE(PAGE_RAW, 0, 0);
    return is_zeroed ? page_to_virt(page) : arch_clear_page(page_to_virt(page));
}

void *page_alloc_zeroed(gfp_t gfp)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(0, 0);
    struct page **top = list->top, *page = *top;

    if (unlikely(page == NULL)) {
        arch_irq_restore(flags);
        return alloc_zeroed(gfp);
    }
    if (unlikely(*page_list_of(PAGE_LIST_ZEROED, 0)->top != NULL)) {
        arch_irq_restore(flags);
        return alloc_prezeroed(gfp);
    }
    list->top = top - 1;
    arch_irq_restore(flags);
    page->state = PAGE_STATE(PAGE_RAW, 0, 0);
    return arch_clear_page(page_to_virt(page));
}

void *__get_free_pages(gfp_t gfp, unsigned order)
{
    return address_for(__builtin_return_address(0), gfp, order);
}

// As many as lie in this hart's list, `most` at most.
static unsigned pop_some(unsigned home, unsigned most, struct page **pages)
{
    const uint64_t state = PAGE_STATE(PAGE_RAW, 0, home);
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(home, 0);
    struct page **top = list->top;
    unsigned count = (unsigned)min_of((uint64_t)(top - list->bottom), (uint64_t)most);

    list->top = top - count;
    for (struct page **end = pages + count; pages < end; pages++) {
        struct page *page = *top--;
        page->state = state;
        *pages = page;
    }
    arch_irq_restore(flags);
    return count;
}

// The same past the list, while there is plenty.
static unsigned take_some(unsigned home, unsigned most, struct page **pages)
{
    struct zone *zone = home_zone(home);
    const struct page_request request = {
        .mobility = MOBILITY_UNMOVABLE,
        .keep_pages = plenty_of(zone),
        .state = PAGE_STATE(PAGE_RAW, 0, home),
    };
    int taken = page_engine->take(zone, &request, most, pages);

    return taken > 0 ? (unsigned)taken : 0;
}

// `home`: where pages come from while there is plenty, -1: each is asked for by itself.
static always_inline unsigned take_bulk(const void *caller, gfp_t gfp, int home, unsigned count, struct page **pages)
{
    gfp_t rest = (gfp & ~(__GFP_NOFAIL | __GFP_RETRY_MAYFAIL)) | __GFP_NORETRY | __GFP_NOWARN;
    unsigned done = 0;

    while (done < count) {
        unsigned before = done;
        if (home >= 0)
            done += pop_some((unsigned)home, min_of(count - done, (unsigned)PAGE_BATCH_MAX), pages + done);
        if (home >= 0 && done < count)
            done += take_some((unsigned)home, min_of(count - done, (unsigned)PAGE_BATCH_MAX), pages + done);
        for (unsigned i = before; (gfp & __GFP_ZERO) && i < done; i++)
            pages_clear(pages[i], 0);
        for (unsigned i = before; CONFIG_CHECKED && i < done; i++)
            page_history_note(page_to_pfn(pages[i]), PAGE_ALLOCATED, 0, caller);
        if (done == count)
            break;
        // The first has all that is done for a single page, and so on failure its report.
        pages[done] = alloc_any(caller, done == 0 ? gfp : rest, 0);
        if (pages[done] == NULL)
            break;
        done++;
    }
    return done;
}

// Pages of HIGHMEM, pages of zeros that no idle hart has made, and what the checks have to see.
static noinline unsigned take_other_bulk(const void *caller, gfp_t gfp, unsigned count, struct page **pages)
{
    bool has_highmem = zones[ZONE_HIGHMEM].present_pages != 0;
    const struct zone *zone = &zones[(gfp & __GFP_HIGHMEM) && has_highmem ? (unsigned)ZONE_HIGHMEM : zone_of_kernel];
    bool has_home = (gfp & ~(GFP_PLAIN | __GFP_HIGHMEM | __GFP_ZERO)) == 0 && mm_fault_hook == NULL &&
                    ((gfp & __GFP_ZERO) == 0 || !page_zero_is_on());

    return take_bulk(caller, gfp, has_home ? (int)page_home(zone, MOBILITY_UNMOVABLE) : -1, count, pages);
}

unsigned alloc_pages_bulk(gfp_t gfp, unsigned count, struct page **pages)
{
    const void *caller = __builtin_return_address(0);

    might_sleep_if(gfp_may_sleep(gfp));
    // Pages in lists are handed out as they are, to whom the compiler's checks would let have them.
    if (likely((gfp & ~GFP_PLAIN) == 0 && mm_fault_hook == NULL))
        return take_bulk(caller, gfp & GFP_PLAIN, 0, count, pages);
    return take_other_bulk(caller, gfp, count, pages);
}

void *alloc_pages_exact(size_t bytes, gfp_t gfp)
{
    const void *caller = __builtin_return_address(0);
    uint64_t pages = bytes == 0 ? 0 : ((bytes - 1) >> PAGE_SHIFT) + 1;

    if (pages == 0 || (gfp & __GFP_COMP)) {
        page_misuse_request(caller, gfp, 0, "no bytes, or a compound block, asked for in single pages");
        return NULL;
    }
    unsigned order = get_order(bytes);
    char *start = address_for(caller, gfp, order);
    if (start == NULL)
        return NULL;
    struct page *head = virt_to_page(start);
    split_page(head, order);
    for (uint64_t i = pages; i < 1UL << order; i++)
        __free_page(head + i);
    return start;
}

void free_pages_exact(void *address, size_t bytes)
{
    for (char *at = address, *end = at + bytes; address != NULL && at < end; at += PAGE_SIZE)
        free_page(at);
}

void split_page(struct page *head, unsigned order)
{
    if (!is_memmap_page(head) || order > MAX_ORDER ||
        head->state != PAGE_STATE(PAGE_RAW, order, head->home)) {
        page_misuse(__builtin_return_address(0), head, order, "split, but no plain block of that order");
        return;
    }
    page_history_note(page_to_pfn(head), PAGE_SPLIT, order, __builtin_return_address(0));
    uint64_t state = PAGE_STATE(PAGE_RAW, 0, head->home);
    for (uint64_t i = 0; i < 1UL << order; i++)
        head[i].state = state;
}

struct page_alloc_stats page_alloc_stats(void)
{
    struct page_alloc_stats stats = {
        .failed_count = __atomic_load_n(&failed_count, __ATOMIC_RELAXED),
        .misuse_count = page_misuse_count(),
        .depot_calls = __atomic_load_n(&page_depot.calls, __ATOMIC_RELAXED),
    };

    for (unsigned id = 0; id < ZONE_COUNT; id++)
        stats.engine_calls += __atomic_load_n(&zones[id].lock_count, __ATOMIC_RELAXED);
    return stats;
}

void mm_set_fault_hook(fault_hook_t hook)
{
    bool was_set = mm_fault_hook != NULL;

    mm_fault_hook = hook;
    if (hook != NULL && !was_set)
        page_lists_block();
    else if (hook == NULL && was_set)
        page_lists_unblock();
}
