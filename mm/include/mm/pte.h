// Reading and writing one page-table entry where others look at it at the same time.
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
