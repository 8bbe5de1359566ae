// mm/vmap: page tables. All on tables of their own: nothing here is ever translated by.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/pgtable.h>

#include "fault_plan.h"
#include "pgtable_support.h"

#include <arch/smp.h>
#include <base/errno.h>

#define LEAF_LEVEL_MAX (ARCH_PT_LEAF_LEVELS - 1)
#define HALF (pt_level_size(ARCH_PT_LEVELS) / 2)       // of the address space

// A mapping that nobody uses may name any physical address.
#define PHYS GB(64)

static bool is_hole(const struct pgtable *table, uint64_t va)
{
    return !pgtable_walk(table, vaddr(va)).mapped;
}

// A leaf is as large as the alignment of both addresses, the length and the caller's limit allow.
KTEST(pgtable, leaves_are_as_large_as_they_can_be)
{
    const uint64_t size0 = pt_level_size(0), size1 = pt_level_size(1), size2 = pt_level_size(2);
    const struct { uint64_t va, pa, bytes; unsigned limit, level; } cases[] = {
        { 0, PHYS, size0, 9, 0 },               { 0, PHYS, size1 - size0, 9, 0 },
        { 0, PHYS, size1, 9, 1 },               { 0, PHYS, size1, 0, 0 },
        { size0, PHYS, size1, 9, 0 },           { 0, PHYS + size0, size1, 9, 0 },
        { size1, PHYS + size1, size1 * 3, 9, 1 }, { 0, PHYS, size2 - size1, 9, 1 },
        { 0, PHYS, size2, 9, 2 },               { 0, PHYS, size2, 1, 1 },
        { size1, PHYS, size2, 9, 1 },           { size2, PHYS + size2, size2, 9, 2 },
        { -size2, PHYS, size2, 9, 2 },          { HALF - size1, PHYS, size1, 9, 1 },
    };

    for (unsigned i = 0; i < array_count(cases); i++) {
        struct pgtable table;
        uint64_t last = cases[i].bytes - 1;
        REQUIRE(test_pgtable_open(&table));
        EXPECT_EQ(pgtable_map(&table, vaddr(cases[i].va), paddr(cases[i].pa), cases[i].bytes, PROT_KERNEL_RW,
                              cases[i].limit), 0);
        EXPECT(is_mapped(&table, cases[i].va, cases[i].pa, PROT_KERNEL_RW, cases[i].level));
        EXPECT(is_mapped(&table, cases[i].va + last, cases[i].pa + last, PROT_KERNEL_RW, cases[i].level));
        EXPECT(is_mapped(&table, cases[i].va + last / 2, cases[i].pa + last / 2, PROT_KERNEL_RW,
                         cases[i].level));
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(cases[i].va)), cases[i].bytes);
        EXPECT(is_hole(&table, cases[i].va - 1));
        EXPECT(is_hole(&table, cases[i].va + cases[i].bytes));
        EXPECT_EQ(pgtable_unmap(&table, vaddr(cases[i].va), cases[i].bytes), (int64_t)cases[i].bytes);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(cases[i].va)), 0);
        test_pgtable_close(&table);
    }
}

// A range with ragged ends has small leaves at the ends and large ones within.
KTEST(pgtable, ragged_range_mixes_leaf_sizes)
{
    const uint64_t size0 = pt_level_size(0), size1 = pt_level_size(1), size2 = pt_level_size(2);
    const uint64_t va = size2 * 3 - size1 - size0, bytes = size0 + size1 + size2 + size1 + size0;
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(
        pgtable_map(&table, vaddr(va), paddr(PHYS - size1 - size0), bytes, PROT_KERNEL_RO, LEAF_LEVEL_MAX),
        0);
    EXPECT(is_mapped(&table, va, PHYS - size1 - size0, PROT_KERNEL_RO, 0));
    EXPECT(is_mapped(&table, va + size0, PHYS - size1, PROT_KERNEL_RO, 1));
    EXPECT(is_mapped(&table, size2 * 3, PHYS, PROT_KERNEL_RO, 2));
    EXPECT(is_mapped(&table, size2 * 4, PHYS + size2, PROT_KERNEL_RO, 1));
    EXPECT(is_mapped(&table, size2 * 4 + size1, PHYS + size2 + size1, PROT_KERNEL_RO, 0));
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(va)), bytes);
    test_pgtable_close(&table);
}

