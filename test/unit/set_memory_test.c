// mm/vmap/set_memory: other rights for parts of areas, and for their pages by their other name.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/set_memory.h>

#include "access.h"
#include "fault_plan.h"
#include "highmem_support.h"

#include <arch/smp.h>
#include <base/errno.h>
#include <check/check.h>
#include <mm/pgtable.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

#define PAGES 5

static unsigned rights_at(const void *address) { return pgtable_walk(&kernel_pgtable, vaddr_of(address)).prot; }

// How many granules of those pages have the rights, and in the direct map those that go with them.
static uint64_t granules_with(const char *area, unsigned pages, unsigned prot)
{
    uint64_t count = 0;

    for (uint64_t offset = 0; offset < (uint64_t)pages << PAGE_SHIFT; offset += MMU_PAGE_SIZE) {
        struct page *page = vmalloc_to_page(area + offset);
        bool has_rights = rights_at(area + offset) == prot;
        if (page != NULL && !page_is_high(page))
            has_rights &= rights_at((char *)page_to_virt(page) + offset % PAGE_SIZE) ==
                          (prot & PROT_WRITE ? PROT_KERNEL_RW : PROT_KERNEL_RO);
        count += has_rights;
    }
    return count;
}

#define EXPECT_RIGHTS(area, pages, prot) \
    EXPECT_EQ(granules_with(area, pages, prot), (uint64_t)(pages) * GRANULES_PER_PAGE)

// From writable to executable and back, page by page in the middle of an area; the others keep their rights, contents
// stay, and writes fault exactly as long as they should.
KTEST(set_memory, rights_are_those_asked_for)
{
    char *area = vmalloc(PAGE_SIZE * PAGES), *middle;
    REQUIRE(area);

    middle = area + PAGE_SIZE;
    *middle = 'q';
    EXPECT_EQ(set_memory_ro(middle, 2), 0);
    EXPECT_RIGHTS(middle, 2, PROT_KERNEL_RO);
    EXPECT(access_faults(middle, true) && !access_faults(middle, false));
    EXPECT_EQ(set_memory_x(middle, 1), 0);
    EXPECT_RIGHTS(middle, 1, PROT_KERNEL_RX);
    EXPECT_RIGHTS(middle + PAGE_SIZE, 1, PROT_KERNEL_RO);
    EXPECT_EQ(check_kernel_map(), 0);
    EXPECT_EQ(check_vmalloc(), 0);
    EXPECT_EQ(set_memory_ro(middle, 2), 0);
    EXPECT_RIGHTS(middle, 1, PROT_KERNEL_RX);
    EXPECT_EQ(set_memory_nx(area, PAGES), 0);
    EXPECT_RIGHTS(middle, 2, PROT_KERNEL_RO);
    EXPECT_EQ(set_memory_rw(middle, 2), 0);
    EXPECT_RIGHTS(area, PAGES, PROT_KERNEL_RW);
    EXPECT(!access_faults(middle, true) && *middle == 'q');
    vfree(area);
}

// A part of an area that large leaves show, and whose pages large leaves show in the direct map, changes alone.
KTEST(set_memory, large_leaves_are_split)
{
    const uint64_t bytes = MB(4);
    const unsigned pages = (unsigned)(bytes >> PAGE_SHIFT), part = 3;
    char *area = vmalloc(bytes);
    REQUIRE(area);

    char *inside = area + MB(2) + KB(64) + PAGE_SIZE;
    unsigned before = (unsigned)((inside - area) >> PAGE_SHIFT), behind = pages - before - part;
    EXPECT_EQ(set_memory_ro(inside, part), 0);
    EXPECT_RIGHTS(area, before, PROT_KERNEL_RW);
    EXPECT_RIGHTS(inside, part, PROT_KERNEL_RO);
    EXPECT_RIGHTS(inside + ((uint64_t)part << PAGE_SHIFT), behind, PROT_KERNEL_RW);
    EXPECT_EQ(check_vmalloc(), 0);
    EXPECT_EQ(check_kernel_map(), 0);
    vfree(area);
}

// What is freed with any rights has its usual ones when the next owner gets it, by both names; and is freed once.
KTEST(set_memory, vfree_gives_rights_back)
{
    struct page *pages[PAGES];
    char *area = vmalloc(PAGE_SIZE * PAGES);
    REQUIRE(area);

    for (unsigned i = 0; i < PAGES; i++)
        pages[i] = vmalloc_to_page(area + PAGE_SIZE * i);
    EXPECT_EQ(set_memory_ro(area, PAGES - 1), 0);
    EXPECT_EQ(set_memory_x(area, 1), 0);
    EXPECT_EQ(check_vmalloc(), 0);
    vfree(area);
    EXPECT_MISUSE(1, vfree(area));
    for (unsigned i = 0; i < PAGES; i++)
        if (!page_is_high(pages[i]))
            EXPECT_EQ(rights_at(page_to_virt(pages[i])), PROT_KERNEL_RW);
    EXPECT_MISUSE(1, EXPECT_EQ(set_memory_ro(area, 1), -EINVAL));
    vmalloc_flush();
    EXPECT(access_faults(area, false));
    EXPECT_EQ(check_kernel_map(), 0);
}

