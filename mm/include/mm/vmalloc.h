// vmalloc: memory contiguous in virtual addresses only, with a guard behind every area.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// An area is a range of the vmalloc space (vmem), its mapping (kernel_pgtable) and, for vmalloc, its pages: blocks as
// large as the largest leaf that fits where they can be had at once, else single pages, HIGHMEM's first; so no high
// order is ever needed.
//
//      range_start       start                                    range_start + range_size
//      |                 |<------------- size ------------->|     |
//      +-----------------+----------------------------------+-----+-----------------
//      | guard           | mapped granules                  |guard| guard of the next area
//      +---------------N-+----------------------------------+-----+-----------------
//
// Below an area lies a page at least that is not mapped, below a stack as much as it is large (<mm/kstack.h>); behind
// it lies the next one's. Areas of few pages come with their addresses out of a cache (mm/vmap/area_cache.c).
//
// Who starts where stands in the page tables themselves: the entry of the last granule below an area (N) is not
// present, and remembers the area, and whether it is in use. So a look at one entry tells whether an address is the
// start of an area, and who changes it to "not in use" has freed it: a second vfree finds that. No table, list or lock
// is shared by the harts for it (mm/vmap/vmap_gate.h).
//
// Freeing is lazy. The area's entries go at once, so that from then on the tables say that nothing is there; but a TLB
// may remember, so its pages and its addresses are used again only after a flush of all harts, and one flush serves
// many areas (mm/vmap/vmap_purge.c). What waits for it is at most 1/64 of RAM; memory that runs short, or addresses,
// bring the flush on, and so does vmalloc_flush.
//
// An owned block names its area (`owner`) and the block behind it in the area (`next`), so no array of pages is kept.
//
// Context: all may sleep; not from interrupts. Sizes are in bytes and rounded up to PAGE_SIZE. What is
// refused is reported and counted in vmalloc_stats().misuse_count.
#pragma once

#include <arch/mmu.h>
#include <mm/gfp.h>
#include <mm/page.h>
#include <mm/vmem.h>

// VMALLOC_PROTECTED is an area of pages whose rights <mm/set_memory.h> changed.
// VMALLOC_KMAP is the window of <mm/kmap.h>, VMALLOC_GUARD that of <mm/slab_guard.h>; both are mapped here and there.
enum vmalloc_kind {
    VMALLOC_PAGES, VMALLOC_PROTECTED, VMALLOC_MAP, VMALLOC_RAM, VMALLOC_IO, VMALLOC_STACK, VMALLOC_KMAP, VMALLOC_GUARD,
    VMALLOC_KIND_COUNT,
};

// "vmalloc", "vmap", ...: for reports.
const char *vmalloc_kind_name(enum vmalloc_kind kind);

struct vmalloc_area {
    vaddr_t start;                 // of what is mapped
    vaddr_t range_start;           // of the addresses held
    uint64_t range_size;
    pte_t *note;                   // the entry N
    pte_t *first;                  // the entry behind it, where all of the area's are in the same table; else NULL
    bool made_table;               // for it
    uint8_t class;                 // of mm/vmap/area_cache.c. All so far: for as long as it has its addresses
    uint8_t kind;                  // enum vmalloc_kind
    uint32_t page_count;           // VMALLOC_PAGES, VMALLOC_MAP and VMALLOC_RAM
    uint32_t first_page;           // VMALLOC_PAGES: page frame number; the other blocks follow by `next`
    uint64_t size;                 // bytes mapped
    paddr_t phys;                  // VMALLOC_IO: behind `start`
    const void *caller;            // who asked
    const void *freed_by;
    struct vmalloc_area *waiting;  // freed before this one, for the same flush
};

static inline bool vmalloc_owns_pages(const struct vmalloc_area *area)
{
    return area->kind == VMALLOC_PAGES || area->kind == VMALLOC_PROTECTED;
}

// Of areas whose addresses come and go with them; the bytes of addresses that all others hold, free areas included.
// Exact while nobody makes or frees areas.
#define VMALLOC_CLASS_NONE 5
uint64_t vmalloc_kept_bytes(void);

// The spaces that areas are cut from. Modules have their own, near the image.
extern struct vmem vmalloc_arena, module_arena;

static inline struct vmem *vmalloc_arena_of(uintptr_t address)
{
    return address - ARCH_MODULE_BASE < ARCH_MODULE_END - ARCH_MODULE_BASE ? &module_arena : &vmalloc_arena;
}

// kernel_pgtable is active and takes granules.
void vmalloc_init(void);

// NULL: no address space, pages or tables (nothing is left behind), size 0, or more than all RAM or the space
// (reported).
must_check void *vmalloc(size_t size);
must_check void *vzalloc(size_t size);

// The same for an array; NULL also when the product is too large for a size_t.
must_check void *vmalloc_array(size_t count, size_t size);
must_check void *vcalloc(size_t count, size_t size);

// As vzalloc, where text can be called from the image and can call it; <mm/set_memory.h> gives it its rights.
must_check void *module_alloc(size_t size);

// Frees what vmalloc, its kin or module_alloc gave. NULL is ignored. An address where no such area starts is reported
// and ignored.
void vfree(const void *address);

// Makes every hart forget what was freed before, and gives pages and addresses of it back: from then on every granule
// of it faults, on every hart, until it is used again.
void vmalloc_flush(void);

// Maps the caller's pages side by side. The pages stay the caller's, and vunmap returns when no hart reaches them by
// the area any more. NULL on failure as above, and for count 0, a NULL page or rights that pgtable_map refuses
// (reported).
must_check void *vmap(struct page **pages, unsigned count, unsigned prot);
void vunmap(const void *address);

// The same for reading and writing, at a fraction of the cost, for mappings that come and go. After vm_unmap_ram a hart
// may go on reaching the pages by the old address until vmalloc_flush: who gives them to somebody else who must not be
// disturbed calls that first. `count` is what vm_map_ram got; another one is reported, and nothing is unmapped.
must_check void *vm_map_ram(struct page **pages, unsigned count);
void vm_unmap_ram(const void *address, unsigned count);

// Maps device memory; any alignment: the result points at `phys`. NULL on failure; reported for size 0, a
// range that wraps, or one that no entry can name.
must_check volatile void *ioremap(paddr_t phys, size_t size);
void iounmap(volatile const void *address);

// The page behind an address of a vmalloc, vmap or vm_map_ram area, or NULL.
struct page *vmalloc_to_page(const void *address);

bool is_vmalloc_addr(const void *address);

// For a fault at `address`: "the guard behind the vmalloc area of 4096 bytes at A (allocated by G)"; or of the areas
// freed last, as many as are remembered, the latest that held it: "the vmalloc area of 8192 bytes that F freed
// (allocated by G)"; else false. Any context, takes no lock. VMALLOC_FAULT_TEXT_BYTES suffice.
#define VMALLOC_FAULT_TEXT_BYTES 256
bool vmalloc_is_behind_area(vaddr_t address);      // in the page behind an area of pages
bool vmalloc_fault_text(vaddr_t address, char *text, size_t size);

// Walks the areas in the order of their addresses while nobody can free one; the callback must not allocate, and
// takes no lock but the console's.
void vmalloc_for_each(void (*visit)(const struct vmalloc_area *area, void *context), void *context);

// Areas alive, pages that they own, and reported misuses; pages that freed areas still own, and flushes made for them.
// Takes no lock; exact while nobody makes or frees areas.
struct vmalloc_stats { uint64_t area_count, pages, misuse_count, waiting_pages, flush_count; };
struct vmalloc_stats vmalloc_stats(void);
