// mm/vmap: runs of neighbouring entries that are one leaf, where the machine knows them.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/pgtable.h>
#include <mm/tlb.h>

#include "access.h"
#include "fault_plan.h"
#include "pgtable_support.h"

#include <base/errno.h>
#include <mm/vmalloc.h>

// A mapping that nobody uses may name any physical address.
#define PHYS GB(64)
#define RUN_GRANULES (1U << ARCH_NAPOT_ORDER)
#define RUN_BYTES (MMU_PAGE_SIZE << ARCH_NAPOT_ORDER)

#define NEEDS_NAPOT \
    do { \
        if (!test_napot_start()) \
            ktest_skip("the machine knows no runs of entries"); \
    } while (0)

static bool is_leaf_of(const struct pgtable *table, uint64_t va, uint64_t pa, unsigned prot, uint64_t bytes)
{
    struct pgtable_walk walk = pgtable_walk(table, vaddr(va));

    return walk.mapped && walk.pa.value == pa && walk.prot == prot && walk.leaf_bytes == bytes;
}

// A run is made where both addresses, the rest of the span and the limit allow it; not where granules are asked for.
KTEST(pgtable_napot, runs_where_both_addresses_allow)
{
    const uint64_t granule = MMU_PAGE_SIZE, run = RUN_BYTES, large = pt_level_size(1);
    const struct { uint64_t va, pa, bytes; unsigned limit; uint64_t at, leaf; } cases[] = {
        { 0, PHYS, run, 9, 0, run },                      { 0, PHYS, run, LARGEST_LEAVES, run - 1, run },
        { 0, PHYS, run, 1, 0, run },                      { 0, PHYS, run, GRANULE_LEAVES, 0, granule },
        { 0, PHYS, run - granule, 9, 0, granule },        { granule, PHYS, run * 2, 9, run, granule },
        { 0, PHYS + granule, run * 2, 9, run, granule },  { granule, PHYS + granule, run * 2, 9, run, run },
        { granule, PHYS + granule, run * 2, 9, granule, granule }, { run, PHYS, run * 3, 9, run * 3, run },
        { granule, PHYS + granule, run * 2, 9, run * 2, granule },
        { large - run, PHYS - run, large + run, 9, large, large },
        { large - run, PHYS - run, large + run, 9, large - run, run },
        { -run, PHYS, run, 9, -run, run },                { large - run, PHYS - run * 2, run * 2, 9, large, run },
    };
    NEEDS_NAPOT;

    for (unsigned i = 0; i < array_count(cases); i++) {
        struct pgtable table;
        REQUIRE(test_pgtable_open(&table));
        EXPECT_EQ(pgtable_map(&table, vaddr(cases[i].va), paddr(cases[i].pa), cases[i].bytes, PROT_KERNEL_RW,
                              cases[i].limit), 0);
        if (!is_leaf_of(&table, cases[i].at, cases[i].pa + (cases[i].at - cases[i].va), PROT_KERNEL_RW, cases[i].leaf))
            EXPECT_EQ(i, UINT64_MAX);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(cases[i].va)), cases[i].bytes);
        EXPECT_EQ(pgtable_unmap(&table, vaddr(cases[i].va), cases[i].bytes), (int64_t)cases[i].bytes);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(cases[i].va)), 0);
        test_pgtable_close(&table);
    }
    test_napot_stop();
}

