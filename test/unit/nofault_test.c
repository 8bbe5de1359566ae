// lib/debug: copies out of memory that may not be there.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/nofault.h>

#include <base/errno.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/page_alloc.h>
#include <mm/pgtable.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>

#define LONGEST 40

static uint8_t pattern(uintptr_t at) { return (uint8_t)(at * 37 + (at >> 8)); }

// Of any alignment and length a copy is what is there, and nothing else is written.
KTEST(nofault, copies_any_alignment)
{
    static uint8_t source[LONGEST + 16];
    uint8_t target[LONGEST + 16];
    unsigned wrong = 0;

    for (size_t i = 0; i < sizeof(source); i++)
        source[i] = pattern(i);
    for (size_t from = 0; from < 9; from++)
        for (size_t to = 1; to < 9; to++)
            for (size_t bytes = 0; bytes <= LONGEST; bytes++) {
                memset(target, 0xee, sizeof(target));
                EXPECT_EQ(copy_from_kernel_nofault(target + to, source + from, bytes), 0);
                wrong += memcmp(target + to, source + from, bytes) != 0 || target[to - 1] != 0xee ||
                         target[to + bytes] != 0xee;
            }
    EXPECT_EQ(wrong, 0);
}

// A copy ends where the memory does: it is refused when its last byte, or its first one, lies in the guard.
KTEST(nofault, refuses_what_reaches_into_a_guard)
{
    uint8_t *area = vmalloc(PAGE_SIZE), *end = area + PAGE_SIZE, target[LONGEST];
    REQUIRE(area != NULL);

    for (size_t i = 0; i < PAGE_SIZE; i++)
        area[i] = pattern(i);
    for (size_t bytes = 1; bytes <= LONGEST; bytes++) {
        EXPECT_EQ(copy_from_kernel_nofault(target, end - bytes, bytes), 0);
        EXPECT_EQ(memcmp(target, end - bytes, bytes), 0);
        EXPECT_EQ((uint64_t)copy_from_kernel_nofault(target, end - bytes + 1, bytes), (uint64_t)-EFAULT);
        EXPECT_EQ((uint64_t)copy_from_kernel_nofault(target, end, bytes), (uint64_t)-EFAULT);
        EXPECT_EQ((uint64_t)copy_from_kernel_nofault(target, area - bytes, bytes + 1), (uint64_t)-EFAULT);
    }
    vfree(area);
    vmalloc_flush();
    EXPECT_EQ((uint64_t)copy_from_kernel_nofault(target, area, 1), (uint64_t)-EFAULT);
}

// Null, no memory, not canonical, past the end of all addresses: each is refused. Nothing is there to be copied from
// anywhere.
KTEST(nofault, refuses_addresses_of_nothing)
{
    static const uintptr_t nowhere[] = {
        0, 1, 8, 1UL << 60, ARCH_VMALLOC_END - MMU_PAGE_SIZE, ARCH_VMALLOC_END - 1, UINTPTR_MAX - 7, UINTPTR_MAX,
    };
    uint64_t target;

    for (unsigned i = 0; i < array_count(nowhere); i++) {
        EXPECT_EQ((uint64_t)copy_from_kernel_nofault(&target, (const void *)nowhere[i], 1), (uint64_t)-EFAULT);
        EXPECT_EQ((uint64_t)copy_from_kernel_nofault(&target, (const void *)nowhere[i], 8), (uint64_t)-EFAULT);
        EXPECT_EQ(copy_from_kernel_nofault(&target, (const void *)nowhere[i], 0), 0);
    }
}

// A hart that remembers that nothing was there still finds what has been mapped since.
KTEST(nofault, finds_what_was_mapped_since)
{
    struct page *page = alloc_page(GFP_KERNEL);
    uint64_t start, word;
    REQUIRE(page != NULL);
    REQUIRE(vmem_alloc(&vmalloc_arena, PAGE_SIZE, PAGE_SIZE, 0, GFP_KERNEL, &start) == 0);

    *(uint64_t *)page_to_virt(page) = 0x1122334455667788;
    EXPECT_EQ((uint64_t)copy_from_kernel_nofault(&word, (const void *)start, sizeof(word)), (uint64_t)-EFAULT);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, vaddr(start), page_to_phys(page), PAGE_SIZE, PROT_KERNEL_RO, 0), 0);
    EXPECT_EQ(copy_from_kernel_nofault(&word, (const void *)start, sizeof(word)), 0);
    EXPECT_EQ(word, 0x1122334455667788);
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, vaddr(start), PAGE_SIZE), (int64_t)PAGE_SIZE);
    tlb_flush_kernel(vaddr(start), PAGE_SIZE, TLB_UNMAP);
    EXPECT_EQ(vmem_free(&vmalloc_arena, start), PAGE_SIZE);
    __free_page(page);
}
