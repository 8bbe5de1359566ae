// mm/phys/page_alloc.c: frees that must not be, wherever the block lies and whoever owns it; each with one report, and
// with everything as it was behind it.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_alloc.h>

#include "capture.h"

#include <arch/irq.h>
#include <arch/smp.h>
#include <base/string.h>
#include <ktest/free_pages.h>
#include <ktest/ktest.h>
#include <check/check.h>
#include <mm/kmalloc.h>
#include <mm/memblock.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

// Every way to free a block; none may do anything.
static void expect_refusals(struct page *block, unsigned order)
{
    EXPECT_MISUSE(1, __free_pages(block, order));
    EXPECT_MISUSE(1, free_pages(page_to_virt(block), order));
    EXPECT_MISUSE(1, put_page(block));
    EXPECT_MISUSE(1, split_page(block, order));
}

// A free block is known as one in a hart's list, in a group's mask or list of the engine's, and merged into a larger
// one.
KTEST(page_bad_free, free_blocks_wherever_they_lie)
{
    uint64_t free = free_pages_now();

    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *block = alloc_pages(GFP_KERNEL, order), *near = alloc_pages(GFP_KERNEL, order);
        REQUIRE(block && near);
        __free_pages(block, order);
        expect_refusals(block, order);
        page_lists_drain_all();
        expect_refusals(block, order);
        __free_pages(near, order);
        page_lists_drain_all();
        expect_refusals(block, order);
        expect_refusals(near, order);
        EXPECT_EQ(free_pages_now(), free);
    }
    EXPECT_EQ(check_zones(), 0);
}

// With a wrong order, whichever, and from anywhere within, a block is refused; it stays whole and can then be freed.
KTEST(page_bad_free, every_wrong_order_and_place)
{
    uint64_t free = free_pages_now();

    for (unsigned order = 0; order <= MAX_ORDER; order++)
        for (unsigned is_compound = 0; is_compound < 2; is_compound++) {
            struct page *block = alloc_pages(GFP_KERNEL | (is_compound ? __GFP_COMP : 0), order);
            uint64_t pages = 1UL << order, places[] = { 1, pages / 2, pages - 1, ktest_random_below(pages) };
            REQUIRE(block);
            for (unsigned wrong = 0; wrong <= MAX_ORDER + 1; wrong++)
                if (wrong != order) {
                    EXPECT_MISUSE(1, __free_pages(block, wrong));
                    EXPECT_MISUSE(1, free_pages(page_to_virt(block), wrong));
                }
            for (size_t i = 0; i < array_count(places); i++)
                if (places[i] > 0 && places[i] < pages) {
                    EXPECT_MISUSE(1, __free_page(block + places[i]));
                    EXPECT_MISUSE(1, free_page((char *)page_to_virt(block) + places[i] * PAGE_SIZE));
                    EXPECT_MISUSE(1, __free_pages(block + places[i], order));
                }
            EXPECT(block->type == PAGE_RAW && block->order == order);
            __free_pages(block, order);
            EXPECT_EQ(free_pages_now(), free);
        }
}

// Memory of slabs, large objects and vmalloc areas is theirs, and its contents stay.
KTEST(page_bad_free, memory_of_others)
{
    char *small = kmalloc(100, GFP_KERNEL), *large = kmalloc(MB(1), GFP_KERNEL), *area = vmalloc(2 * PAGE_SIZE);

    REQUIRE(small && large && area);
    memset(small, 0x51, 100);
    struct page *slab = page_head(virt_to_page(small)), *head = virt_to_page(large);
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        EXPECT_MISUSE(1, __free_pages(slab, order));
        EXPECT_MISUSE(1, __free_pages(head, order));
        EXPECT_MISUSE(1, __free_pages(vmalloc_to_page(area), order));
    }
    EXPECT_MISUSE(1, free_page(page_to_virt(slab)));
    EXPECT_MISUSE(1, free_page(large));
    EXPECT_MISUSE(1, free_page(area));
    EXPECT_MISUSE(1, free_pages(area + PAGE_SIZE, 0));
    EXPECT_MISUSE(1, put_page(slab));
    EXPECT_MISUSE(1, put_page(head));
    EXPECT_MISUSE(1, put_page(vmalloc_to_page(area)));
    EXPECT_EQ(check_all(), 0);
    EXPECT(small[0] == 0x51 && small[99] == 0x51);
    kfree(small);
    kfree(large);
    vfree(area);
}

