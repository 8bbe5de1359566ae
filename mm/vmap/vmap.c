// vmap and ioremap: areas that show memory of somebody else's.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <base/errno.h>

static void remove_area(const void *start, enum vmalloc_kind kind, const char *operation, const void *caller)
{
    struct vmalloc_area *area = vmalloc_area_claim(start, kind, operation, caller);

    if (area == NULL)
        return;
    vmalloc_area_unmap(area);
    area_give(area);
}

// Pages that lie side by side are mapped as one, by leaves as large as can be.
static int map_runs(struct vmalloc_area *area, struct page **pages, unsigned count, unsigned prot)
{
    int error = 0;

    for (unsigned first = 0, end; first < count && error == 0; first = end) {
        for (end = first + 1; end < count && pages[end] == pages[first] + (end - first); end++) {
        }
        error = vmalloc_area_map(area, (uint64_t)first << PAGE_SHIFT, page_to_phys(pages[first]),
                                 (uint64_t)(end - first) << PAGE_SHIFT, prot);
    }
    return error;
}

const char *vmap_why_refused(struct page **pages, unsigned count, unsigned prot)
{
    if (pages == NULL || count == 0)
        return "no pages";
    for (unsigned i = 0; i < count; i++)
        if (pages[i] == NULL)
            return "a page is NULL";
    return pgtable_prot_is_valid(prot) ? NULL : "rights that no mapping may have";
}

void *vmap(struct page **pages, unsigned count, unsigned prot)
{
    const void *caller = __builtin_return_address(0);
    const char *refused = vmap_why_refused(pages, count, prot);
    uint64_t bytes = (uint64_t)count << PAGE_SHIFT;

    if (refused != NULL) {
        vmalloc_report_misuse("vmap", NULL, refused, caller);
        return NULL;
    }
    struct vmalloc_area *area = vmalloc_area_create(bytes, vmalloc_alignment(bytes), 0, VMALLOC_MAP, caller);
    if (area == NULL)
        return NULL;
    area->page_count = count;
    if (map_runs(area, pages, count, prot) != 0) {
        vmalloc_area_unmap(area);
        area_give(area);
        return NULL;
    }
    vmalloc_area_publish(area, VMALLOC_MAP, 0);
    return vaddr_ptr(area->start);
}

void vunmap(const void *address)
{
    if (address != NULL)
        remove_area(address, VMALLOC_MAP, "vunmap", __builtin_return_address(0));
}

volatile void *ioremap(paddr_t phys, size_t size)
{
    const void *caller = __builtin_return_address(0);
    uint64_t inside = phys.value & (MMU_PAGE_SIZE - 1), first = phys.value - inside;

    if (size == 0 || phys.value + (size - 1) < phys.value || size > ARCH_VMALLOC_END - ARCH_VMALLOC_BASE) {
        vmalloc_report_misuse("ioremap", NULL, "the range is empty, wraps or is above the space", caller);
        return NULL;
    }
    uint64_t bytes = align_up(inside + size, MMU_PAGE_SIZE);
    // Only where both addresses are as aligned there can be a large leaf.
    uint64_t alignment = min_of(vmalloc_alignment(bytes), first == 0 ? HUGE_BYTES : first & -first);
    struct vmalloc_area *area = vmalloc_area_create(bytes, max_of(alignment, PAGE_SIZE), 0, VMALLOC_IO, caller);
    if (area == NULL)
        return NULL;
    area->phys = paddr(first);
    int error = vmalloc_area_map(area, 0, area->phys, area->size, PROT_KERNEL_IO);
    if (error != 0) {
        area_give(area);
        if (error == -EINVAL)
            vmalloc_report_misuse("ioremap", NULL, "no entry can name that physical address", caller);
        return NULL;
    }
    vmalloc_area_publish(area, VMALLOC_IO, 0);
    return (volatile char *)vaddr_ptr(area->start) + inside;
}

void iounmap(volatile const void *address)
{
    uintptr_t start = align_down((uintptr_t)address, MMU_PAGE_SIZE);

    if (address != NULL)
        remove_area((const void *)start, VMALLOC_IO, "iounmap", __builtin_return_address(0));
}
