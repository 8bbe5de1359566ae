// vmalloc: memory contiguous in virtual addresses only, with a guard behind every area.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// An area is a range of the vmalloc space (vmem), its mapping (kernel_pgtable) and, for vmalloc, its pages,
// which are taken one by one so that no high order is needed, HIGHMEM's first.
//
//      range_start       start                                    range_start + range_size
//      |                 |<------------- size ------------->|     |
//      +-----------------+----------------------------------+-----+-----------------
//      | guard (stacks)  | mapped granules                  |guard| next area's range
//      +-----------------+----------------------------------+-----+-----------------
//
// What of the range is not mapped is guard: behind an area at least one granule, and up to a multiple of
// PAGE_SIZE, so that ranges leave no slivers between them; of a stack, also as much below it as it is large
// (<mm/kstack.h>).
//
// The order of freeing is what keeps it correct: the area leaves the hash (from here on a second vfree finds
// nothing), its entries are removed, every hart's TLB forgets them, and only then pages and addresses are
// given back. A hart that held the old translation could otherwise write into somebody else's page.
//
// An owned page names its area (`owner`) and the page behind it in the area (`next`), so no array of pages is
// kept.
//
// Context: all may sleep; not from interrupts. Sizes are in bytes and rounded up to PAGE_SIZE. What is
// refused is reported and counted in vmalloc_stats().misuse_count.
#pragma once

#include <arch/mmu.h>
#include <base/list.h>
#include <mm/gfp.h>
#include <mm/page.h>
#include <mm/vmem.h>

// VMALLOC_KMAP is the window of <mm/kmap.h>, VMALLOC_GUARD that of <mm/slab_guard.h>; both are mapped here and there.
enum vmalloc_kind {
    VMALLOC_PAGES, VMALLOC_MAP, VMALLOC_IO, VMALLOC_STACK, VMALLOC_KMAP, VMALLOC_GUARD, VMALLOC_KIND_COUNT,
};

// "vmalloc", "vmap", ...: for reports.
const char *vmalloc_kind_name(enum vmalloc_kind kind);

struct vmalloc_area {
    vaddr_t start;                 // of what is mapped
    uint64_t size;                 // bytes mapped
    vaddr_t range_start;           // of the addresses held
    uint64_t range_size;
    enum vmalloc_kind kind;
    uint32_t page_count;           // VMALLOC_PAGES and VMALLOC_MAP
    uint32_t first_page;           // VMALLOC_PAGES: page frame number; the others follow by `next`
    paddr_t phys;                  // VMALLOC_IO: behind `start`
    const void *caller;            // who asked
    struct list in_order;          // of creation; vmalloc_areas_lock
    struct list in_bucket;         // vmalloc_areas_lock
};

// The space that areas are cut from.
extern struct vmem vmalloc_arena;

// kernel_pgtable is active and takes granules.
void vmalloc_init(void);

// NULL: no address space, pages or tables (nothing is left behind), size 0, or more than all RAM or the space
// (reported).
must_check void *vmalloc(size_t size);
must_check void *vzalloc(size_t size);

// Frees what vmalloc or vzalloc gave. NULL is ignored. An address where no such area starts is reported and
// ignored.
void vfree(const void *address);

// Maps the caller's pages side by side. The pages stay the caller's. NULL on failure as above, and for count
// 0, a NULL page or rights that pgtable_map refuses (reported).
must_check void *vmap(struct page **pages, unsigned count, unsigned prot);
void vunmap(const void *address);

// Maps device memory; any alignment: the result points at `phys`. NULL on failure; reported for size 0, a
// range that wraps, or one that no entry can name.
must_check volatile void *ioremap(paddr_t phys, size_t size);
void iounmap(volatile const void *address);

// The page behind an address of a vmalloc or vmap area, or NULL. For vmap areas it searches all areas.
struct page *vmalloc_to_page(const void *address);

bool is_vmalloc_addr(const void *address);

// For a fault at `address`: "the guard behind the vmalloc area of 4096 bytes at A (allocated by G)"; or of the areas
// freed last, as many as are remembered, the latest that held it: "the vmalloc area of 8192 bytes that F freed
// (allocated by G)"; else false. Any context, takes no lock. VMALLOC_FAULT_TEXT_BYTES suffice.
#define VMALLOC_FAULT_TEXT_BYTES 256
bool vmalloc_fault_text(vaddr_t address, char *text, size_t size);

// Walks the areas in order of creation under their lock; the callback must not allocate.
void vmalloc_for_each(void (*visit)(const struct vmalloc_area *area, void *context), void *context);

// Areas alive, pages that they own, and reported misuses.
struct vmalloc_stats { uint64_t area_count, pages, misuse_count; };
struct vmalloc_stats vmalloc_stats(void);
