// vmap, vm_map_ram and ioremap: areas that show memory of somebody else's.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <base/errno.h>
#include <mm/pte.h>

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

// The pages from `done` on whose entries lie in one table, at `entry`; returns how far it came. None of them may be
// NULL: all others have bits of the memmap's address in common.
static always_inline unsigned show_some(pte_t *entry, struct page **pages, unsigned done, unsigned end, bool *is_good)
{
    uintptr_t common = UINTPTR_MAX;

#pragma GCC unroll 4
    for (; done < end; done++) {
        common &= (uintptr_t)pages[done];
        entry = show_granules(entry, page_to_phys(pages[done]), GRANULES_PER_PAGE);
    }
    *is_good = common != 0;
    return done;
}

// For areas that do not come with a known entry.
static noinline bool show_all(struct vmalloc_area *area, struct page **pages)
{
    bool is_good = true;

    for (unsigned done = 0; done < area->page_count && is_good;) {
        struct vmap_front *front = vmap_gate_enter();
        vaddr_t va = vaddr_add(area->start, (uint64_t)done << PAGE_SHIFT);
        uint64_t here = pgtable_entries_here(va, (uint64_t)(area->page_count - done) * GRANULES_PER_PAGE);
        pte_t *entry = vmalloc_entry(va);
        if (entry != NULL)
            done = show_some(entry, pages, done, done + (unsigned)(here / GRANULES_PER_PAGE), &is_good);
        vmap_gate_leave(front);
        if (entry == NULL && pgtable_make_tables(&kernel_pgtable, va, here * MMU_PAGE_SIZE, GFP_KERNEL) != 0)
            return false;
    }
    return is_good;
}

static cold void *refuse(struct page **pages, unsigned count, const void *caller)
{
    const char *refused = why_refused(pages, count, PROT_KERNEL_RW);

    if (refused != NULL)
        vmalloc_report_misuse("vm_map_ram", NULL, refused, caller);
    return NULL;
}

void *vm_map_ram(struct page **pages, unsigned count)
{
    bool is_good = true;

    if (unlikely(pages == NULL || count == 0))
        return refuse(pages, count, __builtin_return_address(0));
    struct vmalloc_area *area = vmalloc_area_take(count, VMALLOC_RAM, __builtin_return_address(0));
    if (unlikely(area == NULL))
        return NULL;
    area->page_count = count;
    if (likely(area->first != NULL))
        show_some(area->first, pages, 0, count, &is_good);
    else
        is_good = show_all(area, pages);
    if (likely(is_good)) {
        vmalloc_area_publish(area, VMALLOC_RAM, 0);
        return vaddr_ptr(area->start);
    }
    vmalloc_area_retire(area);
    return refuse(pages, count, __builtin_return_address(0));
}

void vm_unmap_ram(const void *address, unsigned count)
{
    if (address != NULL)
        vmalloc_area_free_ram(address, count, __builtin_return_address(0));
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
