// Giving pages back: checks on what comes, and this hart's list or the zone.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "phys_private.h"

#include <arch/atomic.h>
#include <mm/page_depot.h>
#include <mm/page_engine.h>
#include <mm/page_history.h>
#include <mm/page_lists.h>

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

// Blocks of a full list to the depot or the engine, until it has room; false when it may hold nothing.
static bool relieve(struct page_list *list, struct zone *zone, unsigned order)
{
    if (list == page_list_of(0, 0) && list->limit - list->bottom >= PAGE_DEPOT_BATCH &&
        page_depot_put(&page_depot, list->top + 1 - PAGE_DEPOT_BATCH)) {
        list->top -= PAGE_DEPOT_BATCH;
        return true;
    }
    unsigned count = page_list_relief_count(list);

    if (count > 0)
        list->top -= page_engine->give(zone, order, count, list->top + 1 - count);
    return list->top < list->limit;
}

// Puts a block of type PAGE_HART on this hart's list, or gives it to the engine.
static noinline void put(struct page *page, unsigned order)
{
    unsigned home = page->home;
    struct zone *zone = home_zone(home);

    if (order >= PAGE_LIST_ORDERS) {
        page_engine_give_all(zone, order, 1, &page);
        return;
    }
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(home, order);
    if (list->top < list->limit || relieve(list, zone, order))
        *++list->top = page;
    else
        page_engine_give_all(zone, order, 1, &page);
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
    if ((next & 0xff) != PAGE_HART)
        return;
    page_history_note(page_to_pfn(page), PAGE_FREED, order, caller);
    put(page, order);
}

void page_free_any(struct page *page, unsigned order)
{
    free_any(__builtin_return_address(0), page, order);
}

// What the fast way cannot do: as alloc_order.
static noinline void free_order(struct page *page, unsigned order)
{
    free_any(__builtin_return_address(0), page, order);
}

static always_inline void free_known(struct page *page, unsigned order)
{
    if (unlikely(!arch_replace(&page->state, PAGE_STATE(PAGE_RAW, order, 0), PAGE_STATE(PAGE_HART, order, 0)))) {
        free_order(page, order);
        return;
    }
    page_history_note(page_to_pfn(page), PAGE_FREED, order, __builtin_return_address(0));
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

static always_inline void free_fast(struct page *page, unsigned order)
{
    if (likely(is_memmap_page(page)))
        free_known(page, order);
    else
        free_order(page, order);
}

void page_free_order0(struct page *page) { free_fast(page, 0); }
void page_free_order1(struct page *page) { free_fast(page, 1); }
void page_free_order2(struct page *page) { free_fast(page, 2); }
void page_free_order3(struct page *page) { free_fast(page, 3); }

void page_free_listed(struct page *page, unsigned order)
{
    free_fast(page, order);
}

void page_free_large(struct page *page, unsigned order)
{
    if (likely(is_memmap_page(page) && order <= MAX_ORDER &&
               arch_replace(&page->state, PAGE_STATE(PAGE_RAW, order, 0), PAGE_STATE(PAGE_HART, order, 0)))) {
        page_history_note(page_to_pfn(page), PAGE_FREED, order, __builtin_return_address(0));
        page_engine->give_large(&zones[zone_of_kernel], page, order);
    } else {
        free_order(page, order);
    }
}

static bool is_page_address(const void *address)
{
    return virt_is_direct(address) && is_aligned((uintptr_t)address, PAGE_SIZE);
}

static cold void free_bad_address(const void *address)
{
    if (address != NULL)
        page_misuse_address(__builtin_return_address(0), address, "freed, but no address of a page");
}

void free_pages(void *address, unsigned order)
{
    if (unlikely(!is_page_address(address)))
        free_bad_address(address);
    else
        free_any(__builtin_return_address(0), virt_to_page(address), order);
}

void free_page(void *address)
{
    if (unlikely(!is_page_address(address)))
        free_bad_address(address);
    else
        free_known(virt_to_page(address), 0);
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
