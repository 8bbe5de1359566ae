// One page-table entry: read and written where others look at it at the same time, and what it covers.
// SPDX-License-Identifier: BSD-2-Clause
//
// For loops over entries that the caller holds alone (pgtable_granule_entry). Any context.
#pragma once

#include <arch/mmu.h>

static always_inline pte_t pte_read(const pte_t *slot)
{
    pte_t entry;

    __atomic_load(slot, &entry, __ATOMIC_RELAXED);
    return entry;
}

// Release: what the entry names is complete before a walk can come by it.
static always_inline void pte_write(pte_t *slot, pte_t entry)
{
    __atomic_store(slot, &entry, __ATOMIC_RELEASE);
}

// What a leaf of that level translates; of a run of neighbours, all of it. Other entries: what one covers.
static always_inline uint64_t pte_leaf_bytes(pte_t entry, unsigned level)
{
    return pt_level_size(level) << (arch_pte_is_napot(entry) ? ARCH_NAPOT_ORDER : 0);
}
