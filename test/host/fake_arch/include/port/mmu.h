// The fake port's page-table entries: deliberately unlike any real machine's, and one level more than Sv39.
// SPDX-License-Identifier: BSD-2-Clause
//
//    63      62     61    56 55       54  53                       0
//   +-------+------+--------+--------+-----+------------------------+
//   | valid | leaf |  prot  | pinned | run | granule of leaf, table |
//   +-------+------+--------+--------+-----+------------------------+
//
// Each entry of a run holds the number of the run's first granule.
#pragma once

#include <base/addr.h>

typedef struct { uint64_t value; } pte_t;

#define ARCH_PT_LEVELS 4
#define ARCH_PT_LEAF_LEVELS 3

#define FAKE_PTE_VALID (1UL << 63)
#define FAKE_PTE_LEAF (1UL << 62)
#define FAKE_PTE_PROT_SHIFT 56
#define FAKE_PTE_PROT_MASK 0x3fUL
#define FAKE_PTE_PINNED (1UL << 55)
#define FAKE_PTE_RUN (1UL << 54)
#define FAKE_PTE_GRANULE_MASK (FAKE_PTE_RUN - 1)

static always_inline pte_t arch_pte_leaf(paddr_t address, unsigned prot, unsigned level unused_arg)
{
    return (pte_t){ FAKE_PTE_VALID | FAKE_PTE_LEAF | (uint64_t)prot << FAKE_PTE_PROT_SHIFT |
                    address.value >> MMU_PAGE_SHIFT };
}

static always_inline pte_t arch_pte_table(paddr_t table)
{
    return (pte_t){ FAKE_PTE_VALID | table.value >> MMU_PAGE_SHIFT };
}

static always_inline bool arch_pte_is_present(pte_t pte) { return (pte.value & FAKE_PTE_VALID) != 0; }
static always_inline bool arch_pte_is_leaf(pte_t pte) { return (pte.value & FAKE_PTE_LEAF) != 0; }

static always_inline bool arch_pte_is_table(pte_t pte) { return arch_pte_is_present(pte) && !arch_pte_is_leaf(pte); }

static always_inline paddr_t arch_pte_paddr(pte_t pte)
{
    return paddr((pte.value & FAKE_PTE_GRANULE_MASK) << MMU_PAGE_SHIFT);
}

static always_inline unsigned arch_pte_prot(pte_t pte)
{
    return (unsigned)(pte.value >> FAKE_PTE_PROT_SHIFT & FAKE_PTE_PROT_MASK);
}

#define ARCH_NAPOT_ORDER 4

extern bool fake_has_napot;        // <fake_arch.h>

static always_inline bool arch_has_napot(void) { return fake_has_napot; }
static always_inline pte_t arch_pte_napot(pte_t leaf) { return (pte_t){ leaf.value | FAKE_PTE_RUN }; }
static always_inline pte_t arch_pte_pinned(pte_t table) { return (pte_t){ table.value | FAKE_PTE_PINNED }; }
static always_inline bool arch_pte_is_pinned(pte_t pte) { return (pte.value & FAKE_PTE_PINNED) != 0; }

static always_inline bool arch_pte_is_napot(pte_t pte)
{
    return arch_pte_is_present(pte) && (pte.value & FAKE_PTE_RUN) != 0;
}

static always_inline pte_t arch_pte_note(const void *object) { return (pte_t){ (uintptr_t)object }; }

static always_inline void *arch_pte_noted(pte_t pte)
{
    return arch_pte_is_present(pte) ? NULL : (void *)pte.value;
}

// 48 bits, sign-extended.
static always_inline bool arch_vaddr_is_canonical(vaddr_t address)
{
    return (uint64_t)((int64_t)(address.value << 16) >> 16) == address.value;
}
