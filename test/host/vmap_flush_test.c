// The flushes of mm/vmap: their operands, exactly, and what happens without them. QEMU could not tell.
// SPDX-License-Identifier: BSD-2-Clause
#include <fake_arch.h>

#include "../unit/access.h"
#include "../unit/highmem_support.h"

#include <ktest/ktest.h>
#include <mm/kstack.h>
#include <mm/set_memory.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>

static uint64_t reachable_granules(const char *start, uint64_t bytes)
{
    uint64_t count = 0;

    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE)
        count += !access_faults(start + offset, false);
    return count;
}

// Since `before`, one flush of all harts named exactly that range, and all that was translated was in it.
static void expect_one_flush(const struct fake_tlb_stats *before, const void *start, uint64_t bytes)
{
    struct fake_tlb_stats now = fake_tlb_stats();

    EXPECT_EQ(now.kernel_flushes - before->kernel_flushes, 1);
    EXPECT_EQ(now.local_flushes - before->local_flushes, 0);
    EXPECT_EQ(now.last_start.value, (uintptr_t)start);
    EXPECT_EQ(now.last_bytes, bytes);
    EXPECT_EQ(now.granules_named - before->granules_named, bytes / MMU_PAGE_SIZE);
    EXPECT_EQ(now.granules_dropped - before->granules_dropped, bytes / MMU_PAGE_SIZE);
}

// Freeing an area of any kind flushes its granules on all harts, each once, and no guard; a new one flushes nothing,
// but for a stack, on which no fault could be answered.
KTEST(vmap_flush, names_exactly_the_area)
{
    struct page *pages[3];

    // With the tables there, a stack's flush names the stack.
    kstack_free(kstack_alloc());
    struct fake_tlb_stats before = fake_tlb_stats();
    for (unsigned i = 0; i < 3; i++)
        REQUIRE(pages[i] = alloc_page(GFP_KERNEL));
    char *area = vmalloc(PAGE_SIZE * 5), *mapped = vmap(pages, 3, PROT_KERNEL_RO), *stack = kstack_alloc();
    volatile char *device = ioremap(paddr_add(page_to_phys(pages[0]), 100), PAGE_SIZE);
    REQUIRE(area && mapped && stack && device);
    struct fake_tlb_stats made = fake_tlb_stats();
    const char *device_start = (const char *)(uintptr_t)device - 100;
    EXPECT_EQ(made.kernel_flushes, before.kernel_flushes + 1);
    EXPECT_EQ(made.granules_named - before.granules_named, KERNEL_STACK_SIZE / MMU_PAGE_SIZE);

    EXPECT_EQ(reachable_granules(area, PAGE_SIZE * 5), GRANULES_PER_PAGE * 5);
    EXPECT_EQ(reachable_granules(mapped, PAGE_SIZE * 3), GRANULES_PER_PAGE * 3);
    EXPECT_EQ(reachable_granules(stack, KERNEL_STACK_SIZE), KERNEL_STACK_SIZE / MMU_PAGE_SIZE);
    EXPECT_EQ(reachable_granules(device_start, PAGE_SIZE + MMU_PAGE_SIZE), GRANULES_PER_PAGE + 1);
    before = fake_tlb_stats();
    vfree(area);
    // Where memory is small even five pages are enough for one at once.
    vmalloc_flush();
    expect_one_flush(&before, area, PAGE_SIZE * 5);
    before = fake_tlb_stats();
    vunmap(mapped);
    expect_one_flush(&before, mapped, PAGE_SIZE * 3);
    before = fake_tlb_stats();
    kstack_free(stack);
    expect_one_flush(&before, stack, KERNEL_STACK_SIZE);
    before = fake_tlb_stats();
    iounmap(device);
    expect_one_flush(&before, device_start, PAGE_SIZE + MMU_PAGE_SIZE);
    for (unsigned i = 0; i < 3; i++)
        __free_page(pages[i]);
}

// Without the flush a freed area stays reachable, every granule of it: the cases that look for faults can
// fail.
KTEST(vmap_flush, dropped_flush_is_seen)
{
    char *area = vmalloc(PAGE_SIZE * 3);
    REQUIRE(area);
    EXPECT_EQ(reachable_granules(area, PAGE_SIZE * 3), GRANULES_PER_PAGE * 3);
    fake_tlb_ignore_flushes(true);
    vfree(area);
    vmalloc_flush();
    fake_tlb_ignore_flushes(false);
    EXPECT_EQ(reachable_granules(area, PAGE_SIZE * 3), GRANULES_PER_PAGE * 3);
    tlb_flush_kernel(vaddr_of(area), PAGE_SIZE * 2, TLB_UNMAP);
    EXPECT_EQ(reachable_granules(area, PAGE_SIZE * 3), GRANULES_PER_PAGE);
    tlb_flush_kernel(vaddr_of(area + PAGE_SIZE * 2), PAGE_SIZE, TLB_UNMAP);
    EXPECT_EQ(reachable_granules(area, PAGE_SIZE * 3), 0);
}

