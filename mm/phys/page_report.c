// What the page allocator says when it is misused, and when it has to refuse.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_report.h>

#include "phys_private.h"

#include <arch/time.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/symbols.h>
#include <mm/page_engine.h>
#include <mm/page_history.h>
#include <mm/page_holder.h>
#include <mm/page_lists.h>

static uint64_t misuse_count;      // (A)
static uint64_t quiet_until;       // (A) time before which no failure is reported

static void count_misuse(void)
{
    __atomic_fetch_add(&misuse_count, 1, __ATOMIC_RELAXED);
}

uint64_t page_misuse_count(void)
{
    return __atomic_load_n(&misuse_count, __ATOMIC_RELAXED);
}

// What stands there, not half of what somebody is just making of it.
static struct page look_at(const struct page *page)
{
    struct zone *zone = zone_of(page_to_pfn(page));
    irqflags_t flags = spin_lock_irqsave(&zone->lock);
    struct page seen = *page;

    spin_unlock_irqrestore(&zone->lock, flags);
    return seen;
}

void page_misuse(const void *caller, const struct page *page, unsigned order, const char *what)
{
    struct page seen;

    count_misuse();
    if (!is_memmap_page(page)) {
        klog_error("page misuse: %s: pointer %p with order %u by %p\n", what, (const void *)page, order,
                   caller);
        return;
    }
    seen = look_at(page);
    klog_error("page misuse: %s: frame %#lx with order %u by %p; it is %s of order %u, count %u\n", what,
               page_to_pfn(page).value, order, caller, page_type_name(seen.type), seen.order, seen.refcount);
    page_history_print(page_to_pfn(page));
}

void page_misuse_address(const void *caller, const void *address, const char *what)
{
    count_misuse();
    klog_error("page misuse: %s: address %p by %p\n", what, address, caller);
}

void page_misuse_request(const void *caller, gfp_t gfp, unsigned order, const char *what)
{
    char flags[GFP_TEXT_BYTES];

    count_misuse();
    gfp_format(flags, sizeof(flags), gfp);
    klog_error("page misuse: %s: order %u, %s, asked by %p\n", what, order, flags, caller);
}

// --- Failed requests

// One zone at one moment.
struct view {
    const struct zone *zone;
    uint64_t free_pages;
    int largest_order;             // of its free blocks, -1 without any
};

static struct view view_zone(struct zone *zone)
{
    struct view view = { zone, 0, MAX_ORDER };
    struct free_counts counts;

    page_engine->count(zone, &counts);
    view.free_pages = counts.pages;
    while (view.largest_order >= 0 && counts.blocks[view.largest_order] == 0)
        view.largest_order--;
    return view;
}

// What the zones that a request may use have for it, together.
struct supply {
    uint64_t free_pages;
    uint64_t kept_pages, kept_from_atomic;     // what it and GFP_ATOMIC have to leave
    bool is_above_mark;            // a zone has as many pages, and those to leave besides
    bool has_block;                // and together
    bool has_pages;                // a zone has as many
};

static struct supply supply_for(const struct view *views, const struct zone *highest, gfp_t gfp, unsigned order)
{
    struct supply supply = { 0 };

    for (const struct view *view = views; view <= &views[highest - zones]; view++) {
        uint64_t free_pages = view->free_pages, keep = page_keep(view->zone, gfp), block = 1UL << order;

        if (view->zone->present_pages == 0)
            continue;
        supply.free_pages += free_pages;
        supply.kept_pages += keep;
        supply.kept_from_atomic += page_keep(view->zone, GFP_ATOMIC);
        supply.has_pages |= free_pages >= block;
        supply.is_above_mark |= free_pages >= keep + block;
        supply.has_block |= free_pages >= keep + block && view->largest_order >= (int)order;
    }
    return supply;
}