// Who asks for what is not to be had is told, and no rights change.
KTEST(set_memory, bad_ranges_are_refused)
{
    char *area = vmalloc(PAGE_SIZE * PAGES), on_stack[8];
    struct page *page = alloc_page(GFP_KERNEL);
    REQUIRE(area && page);
    char *shown = vmap(&page, 1, PROT_KERNEL_RW);
    REQUIRE(shown);

    EXPECT_EQ(set_memory_ro(area, 1), 0);
    EXPECT_EQ(set_memory_x(area, 1), 0);
    const struct { const void *address; unsigned pages; } bad[] = {
        { area + 1, 1 }, { area + MMU_PAGE_SIZE / 2, 1 }, { area, 0 }, { area, PAGES + 1 }, { area, UINT32_MAX },
        { area + PAGE_SIZE * PAGES, 1 }, { area - PAGE_SIZE, 1 }, { NULL, 1 }, { on_stack, 1 }, { shown, 1 },
        { page_to_virt(page), 1 }, { (const void *)(uintptr_t)ARCH_VMALLOC_END, 1 },
        { (const void *)UINTPTR_MAX, 1 },
    };
    for (unsigned i = 0; i < array_count(bad); i++)
        EXPECT_MISUSE(4, (EXPECT_EQ(set_memory_ro(bad[i].address, bad[i].pages), -EINVAL),
                          EXPECT_EQ(set_memory_rw(bad[i].address, bad[i].pages), -EINVAL),
                          EXPECT_EQ(set_memory_x(bad[i].address, bad[i].pages), -EINVAL),
                          EXPECT_EQ(set_memory_nx(bad[i].address, bad[i].pages), -EINVAL)));
    // One page of several is enough.
    EXPECT_MISUSE(1, EXPECT_EQ(set_memory_rw(area, PAGES), -EACCES));
    EXPECT_MISUSE(1, EXPECT_EQ(set_memory_x(area, PAGES), -EACCES));
    EXPECT_RIGHTS(area, 1, PROT_KERNEL_RX);
    EXPECT_RIGHTS(area + PAGE_SIZE, PAGES - 1, PROT_KERNEL_RW);
    EXPECT_EQ(rights_at(shown), PROT_KERNEL_RW);
    vunmap(shown);
    __free_page(page);
    vfree(area);
}

static bool has_large_alias(const void *address)
{
    struct page *page = vmalloc_to_page(address);

    return !page_is_high(page) &&
           pgtable_walk(&kernel_pgtable, vaddr_of(page_to_virt(page))).leaf_bytes > max_of(PAGE_SIZE * 4, KB(64));
}

// Without the tables that splitting needs nothing changes, whichever of them is missing.
KTEST(set_memory, fails_cleanly_at_every_step)
{
    const unsigned pages = (unsigned)(MB(4) >> PAGE_SHIFT);
    void *others[8];
    unsigned other_count = 0;
    char *area = vmalloc(MB(4));
    bool has_failed = true;
    REQUIRE(area);

    // Memory whose leaves in the direct map other cases have split will not do.
    while (!has_large_alias(area + PAGE_SIZE) && other_count < array_count(others)) {
        others[other_count++] = area;
        REQUIRE(area = vmalloc(MB(4)));
    }
    ktest_note("the direct map shows it by %s leaves", has_large_alias(area + PAGE_SIZE) ? "large" : "small");

    for (uint64_t step = 0; has_failed; step++) {
        fault_plan_start(FAULT_ALL, step, UINT64_MAX);
        int error = set_memory_ro(area + PAGE_SIZE, 3);
        has_failed = fault_plan_stop();
        EXPECT_EQ(error, has_failed ? -ENOMEM : 0);
        if (has_failed)
            EXPECT_RIGHTS(area, pages, PROT_KERNEL_RW);
    }
    EXPECT_RIGHTS(area + PAGE_SIZE, 3, PROT_KERNEL_RO);
    vfree(area);
    while (other_count > 0)
        vfree(others[--other_count]);
}

// A page of HIGHMEM that was shown by kmap, and is no more, cannot be written there either.
KTEST(set_memory, slots_of_kmap_go_too)
{
    SKIP_WITHOUT_HIGHMEM();
    char *area = vmalloc(PAGE_SIZE);
    REQUIRE(area);
    struct page *page = vmalloc_to_page(area);
    if (page_is_high(page)) {
        char *slot = kmap(page);
        *slot = 1;
        kunmap(page);
        EXPECT_EQ(set_memory_ro(area, 1), 0);
        EXPECT(access_faults(slot, true));
        EXPECT_EQ(check_kernel_map(), 0);
    }
    vfree(area);
}

struct sharing {
    char *area;
    unsigned arrived, changed;     // (A)
    unsigned writers;              // (A) harts that could still write
};

static void write_before_and_after(unsigned index, void *argument)
{
    struct sharing *sharing = argument;

    sharing->area[index] = 1;
    __atomic_fetch_add(&sharing->arrived, 1, __ATOMIC_ACQ_REL);
    if (index == 0) {
        for (unsigned round = 0; __atomic_load_n(&sharing->arrived, __ATOMIC_ACQUIRE) < arch_hart_count(); round++)
            arch_relax(round);
        EXPECT_EQ(set_memory_ro(sharing->area, 1), 0);
        __atomic_store_n(&sharing->changed, 1, __ATOMIC_RELEASE);
    }
    for (unsigned round = 0; __atomic_load_n(&sharing->changed, __ATOMIC_ACQUIRE) == 0; round++)
        arch_relax(round);
    if (!access_faults(&sharing->area[index], true))
        __atomic_fetch_add(&sharing->writers, 1, __ATOMIC_RELAXED);
}

// When a call returns, no hart remembers the rights that were taken.
KTEST(set_memory, every_hart_has_the_new_rights)
{
    struct sharing sharing = { .area = vmalloc(PAGE_SIZE) };

    REQUIRE(sharing.area);
    ktest_run_on_harts(write_before_and_after, &sharing);
    EXPECT_EQ(sharing.writers, 0);
    vfree(sharing.area);
}
