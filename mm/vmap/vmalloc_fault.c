// What a fault in the vmalloc space hit: the guard behind an area, or one of the areas that were freed last.
// SPDX-License-Identifier: BSD-2-Clause
#include "vmalloc_area.h"

#include <base/format.h>
#include <debug/symbols.h>

#define AREAS_KEPT 64

_Static_assert(VMALLOC_FAULT_TEXT_BYTES >= 2 * (SYMBOL_NAME_BYTES + 16) + 80, "there is room for two names");

struct freed {
    vaddr_t start;
    uint64_t size;
    enum vmalloc_kind kind;
    const void *allocated_by, *freed_by;
};

// Of areas that were freed and whose bookkeeping is gone; in the order of freeing, round and round.
static struct freed kept[AREAS_KEPT];
static uint64_t freed_count;       // (A)

static struct freed freed_of(const struct vmalloc_area *area)
{
    return (struct freed){ area->start, area->size, (enum vmalloc_kind)area->kind, area->caller, area->freed_by };
}

void vmalloc_freed_note(const struct vmalloc_area *area)
{
    kept[__atomic_fetch_add(&freed_count, 1, __ATOMIC_RELAXED) % AREAS_KEPT] = freed_of(area);
}

static bool held(const struct freed *freed, vaddr_t address)
{
    return address.value - freed->start.value < freed->size;
}

// What the entries below the address remember: an area that was freed, and whose addresses nobody has had since.
static bool find_remembered(vaddr_t address, struct freed *freed)
{
    uint64_t granules = (AREA_CLASS_PAGES + 1) * GRANULES_PER_PAGE;
    vaddr_t va = vaddr(align_down(address.value, MMU_PAGE_SIZE));

    for (; granules > 0 && va.value > ARCH_VMALLOC_BASE; granules--) {
        va = vaddr(va.value - MMU_PAGE_SIZE);
        const pte_t *entry = vmalloc_entry(va);
        uintptr_t noted = entry != NULL ? (uintptr_t)arch_pte_noted(pte_read(entry)) : 0;
        if (noted == 0)
            continue;
        *freed = freed_of((const struct vmalloc_area *)(noted & ~(uintptr_t)VMALLOC_IN_USE));
        return (noted & VMALLOC_IN_USE) == 0 && freed->freed_by != NULL && held(freed, address);
    }
    return false;
}

static bool find_kept(vaddr_t address, struct freed *freed)
{
    uint64_t count = __atomic_load_n(&freed_count, __ATOMIC_RELAXED);

    for (uint64_t age = 1; age <= AREAS_KEPT && age <= count; age++) {
        *freed = kept[(count - age) % AREAS_KEPT];
        if (held(freed, address))
            return true;
    }
    return false;
}

// The area in whose guard the address lies, which is the page behind it, or NULL.
static const struct vmalloc_area *area_below(vaddr_t address)
{
    const struct vmalloc_area *area =
        vmalloc_area_holding(vaddr(align_down(address.value, PAGE_SIZE) - MMU_PAGE_SIZE));

    return area != NULL && vmalloc_owns_pages(area) && address.value - area->start.value >= area->size ? area : NULL;
}

bool vmalloc_is_behind_area(vaddr_t address)
{
    return is_vmalloc_addr(vaddr_ptr(address)) && area_below(address) != NULL;
}

// Takes no lock: it may be held for ever.
bool vmalloc_fault_text(vaddr_t address, char *text, size_t size)
{
    char allocated_by[SYMBOL_NAME_BYTES + 16], freed_by[SYMBOL_NAME_BYTES + 16];
    struct freed freed;

    if (!is_vmalloc_addr(vaddr_ptr(address)))
        return false;
    const struct vmalloc_area *area = area_below(address);
    if (area != NULL) {
        symbol_format(allocated_by, sizeof(allocated_by), (uintptr_t)area->caller);
        format_text(text, size, "the guard behind the vmalloc area of %lu bytes at %#lx (allocated by %s)", area->size,
                    area->start.value, allocated_by);
        return true;
    }
    if (!find_remembered(address, &freed) && !find_kept(address, &freed))
        return false;
    symbol_format(allocated_by, sizeof(allocated_by), (uintptr_t)freed.allocated_by);
    symbol_format(freed_by, sizeof(freed_by), (uintptr_t)freed.freed_by);
    format_text(text, size, "the %s area of %lu bytes that %s freed (allocated by %s)", vmalloc_kind_name(freed.kind),
                freed.size, freed_by, allocated_by);
    return true;
}
