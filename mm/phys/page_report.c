// What the page allocator says when it is misused, and when it has to refuse.
// SPDX-License-Identifier: BSD-2-Clause
#include "phys_private.h"

#include <arch/time.h>
#include <debug/klog.h>
#include <mm/page_engine.h>

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
}

void page_misuse_address(const void *caller, const void *address, const char *what)
{
    count_misuse();
    klog_error("page misuse: %s: address %p by %p\n", what, address, caller);
}

void page_misuse_request(const void *caller, gfp_t gfp, unsigned order, const char *what)
{
    count_misuse();
    klog_error("page misuse: %s: order %u, gfp %#x asked by %p\n", what, order, gfp, caller);
}

void page_report_failure(const void *caller, gfp_t gfp, unsigned order)
{
    uint64_t now = arch_time(), until = __atomic_load_n(&quiet_until, __ATOMIC_RELAXED);

    // Of several harts that fail at once, one reports.
    if (now < until || !__atomic_compare_exchange_n(&quiet_until, &until, now + arch_timer_hz(), false,
                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    klog_warn("page allocation failed: order %u, gfp %#x, asked by %p\n", order, gfp, caller);
    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        struct zone *zone = &zones[id];
        struct free_counts counts;
        unsigned largest = MAX_ORDER;

        if (zone->present_pages == 0)
            continue;
        page_engine->count(zone, &counts);
        while (largest > 0 && counts.blocks[largest] == 0)
            largest--;
        klog_warn("  zone %s: %lu of %lu pages free, largest order %u, min %lu, low %lu, high %lu\n",
                  zone->name, counts.pages, zone->present_pages, largest, zone->watermark_min,
                  zone->watermark_low, zone->watermark_high);
    }
}
