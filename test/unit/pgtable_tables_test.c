// mm/vmap: the tables of page tables: made beforehand and claimed.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/pgtable.h>
#include <mm/pte.h>

#include "fault_plan.h"
#include "pgtable_support.h"

#include <base/errno.h>

// A mapping that nobody uses may name any physical address.
#define PHYS GB(64)

static bool is_mapped(const struct pgtable *table, uint64_t va, uint64_t pa, unsigned prot, unsigned level)
{
    struct pgtable_walk walk = pgtable_walk(table, vaddr(va));

    return walk.mapped && walk.pa.value == pa && walk.prot == prot && walk.level == level;
}

static void fill_without_lock(struct pgtable *table, uint64_t va, uint64_t granules)
{
    for (uint64_t done = 0; done < granules;) {
        vaddr_t at = vaddr(va + done * MMU_PAGE_SIZE);
        pte_t *entry = pgtable_granule_entry(table, at);
        REQUIRE(entry != NULL);
        unsigned here = pgtable_entries_here(at, granules - done);
        for (unsigned i = 0; i < here; i++)
            pte_write(entry + i, arch_pte_leaf(paddr(PHYS + (done + i) * MMU_PAGE_SIZE), PROT_KERNEL_RW, 0));
        done += here;
    }
}

// Tables made beforehand let entries be filled in loops, without lock or allocation, up to the border of each table.
KTEST(pgtable, fills_tables_made_beforehand)
{
    const uint64_t size1 = pt_level_size(1), va = pt_level_size(2) - size1 - MMU_PAGE_SIZE * 3,
                   bytes = size1 * 2 + MMU_PAGE_SIZE * 8;
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_NULL(pgtable_granule_entry(&table, vaddr(va)));
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va), bytes, GFP_KERNEL), 0);
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(va)), 0);
    // Four level-0 tables, two of level 1, and what leads to them.
    EXPECT_EQ(table.table_count, 4 + 2 + (ARCH_PT_LEVELS - 3));
    EXPECT_EQ(pgtable_entries_here(vaddr(va), bytes), 3);
    EXPECT_EQ(pgtable_entries_here(vaddr(va), 2), 2);
    EXPECT_EQ(pgtable_entries_here(vaddr(0), UINT64_MAX), PT_ENTRIES);
    EXPECT_EQ(pgtable_entries_here(vaddr(-MMU_PAGE_SIZE), UINT64_MAX), 1);
    fill_without_lock(&table, va, bytes / MMU_PAGE_SIZE);
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(va)), bytes);
    EXPECT(is_mapped(&table, va + bytes - 1, PHYS + bytes - 1, PROT_KERNEL_RW, 0));
    uint64_t tables = table.table_count;
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va), bytes, GFP_NOWAIT), 0);
    EXPECT_EQ(table.table_count, tables);
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va + 1), bytes, GFP_KERNEL), -EINVAL);
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va), 0, GFP_KERNEL), -EINVAL);
    EXPECT_EQ(pgtable_map(&table, vaddr(size1 * 1024), paddr(PHYS), size1, PROT_KERNEL_RW, 1), 0);
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(size1 * 1024), MMU_PAGE_SIZE, GFP_KERNEL), -EEXIST);
    test_pgtable_close(&table);
}

static bool only_sleepers_get_tables(enum fault_site site, gfp_t gfp)
{
    return site == FAULT_TABLE && !gfp_may_sleep(gfp);
}

// Tables are made as the flags allow; a shortage leaves those that came, and the next attempt needs only the rest.
KTEST(pgtable, makes_tables_in_several_attempts)
{
    const uint64_t bytes = pt_level_size(1) * 3;
    struct pgtable table;
    uint64_t missing = 0;
    bool has_failed = true;
    REQUIRE(test_pgtable_open(&table));

    mm_set_fault_hook(only_sleepers_get_tables);
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(0), bytes, GFP_NOWAIT), -ENOMEM);
    EXPECT_EQ(table.table_count, 0);
    mm_set_fault_hook(NULL);
    for (; has_failed; missing++) {
        // One more each time.
        fault_plan_start(FAULT_BIT(FAULT_TABLE), 1, UINT64_MAX);
        int error = pgtable_make_tables(&table, vaddr(0), bytes, GFP_NOWAIT);
        has_failed = fault_plan_stop();
        EXPECT_EQ(error, has_failed ? -ENOMEM : 0);
        EXPECT_EQ(table.table_count, missing + 1);
    }
    EXPECT_EQ(missing, 3 + ARCH_PT_LEVELS - 2);
    mm_set_fault_hook(only_sleepers_get_tables);
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(bytes), bytes, GFP_KERNEL), 0);
    mm_set_fault_hook(NULL);
    test_pgtable_close(&table);
}

// A claim stands in the first entry of the range in each table, and only where that is empty.
KTEST(pgtable, claims_tables_by_a_note)
{
    const uint64_t size1 = pt_level_size(1), va = size1 - MMU_PAGE_SIZE * 2;
    static uint64_t owner;
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(size1), paddr(PHYS), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
    EXPECT_EQ(pgtable_claim_tables(&table, vaddr(va), size1 + MMU_PAGE_SIZE * 3, &owner, GFP_KERNEL), 0);
    for (uint64_t at = 0; at < size1 * 3; at += MMU_PAGE_SIZE) {
        bool is_claim = at == va || at == size1 * 2;
        const pte_t *entry = pgtable_granule_entry(&table, vaddr(at));
        if (entry != NULL && at != size1)
            EXPECT_EQ(arch_pte_noted(*entry), is_claim ? &owner : NULL);
    }
    EXPECT(is_mapped(&table, size1, PHYS, PROT_KERNEL_RW, 0));
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(0)), MMU_PAGE_SIZE);
    test_pgtable_close(&table);
}
