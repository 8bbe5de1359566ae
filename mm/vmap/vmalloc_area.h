// Between the files of mm/vmap: the life of an area.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "vmap_gate.h"

#include <mm/pgtable.h>
#include <mm/pte.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

// __GFP_HIGHMEM where there is such memory: without, the shortest way to pages is open.
extern gfp_t vmalloc_zone;             // (C)

// Pages that may wait on one hart; (A), written while all are outside the gate.
extern uint64_t vmap_purge_pages;

// Flushes what waits on all harts and gives back what is this one's. Neither sleeps nor allocates, as all here.
void vmap_purge(void);

// What a flush that another hart made has left to this one: taken inside the gate, given back outside.
extern uint64_t vmap_flushes_done;     // (A)
struct vmalloc_area *vmap_take_forgotten(struct vmap_front *front, uint64_t *pages);
void vmap_give_forgotten(struct vmalloc_area *areas, uint64_t pages);

static always_inline bool vmap_has_forgotten(const struct vmap_front *front)
{
    return front->forgotten != NULL && __atomic_load_n(&vmap_flushes_done, __ATOMIC_ACQUIRE) >= front->forgotten_at;
}

// So many areas of vm_map_ram are emptied on a hart between two flushes. They lie in a few tables at every page size.
#define VMAP_RAM_ROUND (GRANULES_PER_PAGE < 4 ? 32 / GRANULES_PER_PAGE : 8)

void vmap_purge_stats(struct vmalloc_stats *stats);

// Blocks that leaves larger than a granule show, 2 MB and 64 KB: areas as large are aligned to them.
#define HUGE_ORDER (MAX_ORDER < 21 - PAGE_SHIFT ? MAX_ORDER : 21 - PAGE_SHIFT)
#define BLOCK_ORDER (PAGE_SHIFT < 16 ? 16 - PAGE_SHIFT : 0)
#define HUGE_BYTES (PAGE_SIZE << HUGE_ORDER)
#define BLOCK_BYTES (PAGE_SIZE << BLOCK_ORDER)

static inline uint64_t vmalloc_alignment(uint64_t bytes)
{
    return bytes >= HUGE_BYTES ? HUGE_BYTES : bytes >= BLOCK_BYTES ? BLOCK_BYTES : PAGE_SIZE;
}

static always_inline pte_t *vmalloc_entry(vaddr_t va) { return pte_of_granule(kernel_pgtable.root, va); }

// The same inside the gate, where no table goes: this hart need not go down again to where it was last.
static always_inline pte_t *vmap_entry(struct vmap_front *front, vaddr_t va)
{
    uint64_t index = va.value / pt_level_size(1);
    pte_t *entry;

    if (likely(front->table_index == index))
        return &front->table[pt_index(va, 0)];
    if (unlikely((entry = vmalloc_entry(va)) == NULL))
        return NULL;
    front->table_index = index;
    front->table = entry - pt_index(va, 0);
    return entry;
}

// Shows granules side by side, for reading and writing, by neighbouring entries of one table; returns the next one.
// As many as a run has are aligned to it, by their addresses as by their memory.
static always_inline pte_t *show_granules(pte_t *entry, paddr_t first, unsigned granules)
{
    const unsigned run = 1U << ARCH_NAPOT_ORDER;

    if (granules >= run && arch_has_napot())
        for (unsigned i = 0; i < granules; i++) {
            paddr_t start = paddr_add(first, align_down(i, run) * MMU_PAGE_SIZE);
            pte_write_relaxed(entry++, arch_pte_napot(arch_pte_leaf(start, PROT_KERNEL_RW, 0)));
        }
    else
        for (unsigned i = 0; i < granules; i++)
            pte_write_relaxed(entry++, arch_pte_leaf(paddr_add(first, i * MMU_PAGE_SIZE), PROT_KERNEL_RW, 0));
    return entry;
}