// A run changes as a whole in one, and stays one; of a run that changes in part, whichever, every other granule keeps
// its translation, and no table is needed for that.
KTEST(pgtable_napot, partial_change_splits_a_run)
{
    NEEDS_NAPOT;

    for (unsigned first = 0; first < RUN_GRANULES; first++)
        for (unsigned count = 1; first + count <= RUN_GRANULES; count++) {
            uint64_t va = RUN_BYTES * 3, part = va + first * MMU_PAGE_SIZE, bytes = count * MMU_PAGE_SIZE;
            bool is_whole = count == RUN_GRANULES;
            struct pgtable table;
            REQUIRE(test_pgtable_open(&table));
            EXPECT_EQ(pgtable_map(&table, vaddr(va - RUN_BYTES), paddr(PHYS), RUN_BYTES * 3, PROT_KERNEL_RW, 1), 0);
            struct pgtable_range range = pgtable_whole_leaves(&table, vaddr(part), bytes);
            EXPECT_EQ(range.start.value, va);
            EXPECT_EQ(range.bytes, RUN_BYTES);

            fault_plan_start(FAULT_BIT(FAULT_TABLE), 0, UINT64_MAX);
            EXPECT_EQ(pgtable_protect(&table, vaddr(part), bytes, PROT_KERNEL_RX), 0);
            for (unsigned i = 0; i < RUN_GRANULES; i++)
                EXPECT(is_leaf_of(&table, va + i * MMU_PAGE_SIZE + 7, PHYS + RUN_BYTES + i * MMU_PAGE_SIZE + 7,
                                  i - first < count ? PROT_KERNEL_RX : PROT_KERNEL_RW,
                                  is_whole ? RUN_BYTES : MMU_PAGE_SIZE));
            EXPECT_EQ(pgtable_unmap(&table, vaddr(part), bytes), (int64_t)bytes);
            EXPECT(!fault_plan_stop());
            EXPECT_EQ(test_mapped_bytes(&table, vaddr(va)), RUN_BYTES * 3 - bytes);
            EXPECT(!pgtable_walk(&table, vaddr(part)).mapped);
            // The neighbours are what they were.
            EXPECT(is_leaf_of(&table, va - 1, PHYS + RUN_BYTES - 1, PROT_KERNEL_RW, RUN_BYTES));
            EXPECT(is_leaf_of(&table, va + RUN_BYTES, PHYS + RUN_BYTES * 2, PROT_KERNEL_RW, RUN_BYTES));
            test_pgtable_close(&table);
        }
    test_napot_stop();
}

// The pieces of a large leaf are the next smaller leaves there are, down to the granule; without a table for one of the
// steps nothing changes.
KTEST(pgtable_napot, large_leaves_split_into_runs)
{
    const uint64_t size2 = pt_level_size(2), middle = pt_level_size(1) * 3 + RUN_BYTES * 5 + MMU_PAGE_SIZE * 2;
    struct pgtable table;
    bool has_failed = true;
    NEEDS_NAPOT;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(size2), paddr(PHYS), size2, PROT_KERNEL_RW, LARGEST_LEAVES), 0);
    uint64_t steps = 0;
    for (; has_failed; steps++) {
        EXPECT(is_leaf_of(&table, size2 + middle, PHYS + middle, PROT_KERNEL_RW, steps == 0 ? size2
                          : steps == 1 ? size2 : pt_level_size(1)));
        fault_plan_start(FAULT_BIT(FAULT_TABLE), steps, UINT64_MAX);
        int64_t removed = pgtable_unmap(&table, vaddr(size2 + middle), MMU_PAGE_SIZE);
        has_failed = fault_plan_stop();
        EXPECT_EQ(removed, has_failed ? -ENOMEM : (int64_t)MMU_PAGE_SIZE);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(size2)), size2 - (has_failed ? 0 : MMU_PAGE_SIZE));
    }
    EXPECT(is_leaf_of(&table, size2 + middle - 1, PHYS + middle - 1, PROT_KERNEL_RW, MMU_PAGE_SIZE));
    EXPECT(is_leaf_of(&table, size2 + middle - RUN_BYTES, PHYS + middle - RUN_BYTES, PROT_KERNEL_RW, RUN_BYTES));
    EXPECT(is_leaf_of(&table, size2 + middle + RUN_BYTES, PHYS + middle + RUN_BYTES, PROT_KERNEL_RW, RUN_BYTES));
    EXPECT(is_leaf_of(&table, size2, PHYS, PROT_KERNEL_RW, pt_level_size(1)));
    test_pgtable_close(&table);
    test_napot_stop();
}

