// mm/vmap: kernel stacks.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kstack.h>

#include <debug/stack_meter.h>

#include "access.h"
#include "fault_plan.h"

#include <base/string.h>
#include <check/check.h>
#include <mm/granule.h>
#include <mm/kmalloc.h>
#include <mm/vmalloc.h>

#define CROWD 40

// A stack starts at a multiple of twice its size, whatever the page size, and is zero and writable all over,
// also when its granules held something before.
KTEST(kstack, is_aligned_and_zero)
{
    for (unsigned round = 0; round < 4; round++) {
        char *stack = kstack_alloc();
        uint64_t nonzero = 0;
        REQUIRE(stack);
        EXPECT_EQ((uintptr_t)stack % (2 * KERNEL_STACK_SIZE), 0);
        for (size_t i = 0; i < KERNEL_STACK_SIZE; i++)
            nonzero += stack[i] != 0;
        EXPECT_EQ(nonzero, 0);
        memset(stack, 0xa5, KERNEL_STACK_SIZE);
        kstack_free(stack);
    }
}

// Every granule as far below as the stack is large faults, for each of many stacks side by side; and so does
// the one above.
KTEST(kstack, guard_faults_everywhere)
{
    char *stacks[CROWD];

    for (unsigned i = 0; i < CROWD; i++) {
        REQUIRE(stacks[i] = kstack_alloc());
        memset(stacks[i], (int)i, KERNEL_STACK_SIZE);
    }
    EXPECT_EQ(check_vmalloc(), 0);
    for (unsigned i = 0; i < CROWD; i++) {
        unsigned faults = 0, wrong = 0;
        for (size_t offset = MMU_PAGE_SIZE; offset <= KERNEL_STACK_SIZE; offset += MMU_PAGE_SIZE)
            faults += access_faults(stacks[i] - offset, true);
        EXPECT_EQ(faults, KERNEL_STACK_SIZE / MMU_PAGE_SIZE);
        EXPECT(access_faults(stacks[i] - 1, false));
        EXPECT(access_faults(stacks[i] + KERNEL_STACK_SIZE, false));
        for (size_t k = 0; k < KERNEL_STACK_SIZE; k++)
            wrong += stacks[i][k] != (char)i;
        EXPECT_EQ(wrong, 0);
    }
    for (unsigned i = 0; i < CROWD; i++)
        kstack_free(stacks[(i * 7) % CROWD]);
}

// A marked stack is as deep as the deepest mark that was overwritten; marked again, it is new.
KTEST(kstack, depth_is_the_deepest_mark)
{
    char *stack = kstack_alloc();
    REQUIRE(stack);

    EXPECT_EQ(stack_depth(stack), KERNEL_STACK_SIZE);
    for (size_t depth = STACK_MARK_BYTES; depth <= KERNEL_STACK_SIZE; depth += STACK_MARK_BYTES * 3) {
        stack_mark(stack);
        EXPECT_EQ(stack_depth(stack), 0);
        memset(stack + KERNEL_STACK_SIZE - depth, 0, depth);
        EXPECT_EQ(stack_depth(stack), depth);
    }
    kstack_free(stack);
}

// A stack takes as many granules as it is large and no more; at large pages several stacks share a page.
KTEST(kstack, takes_granules_not_pages)
{
    uint64_t used = granule_stacks.used_count, pages = granule_stacks.page_count;
    const uint64_t granules = KERNEL_STACK_SIZE / MMU_PAGE_SIZE;
    void *stacks[8];

    for (unsigned i = 0; i < array_count(stacks); i++)
        REQUIRE(stacks[i] = kstack_alloc());
    EXPECT_EQ(granule_stacks.used_count - used, granules * array_count(stacks));
    EXPECT_LE(granule_stacks.page_count - pages, granules * array_count(stacks) / GRANULES_PER_PAGE + 1);
    for (unsigned i = 0; i < array_count(stacks); i++)
        kstack_free(stacks[i]);
    EXPECT_EQ(granule_stacks.used_count, used);
    EXPECT_EQ(granule_stacks.page_count, pages);
}