// An area of `bytes` (a multiple of the granule) at a multiple of `alignment` (a power of two, at least PAGE_SIZE) with
// so much room below (a multiple of PAGE_SIZE, not 0): with addresses, remembered as not in use, all else 0. NULL
// without memory or addresses.
struct vmalloc_area *area_take_aligned(struct vmem *arena, uint64_t bytes, uint64_t alignment, uint64_t guard_below);
void area_give_any(struct vmalloc_area *area);

// The same for few pages out of the caches; what is not said to stay as long as the addresses is as the last user left
// it.
#define AREA_CLASS_PAGES 16
extern struct kmem_cache *area_of_pages[AREA_CLASS_PAGES + 1];     // (C) [0]: none
extern struct kmem_cache *area_of_class[VMALLOC_CLASS_NONE];       // (C)

static always_inline struct vmalloc_area *area_take_cached(uint64_t pages)
{
    struct kmem_cache *cache = area_of_pages[pages];
    struct vmalloc_area *area = kmem_cache_alloc(cache, GFP_KERNEL);

    if (likely(area != NULL && area->range_size != 0))
        return area;
    // When it was made there were no addresses.
    kmem_cache_free(cache, area);
    return NULL;
}

// Of either kind, unmapped everywhere: its addresses and bookkeeping. Any context.
static always_inline void area_give(struct vmalloc_area *area)
{
    if (unlikely(area->class == VMALLOC_CLASS_NONE)) {
        area_give_any(area);
        return;
    }
    kmem_cache_free(area_of_class[area->class], area);
}

void area_cache_init(void);

// Gives the addresses of areas that nobody uses back to the arena.
void area_cache_shrink(void);

// An area of whole pages from that space, asking for a flush where addresses are short; and one of that kind and of
// `size` bytes, aligned, with so much room below (0: as much as any area has). Given back by area_give.
struct vmalloc_area *vmalloc_area_take_any(struct vmem *arena, uint64_t pages);
struct vmalloc_area *vmalloc_area_create(uint64_t size, uint64_t alignment, uint64_t guard_below,
                                         enum vmalloc_kind kind, const void *caller);

static always_inline void vmalloc_area_describe(struct vmalloc_area *area, enum vmalloc_kind kind, uint64_t size,
                                                const void *caller)
{
    area->kind = (uint8_t)kind;
    area->size = size;
    area->caller = caller;
}

static always_inline struct vmalloc_area *vmalloc_area_take(uint64_t pages, enum vmalloc_kind kind, const void *caller)
{
    struct vmalloc_area *area = likely(pages <= AREA_CLASS_PAGES) ? area_take_cached(pages) : NULL;

    if (unlikely(area == NULL) && (area = vmalloc_area_take_any(&vmalloc_arena, pages)) == NULL)
        return NULL;
    vmalloc_area_describe(area, kind, pages << PAGE_SHIFT, caller);
    return area;
}

// Maps a part of it. As pgtable_map.
int vmalloc_area_map(struct vmalloc_area *area, uint64_t offset, paddr_t phys, uint64_t bytes, unsigned prot);

// The area of that kind is complete: makes it visible to others. `pages`: that it owns.
#define VMALLOC_IN_USE 2U

static always_inline pte_t vmalloc_note(const struct vmalloc_area *area)
{
    return arch_pte_note((const char *)area + VMALLOC_IN_USE);
}

