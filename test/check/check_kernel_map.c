// Validator of the kernel's map: the direct map shows RAM below HIGHMEM only, the memmap is there, rights are kept.
// SPDX-License-Identifier: BSD-2-Clause

#include <check/check.h>

#include "check_private.h"

#include <mm/kernel_map.h>
#include <mm/memblock.h>
#include <mm/page.h>
#include <mm/pte.h>
#include <mm/zone_layout.h>

struct map_check {
    struct check check;
    uint64_t direct_bytes;
};

static void defect(struct map_check *check, uint64_t va, const char *why)
{
    check_defect(&check->check, "%#lx: %s", va, why);
}

static void check_direct_leaf(vaddr_t va, pte_t leaf, unsigned level, void *context)
{
    struct map_check *check = context;

    check->direct_bytes += pte_leaf_bytes(leaf, level);
    if (arch_pte_paddr(leaf).value != va.value - ARCH_DIRECT_BASE)
        defect(check, va.value, "the direct map shows another address than it should");
    if (arch_pte_prot(leaf) & (PROT_EXEC | PROT_USER))
        defect(check, va.value, "the direct map is executable, or the user's");
}

// The struct pages of RAM lie in memory of their own, which is written to; the first and the last stand for
// the rest.
static void check_memmap_of(struct map_check *check, uint64_t frame)
{
    const struct page *page = pfn_to_page(pfn(frame));
    struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, vaddr_of(page));

    if (!walk.mapped || (walk.prot & PROT_WRITE) == 0)
        defect(check, (uintptr_t)page, "the struct page of RAM is not writable");
}

unsigned check_kernel_map(void)
{
    struct map_check check = { .check = { "kernel map", kernel_map_count_violations() } };
    uint64_t ram_bytes = 0;

    for (unsigned i = 0; i < memblock_ram.count; i++) {
        uint64_t start = memblock_ram.range[i].start, end = start + memblock_ram.range[i].size;
        uint64_t first = align_up(start, MMU_PAGE_SIZE),
                 past = align_down(min_of(end, highmem_start().value), MMU_PAGE_SIZE);
        ram_bytes += past > first ? past - first : 0;
        check_memmap_of(&check, start >> PAGE_SHIFT);
        check_memmap_of(&check, (end - 1) >> PAGE_SHIFT);
    }
    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_DIRECT_BASE), ARCH_PHYS_LIMIT, check_direct_leaf,
                          &check);
    if (check.direct_bytes != ram_bytes)
        defect(&check, ARCH_DIRECT_BASE, "the direct map does not show exactly RAM below HIGHMEM");
    return check.check.defects;
}
