// vmap and ioremap: areas that show memory of somebody else's.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <base/errno.h>
#include <mm/pgtable.h>

static void remove_area(const void *start, enum vmalloc_kind kind, const char *operation, const void *caller)
{
    struct vmalloc_area *area = vmalloc_area_claim(start, kind, operation, caller);

    if (area == NULL)
        return;
    vmalloc_area_unmap(area);
    vmalloc_area_release(area);
}

static int map_each(struct vmalloc_area *area, struct page **pages, unsigned count, unsigned prot)
{
    int error = 0;

    for (; area->page_count < count && error == 0; area->page_count++)
        error = vmalloc_area_map(area, (uint64_t)area->page_count << PAGE_SHIFT,
                                 page_to_phys(pages[area->page_count]), PAGE_SIZE, prot);
    return error;
}

static const char *why_refused(struct page **pages, unsigned count, unsigned prot)
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
    const char *refused = why_refused(pages, count, prot);

    if (refused != NULL) {
        vmalloc_report_misuse("vmap", NULL, refused, caller);
        return NULL;
    }
    struct vmalloc_area *area = vmalloc_area_create((uint64_t)count << PAGE_SHIFT, PAGE_SIZE, 0, VMALLOC_MAP,
                                                    caller);
    if (area == NULL)
        return NULL;
    if (map_each(area, pages, count, prot) != 0) {
        vmalloc_area_unmap(area);
        vmalloc_area_release(area);
        return NULL;
    }
    vmalloc_area_publish(area);
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
    struct vmalloc_area *area = vmalloc_area_create(align_up(inside + size, MMU_PAGE_SIZE), PAGE_SIZE, 0,
                                                    VMALLOC_IO, caller);
    if (area == NULL)
        return NULL;
    area->phys = paddr(first);
    int error = vmalloc_area_map(area, 0, area->phys, area->size, PROT_KERNEL_IO);
    if (error != 0) {
        vmalloc_area_release(area);
        if (error == -EINVAL)
            vmalloc_report_misuse("ioremap", NULL, "no entry can name that physical address", caller);
        return NULL;
    }
    vmalloc_area_publish(area);
    return (volatile char *)vaddr_ptr(area->start) + inside;
}

void iounmap(volatile const void *address)
{
    uintptr_t start = align_down((uintptr_t)address, MMU_PAGE_SIZE);

    if (address != NULL)
        remove_area((const void *)start, VMALLOC_IO, "iounmap", __builtin_return_address(0));
}
