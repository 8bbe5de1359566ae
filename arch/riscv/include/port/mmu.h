// Sv39 page-table entries. The contract is <arch/mmu.h>.
// SPDX-License-Identifier: BSD-2-Clause
//
// RISC-V privileged specification 20211203, section 4.4:
//
//   63   62-61  60-54     53 ........ 10   9-8   7  6  5  4  3  2  1  0
//    N   PBMT   reserved  PPN              RSW   D  A  G  U  X  W  R  V
#pragma once

#include <base/addr.h>

typedef struct { uint64_t value; } pte_t;

#define ARCH_PT_LEVELS 3
#define ARCH_PT_LEAF_LEVELS 3

#define PTE_V (1UL << 0)
#define PTE_R (1UL << 1)
#define PTE_W (1UL << 2)
#define PTE_X (1UL << 3)
#define PTE_U (1UL << 4)
#define PTE_G (1UL << 5)
#define PTE_A (1UL << 6)
#define PTE_D (1UL << 7)
#define PTE_RSW_SHIFT 8
#define PTE_RSW_MASK 3UL
#define PTE_PINNED (1UL << PTE_RSW_SHIFT)
#define PTE_N (1UL << 63)
#define PTE_PPN_SHIFT 10
#define PTE_PPN_MASK ((1UL << 44) - 1)

// A and D are set from the start: the kernel's own mappings are never aged, and a hart without the hardware update
// (sifive-u54) would fault on the first touch instead.
static inline pte_t arch_pte_leaf(paddr_t pa, unsigned prot, unsigned level unused_arg)
{
    uint64_t bits = PTE_V | PTE_A | (prot & PROT_READ ? PTE_R : 0) | (prot & PROT_WRITE ? PTE_W | PTE_D : 0) |
                    (prot & PROT_EXEC ? PTE_X : 0) | (prot & PROT_USER ? PTE_U : 0) |
                    (prot & PROT_GLOBAL ? PTE_G : 0);
    return (pte_t){ (pa.value >> MMU_PAGE_SHIFT) << PTE_PPN_SHIFT | bits };
}

static inline pte_t arch_pte_table(paddr_t pa)
{
    return (pte_t){ (pa.value >> MMU_PAGE_SHIFT) << PTE_PPN_SHIFT | PTE_V };
}

static inline bool arch_pte_is_present(pte_t pte) { return (pte.value & PTE_V) != 0; }
static inline bool arch_pte_is_leaf(pte_t pte) { return (pte.value & (PTE_R | PTE_W | PTE_X)) != 0; }

static inline bool arch_pte_is_table(pte_t pte) { return (pte.value & (PTE_V | PTE_R | PTE_W | PTE_X)) == PTE_V; }

// Chapter 5, Svnapot: of the sizes that N = 1 could name one is defined, 64 KB, which ppn[3:0] = 1000 stands for. An
// entry that is not present may hold any bits.
#define ARCH_NAPOT_ORDER 4
#define PTE_NAPOT_64K (PTE_N | 8UL << PTE_PPN_SHIFT)

extern bool riscv_has_svnapot;     // (C)

static inline bool arch_has_napot(void) { return riscv_has_svnapot; }
static inline pte_t arch_pte_napot(pte_t leaf) { return (pte_t){ leaf.value | PTE_NAPOT_64K }; }
static inline bool arch_pte_is_napot(pte_t pte) { return (pte.value & (PTE_N | PTE_V)) == (PTE_N | PTE_V); }

static inline paddr_t arch_pte_paddr(pte_t pte)
{
    uint64_t index_bits = arch_pte_is_napot(pte) ? (1UL << ARCH_NAPOT_ORDER) - 1 : 0;

    return paddr(((pte.value >> PTE_PPN_SHIFT & PTE_PPN_MASK) & ~index_bits) << MMU_PAGE_SHIFT);
}

// RSW: for software.
static inline pte_t arch_pte_pinned(pte_t table) { return (pte_t){ table.value | PTE_PINNED }; }
static inline bool arch_pte_is_pinned(pte_t pte) { return (pte.value & PTE_PINNED) != 0; }

static inline unsigned arch_pte_prot(pte_t pte)
{
    return (pte.value & PTE_R ? PROT_READ : 0U) | (pte.value & PTE_W ? PROT_WRITE : 0U) |
           (pte.value & PTE_X ? PROT_EXEC : 0U) | (pte.value & PTE_U ? PROT_USER : 0U) |
           (pte.value & PTE_G ? PROT_GLOBAL : 0U);
}

// Section 4.3.1: while V is 0, all other bits are free for software.
static inline pte_t arch_pte_note(const void *object) { return (pte_t){ (uintptr_t)object }; }

static inline void *arch_pte_noted(pte_t pte)
{
    return pte.value & PTE_V ? NULL : (void *)pte.value;
}

// Section 4.4.1: bits 63 to 39 of a virtual address equal bit 38.
static inline bool arch_vaddr_is_canonical(vaddr_t address)
{
    int64_t top = (int64_t)address.value >> 38;
    return top == 0 || top == -1;
}