// A local mapping flushes its granules on this hart, when it comes and when it goes, and those of no other.
KTEST(vmap_flush, local_kmap_names_its_slot)
{
    SKIP_WITHOUT_HIGHMEM();
    struct page *pages[2];

    REQUIRE(take_high_pages(pages, 2));
    char *outer = kmap_local_page(pages[0]);
    mark_granules(outer, 1);
    for (unsigned round = 0; round < 2; round++) {
        struct fake_tlb_stats before = fake_tlb_stats();
        char *address = kmap_local_page(pages[1]);
        mark_granules(address, 2);
        struct fake_tlb_stats mapped = fake_tlb_stats();
        EXPECT_EQ(mapped.last_start.value, (uintptr_t)address);
        EXPECT_EQ(mapped.last_bytes, PAGE_SIZE);
        kunmap_local(address);
        struct fake_tlb_stats after = fake_tlb_stats();
        EXPECT_EQ(after.local_flushes - before.local_flushes, 2);
        EXPECT_EQ(after.kernel_flushes, before.kernel_flushes);
        EXPECT_EQ(after.granules_dropped - mapped.granules_dropped, GRANULES_PER_PAGE);
        EXPECT_EQ(after.last_start.value, (uintptr_t)address);
        EXPECT_EQ(after.last_bytes, PAGE_SIZE);
    }
    EXPECT_EQ(reachable_granules(outer, PAGE_SIZE), GRANULES_PER_PAGE);
    kunmap_local(outer);
    give_pages(pages, 2);
}

// The pool's slots that nobody uses are flushed on all harts by one call, from the first to the last of them.
KTEST(vmap_flush, kmap_flushes_once_for_all)
{
    SKIP_WITHOUT_HIGHMEM();
    static struct page *pages[KMAP_SLOTS + 1];
    char *lowest = (char *)-1UL, *address[KMAP_SLOTS];

    REQUIRE(take_high_pages(pages, KMAP_SLOTS + 1));
    for (unsigned i = 0; i < KMAP_SLOTS; i++) {
        address[i] = kmap(pages[i]);
        lowest = min_of(lowest, address[i]);
    }
    // Only now, since on the way slots of earlier cases may have been flushed, and these with them.
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        mark_granules(address[i], i);
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        kunmap(pages[i]);
    struct fake_tlb_stats before = fake_tlb_stats();
    char *one_more = kmap(pages[KMAP_SLOTS]);
    struct fake_tlb_stats after = fake_tlb_stats();
    EXPECT_EQ(after.kernel_flushes - before.kernel_flushes, 1);
    EXPECT_EQ(after.local_flushes - before.local_flushes, 1);
    EXPECT_EQ(after.granules_named - before.granules_named, (KMAP_SLOTS + 1) * GRANULES_PER_PAGE);
    EXPECT_EQ(after.granules_dropped - before.granules_dropped, KMAP_SLOTS * GRANULES_PER_PAGE);
    EXPECT_EQ(after.last_start.value, (uintptr_t)one_more);
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        EXPECT_EQ(reachable_granules(address[i], PAGE_SIZE), address[i] == one_more ? GRANULES_PER_PAGE : 0);
    EXPECT_EQ(one_more, lowest);
    kunmap(pages[KMAP_SLOTS]);
    give_pages(pages, KMAP_SLOTS + 1);
}

// Without its flush a slot still shows the page that it showed before: the cases above can fail.
KTEST(vmap_flush, kmap_without_flush_is_seen)
{
    SKIP_WITHOUT_HIGHMEM();
    struct page *page;

    REQUIRE(take_high_pages(&page, 1));
    char *address = kmap_local_page(page);
    mark_granules(address, 1);
    fake_tlb_ignore_flushes(true);
    kunmap_local(address);
    fake_tlb_ignore_flushes(false);
    EXPECT_EQ(reachable_granules(address, PAGE_SIZE), GRANULES_PER_PAGE);
    tlb_flush_local(vaddr_of(address), PAGE_SIZE, TLB_UNMAP);
    EXPECT_EQ(reachable_granules(address, PAGE_SIZE), 0);
    give_pages(&page, 1);
}

// Text that was stored is fetched by every hart once it may be executed, and not before anybody asks.
KTEST(vmap_flush, new_text_is_fetched_anew)
{
    char *text = vmalloc(PAGE_SIZE);
    REQUIRE(text);
    uint64_t before = fake_tlb_stats().fetching_harts;

    EXPECT_EQ(set_memory_ro(text, 1), 0);
    EXPECT_EQ(fake_tlb_stats().fetching_harts, before);
    EXPECT_EQ(set_memory_x(text, 1), 0);
    EXPECT_EQ(fake_tlb_stats().fetching_harts, TLB_EVERY_HART);
    vfree(text);
}
