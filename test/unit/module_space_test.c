// mm/vmap/vmalloc.c: the space of modules, near the image.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/vmalloc.h>

#include "access.h"
#include "fault_plan.h"

#include <base/errno.h>
#include <check/check.h>
#include <mm/pgtable.h>
#include <mm/set_memory.h>
#include <mm/zone.h>

static bool is_in_module_space(const void *address)
{
    return (uintptr_t)address - ARCH_MODULE_BASE < ARCH_MODULE_END - ARCH_MODULE_BASE;
}

// An area for a module lies in its space, is zero, has a guard behind it, takes other rights, and is freed as any.
KTEST(module_space, areas_are_like_others)
{
    char *area = module_alloc(PAGE_SIZE * 3 - 5), *other = module_alloc(1);
    REQUIRE(area && other);

    EXPECT(is_in_module_space(area) && is_in_module_space(area + PAGE_SIZE * 3 - 1) && is_in_module_space(other));
    EXPECT(is_vmalloc_addr(area));
    uint64_t nonzero = 0;
    for (uint64_t i = 0; i < PAGE_SIZE * 3; i++)
        nonzero += area[i] != 0;
    EXPECT_EQ(nonzero, 0);
    EXPECT(access_faults(area + PAGE_SIZE * 3, false) && access_faults(area - 1, false));
    EXPECT_EQ(check_vmalloc(), 0);
    EXPECT_EQ(set_memory_ro(area, 1), 0);
    EXPECT_EQ(set_memory_x(area, 1), 0);
    EXPECT_EQ(pgtable_walk(&kernel_pgtable, vaddr_of(area)).prot, PROT_KERNEL_RX);
    EXPECT_EQ(check_kernel_map(), 0);
    vfree(area);
    EXPECT_MISUSE(1, vfree(area));
    EXPECT_MISUSE(1, vfree(other + PAGE_SIZE));
    vfree(other);
    vmalloc_flush();
    EXPECT(access_faults(area, false) && access_faults(other, false));
    EXPECT_EQ(check_vmalloc(), 0);
}

// With its addresses used up nothing more comes of it, areas elsewhere do, and what was freed is had again at once.
KTEST(module_space, ends_cleanly)
{
    const uint64_t bytes = MB(1) - PAGE_SIZE;
    static void *areas[64];
    unsigned count = 0;

    if (zones_managed_pages() << PAGE_SHIFT < 2 * (ARCH_MODULE_END - ARCH_MODULE_BASE))
        ktest_skip("too little memory to use the space up");
    while (count < array_count(areas) && (areas[count] = module_alloc(bytes)) != NULL)
        count++;
    EXPECT(count >= 16 && count < array_count(areas));
    void *elsewhere = vmalloc(bytes);
    EXPECT_NOT_NULL(elsewhere);
    vfree(elsewhere);
    vfree(areas[count / 2]);
    EXPECT_NOT_NULL(areas[count / 2] = module_alloc(bytes));
    while (count > 0)
        vfree(areas[--count]);
    EXPECT_EQ(check_vmalloc(), 0);
}

KTEST(module_space, bad_sizes_are_refused)
{
    EXPECT_MISUSE(4, (EXPECT_NULL(module_alloc(0)), EXPECT_NULL(module_alloc(1UL << 63)),
                      EXPECT_NULL(module_alloc(UINT64_MAX)),
                      EXPECT_NULL(module_alloc(ARCH_MODULE_END - ARCH_MODULE_BASE + 1))));
}

KTEST(module_space, fails_cleanly_at_every_step)
{
    struct vmalloc_stats before = vmalloc_stats();
    bool has_failed = true;

    for (uint64_t step = 0; has_failed; step++) {
        fault_plan_start(FAULT_ALL, step, UINT64_MAX);
        void *area = module_alloc(PAGE_SIZE * 5);
        has_failed = fault_plan_stop();
        EXPECT_EQ(area == NULL, has_failed);
        vfree(area);
        EXPECT_EQ(vmalloc_stats().area_count, before.area_count);
        EXPECT_EQ(check_vmalloc(), 0);
    }
}
