// The page allocator: zones in turn, watermarks, reclaim for those who can wait, checks on what is given back.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "phys_private.h"

#include <arch/page_ops.h>
#include <base/bits.h>
#include <base/string.h>
#include <mm/page_engine.h>
#include <mm/page_lists.h>
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

static enum mobility gfp_mobility(gfp_t gfp)
{
    return gfp & __GFP_MOVABLE       ? MOBILITY_MOVABLE
           : gfp & __GFP_RECLAIMABLE ? MOBILITY_RECLAIMABLE
                                     : MOBILITY_UNMOVABLE;
}

// The pages of a zone that a request has to leave; `mark` is its watermark.
static uint64_t pages_to_keep(const struct zone *zone, gfp_t gfp, uint64_t mark, const struct zone *highest)
{
    if (gfp & __GFP_MEMALLOC)
        return 0;
    uint64_t keep = (gfp & __GFP_HIGH ? mark - mark / 2 : mark) + zone->lowmem_reserve[highest - zones];
    return gfp & __GFP_HIGH ? keep : keep + zone->reserved_pages;
}

// Refills this hart's list and takes the block for the caller from it; where it has no room, only that.
static struct page *take_through_list(struct zone *zone, const struct page_request *request, bool may_refill)
{
    struct page *one = NULL;
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(page_home(zone, (enum mobility)request->mobility), request->order);
    unsigned wanted = may_refill ? page_list_refill_count(list) : 0;

    if (wanted > 1) {
        unsigned taken = page_engine->take(zone, request, wanted, list->top + 1);
        if (taken > 0) {
            one = list->top[taken];
            list->top += taken - 1;
        }
    } else {
        (void)page_engine->take(zone, request, 1, &one);
    }
    arch_irq_restore(flags);
    return one;
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

    if (order < PAGE_LIST_ORDERS)
        page = take_through_list(zone, &request, may_refill);
    else
        (void)page_engine->take(zone, &request, 1, &page);
    if (page != NULL && order > 0 && (gfp & __GFP_HIGH))
        page_engine->reserve(zone, page);
    return page;
}

// From the highest zone that the flags allow to the lowest, twice: so that the zones stay above their low marks, and if
// that cannot be, down to what the flags may dip into. Then nobody takes more than he needs.
static struct page *take_from_zones(gfp_t gfp, unsigned order)
{
    const struct zone *highest = gfp_zone(gfp);

