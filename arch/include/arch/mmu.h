// Contract: the shape of a page-table entry. The walk itself is generic (mm/vmap/pgtable.c).
// SPDX-License-Identifier: BSD-2-Clause
//
// A table is one granule of 512 entries. Level 0 holds granule leaves; an entry of level L covers
// MMU_PAGE_SIZE << (9 * L) bytes, as a leaf or by a table of level L - 1. The root has level ARCH_PT_LEVELS - 1.
//
// The port defines, all inline and without side effects:
//   pte_t                                   one-field struct, 8 bytes; all zero is "not present"
//   ARCH_PT_LEVELS                          3 for Sv39
//   ARCH_PT_LEAF_LEVELS                     levels at which a leaf is allowed, counted from 0
//   pte_t arch_pte_leaf(paddr_t, unsigned prot, unsigned level)
//   pte_t arch_pte_table(paddr_t)
//   bool arch_pte_is_present(pte_t), arch_pte_is_leaf(pte_t), arch_pte_is_table(pte_t)
//   paddr_t arch_pte_paddr(pte_t)           of the leaf's memory or of the table
//   unsigned arch_pte_prot(pte_t)           of a leaf, as PROT_ bits
//   pte_t arch_pte_note(const void *)       an entry that is not present and remembers an address, even and not NULL,
//                                           for software alone
//   void *arch_pte_noted(pte_t)             what an entry remembers; NULL: it is empty, or present
//   ARCH_NAPOT_ORDER                        2^ARCH_NAPOT_ORDER neighbouring entries of level 0, the first a multiple of
//                                           as many, may be a run: together one leaf, of memory aligned alike
//   bool arch_has_napot(void)               whether this machine knows runs
//   pte_t arch_pte_napot(pte_t)             of the leaf of a run's first granule, what each of the neighbours holds;
//                                           arch_pte_paddr of each of them is where the run starts
//   bool arch_pte_is_napot(pte_t)
//   pte_t arch_pte_pinned(pte_t)            of an entry that names a table: the same, with a mark for software alone
//   bool arch_pte_is_pinned(pte_t)
//   bool arch_vaddr_is_canonical(vaddr_t)
// and out of line:
//   void arch_mmu_activate(paddr_t root)    makes this hart translate by that root and forget every old translation
//   void arch_pte_describe(pte_t, char *text, size_t size)
//                                           the bits of any entry by the letters and the names that the processor's
//                                           manual has for them, '-' for a bit that is 0, and those of extensions and
//                                           of software behind them where they are set; for teachers and reports
#pragma once

#include <base/addr.h>

enum prot {
    PROT_READ = 1 << 0,
    PROT_WRITE = 1 << 1,
    PROT_EXEC = 1 << 2,
    PROT_USER = 1 << 3,
    PROT_GLOBAL = 1 << 4,
    PROT_IO = 1 << 5,      // device memory: where the hardware can say so, uncached and strongly ordered
};

#define PROT_KERNEL_RO (PROT_READ | PROT_GLOBAL)
#define PROT_KERNEL_RW (PROT_READ | PROT_WRITE | PROT_GLOBAL)
#define PROT_KERNEL_RX (PROT_READ | PROT_EXEC | PROT_GLOBAL)
#define PROT_KERNEL_IO (PROT_READ | PROT_WRITE | PROT_GLOBAL | PROT_IO)

#define PT_INDEX_BITS 9
#define PT_ENTRIES (1U << PT_INDEX_BITS)

static always_inline uint64_t pt_level_size(unsigned level)
{
    return MMU_PAGE_SIZE << (PT_INDEX_BITS * level);
}

static always_inline unsigned pt_index(vaddr_t address, unsigned level)
{
    return (unsigned)(address.value >> (MMU_PAGE_SHIFT + PT_INDEX_BITS * level)) & (PT_ENTRIES - 1);
}

void arch_mmu_activate(paddr_t root);

// What arch_pte_describe needs at most, with the NUL.
#define PTE_TEXT_BYTES 64

#include <port/mmu.h>

void arch_pte_describe(pte_t pte, char *text, size_t size);
