// Pages that idle harts have cleared in advance.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_zero.h>

#include <arch/page_ops.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <mm/page_alloc.h>
#include <mm/page_depot.h>

static PER_HART struct {
    uint64_t cleared, served;      // (A) written by their hart
    uint64_t instructions;         // (A)
} counters;

static bool is_on;                 // (C)

void page_zero_init(bool enabled) { is_on = enabled; }
bool page_zero_is_on(void) { return is_on; }

// Puts a cleared page on this hart's list; where that is full, half of it into the depot. False when that is full too.
static bool push(struct page *page)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(PAGE_LIST_ZEROED, 0);
    bool has_room = list->top < list->limit;

    if (!has_room && list->top - list->bottom >= PAGE_DEPOT_ZEROED_BATCH &&
        page_depot_put(&page_depot_zeroed, list->top + 1 - PAGE_DEPOT_ZEROED_BATCH)) {
        list->top -= PAGE_DEPOT_ZEROED_BATCH;
        has_room = list->top < list->limit;
    }
    if (has_room)
        *++list->top = page;
    arch_irq_restore(flags);
    return has_room;
}

static bool is_wanted(void)
{
    const struct zone *zone = &zones[zone_of_kernel];
    irqflags_t flags = arch_irq_save();
    const struct page_list *list = page_list_of(PAGE_LIST_ZEROED, 0);
    bool has_room = list->top < list->limit;
    bool is_open = list->limit > list->bottom;

    arch_irq_restore(flags);
    return (has_room || (is_open && page_depot_has_room(&page_depot_zeroed))) &&
           __atomic_load_n(&zone->free_pages, __ATOMIC_RELAXED) > zone->watermark_high + zone->reserved_pages;
}

bool page_zero_one(void)
{
    if (!is_on || !is_wanted())
        return false;
    uint64_t before = arch_instructions();
    struct page *page = alloc_page(GFP_NOWAIT | __GFP_NOWARN);
    if (page == NULL)
        return false;
    if (page->home != 0) {
        __free_page(page);
        return false;
    }
    arch_clear_page(page_to_virt(page));
    page->state = PAGE_STATE(PAGE_HART, 0, 0);
    if (!push(page)) {
        page->state = PAGE_STATE(PAGE_RAW, 0, 0);
        __free_page(page);
        return false;
    }
    irqflags_t flags = arch_irq_save();
    store_relaxed(&arch_this_hart(counters).cleared, arch_this_hart(counters).cleared + 1);
    store_relaxed(&arch_this_hart(counters).instructions,
                  arch_this_hart(counters).instructions + arch_instructions() - before);
    arch_irq_restore(flags);
    return true;
}

static void check_is_zero(const struct page *page)
{
    const uint64_t *words = page_to_virt(page);

    for (uint64_t i = 0; i < PAGE_SIZE / sizeof(*words); i++)
        if (words[i] != 0)
            panic("frame %#lx was written to while it was free: %#lx at offset %#lx of a page that had been zeroed",
                  page_to_pfn(page).value, words[i], i * sizeof(*words));
}

struct page *page_zero_pop(void)
{
    irqflags_t flags = arch_irq_save();
    struct page_list *list = page_list_of(PAGE_LIST_ZEROED, 0);
    struct page *page = NULL;

    if (list->top == list->bottom && list->limit - list->bottom >= PAGE_DEPOT_ZEROED_BATCH &&
        page_depot_take(&page_depot_zeroed, list->top + 1))
        list->top += PAGE_DEPOT_ZEROED_BATCH;
    if (list->top > list->bottom) {
        page = *list->top--;
        store_relaxed(&arch_this_hart(counters).served, arch_this_hart(counters).served + 1);
    }
    arch_irq_restore(flags);
    if (CONFIG_CHECKED && page != NULL)
        check_is_zero(page);
    return page;
}

struct page_zero_stats page_zero_stats(void)
{
    struct page_zero_stats stats = { .held = page_depot_pages(&page_depot_zeroed) };

    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        stats.cleared += __atomic_load_n(&per_hart_of(counters, hart)->cleared, __ATOMIC_RELAXED);
        stats.served += __atomic_load_n(&per_hart_of(counters, hart)->served, __ATOMIC_RELAXED);
        stats.instructions += __atomic_load_n(&per_hart_of(counters, hart)->instructions, __ATOMIC_RELAXED);
        stats.held += page_lists_zeroed_pages(hart);
    }
    return stats;
}
