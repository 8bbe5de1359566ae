// What a fault in the vmalloc space hit: the guard behind an area, or one of the areas that were freed last.
// SPDX-License-Identifier: BSD-2-Clause
#include "vmalloc_area.h"

#include <arch/smp.h>
#include <base/format.h>
#include <debug/symbols.h>

#define AREAS_KEPT 64
#define WAITING_FOLLOWED 65536

_Static_assert(VMALLOC_FAULT_TEXT_BYTES >= 2 * (SYMBOL_NAME_BYTES + 16) + 80, "there is room for two names");

struct freed {
    vaddr_t start;
    uint64_t size;
    enum vmalloc_kind kind;
    const void *allocated_by, *freed_by;
};

// In the order of flushes, round and round.
static struct freed kept[AREAS_KEPT];
static uint64_t freed_count;       // (A)

static struct freed freed_of(const struct vmalloc_area *area)
{
    return (struct freed){ area->start, area->size, (enum vmalloc_kind)area->kind, area->caller, area->freed_by };
}

void vmalloc_freed_note(const struct vmalloc_area *waiting)
{
    for (unsigned i = 0; i < AREAS_KEPT && waiting != NULL; i++, waiting = waiting->waiting)
        kept[__atomic_fetch_add(&freed_count, 1, __ATOMIC_RELAXED) % AREAS_KEPT] = freed_of(waiting);
}

static bool held(const struct freed *freed, vaddr_t address)
{
    return address.value - freed->start.value < freed->size;
}

// The lists may change meanwhile, or be damaged: so they are followed only so far.
static bool find_waiting(vaddr_t address, struct freed *freed)
{
    for (unsigned index = 0; index < arch_hart_count(); index++) {
        const struct vmalloc_area *area = per_hart_of(vmap_front, index)->waiting;
        for (unsigned i = 0; i < WAITING_FOLLOWED && area != NULL; i++, area = area->waiting) {
            *freed = freed_of(area);
            if (held(freed, address))
                return true;
        }
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

    return area != NULL && area->kind == VMALLOC_PAGES && address.value - area->start.value >= area->size ? area : NULL;
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
    if (!find_waiting(address, &freed) && !find_kept(address, &freed))
        return false;
    symbol_format(allocated_by, sizeof(allocated_by), (uintptr_t)freed.allocated_by);
    symbol_format(freed_by, sizeof(freed_by), (uintptr_t)freed.freed_by);
    format_text(text, size, "the %s area of %lu bytes that %s freed (allocated by %s)", vmalloc_kind_name(freed.kind),
                freed.size, freed_by, allocated_by);
    return true;
}