// Every set of rights that a leaf may have comes back from the walk at every level; the others are refused.
KTEST(pgtable, every_protection_round_trips)
{
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    for (unsigned prot = 0; prot < PROT_IO; prot++) {
        bool read = prot & PROT_READ, write = prot & PROT_WRITE, exec = prot & PROT_EXEC;
        bool is_valid = (read || exec) && (!write || read) && !(write && exec);
        EXPECT_EQ(pgtable_prot_is_valid(prot), is_valid);
        for (unsigned level = 0; level < ARCH_PT_LEAF_LEVELS; level++) {
            uint64_t size = pt_level_size(level);
            int expected = is_valid ? 0 : -EINVAL;
            EXPECT_EQ(pgtable_map(&table, vaddr(size), paddr(PHYS), size, prot, level), expected);
            EXPECT_EQ(is_mapped(&table, size, PHYS, prot, level), is_valid);
            EXPECT_EQ(pgtable_protect(&table, vaddr(size), size, PROT_KERNEL_RO), is_valid ? 0 : -ENOENT);
            EXPECT_EQ(is_mapped(&table, size, PHYS, PROT_KERNEL_RO, level), is_valid);
            EXPECT_EQ(pgtable_unmap(&table, vaddr(size), size), is_valid ? (int64_t)size : 0);
            // The table that made room for small leaves would keep the next level from a large one.
            test_pgtable_free_below(table.root, ARCH_PT_LEVELS - 1);
            for (unsigned i = 0; i < PT_ENTRIES; i++)
                ((pte_t *)phys_to_virt(table.root))[i] = (pte_t){ 0 };
            table.table_count = 0;
        }
    }
    test_pgtable_close(&table);
}

// Changing one granule of a large leaf splits it, and leaves every other translation as it was.
KTEST(pgtable, splitting_keeps_the_rest)
{
    for (unsigned level = 1; level < ARCH_PT_LEAF_LEVELS; level++) {
        uint64_t size = pt_level_size(level), middle = align_down(size / 3, MMU_PAGE_SIZE);
        struct pgtable table;
        REQUIRE(test_pgtable_open(&table));

        EXPECT_EQ(pgtable_map(&table, vaddr(size), paddr(PHYS), size, PROT_KERNEL_RX, level), 0);
        EXPECT(is_mapped(&table, size, PHYS, PROT_KERNEL_RX, level));
        EXPECT_EQ(pgtable_protect(&table, vaddr(size + middle), MMU_PAGE_SIZE, PROT_KERNEL_RO), 0);
        EXPECT(is_mapped(&table, size + middle, PHYS + middle, PROT_KERNEL_RO, 0));
        EXPECT(is_mapped(&table, size + middle - 1, PHYS + middle - 1, PROT_KERNEL_RX, 0));
        EXPECT(is_mapped(&table, size + middle + MMU_PAGE_SIZE, PHYS + middle + MMU_PAGE_SIZE, PROT_KERNEL_RX,
                         0));
        EXPECT_EQ(pgtable_unmap(&table, vaddr(size + middle), MMU_PAGE_SIZE), MMU_PAGE_SIZE);
        EXPECT(is_hole(&table, size + middle));
        for (uint64_t offset = 0; offset < size; offset += max_of(MMU_PAGE_SIZE, size / 4096)) {
            struct pgtable_walk walk = pgtable_walk(&table, vaddr(size + offset));
            if (align_down(offset, MMU_PAGE_SIZE) != middle &&
                (walk.pa.value != PHYS + offset || !walk.mapped))
                EXPECT(is_mapped(&table, size + offset, PHYS + offset, PROT_KERNEL_RX, 0));
        }
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(size)), size - MMU_PAGE_SIZE);
        // What lies far from the change is still one leaf of the next lower level.
        EXPECT(is_mapped(&table, size * 2 - 1, PHYS + size - 1, PROT_KERNEL_RX, level - 1));
        // The whole leaf goes in one, split or not; its first and last piece went on their own before.
        EXPECT_EQ(pgtable_unmap(&table, vaddr(size), MMU_PAGE_SIZE), MMU_PAGE_SIZE);
        EXPECT_EQ(pgtable_unmap(&table, vaddr(size * 2 - MMU_PAGE_SIZE), MMU_PAGE_SIZE), MMU_PAGE_SIZE);
        EXPECT_EQ(pgtable_unmap(&table, vaddr(size), size), (int64_t)(size - 3 * MMU_PAGE_SIZE));
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(size)), 0);
        test_pgtable_close(&table);
    }
}

