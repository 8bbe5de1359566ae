// Areas of the vmalloc space: who starts where, and the way in and out of the page tables.
// SPDX-License-Identifier: BSD-2-Clause

#include "vmalloc_area.h"

#include <arch/smp.h>
#include <base/errno.h>
#include <debug/klog.h>
#include <mm/memblock.h>
#include <mm/page_holder.h>
#include <mm/pte.h>
#include <mm/tlb.h>
#include <mm/zone_layout.h>

struct vmem vmalloc_arena, module_arena;

gfp_t vmalloc_zone;                // (C)

static uint64_t misuse_count;      // (A)

static uint64_t vmalloc_pages(void)
{
    struct vmalloc_stats stats = vmalloc_stats();

    return stats.pages + stats.waiting_pages;
}

void vmalloc_init(void)
{
    static struct page_holder holder = { .name = "vmalloc", .pages = vmalloc_pages };

    page_holder_register(&holder);
    if (vmem_init(&vmalloc_arena, "vmalloc", ARCH_VMALLOC_BASE, ARCH_VMALLOC_END - ARCH_VMALLOC_BASE, PAGE_SIZE) != 0 ||
        vmem_init(&module_arena, "modules", ARCH_MODULE_BASE, ARCH_MODULE_END - ARCH_MODULE_BASE, PAGE_SIZE) != 0)
        panic("vmalloc: no memory for the address space");
    vmalloc_zone = memblock_ram_end().value > highmem_start().value ? __GFP_HIGHMEM : 0;
    area_cache_init();
    vmap_purge_init();
}

// Where addresses are short, what is free or waits gives up its own.
static struct vmalloc_area *take_pressing(struct vmem *arena, uint64_t bytes, uint64_t alignment, uint64_t guard_below)
{
    struct vmalloc_area *area = area_take_aligned(arena, bytes, alignment, guard_below);

    if (likely(area != NULL))
        return area;
    vmalloc_flush();
    area_cache_shrink();
    return area_take_aligned(arena, bytes, alignment, guard_below);
}

struct vmalloc_area *vmalloc_area_take_any(struct vmem *arena, uint64_t pages)
{
    uint64_t bytes = pages << PAGE_SHIFT;

    return take_pressing(arena, bytes, vmalloc_alignment(bytes), PAGE_SIZE);
}

struct vmalloc_area *vmalloc_area_create(uint64_t size, uint64_t alignment, uint64_t guard_below,
                                         enum vmalloc_kind kind, const void *caller)
{
    struct vmalloc_area *area = take_pressing(&vmalloc_arena, size, alignment, max_of(guard_below, PAGE_SIZE));

    if (area != NULL)
        vmalloc_area_describe(area, kind, size, caller);
    return area;
}

int vmalloc_area_map(struct vmalloc_area *area, uint64_t offset, paddr_t phys, uint64_t bytes, unsigned prot)
{
    ASSERT(offset + bytes <= area->size);
    // No larger than 2 MB: so much of an area goes at once (clear_entries).
    unsigned largest = area->kind == VMALLOC_MAP || area->kind == VMALLOC_IO ? 1 : GRANULE_LEAVES;

    return pgtable_map(&kernel_pgtable, vaddr_add(area->start, offset), phys, bytes, prot, largest);
}

cold void vmalloc_report_no_area(const char *operation, const void *start, const void *caller)
{
    vmalloc_report_misuse(operation, start, "no area of that kind and size starts there", caller);
}

struct vmalloc_area *vmalloc_area_claim(const void *start, enum vmalloc_kind kind, const char *operation,
                                        const void *caller)
{
    struct vmap_front *front = vmap_gate_enter();
    struct vmalloc_area *area = vmalloc_claim_inside(front, vaddr_of(start), kind, 0, caller);

    vmap_gate_leave(front);
    if (area == NULL)
        vmalloc_report_no_area(operation, start, caller);
    return area;
}

const struct vmalloc_area *vmalloc_area_at(const void *start)
{
    struct vmap_front *front = vmap_gate_enter();
    pte_t *note;
    const struct vmalloc_area *area = vmalloc_find_inside(front, vaddr_of(start), &note);

    vmap_gate_leave(front);
    return area;
}

// Empties the entries of an area. Where there is no table for granules, either a larger leaf is removed, or there is
// nothing.
static noinline void clear_entries(const struct vmalloc_area *area)
{
    vaddr_t va = area->start;

    for (uint64_t granules = area->size / MMU_PAGE_SIZE, here; granules > 0; granules -= here) {
        pte_t *entry = vmalloc_entry(va);
        here = pgtable_entries_here(va, granules);
        if (entry != NULL) {
            pte_clear(entry, here);
        } else {
            int64_t unmapped = pgtable_unmap(&kernel_pgtable, va, here * MMU_PAGE_SIZE);
            // A large leaf lies in the area as a whole, so none is split.
            ASSERT(unmapped >= 0);
        }
        va = vaddr_add(va, here * MMU_PAGE_SIZE);
    }
}

void vmalloc_area_unmap(struct vmalloc_area *area)
{
    clear_entries(area);
    // Section 4.2.1: leaves were changed, and what they showed is about to be somebody else's.
    tlb_flush_kernel(area->start, area->size, TLB_UNMAP);
}

// Whether so much waits that it is time for a flush. All entries of an area of a class are in one table.
static always_inline bool retire_inside(struct vmap_front *front, struct vmalloc_area *area, enum vmalloc_kind kind)
{
    uint64_t *waiting = kind == VMALLOC_PAGES ? &front->waiting_owned : &front->waiting_shown;

    if (likely(area->first != NULL))
        pte_clear(area->first, area->size / MMU_PAGE_SIZE);
    else
        clear_entries(area);
    if (unlikely(area->class == VMALLOC_CLASS_NONE))
        front->waiting_bytes += area->size;
    area->waiting = front->waiting;
    front->waiting = area;
    *waiting += area->page_count;
    return *waiting >= vmap_purge_pages;
}

