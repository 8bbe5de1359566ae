// The rights of the kernel's own mappings, tried by real accesses.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/image.h>
#include <arch/uaccess.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/kernel_map.h>
#include <mm/kstack.h>
#include <mm/page_alloc.h>
#include <mm/set_memory.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

static bool can_read(const volatile void *address)
{
    uint8_t value;
    return arch_probe_read(address, &value);
}

// Writes back what is there, so that a write that should have failed does no further harm.
static bool can_write(volatile void *address)
{
    uint8_t value;
    return arch_probe_read(address, &value) && arch_probe_write(address, value);
}

static void *direct_alias(const void *image_address)
{
    uint64_t offset = (uint64_t)((const char *)image_address - __kernel_start);
    return phys_to_virt(paddr_add(arch_image_phys(), offset));
}

static const char constant[64] = "in rodata";
static char variable[64] aligned_to(64) = "in data";

// Text can be read and executed, and not be written by either of its names.
KTEST(permission, text_is_not_writable)
{
    EXPECT(can_read(__text_start));
    EXPECT(!can_write(__text_start));
    EXPECT(can_read(direct_alias(__text_start)));
    EXPECT(!can_write(direct_alias(__text_start)));
    EXPECT(!can_write((char *)direct_alias(__rodata_start) - 1));
}

KTEST(permission, rodata_is_not_writable)
{
    EXPECT(can_read(constant));
    EXPECT(!can_write((void *)(uintptr_t)constant));
    EXPECT(!can_write(direct_alias(constant)));
    EXPECT(!can_write(__ksyms_start));
    EXPECT(!can_write(direct_alias(__ksyms_start)));
}

KTEST(permission, data_is_not_executable)
{
    arch_write_return(variable);
    EXPECT(can_write(variable));
    EXPECT(!arch_probe_exec(variable));
    EXPECT(!arch_probe_exec(direct_alias(variable)));
}

// A return instruction runs where set_memory_x allows it (without this the case above could not fail), and can be
// written there and in the direct map only until set_memory_ro and from set_memory_rw on.
KTEST(permission, code_runs_where_it_may)
{
    void *text = vmalloc(PAGE_SIZE);
    REQUIRE(text);
    struct page *page = vmalloc_to_page(text);
    void *alias = page_is_high(page) ? NULL : page_to_virt(page);

    arch_write_return(text);
    EXPECT(!arch_probe_exec(text));
    EXPECT_EQ(set_memory_ro(text, 1), 0);
    EXPECT(can_read(text) && !can_write(text) && !arch_probe_exec(text));
    EXPECT(alias == NULL || (can_read(alias) && !can_write(alias)));
    EXPECT_EQ(set_memory_x(text, 1), 0);
    EXPECT(arch_probe_exec(text) && !can_write(text));
    EXPECT(alias == NULL || (!arch_probe_exec(alias) && !can_write(alias)));
    EXPECT_EQ(set_memory_nx(text, 1), 0);
    EXPECT(!arch_probe_exec(text) && !can_write(text));
    EXPECT_EQ(set_memory_rw(text, 1), 0);
    EXPECT(can_write(text) && (alias == NULL || can_write(alias)));
    EXPECT_EQ(set_memory_ro(text, 1), 0);
    vfree(text);
    EXPECT(alias == NULL || can_write(alias));
}

KTEST(permission, direct_map_is_not_executable)
{
    void *page = __get_free_page(GFP_KERNEL);
    REQUIRE(page);
    arch_write_return(page);
    EXPECT(can_write(page));
    EXPECT(!arch_probe_exec(page));
    free_page(page);
}

// After start-up there is no identity map, and nothing at address 0.
KTEST(permission, low_half_is_empty)
{
    EXPECT(!can_read(NULL));
    EXPECT(!can_read((void *)(uintptr_t)arch_image_phys().value));
    EXPECT(!can_read((void *)0x3fffffffffUL));
    EXPECT(!can_read((void *)0x4000000000UL));
}

// The memory of start-up is gone from the image and usable in the direct map.
KTEST(permission, init_memory_was_freed)
{
    EXPECT(!can_read(__init_text_start));
    EXPECT(!can_read(__init_data_start));
    EXPECT(!can_read(__boot_stack));
    EXPECT(can_write(direct_alias(__init_text_start)));
    EXPECT(!arch_probe_exec(direct_alias(__init_text_start)));
}

// Outside of RAM the direct map has no leaf, and the memmap reads as "no page" and cannot be written.
KTEST(permission, holes_are_not_mapped)
{
    void *hole = phys_to_virt(paddr(ARCH_PHYS_LIMIT - PAGE_SIZE));

    EXPECT(!can_read(hole));
    EXPECT_EQ(virt_to_page(hole)->type, PAGE_TAIL);
    EXPECT(!can_write(virt_to_page(hole)));
}

// Below a stack lies an unmapped guard as large as the stack, granule by granule.
KTEST(permission, stack_guard_is_not_mapped)
{
    char *stack = kstack_alloc();
    REQUIRE(stack);
    EXPECT(can_write(stack));
    EXPECT(can_write(stack + KERNEL_STACK_SIZE - 1));
    for (size_t offset = MMU_PAGE_SIZE; offset <= KERNEL_STACK_SIZE; offset += MMU_PAGE_SIZE)
        EXPECT(!can_read(stack - offset));
    EXPECT(!can_read(stack - 1));
    kstack_free(stack);
}

KTEST(permission, nothing_is_writable_and_executable)
{
    EXPECT_EQ(kernel_map_count_violations(), 0);
}