// Addresses that are no page's: too small to be one, not aligned, of other windows, of no RAM, of a stack.
KTEST(page_bad_free, addresses_of_no_page)
{
    char *page = __get_free_page(GFP_KERNEL), *area = vmalloc(PAGE_SIZE), local;

    REQUIRE(page && area);
    void *const bad[] = {
        (void *)1, (void *)8, (void *)(PAGE_SIZE - 1), (void *)PAGE_SIZE, (void *)-1UL, (void *)-PAGE_SIZE,
        page + 1, page + 8, page + PAGE_SIZE - 1, page + PAGE_SIZE / 2,
        area, area + 1, &local, (void *)align_down((uintptr_t)&local, PAGE_SIZE),
        virt_to_page(page), MEMMAP, (void *)ARCH_IMAGE_BASE, (void *)ARCH_VMALLOC_END,
        phys_to_virt(paddr(align_up(memblock_ram_end().value, PAGE_SIZE))),
        phys_to_virt(paddr(0)), phys_to_virt(paddr(ARCH_PHYS_LIMIT - PAGE_SIZE)),
        (void *)(ARCH_DIRECT_BASE - PAGE_SIZE), (void *)(ARCH_DIRECT_BASE + ARCH_PHYS_LIMIT),
    };

    for (size_t i = 0; i < array_count(bad); i++) {
        EXPECT_MISUSE(1, free_page(bad[i]));
        EXPECT_MISUSE(1, free_pages(bad[i], 0));
        EXPECT_MISUSE(1, free_pages(bad[i], MAX_ORDER + 1));
    }
    vfree(area);
    free_page(page);
}

// A reference that nobody has is not dropped: the block is gone with the last that somebody had.
KTEST(page_bad_free, references_there_are_not)
{
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *block = alloc_pages(GFP_KERNEL | __GFP_COMP, order);
        REQUIRE(block);
        page_get(block);
        put_page(block + (1UL << order) - 1);
        EXPECT(block->type == PAGE_RAW);
        put_page(block);
        EXPECT_MISUSE(1, put_page(block));
        EXPECT_MISUSE(1, put_page(block + (1UL << order) - 1));
        page_lists_drain_all();
        EXPECT_MISUSE(1, put_page(block));
    }
}

// What cannot be had in bulk or by exact size is refused as it is by the block.
KTEST(page_bad_free, requests_by_count_and_size)
{
    struct page *pages[4];

    EXPECT_MISUSE(1, EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL | (gfp_t)1 << 30, 4, pages), 0));
    EXPECT_MISUSE(1, EXPECT_EQ(alloc_pages_bulk(GFP_NOWAIT | __GFP_NOFAIL, 4, pages), 0));
    EXPECT_MISUSE(0, EXPECT_EQ(alloc_pages_bulk(GFP_KERNEL, 0, pages), 0));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages_exact(0, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages_exact((PAGE_SIZE << MAX_ORDER) + 1, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages_exact(SIZE_MAX, GFP_KERNEL)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages_exact(PAGE_SIZE, GFP_HIGHUSER)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages_exact(PAGE_SIZE, GFP_KERNEL | __GFP_COMP)));
    EXPECT_MISUSE(1, EXPECT_NULL(alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL | __GFP_DMA | __GFP_DMA32)));

    char *block = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL);
    REQUIRE(block);
    EXPECT_MISUSE(1, free_pages(block, 2));
    EXPECT_MISUSE(3, free_pages_exact(block + 1, 3 * PAGE_SIZE));
    free_pages_exact(block, 3 * PAGE_SIZE);
    EXPECT_MISUSE(3, free_pages_exact(block, 3 * PAGE_SIZE));
}

// A misuse is told in one line, which names what is wrong, the frame and what it is; where the frame's history is kept,
// that follows.
KTEST(page_bad_free, report_is_one_line)
{
    struct page *page = alloc_page(GFP_KERNEL);
    char *report;

    REQUIRE(page);
    __free_page(page);
    EXPECT_MISUSE(1, {
        capture_start();
        __free_page(page);
        report = capture_stop();
    });
    REQUIRE(report != NULL);
    EXPECT_NOT_NULL(strstr(report, "page misuse: freed twice: frame 0x"));
    const char *rest = strchr(report, '\n') + 1;
    if (CONFIG_CHECKED)
        EXPECT_NOT_NULL(strstr(rest, "freed, order 0"));
    else
        EXPECT_STREQ(rest, "");
}