// Mapping over anything that is mapped, small or large, changes nothing.
KTEST(pgtable, mapping_twice_is_refused)
{
    const uint64_t size1 = pt_level_size(1), far = size1 * 7 + MMU_PAGE_SIZE * 9;
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(far), paddr(PHYS), MMU_PAGE_SIZE, PROT_KERNEL_RX, 0), 0);
    EXPECT_EQ(pgtable_map(&table, vaddr(0), paddr(0), size1 * 8, PROT_KERNEL_RW, LEAF_LEVEL_MAX), -EEXIST);
    EXPECT_EQ(pgtable_map(&table, vaddr(far), paddr(0), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), -EEXIST);
    EXPECT_EQ(pgtable_map(&table, vaddr(far - MMU_PAGE_SIZE), paddr(0), MMU_PAGE_SIZE * 3, PROT_KERNEL_RW, 0),
              -EEXIST);
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(0)), MMU_PAGE_SIZE);
    EXPECT(is_mapped(&table, far, PHYS, PROT_KERNEL_RX, 0));
    EXPECT_EQ(pgtable_map(&table, vaddr(0), paddr(0), size1 * 7, PROT_KERNEL_RW, LEAF_LEVEL_MAX), 0);
    EXPECT_EQ(pgtable_map(&table, vaddr(size1), paddr(PHYS), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), -EEXIST);
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(0)), size1 * 7 + MMU_PAGE_SIZE);
    test_pgtable_close(&table);
}

// Without a table nothing of the range is mapped, unmapped or protected, at whatever table it fails.
KTEST(pgtable, nothing_changes_without_a_table)
{
    const uint64_t size1 = pt_level_size(1), size2 = pt_level_size(2),
                   va = size2 * 2 - size1 * 3 - MMU_PAGE_SIZE;
    const uint64_t bytes = size1 * 6;
    struct pgtable table;
    bool has_failed = true;
    REQUIRE(test_pgtable_open(&table));

    for (uint64_t step = 0; has_failed; step++) {
        fault_plan_start(FAULT_BIT(FAULT_TABLE), step, UINT64_MAX);
        int error = pgtable_map(&table, vaddr(va), paddr(PHYS + MMU_PAGE_SIZE), bytes, PROT_KERNEL_RW,
                                LEAF_LEVEL_MAX);
        has_failed = fault_plan_stop();
        EXPECT_EQ(error, has_failed ? -ENOMEM : 0);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(va)), has_failed ? 0 : bytes);
    }
    EXPECT_EQ(pgtable_unmap(&table, vaddr(va), bytes), (int64_t)bytes);
    test_pgtable_close(&table);

    // Both ends of the range lie inside large leaves.
    REQUIRE(test_pgtable_open(&table));
    EXPECT_EQ(pgtable_map(&table, vaddr(0), paddr(PHYS), size2 * 2, PROT_KERNEL_RW, LEAF_LEVEL_MAX), 0);
    has_failed = true;
    for (uint64_t step = 0; has_failed; step++) {
        fault_plan_start(FAULT_BIT(FAULT_TABLE), step, UINT64_MAX);
        int error = pgtable_protect(&table, vaddr(MMU_PAGE_SIZE), size2, PROT_KERNEL_RO);
        has_failed = fault_plan_stop();
        EXPECT_EQ(error, has_failed ? -ENOMEM : 0);
        EXPECT_EQ(pgtable_walk(&table, vaddr(size2 / 2)).prot, has_failed ? PROT_KERNEL_RW : PROT_KERNEL_RO);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(0)), size2 * 2);
    }
    has_failed = true;
    for (uint64_t step = 0; has_failed; step++) {
        fault_plan_start(FAULT_BIT(FAULT_TABLE), step, UINT64_MAX);
        int64_t removed = pgtable_unmap(&table, vaddr(size1 * 5 + MMU_PAGE_SIZE), size1 * 2);
        has_failed = fault_plan_stop();
        EXPECT_EQ(removed, has_failed ? -ENOMEM : (int64_t)size1 * 2);
        EXPECT_EQ(test_mapped_bytes(&table, vaddr(0)), size2 * 2 - (has_failed ? 0 : size1 * 2));
    }
    test_pgtable_close(&table);
}