void vmalloc_area_retire(struct vmalloc_area *area)
{
    struct vmap_front *front = vmap_gate_enter();
    bool is_much = retire_inside(front, area, (enum vmalloc_kind)area->kind);

    if (area->kind == VMALLOC_PAGES)
        __atomic_fetch_add(&front->page_count, area->page_count, __ATOMIC_RELAXED);
    vmap_gate_leave(front);
    if (is_much)
        vmap_purge();
}

static noinline void leave_with_forgotten(struct vmap_front *front)
{
    uint64_t pages;
    struct vmalloc_area *areas = vmap_take_forgotten(front, &pages);

    vmap_gate_leave(front);
    vmap_give_forgotten(areas, pages);
}

static cold noinline void free_protected(const void *start, const void *caller)
{
    if (set_memory_reset(start))
        vmalloc_area_free(start, caller);
    else
        vmalloc_report_no_area("vfree", start, caller);
}

void vmalloc_area_free(const void *start, const void *caller)
{
    struct vmap_front *front = vmap_gate_enter();
    struct vmalloc_area *area = vmalloc_claim_inside(front, vaddr_of(start), VMALLOC_PAGES, 0, caller);

    if (unlikely(area == NULL)) {
        vmap_gate_leave(front);
        free_protected(start, caller);
        return;
    }
    bool is_much = retire_inside(front, area, VMALLOC_PAGES);
    if (unlikely(vmap_has_forgotten(front)))
        leave_with_forgotten(front);
    else
        vmap_gate_leave(front);
    if (unlikely(is_much))
        vmap_purge();
}

// Visits the areas that entries of one table remember.
static void visit_notes(const pte_t *entry, uint64_t count,
                        void (*visit)(const struct vmalloc_area *area, void *context), void *context)
{
    for (uint64_t i = 0; i < count; i++) {
        const struct vmalloc_area *area = vmalloc_noted(pte_read(entry + i));
        if (area != NULL)
            visit(area, context);
    }
}

static void visit_space(uint64_t base, uint64_t end, void (*visit)(const struct vmalloc_area *area, void *context),
                        void *context)
{
    for (uint64_t va = base; va < end;) {
        unsigned level = pgtable_walk(&kernel_pgtable, vaddr(va)).level;
        if (level == 0)
            visit_notes(pgtable_granule_entry(&kernel_pgtable, vaddr(va)), PT_ENTRIES, visit, context);
        va = align_down(va, pt_level_size(max_of(level, 1U))) + pt_level_size(max_of(level, 1U));
    }
}

void vmalloc_for_each(void (*visit)(const struct vmalloc_area *area, void *context), void *context)
{
    vmap_gate_close();
    visit_space(ARCH_VMALLOC_BASE, ARCH_VMALLOC_END, visit, context);
    visit_space(ARCH_MODULE_BASE, ARCH_MODULE_END, visit, context);
    vmap_gate_open();
}

// Down from the address to what remembers an area, which has no hole.
const struct vmalloc_area *vmalloc_area_holding(vaddr_t address)
{
    vaddr_t va = vaddr(align_down(address.value, MMU_PAGE_SIZE));

    if (!is_vmalloc_addr(vaddr_ptr(address)) || !pgtable_walk(&kernel_pgtable, va).mapped)
        return NULL;
    while (va.value > ARCH_VMALLOC_BASE) {
        va = vaddr(va.value - MMU_PAGE_SIZE);
        struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, va);
        if (!walk.mapped) {
            const struct vmalloc_area *area = walk.level == 0 ? vmalloc_noted(walk.entry[0]) : NULL;
            return area != NULL && address.value - area->start.value < area->size ? area : NULL;
        }
        va = vaddr(align_down(va.value, pt_level_size(walk.level)));
    }
    return NULL;
}

const char *vmalloc_kind_name(enum vmalloc_kind kind)
{
    static const char *const names[VMALLOC_KIND_COUNT] = {
        [VMALLOC_PAGES] = "vmalloc", [VMALLOC_PROTECTED] = "vmalloc", [VMALLOC_MAP] = "vmap",
        [VMALLOC_RAM] = "vm_map_ram", [VMALLOC_IO] = "ioremap", [VMALLOC_STACK] = "stack", [VMALLOC_KMAP] = "kmap",
        [VMALLOC_GUARD] = "guarded objects",
    };

    return names[kind];
}

bool is_vmalloc_addr(const void *address)
{
    return arch_is_area_address((uintptr_t)address);
}

struct vmalloc_stats vmalloc_stats(void)
{
    struct vmalloc_stats stats = { .misuse_count = __atomic_load_n(&misuse_count, __ATOMIC_RELAXED) };

    for (unsigned index = 0; index < arch_hart_count(); index++) {
        const struct vmap_front *front = per_hart_of(vmap_front, index);
        stats.area_count += (uint64_t)__atomic_load_n(&front->area_count, __ATOMIC_RELAXED);
        stats.pages += (uint64_t)__atomic_load_n(&front->page_count, __ATOMIC_RELAXED);
    }
    vmap_purge_stats(&stats);
    stats.pages -= stats.waiting_pages;
    return stats;
}

cold void vmalloc_report_misuse(const char *operation, const void *address, const char *why,
                                const void *caller)
{
    __atomic_fetch_add(&misuse_count, 1, __ATOMIC_RELAXED);
    klog_error("vmalloc: %s(%p) called by %p: %s\n", operation, address, caller, why);
}
