// Address kinds as types, and the two page sizes.
// SPDX-License-Identifier: BSD-2-Clause
//
// MMU_PAGE_SIZE (4 KB, the granule) is what a leaf page-table entry maps. PAGE_SIZE is the kernel's page:
// what struct page, the buddy, zones and vmalloc count in. One kernel page gathers PAGE_SIZE / MMU_PAGE_SIZE
// granules (1, 2, 4, 16).
//
// A physical address, a virtual address and a page frame number are one-field structs, so that the compiler
// refuses to take one for another. A page frame number counts kernel pages from physical address 0.
#pragma once

#include <base/compiler.h>

#define MMU_PAGE_SHIFT 12
#define MMU_PAGE_SIZE (1UL << MMU_PAGE_SHIFT)

#define PAGE_SHIFT CONFIG_PAGE_SHIFT
#define PAGE_SIZE (1UL << PAGE_SHIFT)
#define GRANULES_PER_PAGE (PAGE_SIZE / MMU_PAGE_SIZE)

_Static_assert(PAGE_SHIFT == 12 || PAGE_SHIFT == 13 || PAGE_SHIFT == 14 || PAGE_SHIFT == 16,
               "the kernel page is 4, 8, 16 or 64 KB");

typedef struct { uint64_t value; } paddr_t;
typedef struct { uint64_t value; } vaddr_t;
typedef struct { uint64_t value; } pfn_t;

static always_inline paddr_t paddr(uint64_t value) { return (paddr_t){ value }; }
static always_inline vaddr_t vaddr(uint64_t value) { return (vaddr_t){ value }; }
static always_inline pfn_t pfn(uint64_t value) { return (pfn_t){ value }; }

static always_inline vaddr_t vaddr_of(const void *pointer) { return (vaddr_t){ (uintptr_t)pointer }; }
static always_inline void *vaddr_ptr(vaddr_t address) { return (void *)(uintptr_t)address.value; }

static always_inline paddr_t paddr_add(paddr_t address, uint64_t bytes) { return (paddr_t){ address.value + bytes }; }
static always_inline vaddr_t vaddr_add(vaddr_t address, uint64_t bytes) { return (vaddr_t){ address.value + bytes }; }

static always_inline pfn_t paddr_to_pfn(paddr_t address) { return (pfn_t){ address.value >> PAGE_SHIFT }; }
static always_inline paddr_t pfn_to_paddr(pfn_t frame) { return (paddr_t){ frame.value << PAGE_SHIFT }; }

// The smallest order whose block of 2^order kernel pages holds `bytes` (at least 1).
static always_inline unsigned get_order(uint64_t bytes)
{
    uint64_t pages_minus_one = (bytes - 1) >> PAGE_SHIFT;
    return pages_minus_one == 0 ? 0 : 64 - (unsigned)__builtin_clzl(pages_minus_one);
}