static bool fail_unless_it_may_sleep(enum fault_site site, gfp_t gfp)
{
    return site == FAULT_TABLE && !gfp_may_sleep(gfp);
}

// When no table is to be had at once, the operation waits for each one and then succeeds, with none left
// over.
KTEST(pgtable, waits_for_tables)
{
    const uint64_t size1 = pt_level_size(1), size2 = pt_level_size(2);
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    mm_set_fault_hook(fail_unless_it_may_sleep);
    EXPECT_EQ(pgtable_map(&table, vaddr(size2 - size1 * 2 - MMU_PAGE_SIZE), paddr(PHYS), size1 * 4,
                          PROT_KERNEL_RW, 0),
              0);
    EXPECT_EQ(pgtable_map(&table, vaddr(size2 * 4), paddr(PHYS), size2, PROT_KERNEL_RW, LEAF_LEVEL_MAX), 0);
    EXPECT_EQ(pgtable_protect(&table, vaddr(size2 * 4 + MMU_PAGE_SIZE), size1 * 3, PROT_KERNEL_RO), 0);
    EXPECT_EQ(pgtable_unmap(&table, vaddr(size2 * 5 - MMU_PAGE_SIZE * 2), MMU_PAGE_SIZE), MMU_PAGE_SIZE);
    mm_set_fault_hook(NULL);
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(0)), size1 * 4 + size2 - MMU_PAGE_SIZE);
    test_pgtable_close(&table);
}

static struct pgtable raced_table;

// While somebody waits for a table, another one maps next door and so makes that very table.
static bool race_while_waiting(enum fault_site site, gfp_t gfp)
{
    if (site != FAULT_TABLE)
        return false;
    mm_set_fault_hook(NULL);
    // Nobody waits under the lock, and nobody changes anything without it.
    EXPECT_EQ(spin_is_locked(&raced_table.lock), !gfp_may_sleep(gfp));
    if (!gfp_may_sleep(gfp)) {
        mm_set_fault_hook(race_while_waiting);
        return true;
    }
    EXPECT_EQ(pgtable_map(&raced_table, vaddr(MMU_PAGE_SIZE), paddr(PHYS), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0),
              0);
    return false;
}