static always_inline void vmalloc_area_publish_inside(struct vmap_front *front, struct vmalloc_area *area)
{
    __atomic_fetch_add(&front->area_count, 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    pte_write_relaxed(area->note, vmalloc_note(area));
}

// Counted on this hart, or on the one that the caller was just moved from: atomically, so that it is all the same.
static always_inline void vmalloc_area_publish(struct vmalloc_area *area, enum vmalloc_kind kind, uint64_t pages)
{
    struct vmap_front *front = &arch_this_hart(vmap_front);

    if (kind == VMALLOC_PAGES)
        __atomic_fetch_add(&front->page_count, (int64_t)pages, __ATOMIC_RELAXED);
    vmalloc_area_publish_inside(front, area);
}

// What a note remembers: an area in use, or NULL.
static always_inline struct vmalloc_area *vmalloc_noted(pte_t note)
{
    uintptr_t value = (uintptr_t)arch_pte_noted(note);

    return value & VMALLOC_IN_USE ? (struct vmalloc_area *)(value - VMALLOC_IN_USE) : NULL;
}

// Only an entry below an area of the space remembers something, so any address may be asked for.
static always_inline struct vmalloc_area *vmalloc_find_inside(struct vmap_front *front, vaddr_t start, pte_t **note)
{
    *note = vmap_entry(front, vaddr(start.value - MMU_PAGE_SIZE));
    uintptr_t noted = likely(*note != NULL) ? (uintptr_t)arch_pte_noted(pte_read(*note)) : 0;
    struct vmalloc_area *area = (struct vmalloc_area *)(noted - VMALLOC_IN_USE);
    return (noted & VMALLOC_IN_USE) != 0 && area->start.value == start.value ? area : NULL;
}

// Of several who claim an area one finds it in use. What it is stays while they are inside: no flush comes to its end.
static always_inline struct vmalloc_area *vmalloc_claim_inside(struct vmap_front *front, vaddr_t start,
                                                               enum vmalloc_kind kind, unsigned count,
                                                               const void *caller)
{
    pte_t *note;
    struct vmalloc_area *area = vmalloc_find_inside(front, start, &note);

    if (unlikely(area == NULL || area->kind != kind || (kind == VMALLOC_RAM && area->page_count != count) ||
                 pte_swap(note, arch_pte_note(area)).value != vmalloc_note(area).value))
        return NULL;
    area->freed_by = caller;
    __atomic_fetch_sub(&front->area_count, 1, __ATOMIC_RELAXED);
    return area;
}

// The first entry of an area, NULL when it has no table.
static always_inline pte_t *vmalloc_first_entry(const struct vmalloc_area *area)
{
    return likely(area->first != NULL) ? area->first : vmalloc_entry(area->start);
}

// The published area of that kind that starts there, now invisible and the caller's alone; NULL, reported in
// the name of `operation`, when there is none.
struct vmalloc_area *vmalloc_area_claim(const void *start, enum vmalloc_kind kind, const char *operation,
                                        const void *caller);

// The published area that starts there, or that shows the address, or NULL. It stays for as long as the caller knows
// that nobody frees it. The second looks without passing the gate: inside it, or in a panic.
const struct vmalloc_area *vmalloc_area_at(const void *start);
const struct vmalloc_area *vmalloc_area_holding(vaddr_t address);

// Removes every mapping of the area, on all harts. When it returns nobody reaches its memory any more.
void vmalloc_area_unmap(struct vmalloc_area *area);

// The lazy way of both, for an area that was claimed, or never published: its entries go now; its pages, addresses and
// itself after the next flush.
void vmalloc_area_retire(struct vmalloc_area *area);

// Claims and retires, as vfree does: the short way. Where no such area starts there, that is reported.
void vmalloc_area_free(const void *start, const void *caller);
void vmalloc_report_no_area(const char *operation, const void *start, const void *caller);

// What set_memory changed becomes an area of pages as any; false: no such area starts there. Process context.
bool set_memory_reset(const void *start);

// What is wrong with the pages or the rights, or NULL.
const char *vmap_why_refused(struct page **pages, unsigned count, unsigned prot);

// Notes who freed an area whose bookkeeping goes, for reports.
void vmalloc_freed_note(const struct vmalloc_area *area);

// vmalloc in the name of the public call (`operation`) and of who made it, of pages as gfp says: it may sleep.
void *vmalloc_for(const char *operation, size_t size, gfp_t gfp, const void *caller);

void vmalloc_report_misuse(const char *operation, const void *address, const char *why, const void *caller);

void vmap_purge_init(void);
