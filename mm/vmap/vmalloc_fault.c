// What a fault in the vmalloc space hit: the guard behind an area, or one of the areas that were freed last.
// SPDX-License-Identifier: BSD-2-Clause
#include "vmalloc_area.h"

#include <base/format.h>
#include <debug/symbols.h>
#include <mm/pgtable.h>

#define AREAS_KEPT 64

_Static_assert(VMALLOC_FAULT_TEXT_BYTES >= 2 * (SYMBOL_NAME_BYTES + 16) + 80, "there is room for two names");

// In the order of freeing, round and round; written under vmalloc_areas_lock.
static struct {
    vaddr_t start;
    uint64_t size;
    enum vmalloc_kind kind;
    const void *allocated_by, *freed_by;
} kept[AREAS_KEPT];
static uint64_t freed_count;       // (A) written last

void vmalloc_freed_add_locked(const struct vmalloc_area *area, const void *caller)
{
    unsigned slot = freed_count % AREAS_KEPT;

    kept[slot].start = area->start;
    kept[slot].size = area->size;
    kept[slot].kind = area->kind;
    kept[slot].allocated_by = area->caller;
    kept[slot].freed_by = caller;
    __atomic_store_n(&freed_count, freed_count + 1, __ATOMIC_RELEASE);
}

// The area of pages in whose guard the address lies, or NULL. The guard is one page, and the page below it knows its
// area.
static const struct vmalloc_area *area_below(vaddr_t address)
{
    vaddr_t below = vaddr(align_down(address.value, PAGE_SIZE) - MMU_PAGE_SIZE);
    struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, below);

    if (!walk.mapped || walk.pa.value >= ARCH_PHYS_LIMIT)
        return NULL;
    const struct page *page = pfn_to_page(paddr_to_pfn(walk.pa));
    const struct vmalloc_area *area = page_type(page) == PAGE_VMALLOC ? page->owner : NULL;
    // Others may show the page, too.
    return area != NULL && address.value - area->range_start.value < area->range_size ? area : NULL;
}

// Takes no lock: it may be held for ever. Only the oldest area may be overwritten meanwhile.
bool vmalloc_fault_text(vaddr_t address, char *text, size_t size)
{
    uint64_t count = __atomic_load_n(&freed_count, __ATOMIC_ACQUIRE);
    char allocated_by[SYMBOL_NAME_BYTES + 16], freed_by[SYMBOL_NAME_BYTES + 16];

    if (!is_vmalloc_addr(vaddr_ptr(address)))
        return false;
    const struct vmalloc_area *area = area_below(address);
    if (area != NULL) {
        symbol_format(allocated_by, sizeof(allocated_by), (uintptr_t)area->caller);
        format_text(text, size, "the guard behind the vmalloc area of %lu bytes at %#lx (allocated by %s)", area->size,
                    area->start.value, allocated_by);
        return true;
    }
    for (uint64_t age = 1; age <= AREAS_KEPT && age <= count; age++) {
        unsigned slot = (count - age) % AREAS_KEPT;
        if (address.value - kept[slot].start.value >= kept[slot].size)
            continue;
        symbol_format(allocated_by, sizeof(allocated_by), (uintptr_t)kept[slot].allocated_by);
        symbol_format(freed_by, sizeof(freed_by), (uintptr_t)kept[slot].freed_by);
        format_text(text, size, "the %s area of %lu bytes that %s freed (allocated by %s)",
                    vmalloc_kind_name(kept[slot].kind), kept[slot].size, freed_by, allocated_by);
        return true;
    }
    return false;
}