// A table that turns out not to be needed, after it was waited for, goes back.
KTEST(pgtable, gives_back_a_table_too_many)
{
    uint64_t granules = granule_tables.used_count;
    REQUIRE(test_pgtable_open(&raced_table));

    mm_set_fault_hook(race_while_waiting);
    EXPECT_EQ(pgtable_map(&raced_table, vaddr(0), paddr(PHYS), MMU_PAGE_SIZE, PROT_KERNEL_RO, 0), 0);
    EXPECT_NULL(mm_fault_hook);
    mm_set_fault_hook(NULL);
    EXPECT(is_mapped(&raced_table, 0, PHYS, PROT_KERNEL_RO, 0));
    EXPECT(is_mapped(&raced_table, MMU_PAGE_SIZE, PHYS, PROT_KERNEL_RW, 0));
    EXPECT_EQ(granule_tables.used_count - granules, 1 + raced_table.table_count);
    test_pgtable_close(&raced_table);
    EXPECT_EQ(granule_tables.used_count, granules);
}

// The last granule, 2 MB and 1 GB of the address space are like any others; what wraps, is not canonical, is
// not aligned, is empty or cannot be named by an entry is refused.
KTEST(pgtable, ends_of_the_address_space)
{
    const uint64_t granule = MMU_PAGE_SIZE;
    const struct { uint64_t va, pa, bytes; } refused[] = {
        { 0, 0, 0 },
        { granule, 0, granule / 2 },
        { granule / 2, 0, granule },
        { 0, granule / 2, granule },
        { 1, 0, granule },
        { 0, 1, granule },
        { 0, 0, granule + 1 },
        { -granule, 0, granule * 2 },
        { 0, 0, -granule },
        { granule, 0, -granule },
        { HALF - granule, 0, granule * 2 },
        { HALF, 0, granule },
        { 0, 0, HALF + granule },
        { -HALF - granule, 0, granule },
        { -HALF - granule, 0, granule * 2 },
        { HALF - granule, 0, -HALF - HALF + granule * 2 },
        { 0, -granule, granule * 2 },
        { granule, 0, 1UL << 63 },
    };
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    for (unsigned level = 0; level < ARCH_PT_LEAF_LEVELS; level++) {
        uint64_t size = pt_level_size(level), ends[] = { -size, -HALF, 0, HALF - size };
        for (unsigned i = 0; i < array_count(ends); i++) {
            EXPECT_EQ(pgtable_map(&table, vaddr(ends[i]), paddr(PHYS), size, PROT_KERNEL_RW, 0), 0);
            EXPECT(is_mapped(&table, ends[i] + size - 1, PHYS + size - 1, PROT_KERNEL_RW, 0));
            EXPECT_EQ(test_mapped_bytes(&table, vaddr(ends[i])), size);
            EXPECT_EQ(pgtable_protect(&table, vaddr(ends[i]), size, PROT_KERNEL_RO), 0);
            EXPECT(is_mapped(&table, ends[i] + size - 1, PHYS + size - 1, PROT_KERNEL_RO, 0));
            EXPECT_EQ(pgtable_unmap(&table, vaddr(ends[i]), size), (int64_t)size);
        }
        if (level == 1)
            break;          // 2^18 granules four times over show nothing that 2^9 do not
    }
    for (unsigned i = 0; i < array_count(refused); i++) {
        EXPECT_EQ(pgtable_map(&table, vaddr(refused[i].va), paddr(refused[i].pa), refused[i].bytes,
                              PROT_KERNEL_RW, 0),
                  -EINVAL);
        if (refused[i].pa == 0) {
            EXPECT_EQ(pgtable_unmap(&table, vaddr(refused[i].va), refused[i].bytes), -EINVAL);
            EXPECT_EQ(pgtable_protect(&table, vaddr(refused[i].va), refused[i].bytes, PROT_KERNEL_RW),
                      -EINVAL);
        }
    }
    for (unsigned bit = 32; bit < 64; bit++) {
        // The first granule may be the last that fits.
        bool fits = arch_pte_paddr(arch_pte_leaf(paddr(1UL << bit), PROT_KERNEL_RW, 0)).value == 1UL << bit;
        EXPECT_EQ(
            pgtable_map(&table, vaddr(0), paddr((1UL << bit) - granule), granule * 2, PROT_KERNEL_RW, 0),
            fits ? 0 : -EINVAL);
        EXPECT_EQ(pgtable_unmap(&table, vaddr(0), granule * 2), fits ? (int64_t)granule * 2 : 0);
    }
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(0)) + test_mapped_bytes(&table, vaddr(-HALF)), 0);
    test_pgtable_close(&table);
}

