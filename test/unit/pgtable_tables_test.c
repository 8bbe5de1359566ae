// mm/vmap: the tables of page tables: made beforehand and claimed.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/pgtable.h>
#include <mm/pte.h>

#include "fault_plan.h"
#include "pgtable_support.h"

#include <base/errno.h>

// A mapping that nobody uses may name any physical address.
#define PHYS GB(64)

static void fill_without_lock(struct pgtable *table, uint64_t va, uint64_t granules)
{
    for (uint64_t done = 0; done < granules;) {
        vaddr_t at = vaddr(va + done * MMU_PAGE_SIZE);
        pte_t *entry = pgtable_granule_entry(table, at);
        REQUIRE(entry != NULL);
        uint64_t here = pgtable_entries_here(at, granules - done);
        for (uint64_t i = 0; i < here; i++)
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

// Tables are made as the flags allow, all or none: at whichever of them it fails, nothing is left behind.
KTEST(pgtable, makes_all_tables_or_none)
{
    const uint64_t size1 = pt_level_size(1), va = pt_level_size(2) - size1 * 2, bytes = size1 * 4;
    const uint64_t tables = 4 + 2 + (ARCH_PT_LEVELS - 3);
    uint64_t granules = granule_tables.used_count;
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    for (uint64_t step = 0; step < tables; step++) {
        fault_plan_start(FAULT_BIT(FAULT_TABLE), step, UINT64_MAX);
        EXPECT_EQ(step % 2 ? pgtable_pin(&table, vaddr(va), bytes)
                           : pgtable_make_tables(&table, vaddr(va), bytes, GFP_NOWAIT), -ENOMEM);
        EXPECT(fault_plan_stop());
        EXPECT_EQ(table.table_count, 0);
        EXPECT_EQ(granule_tables.used_count, granules + 1);
        EXPECT_EQ(((pte_t *)phys_to_virt(table.root))[pt_index(vaddr(va), ARCH_PT_LEVELS - 1)].value, 0);
    }
    mm_set_fault_hook(only_sleepers_get_tables);
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va), bytes, GFP_NOWAIT), -ENOMEM);
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va), bytes, GFP_KERNEL), 0);
    mm_set_fault_hook(NULL);
    EXPECT_EQ(table.table_count, tables);
    // The border lies between two tables of level 1; one of them is there already.
    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va + bytes), size1, GFP_NOWAIT), 0);
    EXPECT_EQ(table.table_count, tables + 1);
    test_pgtable_close(&table);
    EXPECT_EQ(granule_tables.used_count, granules);
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

static unsigned detach(struct pgtable *table, uint64_t va, uint64_t bytes)
{
    struct pgtable_detached detached = { NULL };
    uint64_t granules = granule_tables.used_count, tables = table->table_count;
    unsigned count = pgtable_detach_empty(table, vaddr(va), bytes, &detached);

    // Out of the tree at once, and still nobody else's until every hart has forgotten them.
    EXPECT_EQ(table->table_count, tables - count);
    EXPECT_EQ(granule_tables.used_count, granules);
    pgtable_free_detached(&detached);
    EXPECT_EQ(granule_tables.used_count, granules - count);
    EXPECT_NULL(detached.first);
    return count;
}

// Tables with nothing in them go, on every level below the root, and those with a leaf, a table or a memory stay.
KTEST(pgtable, empty_tables_are_taken_out)
{
    const uint64_t size1 = pt_level_size(1), va = pt_level_size(2) - size1 * 2, bytes = size1 * 4;
    const uint64_t tables = 4 + 2 + (ARCH_PT_LEVELS - 3);
    static uint64_t owner;

    for (unsigned half = 0; half < 2; half++) {
        uint64_t start = half == 0 ? va : -pt_level_size(2) * 2 + va;
        struct pgtable table;
        REQUIRE(test_pgtable_open(&table));

        EXPECT_EQ(pgtable_map(&table, vaddr(start), paddr(PHYS), bytes, PROT_KERNEL_RW, GRANULE_LEAVES), 0);
        EXPECT_EQ(detach(&table, start, bytes), 0);
        EXPECT_EQ(pgtable_unmap(&table, vaddr(start), bytes - MMU_PAGE_SIZE), (int64_t)(bytes - MMU_PAGE_SIZE));
        // Only those that the range touches.
        EXPECT_EQ(detach(&table, start + size1 - MMU_PAGE_SIZE, MMU_PAGE_SIZE * 2), 3);
        EXPECT_EQ(table.table_count, tables - 3);
        EXPECT_EQ(detach(&table, start, bytes), 1);
        EXPECT(is_mapped(&table, start + bytes - 1, PHYS + bytes - 1, PROT_KERNEL_RW, 0));
        pgtable_write_granules(pgtable_granule_entry(&table, vaddr(start + bytes - MMU_PAGE_SIZE)), 1, paddr(0), 0);
        EXPECT_EQ(pgtable_claim_tables(&table, vaddr(start + bytes - size1), MMU_PAGE_SIZE, &owner, GFP_KERNEL), 0);
        EXPECT_EQ(detach(&table, start, bytes), 0);
        pte_write(pgtable_granule_entry(&table, vaddr(start + bytes - size1)), (pte_t){ 0 });
        EXPECT_EQ(detach(&table, start, bytes), ARCH_PT_LEVELS - 1);
        EXPECT_EQ(table.table_count, 0);
        EXPECT_EQ(detach(&table, start, bytes), 0);
        // A new mapping finds no trace of them.
        EXPECT_EQ(pgtable_map(&table, vaddr(start), paddr(PHYS), bytes, PROT_KERNEL_RW, GRANULE_LEAVES), 0);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(start)), bytes);
        test_pgtable_close(&table);
    }
}

// Pinned tables stay though they are empty, and those above them, and no others; also where they were there before.
KTEST(pgtable, pinned_tables_stay)
{
    const uint64_t size1 = pt_level_size(1), va = pt_level_size(2) - size1 * 2;
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_make_tables(&table, vaddr(va), size1 * 4, GFP_KERNEL), 0);
    EXPECT_EQ(pgtable_pin(&table, vaddr(va + size1 * 2 - MMU_PAGE_SIZE), MMU_PAGE_SIZE), 0);
    EXPECT_EQ(detach(&table, va, size1 * 4), 4);
    pte_t *entry = pgtable_granule_entry(&table, vaddr(va + size1));
    REQUIRE(entry != NULL);
    EXPECT_NULL(pgtable_granule_entry(&table, vaddr(va)));
    EXPECT_NULL(pgtable_granule_entry(&table, vaddr(va + size1 * 2)));
    pgtable_write_granules(entry, 3, paddr(PHYS), PROT_KERNEL_RW);
    EXPECT(is_mapped(&table, va + size1 + 1, PHYS + 1, PROT_KERNEL_RW, 0));
    pgtable_write_granules(entry, 3, paddr(0), 0);
    EXPECT_EQ(detach(&table, va, size1 * 4), 0);
    EXPECT_EQ(pgtable_granule_entry(&table, vaddr(va + size1)), entry);
    EXPECT_EQ(pgtable_pin(&table, vaddr(va + 1), MMU_PAGE_SIZE), -EINVAL);
    test_pgtable_close(&table);
}