    if (highest == NULL)
        return NULL;
    for (unsigned round = 0; round < 2; round++) {
        for (size_t id = (size_t)(highest - zones) + 1; id-- > 0;) {
            struct zone *zone = &zones[id];
            uint64_t keep = pages_to_keep(zone, gfp, round == 0 ? zone->watermark_low : zone->watermark_min, highest);
            if (zone->present_pages == 0 || __atomic_load_n(&zone->free_pages, __ATOMIC_RELAXED) < keep + (1UL << order))
                continue;
            struct page *page = take_from_zone(zone, gfp, order, keep, round == 0);
            if (page != NULL)
                return page;
        }
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

static void clear_block(struct page *page, unsigned order)
{
    char *start = page_to_virt(page);

    for (uint64_t i = 0; i < 1UL << order; i++)
        arch_clear_page(start + (i << PAGE_SHIFT));
}

// Any request, all of it: checks, the hart's list, the zones, reclaim.
static noinline struct page *alloc_any(const void *caller, gfp_t gfp, unsigned order)
{
    const char *fault = order > MAX_ORDER ? "order too large" : gfp_fault(gfp);
    bool is_injected = mm_fault_hook != NULL && !(gfp & __GFP_NOFAIL) && mm_fault_hook(FAULT_PAGE, gfp);
    struct page *page = NULL;

    might_sleep_if(gfp_may_sleep(gfp));
    if (fault != NULL) {
        page_misuse_request(caller, gfp, order, fault);
    } else if (!is_injected) {
        const struct zone *highest = gfp_zone(gfp);
        if (order < PAGE_LIST_ORDERS && highest != NULL)
            page = pop(page_home(highest, gfp_mobility(gfp)), order);
        if (page == NULL)
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
    page->state = PAGE_STATE(PAGE_RAW, order, page->home);
    if (gfp & __GFP_COMP)
        name_head_in_tails(page, order);
    if (gfp & __GFP_ZERO)
        clear_block(page, order);
    return page;
}

struct page *__alloc_pages(gfp_t gfp, unsigned order)
{
    return alloc_any(__builtin_return_address(0), gfp, order);
}

static always_inline struct page *alloc_fast(gfp_t gfp, unsigned order, const void *caller)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(0, order);
    struct page **top = list->top, *page = *top;

    if (unlikely(page == NULL)) {
        arch_irq_restore(flags);
        return alloc_any(caller, gfp, order);
    }
    list->top = top - 1;
    arch_irq_restore(flags);
    page->state = PAGE_STATE(PAGE_RAW, order, 0);
    return page;
}

struct page *page_alloc_order0(gfp_t gfp) { return alloc_fast(gfp, 0, __builtin_return_address(0)); }
struct page *page_alloc_order1(gfp_t gfp) { return alloc_fast(gfp, 1, __builtin_return_address(0)); }
struct page *page_alloc_order2(gfp_t gfp) { return alloc_fast(gfp, 2, __builtin_return_address(0)); }
struct page *page_alloc_order3(gfp_t gfp) { return alloc_fast(gfp, 3, __builtin_return_address(0)); }

void *page_alloc_zeroed(gfp_t gfp)
{
    struct page *page = alloc_fast(gfp, 0, __builtin_return_address(0));

    if (unlikely(page == NULL))
        return NULL;
    void *address = page_to_virt(page);
    arch_clear_page(address);
    return address;
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
    struct page **top = list->top, **to = pages, **end = pages + most, *page;

    while (to < end && (page = *top) != NULL) {
        page->state = state;
        *to++ = page;
        top--;
    }
    list->top = top;
    arch_irq_restore(flags);
    return (unsigned)(to - pages);
}

unsigned alloc_pages_bulk(gfp_t gfp, unsigned count, struct page **pages)
{
    const struct zone *highest = gfp_fault(gfp) == NULL ? gfp_zone(gfp) : NULL;
    bool is_plain = highest != NULL && !(gfp & (__GFP_ZERO | __GFP_COMP)) && mm_fault_hook == NULL;
    unsigned done = 0;

    while (done < count) {
        unsigned most = min_of(count - done, (unsigned)PAGE_BATCH_MAX);
        if (is_plain)
            done += pop_some(page_home(highest, gfp_mobility(gfp)), most, pages + done);
        if (done == count)
            break;
        // The first has all that is done for a single page, and so on failure its report.
        gfp_t rest = gfp | __GFP_NOWARN | (done > 0 ? __GFP_NORETRY : 0);
        pages[done] = alloc_any(__builtin_return_address(0), done == 0 ? gfp : rest, 0);
        if (pages[done] == NULL)
            break;
        done++;
    }
    return done;
}

static unsigned order_for(uint64_t pages) { return pages <= 1 ? 0 : highest_bit(pages - 1) + 1; }

void *alloc_pages_exact(size_t bytes, gfp_t gfp)
{
    const void *caller = __builtin_return_address(0);
    uint64_t pages = bytes == 0 ? 0 : ((bytes - 1) >> PAGE_SHIFT) + 1;

    if (pages == 0 || (gfp & __GFP_COMP)) {
        page_misuse_request(caller, gfp, 0, "no bytes, or a compound block, asked for in single pages");
        return NULL;
    }
    unsigned order = order_for(pages);
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

// Why a block in that state cannot be given back, or NULL.
static const char *state_fault(const struct page *page, uint64_t state, unsigned order)
{
    switch (state & 0xff) {
    case PAGE_RAW:
        return (state >> 8 & 0xff) != order ? "freed with another order" : NULL;
    case PAGE_FREE:
    case PAGE_HART:
        return "freed twice";
    case PAGE_TAIL:
        return page_run_free(page) > 0 ? "freed twice" : "freed where no block starts";
    default:
        return "freed by another than its owner";
    }
}

// Blocks of the list to the engine, until it has room; false when it may hold nothing.
static bool relieve(struct page_list *list, struct zone *zone, unsigned order)
{
    unsigned count = page_list_relief_count(list);

    list->top -= count;
    page_engine->give(zone, order, count, list->top + 1);
    return list->top < list->limit;
}

// Puts a block of type PAGE_HART on this hart's list, or gives it to the engine.
static noinline void put(struct page *page, unsigned order)
{
    unsigned home = page->home;
    struct zone *zone = page_zone(page);

    if (order >= PAGE_LIST_ORDERS) {
        page_engine->give(zone, order, 1, &page);
        return;
    }
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(home, order);
    if (list->top < list->limit || relieve(list, zone, order))
        *++list->top = page;
    else
        page_engine->give(zone, order, 1, &page);
    arch_irq_restore(flags);
}

// Any free: all checks, references, every order and home.
static noinline void free_any(const void *caller, struct page *page, unsigned order)
{
    if (page == NULL)
        return;
    if (!is_memmap_page(page)) {
        page_misuse(caller, page, order, "no struct page");
        return;
    }
    // Two harts that free the same block both come here; only one finds it owned.
    uint64_t state = __atomic_load_n(&page->state, __ATOMIC_RELAXED), next;
    do {
        const char *fault = state_fault(page, state, order);
        if (fault != NULL) {
            page_misuse(caller, page, order, fault);
            return;
        }
        bool is_last = state >> 32 == 0;
        next = is_last ? PAGE_STATE(PAGE_HART, order, state >> 24 & 0xff) : state - (1UL << 32);
    } while (!__atomic_compare_exchange_n(&page->state, &state, next, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
    if ((next & 0xff) == PAGE_HART)
        put(page, order);
}

void page_free_any(struct page *page, unsigned order)
{
    free_any(__builtin_return_address(0), page, order);
}

static always_inline void free_fast(struct page *page, unsigned order, const void *caller)
{
    uint64_t state = PAGE_STATE(PAGE_RAW, order, 0);

    if (unlikely(!is_memmap_page(page) ||
                 !__atomic_compare_exchange_n(&page->state, &state, PAGE_STATE(PAGE_HART, order, 0), true,
                                              __ATOMIC_RELAXED, __ATOMIC_RELAXED))) {
        free_any(caller, page, order);
        return;
    }
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(0, order);
    struct page **top = list->top;
    if (unlikely(top == list->limit)) {
        arch_irq_restore(flags);
        put(page, order);
        return;
    }
    list->top = top + 1;
    top[1] = page;
    arch_irq_restore(flags);
}

void page_free_order0(struct page *page) { free_fast(page, 0, __builtin_return_address(0)); }
void page_free_order1(struct page *page) { free_fast(page, 1, __builtin_return_address(0)); }
void page_free_order2(struct page *page) { free_fast(page, 2, __builtin_return_address(0)); }
void page_free_order3(struct page *page) { free_fast(page, 3, __builtin_return_address(0)); }

static bool is_page_address(const void *address)
{
    return virt_is_direct(address) && is_aligned((uintptr_t)address, PAGE_SIZE);
}

static cold void free_bad_address(const void *caller, const void *address)
{
    if (address != NULL)
        page_misuse_address(caller, address, "freed, but no address of a page");
}

void free_pages(void *address, unsigned order)
{
    if (unlikely(!is_page_address(address)))
        free_bad_address(__builtin_return_address(0), address);
    else
        free_any(__builtin_return_address(0), virt_to_page(address), order);
}

void free_page(void *address)
{
    if (unlikely(!is_page_address(address)))
        free_bad_address(__builtin_return_address(0), address);
    else
        free_fast(virt_to_page(address), 0, __builtin_return_address(0));
}

void put_page(struct page *page)
{
    const void *caller = __builtin_return_address(0);

    if (is_memmap_page(page)) {
        page = page_head(page);
        free_any(caller, page, page->order);
    } else {
        page_misuse(caller, page, 0, "no struct page");
    }
}

void split_page(struct page *head, unsigned order)
{
    if (!is_memmap_page(head) || order > MAX_ORDER ||
        head->state != PAGE_STATE(PAGE_RAW, order, head->home)) {
        page_misuse(__builtin_return_address(0), head, order, "split, but no plain block of that order");
        return;
    }
    uint64_t state = PAGE_STATE(PAGE_RAW, 0, head->home);
    for (uint64_t i = 0; i < 1UL << order; i++)
        head[i].state = state;
}

struct page_alloc_stats page_alloc_stats(void)
{
    struct page_alloc_stats stats = {
        .failed_count = __atomic_load_n(&failed_count, __ATOMIC_RELAXED),
        .misuse_count = page_misuse_count(),
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