// The largest possible range, a whole half, is one call.
KTEST(pgtable, half_of_the_address_space)
{
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(
        pgtable_map(&table, vaddr(-HALF), paddr(0), min_of(HALF, GB(256)), PROT_KERNEL_RW, LEAF_LEVEL_MAX),
        0);
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(-HALF)), min_of(HALF, GB(256)));
    EXPECT_EQ(pgtable_unmap(&table, vaddr(-HALF), HALF), (int64_t)min_of(HALF, GB(256)));
    EXPECT_EQ(pgtable_unmap(&table, vaddr(0), HALF), 0);
    test_pgtable_close(&table);
}

// The same ranges mapped again and again need no further table, and large leaves give way to a table that
// stands there.
KTEST(pgtable, emptied_tables_are_used_again)
{
    const uint64_t size1 = pt_level_size(1), size2 = pt_level_size(2);
    struct pgtable table;
    uint64_t tables = 0;
    REQUIRE(test_pgtable_open(&table));

    for (unsigned round = 0; round < 5; round++) {
        EXPECT_EQ(
            pgtable_map(&table, vaddr(size2), paddr(PHYS), size1 * 2 + MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
        EXPECT(round == 0 || tables == table.table_count);
        tables = table.table_count;
        EXPECT_EQ(pgtable_unmap(&table, vaddr(size2), size1 * 3), (int64_t)(size1 * 2 + MMU_PAGE_SIZE));
    }
    EXPECT_EQ(pgtable_map(&table, vaddr(size2), paddr(PHYS), size2, PROT_KERNEL_RW, LEAF_LEVEL_MAX), 0);
    EXPECT_EQ(table.table_count, tables);
    EXPECT(is_mapped(&table, size2, PHYS, PROT_KERNEL_RW, 0));
    EXPECT(is_mapped(&table, size2 + size1 * 3, PHYS + size1 * 3, PROT_KERNEL_RW, 1));
    EXPECT_EQ(test_mapped_bytes(&table, vaddr(size2)), size2);
    test_pgtable_close(&table);
}

#define MODEL_GRANULES 1600

struct model_granule {
    uint64_t pa;
    unsigned prot;                     // 0: not mapped
};

static struct model_granule model[MODEL_GRANULES];
static uint64_t model_base;                // across a border of every level

static unsigned model_mapped(uint64_t first, uint64_t count)
{
    unsigned mapped = 0;

    for (uint64_t i = first; i < first + count; i++)
        mapped += model[i].prot != 0;
    return mapped;
}

static bool agrees_with_model(const struct pgtable *table)
{
    for (uint64_t i = 0; i < MODEL_GRANULES; i++) {
        struct pgtable_walk walk = pgtable_walk(table, vaddr(model_base + i * MMU_PAGE_SIZE));
        if (walk.mapped != (model[i].prot != 0) ||
            (walk.mapped && (walk.pa.value != model[i].pa || walk.prot != model[i].prot)))
            return false;
    }
    return test_mapped_bytes(table, vaddr(model_base)) == model_mapped(0, MODEL_GRANULES) * MMU_PAGE_SIZE;
}

static void compare_with_model(uint64_t border)
{
    static const unsigned rights[] = { PROT_KERNEL_RO, PROT_KERNEL_RW, PROT_KERNEL_RX };
    struct pgtable table;
    bool agrees = true;
    REQUIRE(test_pgtable_open(&table));

    model_base = border - 700 * MMU_PAGE_SIZE;
    for (unsigned i = 0; i < MODEL_GRANULES; i++)
        model[i].prot = 0;
    for (unsigned step = 0; step < ktest_rounds(2000, 75) && agrees; step++) {
        uint64_t first = ktest_random_below(MODEL_GRANULES),
                 count = ktest_random_below(MODEL_GRANULES - first) + 1;
        unsigned prot = rights[ktest_random_below(array_count(rights))];
        count = ktest_random_below(2) ? min_of(count, 40UL) : count;
        vaddr_t va = vaddr(model_base + first * MMU_PAGE_SIZE);
        uint64_t bytes = count * MMU_PAGE_SIZE, pa = PHYS;
        unsigned mapped = model_mapped(first, count);
        int error;

        switch (ktest_random_below(3)) {
        case 0:
            // Often with the same alignment, so that large leaves come about.
            pa += ktest_random_below(2) ? va.value & (GB(1) - 1) : ktest_random_below(512) * MMU_PAGE_SIZE;
            error = pgtable_map(&table, va, paddr(pa), bytes, prot, LEAF_LEVEL_MAX);
            agrees = error == (mapped > 0 ? -EEXIST : 0);
            for (uint64_t i = 0; i < count && error == 0; i++)
                model[first + i] = (struct model_granule){ pa + i * MMU_PAGE_SIZE, prot };
            break;
        case 1:
            agrees = pgtable_unmap(&table, va, bytes) == (int64_t)(mapped * MMU_PAGE_SIZE);
            for (uint64_t i = 0; i < count; i++)
                model[first + i].prot = 0;
            break;
        default:
            error = pgtable_protect(&table, va, bytes, prot);
            agrees = error == (mapped < count ? -ENOENT : 0);
            for (uint64_t i = 0; i < count && error == 0; i++)
                model[first + i].prot = prot;
        }
        agrees = agrees && agrees_with_model(&table);
    }
    EXPECT(agrees);
    test_pgtable_close(&table);
}

// Any sequence of operations of any granularity does to every granule what an array of granules says, in both halves of
// the address space, below every level that the port has.
KTEST(pgtable, agrees_with_a_model)
{
    const uint64_t root_entry = pt_level_size(ARCH_PT_LEVELS - 1);

    test_napot_start();
    compare_with_model(root_entry * 5);
    compare_with_model(-root_entry * 5);
    test_napot_stop();
}

struct visit {
    uint64_t leaves, last_va;
    bool in_order;
};

static void note_visit(vaddr_t va, pte_t leaf unused_arg, unsigned level, void *context)
{
    struct visit *visit = context;

    visit->in_order &= visit->leaves == 0 || va.value > visit->last_va;
    visit->last_va = va.value + pt_level_size(level) - 1;
    visit->leaves++;
}

// Every leaf that a range touches is visited once, in order, and no other; a table that neighbours share,
// once.
KTEST(pgtable, visits_leaves_in_order)
{
    const uint64_t size1 = pt_level_size(1), base = pt_level_size(2);
    struct pgtable table;
    struct visit visit = { .in_order = true };
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(base), paddr(PHYS), size1 * 3 + MMU_PAGE_SIZE * 5, PROT_KERNEL_RW, 1),
              0);
    pgtable_for_each_leaf(&table, vaddr(base), base, note_visit, &visit);
    EXPECT_EQ(visit.leaves, 8);
    EXPECT(visit.in_order);
    visit = (struct visit){ .in_order = true };
    pgtable_for_each_leaf(&table, vaddr(base + size1 + MMU_PAGE_SIZE), size1 * 2 + MMU_PAGE_SIZE, note_visit,
                          &visit);
    EXPECT_EQ(visit.leaves, 4);        // two large leaves in part, two small ones
    EXPECT(visit.in_order);
    EXPECT_EQ(visit.last_va, base + size1 * 3 + MMU_PAGE_SIZE * 2 - 1);

    // Entry 4 names entry 3's table too.
    unsigned level = ARCH_PT_LEVELS - 1;
    pte_t *entries = phys_to_virt(table.root);
    for (; level > 1; level--)
        entries = phys_to_virt(arch_pte_paddr(entries[pt_index(vaddr(base), level)]));
    entries[4] = entries[3];
    visit = (struct visit){ .in_order = true };
    pgtable_for_each_leaf(&table, vaddr(base), base, note_visit, &visit);
    EXPECT_EQ(visit.leaves, 8);
    EXPECT(is_mapped(&table, base + size1 * 4, PHYS + size1 * 3, PROT_KERNEL_RW, 0));
    entries[4] = (pte_t){ 0 };
    test_pgtable_close(&table);
}