// Any address in the guard tells the stack that it guards; addresses on the stack, above it, elsewhere, and
// the guard of a stack that is gone tell nothing.
KTEST(kstack, overrun_names_the_stack)
{
    char *stack = kstack_alloc(), *object = kmalloc(64, GFP_KERNEL);
    void *found;
    REQUIRE(stack && object);

    for (size_t offset = 1; offset <= KERNEL_STACK_SIZE; offset += 333) {
        found = NULL;
        EXPECT(kstack_is_overrun(vaddr_of(stack - offset), &found));
        EXPECT_EQ(found, stack);
    }
    found = NULL;
    EXPECT(kstack_is_overrun(vaddr_of(stack - KERNEL_STACK_SIZE), &found));
    EXPECT_EQ(found, stack);
    EXPECT(!kstack_is_overrun(vaddr_of(stack), &found));
    EXPECT(!kstack_is_overrun(vaddr_of(stack + KERNEL_STACK_SIZE - 1), &found));
    EXPECT(!kstack_is_overrun(vaddr_of(stack - KERNEL_STACK_SIZE - 1), &found));
    EXPECT(!kstack_is_overrun(vaddr_of(object), &found));
    EXPECT(!kstack_is_overrun(vaddr(0), &found));
    EXPECT(!kstack_is_overrun(vaddr(KERNEL_STACK_SIZE), &found));
    EXPECT(!kstack_is_overrun(vaddr(-1UL), &found));
    EXPECT(!kstack_is_overrun(vaddr(ARCH_VMALLOC_END - 1), &found));
    kstack_free(stack);
    EXPECT(!kstack_is_overrun(vaddr_of(stack - 8), &found));
    kfree(object);
}

// After kstack_free every granule of the stack faults.
KTEST(kstack, freed_stack_faults)
{
    char *stack = kstack_alloc();
    unsigned faults = 0;
    REQUIRE(stack);

    memset(stack, 1, KERNEL_STACK_SIZE);
    kstack_free(stack);
    for (size_t offset = 0; offset < KERNEL_STACK_SIZE; offset += MMU_PAGE_SIZE)
        faults += access_faults(stack + offset, false);
    EXPECT_EQ(faults, KERNEL_STACK_SIZE / MMU_PAGE_SIZE);
}

// What is no stack is reported and ignored; other calls do not take stacks.
KTEST(kstack, bad_frees_are_reported)
{
    char *stack = kstack_alloc(), *area = vmalloc(KERNEL_STACK_SIZE);
    REQUIRE(stack && area);

    kstack_free(NULL);
    EXPECT_MISUSE(1, kstack_free(area));
    EXPECT_MISUSE(1, kstack_free(stack + MMU_PAGE_SIZE));
    EXPECT_MISUSE(1, kstack_free(stack + KERNEL_STACK_SIZE));
    EXPECT_MISUSE(1, kstack_free(stack - KERNEL_STACK_SIZE));
    EXPECT_MISUSE(1, vfree(stack));
    EXPECT_MISUSE(1, vunmap(stack));
    EXPECT_NULL(vmalloc_to_page(stack));
    kstack_free(stack);
    EXPECT_MISUSE(1, kstack_free(stack));
    vfree(area);
}

// Whatever allocation fails, no stack is had and nothing is left behind.
KTEST(kstack, fails_cleanly_at_every_step)
{
    uint64_t used = granule_stacks.used_count, areas = vmalloc_stats().area_count;
    bool has_failed = true;

    for (uint64_t step = 0; has_failed; step++) {
        fault_plan_start(FAULT_ALL, step, UINT64_MAX);
        void *stack = kstack_alloc();
        has_failed = fault_plan_stop();
        EXPECT_EQ(stack == NULL, has_failed);
        kstack_free(stack);
        EXPECT_EQ(granule_stacks.used_count, used);
        EXPECT_EQ(vmalloc_stats().area_count, areas);
        EXPECT_EQ(check_vmalloc(), 0);
    }
}