static void format_cause(char *text, size_t size, const struct view *views, gfp_t gfp, unsigned order)
{
    const struct zone *highest = gfp_zone(gfp);
    struct supply supply;

    if (order > MAX_ORDER || highest == NULL) {
        string_copy(text, highest == NULL ? "no zone of these flags has memory" : "the order is above the largest",
                    size);
        return;
    }
    supply = supply_for(views, highest, gfp, order);
    if (supply.free_pages == 0)
        string_copy(text, "zone empty", size);
    else if (supply.has_block)
        string_copy(text, "none; memory came back meanwhile", size);
    else if (supply.is_above_mark)
        format_text(text, size, "no block of order %u although %lu pages are free (fragmented)", order,
                    supply.free_pages);
    else if (supply.has_pages)
        format_text(text, size, "below min watermark: %lu pages are free, %lu are kept (GFP_ATOMIC may go to %lu, "
                                "__GFP_MEMALLOC to 0)",
                    supply.free_pages, supply.kept_pages, supply.kept_from_atomic);
    else
        format_text(text, size, "too few pages: %lu are free", supply.free_pages);
}

static void report_request(const void *caller, gfp_t gfp, unsigned order)
{
    char flags[GFP_TEXT_BYTES], by[SYMBOL_NAME_BYTES + 16];

    gfp_format(flags, sizeof(flags), gfp);
    symbol_format(by, sizeof(by), (uintptr_t)caller);
    klog_warn("page allocation failed: order %u, %s, asked by %s (%p)\n", order, flags, by, caller);
}

static void report_zone(const struct view *view)
{
    char largest[8] = "none";

    if (view->largest_order >= 0)
        format_text(largest, sizeof(largest), "%d", view->largest_order);
    klog_warn("  zone %s: free %lu of %lu pages, largest order %s, min %lu, low %lu, high %lu, in harts' lists %lu\n",
              view->zone->name, view->free_pages, view->zone->managed_pages, largest, view->zone->watermark_min,
              view->zone->watermark_low, view->zone->watermark_high, page_lists_pages(view->zone));
}

struct list_of_holders {
    char text[384];
    size_t length;
    uint64_t pages;
};

static void add_pages(struct list_of_holders *list, const char *name, uint64_t pages)
{
    size_t room = sizeof(list->text) - list->length;
    size_t length = (size_t)format_text(list->text + list->length, room, "%s%s %lu", list->length > 0 ? ", " : "", name,
                                        pages);

    list->length += min_of(length, room - 1);
    list->pages += pages;
}

static void add_holder(const struct page_holder *holder, void *list)
{
    add_pages(list, holder->name, holder->pages());
}

static void report_holders(const struct view *views)
{
    uint64_t present = 0, managed = 0, free_pages = 0, in_lists = 0;
    struct list_of_holders list = { .length = 0 };

    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        present += zones[id].present_pages;
        managed += __atomic_load_n(&zones[id].managed_pages, __ATOMIC_RELAXED);
        free_pages += views[id].free_pages;
        in_lists += page_lists_pages(&zones[id]);
    }
    page_holders_for_each(add_holder, &list);
    add_pages(&list, "harts' lists", in_lists);
    add_pages(&list, "kernel, memmap and firmware", present - managed);
    add_pages(&list, "free", free_pages);
    add_pages(&list, "other", present - min_of(list.pages, present));
    klog_warn("  pages: %s\n", list.text);
}

void page_report_rearm(void)
{
    __atomic_store_n(&quiet_until, 0, __ATOMIC_RELAXED);
}

void page_report_failure(const void *caller, gfp_t gfp, unsigned order)
{
    uint64_t now = arch_time(), until = __atomic_load_n(&quiet_until, __ATOMIC_RELAXED);
    struct view views[ZONE_COUNT];
    char cause[128];

    // Of several harts that fail at once, one reports.
    if (now < until || !__atomic_compare_exchange_n(&quiet_until, &until, now + arch_timer_hz(), false,
                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        views[id] = view_zone(&zones[id]);
    format_cause(cause, sizeof(cause), views, gfp, order);
    report_request(caller, gfp, order);
    klog_warn("  cause: %s\n", cause);
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        if (zones[id].present_pages > 0)
            report_zone(&views[id]);
    report_holders(views);
}