// The walk shows the entries it came by, from the root to the leaf or to where the way ends.
KTEST(pgtable, walk_shows_its_way)
{
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    struct pgtable_walk walk = pgtable_walk(&table, vaddr(0));
    EXPECT(!walk.mapped);
    EXPECT_EQ(walk.level, ARCH_PT_LEVELS - 1);
    EXPECT_EQ(pgtable_map(&table, vaddr(0), paddr(PHYS), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
    walk = pgtable_walk(&table, vaddr(0x123));
    EXPECT(walk.mapped);
    EXPECT_EQ(walk.level, 0);
    EXPECT_EQ(walk.pa.value, PHYS + 0x123);
    paddr_t at = table.root;
    for (unsigned level = ARCH_PT_LEVELS - 1; level > 0; level--) {
        EXPECT(arch_pte_is_present(walk.entry[level]) && !arch_pte_is_leaf(walk.entry[level]));
        EXPECT_EQ(walk.entry[level].value, ((pte_t *)phys_to_virt(at))[0].value);
        at = arch_pte_paddr(walk.entry[level]);
    }
    EXPECT(arch_pte_is_leaf(walk.entry[0]));
    walk = pgtable_walk(&table, vaddr(MMU_PAGE_SIZE));
    EXPECT(!walk.mapped);
    EXPECT_EQ(walk.level, 0);
    // An address that is not canonical is not mapped, though its index bits name an entry that is.
    EXPECT(is_hole(&table, HALF * 2));
    test_pgtable_close(&table);
}

struct neighbours {
    struct pgtable table;
    unsigned harts;
    unsigned arrived;                  // (A)
    unsigned defects;                  // (A)
};

// In each round where no table is yet, so that the harts make them in a race.
static void map_and_unmap_on_hart(unsigned index, void *argument)
{
    struct neighbours *shared = argument;
    const uint64_t bytes = pt_level_size(1) / 16 * 3;

    for (unsigned round = 0; round < ktest_rounds(200, 20); round++) {
        uint64_t va = pt_level_size(2) * (round / 8 + 1) + pt_level_size(1) * 5 * (round % 8) + index * bytes;
        __atomic_fetch_add(&shared->arrived, 1, __ATOMIC_ACQ_REL);
        unsigned expected = shared->harts * (round + 1);
        for (unsigned i = 0; __atomic_load_n(&shared->arrived, __ATOMIC_ACQUIRE) < expected; i++)
            arch_relax(i);
        bool agrees = pgtable_map(&shared->table, vaddr(va), paddr(PHYS), bytes, PROT_KERNEL_RW, 0) == 0;
        agrees = agrees && is_mapped(&shared->table, va + bytes - 1, PHYS + bytes - 1, PROT_KERNEL_RW, 0);
        agrees = agrees && pgtable_unmap(&shared->table, vaddr(va), bytes) == (int64_t)bytes;
        if (!agrees)
            __atomic_fetch_add(&shared->defects, 1, __ATOMIC_RELAXED);
    }
}

// Harts that change neighbouring parts of the same tables do not disturb each other.
KTEST(pgtable, harts_map_side_by_side)
{
    static struct neighbours shared;
    REQUIRE(test_pgtable_open(&shared.table));

    shared.harts = arch_hart_count();
    shared.arrived = shared.defects = 0;
    ktest_run_on_harts(map_and_unmap_on_hart, &shared);
    EXPECT_EQ(shared.defects, 0);
    EXPECT_EQ(test_mapped_bytes(&shared.table, vaddr(0)), 0);
    test_pgtable_close(&shared.table);
}
