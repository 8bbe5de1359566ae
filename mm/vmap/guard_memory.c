// The window of guarded objects: pages of its own, mapped and unmapped in any context.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/guard_memory.h>

#include "vmalloc_area.h"

#include <mm/page_alloc.h>
#include <mm/pgtable.h>
#include <mm/slab_guard.h>
#include <mm/tlb.h>

static struct {
    vaddr_t start;
    struct page *page[SLAB_GUARD_PAGES];       // what each shows: guards share one
} window;                                      // (C)

// A page's granules may lie in two tables.
static void write_page(unsigned index, paddr_t phys, unsigned prot)
{
    for (unsigned i = 0; i < GRANULES_PER_PAGE; i++) {
        vaddr_t at = vaddr_add(window.start, index * PAGE_SIZE + i * MMU_PAGE_SIZE);
        pgtable_write_granules(pgtable_granule_entry(&kernel_pgtable, at), 1, paddr(phys.value + i * MMU_PAGE_SIZE),
                               prot);
    }
}

static void show(unsigned index)
{
    write_page(index, page_to_phys(window.page[index]), PROT_KERNEL_RW);
    // This hart may have kept that there was nothing; another one that did faults once more and is answered by a fence,
    // which section 4.2.1 allows for new leaves.
    tlb_flush_local(vaddr_add(window.start, index * PAGE_SIZE), PAGE_SIZE, TLB_GUARD_SHOWN);
}

static void hide(unsigned index)
{
    write_page(index, paddr(0), 0);
    // Section 4.2.1: leaves were changed, and whoever still uses the object is to be found.
    tlb_flush_kernel(vaddr_add(window.start, index * PAGE_SIZE), PAGE_SIZE, TLB_GUARD_HIDDEN);
}

static void free_pages_of_window(void)
{
    for (unsigned i = 0; i < SLAB_GUARD_PAGES; i++)
        if (window.page[i] != NULL && (i == 0 || i % 2 == 1))
            __free_page(window.page[i]);
}

bool guard_memory_init(void)
{
    struct slab_guard_memory memory = { .show = show, .hide = hide };

    if (slab_guard_interval() == 0)
        return true;
    struct vmalloc_area *area = vmalloc_area_create(SLAB_GUARD_PAGES * PAGE_SIZE, PAGE_SIZE, 0, VMALLOC_GUARD,
                                                    __builtin_return_address(0));
    if (area == NULL)
        return false;
    window.start = area->start;
    bool is_whole = pgtable_pin(&kernel_pgtable, area->start, area->size) == 0;
    for (unsigned i = 0; i < SLAB_GUARD_PAGES && is_whole; i++) {
        window.page[i] = i == 0 || i % 2 == 1 ? alloc_page(GFP_KERNEL) : window.page[0];
        is_whole = window.page[i] != NULL;
    }
    if (!is_whole) {
        free_pages_of_window();
        area_give(area);
        return false;
    }
    vmalloc_area_publish(area, VMALLOC_GUARD, 0);
    memory.base = vaddr_ptr(area->start);
    slab_guard_register(&memory);
    return true;
}
