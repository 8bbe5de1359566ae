// Page tables of a test's own, apart from the kernel's.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#ifdef QUIRE_HOST
#include <fake_arch.h>
#endif
#include <ktest/ktest.h>
#include <mm/granule.h>
#include <mm/pgtable.h>
#include <mm/pte.h>

static inline bool test_pgtable_open(struct pgtable *table)
{
    *table = (struct pgtable){ .lock = SPINLOCK_INIT(PAGE_TABLE) };
    pgtable_use_granules(table);
    return table->table_alloc(table, GFP_KERNEL, &table->root);
}

// Frees the tables below; returns how many, those of shared parts for every entry.
static inline uint64_t test_pgtable_free_below(paddr_t table, unsigned level)
{
    pte_t *entries = phys_to_virt(table);
    uint64_t count = 0;

    for (unsigned i = 0; i < PT_ENTRIES; i++)
        if (arch_pte_is_present(entries[i]) && !arch_pte_is_leaf(entries[i])) {
            count += 1 + test_pgtable_free_below(arch_pte_paddr(entries[i]), level - 1);
            granule_free(&granule_tables, phys_to_virt(arch_pte_paddr(entries[i])));
        }
    return count;
}

// Returns the tables there were below the root, which must be as many as counted.
static inline uint64_t test_pgtable_close(struct pgtable *table)
{
    uint64_t count = test_pgtable_free_below(table->root, ARCH_PT_LEVELS - 1);

    EXPECT_EQ(count, table->table_count);
    granule_free(&granule_tables, phys_to_virt(table->root));
    return count;
}

static inline void test_add_leaf_bytes(vaddr_t va unused_arg, pte_t leaf, unsigned level, void *sum)
{
    *(uint64_t *)sum += pte_leaf_bytes(leaf, level);
}

// Bytes mapped in the half of the address space that the address lies in.
static inline uint64_t test_mapped_bytes(const struct pgtable *table, vaddr_t va)
{
    uint64_t half = pt_level_size(ARCH_PT_LEVELS) / 2, sum = 0;

    pgtable_for_each_leaf(table, vaddr(va.value >= half ? -half : 0), half, test_add_leaf_bytes, &sum);
    return sum;
}

static inline bool is_mapped(const struct pgtable *table, uint64_t va, uint64_t pa, unsigned prot, unsigned level)
{
    struct pgtable_walk walk = pgtable_walk(table, vaddr(va));

    return walk.mapped && walk.pa.value == pa && walk.prot == prot && walk.level == level;
}

// Whether there are runs of neighbours from here on: on the host, and on a machine that knows them.
static inline bool test_napot_start(void)
{
#ifdef QUIRE_HOST
    fake_has_napot = true;
#endif
    return arch_has_napot();
}

static inline void test_napot_stop(void)
{
#ifdef QUIRE_HOST
    fake_has_napot = false;
#endif
}