struct visits {
    uint64_t count, first_va, bytes;
};

static void note_visit(vaddr_t va, pte_t leaf, unsigned level, void *context)
{
    struct visits *visits = context;

    if (visits->count++ == 0)
        visits->first_va = va.value;
    visits->bytes += pte_leaf_bytes(leaf, level);
}

// A run is visited once, from its start, wherever in it the range begins or ends.
KTEST(pgtable_napot, runs_are_visited_once)
{
    struct pgtable table;
    NEEDS_NAPOT;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(RUN_BYTES), paddr(PHYS), RUN_BYTES * 4, PROT_KERNEL_RW, 1), 0);
    for (uint64_t start = RUN_BYTES; start < RUN_BYTES * 2; start += MMU_PAGE_SIZE)
        for (uint64_t end = RUN_BYTES * 3 + MMU_PAGE_SIZE; end <= RUN_BYTES * 4; end += MMU_PAGE_SIZE) {
            struct visits visits = { 0 };
            pgtable_for_each_leaf(&table, vaddr(start), end - start, note_visit, &visits);
            EXPECT_EQ(visits.count, 3);
            EXPECT_EQ(visits.first_va, RUN_BYTES);
            EXPECT_EQ(visits.bytes, RUN_BYTES * 3);
        }
    test_pgtable_close(&table);
    test_napot_stop();
}

// What the hardware makes of it: all of a run shows its memory, and after a part is gone, only that part faults.
KTEST(pgtable_napot, runs_are_translated)
{
    NEEDS_NAPOT;
    const unsigned order = RUN_BYTES > PAGE_SIZE ? (unsigned)__builtin_ctzl(RUN_BYTES / PAGE_SIZE) : 0;
    struct page *page = alloc_pages(GFP_KERNEL, order);
    uint64_t start;
    REQUIRE(page != NULL);
    REQUIRE(vmem_alloc(&vmalloc_arena, RUN_BYTES, RUN_BYTES, 0, GFP_KERNEL, &start) == 0);

    char *window = (char *)start, *memory = page_to_virt(page);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, vaddr(start), page_to_phys(page), RUN_BYTES, PROT_KERNEL_RW, 1), 0);
    tlb_flush_kernel(vaddr(start), RUN_BYTES, TLB_UNMAP);
    EXPECT(is_leaf_of(&kernel_pgtable, start, page_to_phys(page).value, PROT_KERNEL_RW, RUN_BYTES));
    for (unsigned i = 0; i < RUN_GRANULES; i++)
        memory[i * MMU_PAGE_SIZE + 3] = (char)(i + 1);
    for (unsigned i = 0; i < RUN_GRANULES; i++)
        EXPECT_EQ(((volatile char *)window)[i * MMU_PAGE_SIZE + 3], i + 1);
    struct pgtable_range range = pgtable_whole_leaves(&kernel_pgtable, vaddr(start + MMU_PAGE_SIZE * 5), MMU_PAGE_SIZE);
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, vaddr(start + MMU_PAGE_SIZE * 5), MMU_PAGE_SIZE), MMU_PAGE_SIZE);
    tlb_flush_kernel(range.start, range.bytes, TLB_UNMAP);
    for (unsigned i = 0; i < RUN_GRANULES; i++)
        EXPECT_EQ(access_faults(window + i * MMU_PAGE_SIZE, true), i == 5);
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, vaddr(start), RUN_BYTES), RUN_BYTES - MMU_PAGE_SIZE);
    tlb_flush_kernel(vaddr(start), RUN_BYTES, TLB_UNMAP);
    test_napot_stop();
    EXPECT_EQ(vmem_free(&vmalloc_arena, start), RUN_BYTES);
    __free_pages(page, order);
}