// --- Several harts at once

static struct {
    struct page *block;
    unsigned order;
} contested;

static void free_somehow(unsigned index, void *unused unused_arg)
{
    switch (index % 4) {
    case 0:
        __free_pages(contested.block, contested.order);
        break;
    case 1:
        put_page(contested.block);
        break;
    case 2:
        free_pages(page_to_virt(contested.block), contested.order);
        break;
    default:
        if (contested.order == 0)
            __free_page(contested.block);
        else
            __free_pages(contested.block, contested.order);
    }
}

// Of all harts that free the same block at once, by whatever call, exactly one does, and each of the others is
// reported; for blocks that go to a hart's list and for larger ones.
KTEST(page_bad_free, one_of_many_harts_wins)
{
    static const unsigned orders[] = { 0, 1, 3, 4, MAX_ORDER };
    uint64_t free = free_pages_now();

    for (unsigned round = 0; round < ktest_rounds(40, 6); round++)
        for (size_t i = 0; i < array_count(orders); i++) {
            contested.order = orders[i];
            contested.block = alloc_pages(GFP_KERNEL, orders[i]);
            REQUIRE(contested.block);
            EXPECT_MISUSE(arch_hart_count() - 1, ktest_run_on_harts(free_somehow, NULL));
        }
    EXPECT_EQ(free_pages_now(), free);
}

#define COLLISIONS 64

static struct {
    struct page *block[COLLISIONS];
    unsigned order;
    unsigned arrived[COLLISIONS];  // (A)
} collision;

// Both start at the same moment, as far as can be: the one that is there first does not yield for a while.
static void meet(unsigned *arrived)
{
    __atomic_fetch_add(arrived, 1, __ATOMIC_ACQ_REL);
    for (unsigned spin = 0; __atomic_load_n(arrived, __ATOMIC_ACQUIRE) < 2; spin++)
        if (spin > 2000)
            arch_relax(spin);
}

static void collide(unsigned index, void *unused unused_arg)
{
    if (index >= 2)
        return;
    for (unsigned i = 0; i < COLLISIONS; i++) {
        meet(&collision.arrived[i]);
        __free_pages(collision.block[i], collision.order);
    }
}

// Two harts that free the same blocks, one after the other, at the same moments: each block is freed once and reported
// once. (The reports are not shown: they would take longer than all else.)
KTEST(page_bad_free, two_harts_at_the_same_moment)
{
    uint64_t free = free_pages_now();
    unsigned orders = 6;

    if (arch_hart_count() < 2)
        ktest_skip("one hart");
    while (orders > 1 && (uint64_t)COLLISIONS << (orders - 1) > zones_free_direct_pages() / 2)
        orders--;
    for (unsigned round = 0; round < ktest_rounds(400, 12); round++) {
        collision.order = round % orders;
        for (unsigned i = 0; i < COLLISIONS; i++) {
            collision.block[i] = alloc_pages(GFP_KERNEL, collision.order);
            REQUIRE(collision.block[i]);
            collision.arrived[i] = 0;
        }
        EXPECT_MISUSE(COLLISIONS, {
            capture_start();
            ktest_run_on_harts(collide, NULL);
            (void)capture_stop();
        });
        EXPECT_EQ(free_pages_now(), free);
    }
}

// With as many references as harts, all drops count, none is reported, and the last one frees.
KTEST(page_bad_free, references_of_many_harts)
{
    uint64_t free = free_pages_now();

    for (unsigned round = 0; round < ktest_rounds(100, 20); round++) {
        contested.order = round % 5;
        contested.block = alloc_pages(GFP_KERNEL, contested.order);
        REQUIRE(contested.block);
        for (unsigned i = 1; i < arch_hart_count(); i++)
            page_get(contested.block);
        ktest_run_on_harts(free_somehow, NULL);
        EXPECT_MISUSE(1, put_page(contested.block));
    }
    EXPECT_EQ(free_pages_now(), free);
}
