// Reading and writing single page-table entries whose addresses the caller owns.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <arch/mmu.h>
#include <mm/page.h>

static always_inline pte_t pte_read(const pte_t *entry)
{
    pte_t value;

    __atomic_load(entry, &value, __ATOMIC_RELAXED);
    return value;
}

// Release: what the entry names is complete before a walk can come by it.
static always_inline void pte_write(pte_t *entry, pte_t value)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    store_relaxed(&entry->value, value.value);
}

// Behind a fence for many.
static always_inline void pte_write_relaxed(pte_t *entry, pte_t value)
{
    store_relaxed(&entry->value, value.value);
}

// What a leaf of that level translates; of a run of neighbours, all of it. Other entries: what one covers.
static always_inline uint64_t pte_leaf_bytes(pte_t entry, unsigned level)
{
    return pt_level_size(level) << (arch_pte_is_napot(entry) ? ARCH_NAPOT_ORDER : 0);
}

// Returns what the entry was.
static always_inline pte_t pte_swap(pte_t *entry, pte_t value)
{
    return (pte_t){ __atomic_exchange_n(&entry->value, value.value, __ATOMIC_ACQ_REL) };
}

// Empties neighbouring entries.
static always_inline void pte_clear(pte_t *entry, uint64_t count)
{
    for (; count >= 4; count -= 4, entry += 4) {
        pte_write_relaxed(entry, (pte_t){ 0 });
        pte_write_relaxed(entry + 1, (pte_t){ 0 });
        pte_write_relaxed(entry + 2, (pte_t){ 0 });
        pte_write_relaxed(entry + 3, (pte_t){ 0 });
    }
    for (; count > 0; count--)
        pte_write_relaxed(entry++, (pte_t){ 0 });
}

// The entry of a granule, NULL where there is no table for it: the walk of pgtable.c, for where it is made most.
static always_inline pte_t *pte_of_granule(paddr_t root, vaddr_t va)
{
    pte_t *entries = phys_to_virt(root);

#pragma GCC unroll 8
    for (unsigned level = ARCH_PT_LEVELS - 1; level > 0; level--) {
        pte_t entry = pte_read(&entries[pt_index(va, level)]);
        if (unlikely(!arch_pte_is_table(entry)))
            return NULL;
        entries = phys_to_virt(arch_pte_paddr(entry));
    }
    return &entries[pt_index(va, 0)];
}
