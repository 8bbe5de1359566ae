// vm_map_ram: pages shown for a short time, by areas that each hart keeps for it.
// SPDX-License-Identifier: BSD-2-Clause
//
// Who shows pages owns nothing that a flush would free; so a hart keeps the areas that it emptied, and after the flush
// that a round of them ends with shows the next pages there. An area serves any number of pages up to its own. What was
// not used for a whole round goes back to the cache of areas: so a hart that only maps, or only unmaps, takes them from
// there, or gives them there, one by one.
#include "vmalloc_area.h"

// All of `pages`, whose entries lie in one table, at `entry`. False: one was NULL, for all others have bits of the
// memmap's address in common.
static always_inline bool show_some(pte_t *entry, struct page **pages, unsigned count)
{
    uintptr_t common = UINTPTR_MAX;
    struct page **end = pages + count;

    for (; count % 8 != 0; count--) {
        common &= (uintptr_t)*pages;
        entry = show_granules(entry, memmap_page_to_phys(*pages++), GRANULES_PER_PAGE);
    }
    for (; pages < end; pages += 8)
#pragma GCC unroll 8
        for (unsigned i = 0; i < 8; i++) {
            common &= (uintptr_t)pages[i];
            entry = show_granules(entry, memmap_page_to_phys(pages[i]), GRANULES_PER_PAGE);
        }
    return common != 0;
}

// For areas that do not come with a known entry.
static bool show_all(const struct vmalloc_area *area, struct page **pages, unsigned count)
{
    bool is_good = true;

    for (unsigned done = 0; done < count && is_good;) {
        struct vmap_front *front = vmap_gate_enter();
        vaddr_t va = vaddr_add(area->start, (uint64_t)done << PAGE_SHIFT);
        uint64_t here = pgtable_entries_here(va, (uint64_t)(count - done) * GRANULES_PER_PAGE);
        pte_t *entry = vmap_entry(front, va);
        if (entry != NULL) {
            is_good = show_some(entry, pages + done, (unsigned)(here / GRANULES_PER_PAGE));
            done += (unsigned)(here / GRANULES_PER_PAGE);
        }
        vmap_gate_leave(front);
        if (entry == NULL && pgtable_make_tables(&kernel_pgtable, va, here * MMU_PAGE_SIZE, GFP_KERNEL) != 0)
            return false;
    }
    return is_good;
}

static noinline void *map_any(struct page **pages, unsigned count, const void *caller)
{
    const char *refused = vmap_why_refused(pages, count, PROT_KERNEL_RW);

    if (refused != NULL) {
        vmalloc_report_misuse("vm_map_ram", NULL, refused, caller);
        return NULL;
    }
    struct vmalloc_area *area = vmalloc_area_take(count <= AREA_CLASS_PAGES ? AREA_CLASS_PAGES : count, VMALLOC_RAM,
                                                  caller);
    if (area == NULL)
        return NULL;
    area->size = (uint64_t)count << PAGE_SHIFT;
    area->page_count = count;
    if (!show_all(area, pages, count)) {
        vmalloc_area_retire(area);
        return NULL;
    }
    vmalloc_area_publish(area, VMALLOC_RAM, 0);
    return vaddr_ptr(area->start);
}

static noinline void leave_and_retire(struct vmap_front *front, struct vmalloc_area *area)
{
    vmap_gate_leave(front);
    vmalloc_area_retire(area);
}

// The gate was found closed, or there is no such area.
static noinline void unmap_again(struct vmap_front *front, const void *address, unsigned count, const void *caller)
{
    vmap_gate_wait(front);
    struct vmalloc_area *area = vmalloc_claim_inside(front, vaddr_of(address), VMALLOC_RAM, count, caller);
    vmap_gate_leave(front);
    if (area != NULL)
        vmalloc_area_retire(area);
    else if (address != NULL)
        vmalloc_report_no_area("vm_unmap_ram", address, caller);
}

static noinline void leave_and_purge(struct vmap_front *front)
{
    vmap_gate_leave(front);
    vmap_purge();
}

// The area waits for the flush. Its size is rounded up: it has entries for a multiple of four granules.
static always_inline void empty_inside(struct vmap_front *front, struct vmalloc_area *area)
{
    for (pte_t *entry = area->first, *end = entry + area->size / MMU_PAGE_SIZE; entry < end; entry += 4)
        pte_clear(entry, 4);
    area->waiting = front->ram_waiting;
    front->ram_waiting = area;
    front->ram_waiting_count++;
}

// Inside, or where the gate was found closed.
static noinline void *leave_and_map(struct vmap_front *front, struct page **pages, unsigned count, const void *caller)
{
    vmap_gate_leave(front);
    return map_any(pages, count, caller);
}

void *vm_map_ram(struct page **pages, unsigned count)
{
    const void *caller = __builtin_return_address(0);
    struct vmap_front *front;
    struct vmalloc_area *area;

    if (unlikely(pages == NULL || count - 1 >= AREA_CLASS_PAGES))
        return map_any(pages, count, caller);
    if (unlikely(!vmap_gate_knock(&front) || (area = front->ram_free) == NULL))
        return leave_and_map(front, pages, count, caller);
    front->ram_free = area->waiting;
    area->size = (uint64_t)count << PAGE_SHIFT;
    area->page_count = count;
    area->caller = caller;
    if (unlikely(!show_some(area->first, pages, count))) {
        empty_inside(front, area);
        return leave_and_map(front, pages, count, caller);
    }
    vmalloc_area_publish_inside(front, area);
    return vmap_gate_leave_with(front, vaddr_ptr(area->start));
}

void vm_unmap_ram(const void *address, unsigned count)
{
    const void *caller = __builtin_return_address(0);
    struct vmap_front *front;
    struct vmalloc_area *area;

    if (unlikely(!vmap_gate_knock(&front) ||
                 (area = vmalloc_claim_inside(front, vaddr_of(address), VMALLOC_RAM, count, caller)) == NULL)) {
        unmap_again(front, address, count, caller);
        return;
    }
    if (unlikely(area->first == NULL)) {
        leave_and_retire(front, area);
        return;
    }
    empty_inside(front, area);
    if (unlikely(front->ram_waiting_count >= VMAP_RAM_ROUND))
        leave_and_purge(front);
    else
        vmap_gate_leave(front);
}
