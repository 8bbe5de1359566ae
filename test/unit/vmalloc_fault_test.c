// mm/vmap: what is told of a fault in the vmalloc space.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/vmalloc.h>

#include <base/format.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/kstack.h>

// Whether what is told of the address starts so.
static bool tells_of(const char *address, const char *start_of_text)
{
    char text[VMALLOC_FAULT_TEXT_BYTES] = "";

    return vmalloc_fault_text(vaddr_of(address), text, sizeof(text)) &&
           strncmp(text, start_of_text, strlen(start_of_text)) == 0;
}

// An address of an area that was freed lately tells which one, of what kind and size; of several that held it the last.
// One of few pages is remembered until somebody has its addresses, others until many others were freed. What never was
// in an area tells nothing.
KTEST(vmalloc_fault, tells_the_freed_area)
{
    char text[64], *area = vmalloc(2 * PAGE_SIZE), *stack;
    REQUIRE(area != NULL);

    vfree(area);
    format_text(text, sizeof(text), "the vmalloc area of %lu bytes that ", 2 * PAGE_SIZE);
    EXPECT(tells_of(area, text));
    EXPECT(tells_of(area + 2 * PAGE_SIZE - 1, text));
    EXPECT(!tells_of(text, ""));
    stack = kstack_alloc();
    REQUIRE(stack != NULL);
    kstack_free(stack);
    format_text(text, sizeof(text), "the stack area of %lu bytes that ", KERNEL_STACK_SIZE);
    EXPECT(tells_of(stack, text));
    char *again = vmalloc(PAGE_SIZE);
    REQUIRE(again != NULL);
    vfree(again);
    format_text(text, sizeof(text), "the vmalloc area of %lu bytes that ", PAGE_SIZE);
    EXPECT(tells_of(again, text));
    vmalloc_flush();
    EXPECT(tells_of(again, text));
    char *large = vmalloc(40 * PAGE_SIZE), large_text[64];
    REQUIRE(large != NULL);
    vfree(large);
    vmalloc_flush();
    format_text(large_text, sizeof(large_text), "the vmalloc area of %lu bytes that ", 40 * PAGE_SIZE);
    EXPECT(tells_of(large + 39 * PAGE_SIZE, large_text));
    char *kept = vmalloc(2 * PAGE_SIZE);
    REQUIRE(kept != NULL);
    for (unsigned i = 0; i < 200; i++) {
        stack = kstack_alloc();
        EXPECT_NOT_NULL(stack);
        kstack_free(stack);
    }
    EXPECT(!tells_of(kept, "the vmalloc"));
    EXPECT(tells_of(again, text));
    EXPECT(!tells_of(large + 39 * PAGE_SIZE, large_text));
    EXPECT(!tells_of((const char *)ARCH_VMALLOC_END - MMU_PAGE_SIZE, ""));
    vfree(kept);
}

// The guard behind an area is told as that area's, from its first byte to its last, also where a larger area was freed.
KTEST(vmalloc_fault, tells_whose_guard)
{
    char text[96], *earlier = vmalloc(4 * PAGE_SIZE);
    REQUIRE(earlier != NULL);

    vfree(earlier);
    char *area = vmalloc(2 * PAGE_SIZE), *end = area + 2 * PAGE_SIZE;
    REQUIRE(area != NULL);
    format_text(text, sizeof(text), "the guard behind the vmalloc area of %lu bytes at %p (allocated by ",
                2 * PAGE_SIZE, (void *)area);
    EXPECT(tells_of(end, text));
    EXPECT(tells_of(end + PAGE_SIZE - 1, text));
    EXPECT(!tells_of(end + PAGE_SIZE, text));
    vfree(area);
    EXPECT(!tells_of(end, text));
}
