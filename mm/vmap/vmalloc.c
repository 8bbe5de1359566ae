// vmalloc and vfree: areas that own their pages.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <mm/page_alloc.h>
#include <mm/pgtable.h>
#include <mm/zone.h>
#include <sync/preempt.h>

// The pages that were taken stay with the area on failure.
static bool take_pages(struct vmalloc_area *area, uint64_t count, gfp_t gfp)
{
    uint32_t *link = &area->first_page;

    for (; area->page_count < count; area->page_count++) {
        struct page *page = alloc_page(gfp);
        if (page == NULL)
            return false;
        page->owner = area;
        page->next = 0;
        page_set_type(page, PAGE_VMALLOC);
        *link = (uint32_t)page_to_pfn(page).value;
        link = &page->next;
    }
    return true;
}

static void give_pages_back(struct vmalloc_area *area)
{
    uint32_t frame = area->first_page;

    while (frame != 0) {
        struct page *page = pfn_to_page(pfn(frame));
        frame = page->next;
        page->owner = NULL;
        page_set_type(page, PAGE_RAW);
        __free_page(page);
    }
}

// Pages often lie side by side, fresh from one block: a run of them is mapped at once.
static bool map_pages(struct vmalloc_area *area)
{
    uint64_t offset = 0;

    for (uint32_t first = area->first_page; first != 0;) {
        uint32_t count = 0, frame = first;
        for (; frame != 0 && frame == first + count; frame = pfn_to_page(pfn(frame))->next)
            count++;
        uint64_t bytes = (uint64_t)count << PAGE_SHIFT;
        if (vmalloc_area_map(area, offset, pfn_to_paddr(pfn(first)), bytes, PROT_KERNEL_RW) != 0)
            return false;
        offset += bytes;
        first = frame;
    }
    return true;
}

void *vmalloc_for(const char *operation, size_t size, gfp_t gfp, const void *caller)
{
    might_sleep();
    if (size == 0) {
        vmalloc_report_misuse(operation, NULL, "the size is 0", caller);
        return NULL;
    }
    if (size > ARCH_VMALLOC_END - ARCH_VMALLOC_BASE || (size - 1) >> PAGE_SHIFT >= zones_managed_pages()) {
        vmalloc_report_misuse(operation, NULL, "the size is above that of all memory or of the space",
                              caller);
        return NULL;
    }
    uint64_t pages = ((size - 1) >> PAGE_SHIFT) + 1;
    struct vmalloc_area *area = vmalloc_area_create(pages << PAGE_SHIFT, PAGE_SIZE, 0, VMALLOC_PAGES, caller);
    if (area == NULL)
        return NULL;
    if (!take_pages(area, pages, gfp) || !map_pages(area)) {
        vmalloc_area_unmap(area);
        give_pages_back(area);
        vmalloc_area_release(area);
        return NULL;
    }
    vmalloc_area_publish(area);
    return vaddr_ptr(area->start);
}

void *vmalloc(size_t size)
{
    return vmalloc_for("vmalloc", size, GFP_KERNEL | __GFP_HIGHMEM, __builtin_return_address(0));
}

void *vzalloc(size_t size)
{
    return vmalloc_for("vzalloc", size, GFP_KERNEL | __GFP_HIGHMEM | __GFP_ZERO, __builtin_return_address(0));
}

void vfree(const void *address)
{
    if (address == NULL)
        return;
    struct vmalloc_area *area = vmalloc_area_claim(address, VMALLOC_PAGES, "vfree",
                                                   __builtin_return_address(0));
    if (area == NULL)
        return;
    vmalloc_area_unmap(area);
    give_pages_back(area);
    vmalloc_area_release(area);
}

struct page *vmalloc_to_page(const void *address)
{
    if (!is_vmalloc_addr(address))
        return NULL;
    struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, vaddr_of(address));
    if (!walk.mapped || walk.pa.value >= ARCH_PHYS_LIMIT)
        return NULL;
    struct page *page = pfn_to_page(paddr_to_pfn(walk.pa));
    return page_type(page) == PAGE_VMALLOC || vmalloc_kind_at(address) == VMALLOC_MAP ? page : NULL;
}
