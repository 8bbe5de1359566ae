// mm/vmap: vmalloc, vmap and ioremap.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/vmalloc.h>

#include "area_marks.h"
#include "fault_plan.h"
#include "memory_left.h"

#include <arch/smp.h>
#include <base/errno.h>
#include <base/string.h>
#include <check/check.h>
#include <mm/granule.h>
#include <mm/kmalloc.h>
#include <mm/kmap.h>
#include <mm/pgtable.h>
#include <mm/shrinker.h>
#include <mm/tlb.h>
#include <mm/zone.h>

// What is written by the area's address is found in its pages by theirs, page by page, at areas of many
// sizes.
KTEST(vmalloc, area_shows_its_pages)
{
    for (uint64_t pages = 1; pages <= 40; pages += pages / 4 + 1) {
        uint64_t bytes = pages << PAGE_SHIFT;
        char *area = vmalloc(bytes - ktest_random_below(PAGE_SIZE));
        REQUIRE(area);
        EXPECT_EQ((uintptr_t)area % PAGE_SIZE, 0);
        EXPECT(is_vmalloc_addr(area));
        mark(area, bytes, pages);
        bool shows = true;
        for (uint64_t offset = 0; offset < bytes; offset += PAGE_SIZE) {
            struct page *page = vmalloc_to_page(area + offset + 5);
            if (!EXPECT(page != NULL))
                break;
            const char *memory = kmap_local_page(page);
            for (uint64_t inside = 0; inside < PAGE_SIZE; inside += MMU_PAGE_SIZE)
                shows &= *(const uint64_t *)(const void *)(memory + inside) == (pages ^ (offset + inside));
            kunmap_local(memory);
        }
        EXPECT(shows);
        EXPECT_EQ(check_vmalloc(), 0);
        vfree(area);
    }
}

// The granule behind an area faults, and so does the one before it: whatever lies there has a guard of its
// own.
KTEST(vmalloc, overrun_hits_the_guard)
{
    char *areas[4];

    for (unsigned i = 0; i < array_count(areas); i++)
        REQUIRE(areas[i] = vmalloc(PAGE_SIZE * (i + 1)));
    for (unsigned i = 0; i < array_count(areas); i++) {
        EXPECT(!access_faults(areas[i] + PAGE_SIZE * (i + 1) - 1, true));
        EXPECT(access_faults(areas[i] + PAGE_SIZE * (i + 1), false));
        EXPECT(access_faults(areas[i] + PAGE_SIZE * (i + 1) + MMU_PAGE_SIZE - 1, true));
        EXPECT(access_faults(areas[i] - 1, false));
    }
    for (unsigned i = 0; i < array_count(areas); i++)
        vfree(areas[i]);
}

// After vfree and a flush every single granule of the area faults, to its last one: the translations are gone, and so
// are the TLB's copies, of which every granule had one.
KTEST(vmalloc, every_granule_faults_after_vfree)
{
    for (uint64_t pages = 1; pages <= 33; pages = pages * 2 + (pages & 1)) {
        uint64_t bytes = pages << PAGE_SHIFT;
        char *area = vmalloc(bytes);
        REQUIRE(area);
        mark(area, bytes, 1);
        EXPECT_EQ(faulting_granules(area, bytes, false), 0);
        vfree(area);
        vmalloc_flush();
        EXPECT_EQ(faulting_granules(area, bytes, false), bytes / MMU_PAGE_SIZE);
        EXPECT_EQ(faulting_granules(area, bytes, true), bytes / MMU_PAGE_SIZE);
    }
}

// An address that was freed and is used again shows the new area's pages, although faults at it have been
// seen meanwhile.
KTEST(vmalloc, reused_addresses_show_the_new_pages)
{
    struct page_chain chain = { 0 };
    const uint64_t bytes = PAGE_SIZE * 3;
    unsigned reused = 0;
    char *earlier = NULL;

    for (unsigned round = 0; round < 8; round++) {
        char *area = vmalloc(bytes);
        if (!EXPECT(area))
            break;
        reused += area == earlier;
        mark(area, bytes, round);
        for (uint64_t offset = 0; offset < bytes; offset += PAGE_SIZE) {
            const uint64_t *memory = kmap_local_page(vmalloc_to_page(area + offset));
            uint64_t found = *memory;
            kunmap_local(memory);
            EXPECT_EQ(found, round ^ offset);
        }
        vfree(area);
        vmalloc_flush();
        EXPECT_EQ(faulting_granules(area, bytes, false), bytes / MMU_PAGE_SIZE);
        // So that the next area gets other pages.
        chain_fill(&chain, GFP_HIGHUSER, 0, 5);
        earlier = area;
    }
    EXPECT_GE(reused, 1);
    chain_free(&chain);
}

// vzalloc's memory is zero to the end of the last page, though the pages were dirty before; up to 512 KB.
KTEST(vmalloc, vzalloc_is_zero)
{
    for (uint64_t bytes = 1; bytes <= KB(512); bytes = bytes * 4 + 1) {
        uint64_t rounded = align_up(bytes, PAGE_SIZE), nonzero = 0;
        void *dirty = vmalloc(rounded);
        REQUIRE(dirty);
        memset(dirty, 0xee, rounded);
        vfree(dirty);
        uint64_t *area = vzalloc(bytes);
        REQUIRE(area);
        for (uint64_t i = 0; i < rounded / sizeof(*area); i++)
            nonzero += area[i] != 0;
        EXPECT_EQ(nonzero, 0);
        vfree(area);
    }
}

// Sizes that are 0, wrap, or exceed memory or the space; NULL; a second free, a middle, an end, a stranger,
// another kind of area: each is reported once and changes nothing.
KTEST(vmalloc, bad_calls_are_reported)
{
    static const size_t sizes[] = { 0, SIZE_MAX, 1UL << 63, ARCH_VMALLOC_END - ARCH_VMALLOC_BASE + 1,
                                    1UL << 36 };
    char on_stack[16], *area = vmalloc(PAGE_SIZE * 3), *object = kmalloc(64, GFP_KERNEL);
    struct page *page = alloc_page(GFP_KERNEL);
    REQUIRE(area && object && page);
    char *mapped = vmap(&page, 1, PROT_KERNEL_RW);
    volatile char *device = ioremap(page_to_phys(page), 100);
    REQUIRE(mapped && device);

    for (unsigned i = 0; i < array_count(sizes); i++) {
        EXPECT_MISUSE(1, EXPECT_NULL(vmalloc(sizes[i])));
        EXPECT_MISUSE(1, EXPECT_NULL(vzalloc(sizes[i])));
    }
    EXPECT_MISUSE(1, EXPECT_NULL(vmalloc((zones_managed_pages() << PAGE_SHIFT) + 1)));
    EXPECT_MISUSE(0, (vfree(NULL), vunmap(NULL), iounmap(NULL)));
    mark(area, PAGE_SIZE * 3, 5);
    char *const strangers[] = { area + PAGE_SIZE,
                                area + MMU_PAGE_SIZE,
                                area + 8,
                                area - MMU_PAGE_SIZE,
                                area + PAGE_SIZE * 3,
                                object,
                                on_stack,
                                (char *)8,
                                (char *)-8UL,
                                mapped,
                                (char *)(uintptr_t)device,
                                (char *)(ARCH_VMALLOC_END - MMU_PAGE_SIZE),
                                (char *)ARCH_VMALLOC_END };
    for (unsigned i = 0; i < array_count(strangers); i++)
        EXPECT_MISUSE(1, vfree(strangers[i]));
    EXPECT_MISUSE(3, (vunmap(area), vunmap(mapped + 8), vunmap((void *)(uintptr_t)device)));
    EXPECT_MISUSE(3, (iounmap(area), iounmap(mapped), iounmap(device + MMU_PAGE_SIZE)));
    EXPECT(is_marked(area, PAGE_SIZE * 3, 5));
    EXPECT_EQ(check_vmalloc(), 0);

    vfree(area);
    EXPECT_MISUSE(2, (vfree(area), vfree(area)));
    vunmap(mapped);
    EXPECT_MISUSE(1, vunmap(mapped));
    iounmap(device);
    EXPECT_MISUSE(1, iounmap(device));
    kfree(object);
    __free_page(page);
}

// vmap shows the caller's pages side by side, in any order; one page at two addresses is one memory; nothing
// is freed.
KTEST(vmalloc, vmap_shows_the_callers_pages)
{
    struct page *pages[6];

    for (unsigned i = 0; i < 5; i++)
        REQUIRE(pages[i] = alloc_page(GFP_KERNEL));
    pages[5] = pages[1];
    char *area = vmap(pages, 6, PROT_KERNEL_RW), *crossed = vmap(&pages[3], 2, PROT_KERNEL_RW);
    REQUIRE(area && crossed);
    for (unsigned i = 0; i < 6; i++) {
        EXPECT_EQ(vmalloc_to_page(area + PAGE_SIZE * i), pages[i]);
        mark(area + PAGE_SIZE * i, PAGE_SIZE, i);
    }
    EXPECT(is_marked(area + PAGE_SIZE, PAGE_SIZE, 5));
    for (unsigned i = 0; i < 2; i++) {
        EXPECT(is_marked(crossed + PAGE_SIZE * i, PAGE_SIZE, 3 + i));
        EXPECT(is_marked(page_to_virt(pages[3 + i]), PAGE_SIZE, 3 + i));
        mark(crossed + PAGE_SIZE * i, PAGE_SIZE, 100 + i);
        EXPECT(is_marked(area + PAGE_SIZE * (3 + i), PAGE_SIZE, 100 + i));
    }
    EXPECT_EQ(check_vmalloc(), 0);
    vunmap(area);
    EXPECT_EQ(faulting_granules(area, PAGE_SIZE * 6, false), GRANULES_PER_PAGE * 6);
    EXPECT_EQ(faulting_granules(crossed, PAGE_SIZE * 2, true), 0);
    vunmap(crossed);
    for (unsigned i = 0; i < 5; i++) {
        EXPECT_EQ(pages[i]->type, PAGE_RAW);
        __free_page(pages[i]);
    }
}

// Rights are those asked for; rights that no mapping may have, no pages and a NULL page are refused.
KTEST(vmalloc, vmap_keeps_its_rights)
{
    struct page *pages[2] = { alloc_page(GFP_KERNEL), NULL };
    REQUIRE(pages[0]);

    char *area = vmap(pages, 1, PROT_KERNEL_RO);
    REQUIRE(area);
    EXPECT_EQ(faulting_granules(area, PAGE_SIZE, false), 0);
    EXPECT_EQ(faulting_granules(area, PAGE_SIZE, true), GRANULES_PER_PAGE);
    vunmap(area);
    EXPECT_MISUSE(1, EXPECT_NULL(vmap(pages, 1, PROT_KERNEL_RW | PROT_EXEC)));
    EXPECT_MISUSE(1, EXPECT_NULL(vmap(pages, 1, PROT_WRITE)));
    EXPECT_MISUSE(1, EXPECT_NULL(vmap(pages, 1, 0)));
    EXPECT_MISUSE(1, EXPECT_NULL(vmap(pages, 0, PROT_KERNEL_RW)));
    EXPECT_MISUSE(1, EXPECT_NULL(vmap(pages, 2, PROT_KERNEL_RW)));
    EXPECT_MISUSE(1, EXPECT_NULL(vmap(NULL, 1, PROT_KERNEL_RW)));
    __free_page(pages[0]);
}

// ioremap's result points at that very byte, whatever its alignment, also across granules; nonsense is
// refused.
KTEST(vmalloc, ioremap_points_at_the_byte)
{
    static const struct { uint64_t offset, size; } parts[] = {
        { 0, 1 },      { 0, MMU_PAGE_SIZE }, { 4, 4 }, { MMU_PAGE_SIZE - 1, 2 }, { 0x123, MMU_PAGE_SIZE * 2 },
        { 8, 0x1ff8 },
    };
    struct page *block = alloc_pages(GFP_KERNEL, 2);
    REQUIRE(block);
    uint8_t *memory = page_to_virt(block);

    for (unsigned i = 0; i < array_count(parts); i++) {
        uint64_t first = parts[i].offset, last = first + parts[i].size - 1;
        memory[first] = (uint8_t)(i + 1);
        memory[last] = (uint8_t)(i + 50);
        volatile uint8_t *device = ioremap(paddr_add(page_to_phys(block), first), parts[i].size);
        REQUIRE(device);
        EXPECT_EQ((uintptr_t)device % MMU_PAGE_SIZE, first % MMU_PAGE_SIZE);
        EXPECT_EQ(device[last - first], i + 50);
        device[0] = (uint8_t)(i + 100);
        EXPECT_EQ(memory[first], i + 100);
        EXPECT_EQ(check_vmalloc(), 0);
        EXPECT_NULL(vmalloc_to_page((const void *)(uintptr_t)device));
        uintptr_t past = align_up((uintptr_t)device + parts[i].size, MMU_PAGE_SIZE);
        EXPECT(access_faults((const volatile char *)past, false));
        iounmap(device);
        EXPECT(access_faults(device, false));
        EXPECT(access_faults(device + (last - first), false));
    }
    __free_pages(block, 2);
    EXPECT_MISUSE(1, EXPECT_NULL(ioremap(paddr(0x10000000), 0)));
    EXPECT_MISUSE(1, EXPECT_NULL(ioremap(paddr(-8UL), 9)));
    EXPECT_MISUSE(1, EXPECT_NULL(ioremap(paddr(0x10000000), 1UL << 63)));
}

// Only addresses of vmalloc and vmap areas have a page.
KTEST(vmalloc, to_page_refuses_others)
{
    char *area = vmalloc(PAGE_SIZE), on_stack[8], *object = kmalloc(8, GFP_KERNEL);
    REQUIRE(area && object);

    EXPECT_NOT_NULL(vmalloc_to_page(area + PAGE_SIZE - 1));
    EXPECT_NULL(vmalloc_to_page(area + PAGE_SIZE));
    EXPECT_NULL(vmalloc_to_page(object));
    EXPECT_NULL(vmalloc_to_page(on_stack));
    EXPECT_NULL(vmalloc_to_page(NULL));
    EXPECT(!is_vmalloc_addr(object));
    EXPECT(!is_vmalloc_addr((char *)ARCH_VMALLOC_BASE - 1));
    EXPECT(is_vmalloc_addr((char *)ARCH_VMALLOC_BASE));
    EXPECT(!is_vmalloc_addr((char *)ARCH_VMALLOC_END));
    vfree(area);
    EXPECT_NULL(vmalloc_to_page(area));
    vmalloc_flush();
    EXPECT_NULL(vmalloc_to_page(area));
    kfree(object);
}

// Whatever allocation fails, the whole call fails, and leaves not a page, an address or a mapping behind.
KTEST(vmalloc, fails_cleanly_at_every_step)
{
    struct page *pages[3];
    struct vmalloc_stats before = vmalloc_stats();
    bool has_failed[3] = { true, true, true };

    for (unsigned i = 0; i < 3; i++)
        REQUIRE(pages[i] = alloc_page(GFP_KERNEL));
    for (uint64_t step = 0; has_failed[0] || has_failed[1] || has_failed[2]; step++)
        for (unsigned kind = 0; kind < 3; kind++) {
            fault_plan_start(FAULT_ALL, step, UINT64_MAX);
            void *area = kind == 0 ? vzalloc(PAGE_SIZE * 5) : kind == 1 ? vmap(pages, 3, PROT_KERNEL_RW) :
                         (void *)(uintptr_t)ioremap(page_to_phys(pages[0]), PAGE_SIZE * 2);
            has_failed[kind] = fault_plan_stop();
            EXPECT_EQ(area == NULL, has_failed[kind]);
            if (kind == 0)
                vfree(area);
            else if (kind == 1)
                vunmap(area);
            else
                iounmap(area);
            EXPECT_EQ(vmalloc_stats().area_count, before.area_count);
            EXPECT_EQ(vmalloc_stats().pages, before.pages);
            EXPECT_EQ(check_vmalloc(), 0);
            EXPECT_EQ(vmalloc_stats().waiting_pages, 0);
        }
    for (unsigned i = 0; i < 3; i++)
        __free_page(pages[i]);
}

// Takes all addresses there are, in ranges as large as can be had; returns how many ranges.
static unsigned take_all_addresses(uint64_t *taken, unsigned limit)
{
    unsigned count = 0;

    for (uint64_t bytes = 1UL << 40; bytes >= MMU_PAGE_SIZE; bytes /= 2)
        while (count < limit && vmem_alloc(&vmalloc_arena, bytes, 1, 0, GFP_KERNEL, &taken[count]) == 0)
            count++;
    EXPECT_EQ(vmalloc_arena.free_bytes, 0);
    return count;
}

static void give_addresses_back(const uint64_t *taken, unsigned count)
{
    while (count > 0)
        EXPECT_NE(vmem_free(&vmalloc_arena, taken[--count]), 0);
}

static uint64_t taken_addresses[256];

// With no address left vmalloc fails cleanly though there is memory; with the ranges given back it works.
KTEST(vmalloc, out_of_addresses)
{
    unsigned count = take_all_addresses(taken_addresses, array_count(taken_addresses));

    // Free areas keep some.
    void *kept[512];
    unsigned kept_count = 0;
    while (kept_count < array_count(kept) && (kept[kept_count] = vmalloc(1)) != NULL)
        kept_count++;
    EXPECT_LT(kept_count, array_count(kept));
    EXPECT_NULL(vmalloc(1));
    EXPECT_NULL((void *)(uintptr_t)ioremap(paddr(0x10000000), 4));
    // What was freed is had again at once, without being asked to be flushed.
    if (kept_count > 0) {
        vfree(kept[--kept_count]);
        EXPECT_NOT_NULL(kept[kept_count] = vmalloc(1));
        kept_count++;
    }
    while (kept_count > 0)
        vfree(kept[--kept_count]);
    give_addresses_back(taken_addresses, count);
    void *area = vmalloc(1);
    EXPECT_NOT_NULL(area);
    vfree(area);
}

#define FAR_BYTES MB(8)        // of addresses where no table was ever made
#define FAR_AREA_BYTES MB(6)

static void count_leaf(vaddr_t va unused_arg, pte_t leaf unused_arg, unsigned level unused_arg, void *count)
{
    ++*(uint64_t *)count;
}

static uint64_t mapped_leaves(void)
{
    uint64_t count = 0;

    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_VMALLOC_BASE), ARCH_VMALLOC_END - ARCH_VMALLOC_BASE,
                          count_leaf, &count);
    return count;
}

// An area of scattered pages reaches over several tables. With one table more at each second try, until there are
// enough, what was mapped on the way is unmapped again.
KTEST(vmalloc, fails_cleanly_half_mapped)
{
    static struct page *pages[FAR_AREA_BYTES >> PAGE_SHIFT];
    struct page_chain held = { 0 }, scattered = { 0 };
    uint64_t far, leaves = mapped_leaves();
    bool has_failed = true;

    for (unsigned i = 0; i < 100; i++)
        chain_fill(i % 2 == 0 ? &held : &scattered, GFP_KERNEL, 0, 1);
    REQUIRE(held.first);
    for (unsigned i = 0; i < array_count(pages); i++)
        pages[i] = held.first;
    chain_free(&scattered);
    unsigned count = take_all_addresses(taken_addresses, array_count(taken_addresses));
    // Of the largest range all but its last part is taken again.
    uint64_t largest = vmem_free(&vmalloc_arena, taken_addresses[0]);
    EXPECT_EQ(vmem_alloc(&vmalloc_arena, largest - FAR_BYTES, 1, 0, GFP_KERNEL, &far), 0);

    for (unsigned round = 0; has_failed; round++) {
        fault_plan_start(FAULT_BIT(FAULT_TABLE), round / 2, UINT64_MAX);
        void *area = round % 2 == 0 ? vmalloc(FAR_AREA_BYTES) :
                                      vmap(pages, array_count(pages), PROT_KERNEL_RW);
        has_failed = fault_plan_stop();
        EXPECT_EQ(area == NULL, has_failed);
        if (round % 2 == 0)
            vfree(area);
        else
            vunmap(area);
        vmalloc_flush();
        EXPECT_EQ(mapped_leaves(), leaves);
    }
    EXPECT_NE(vmem_free(&vmalloc_arena, far), 0);
    give_addresses_back(taken_addresses + 1, count - 1);
    chain_free(&held);
}

// As much as there is memory cannot be had, since some of it is taken; trying loses nothing, and less can be
// had then.
KTEST(vmalloc, out_of_pages)
{
    struct page_chain chain = { 0 };
    uint64_t kept = kept_from_highmem_pages(), left = leave_memory(&chain, MB(32) + (kept << PAGE_SHIFT));

    for (unsigned round = 0; round < 2; round++)
        EXPECT_NULL(vmalloc(zones_managed_pages() << PAGE_SHIFT));
    EXPECT_LE(left, free_pages_now() + 64);
    char *area = vmalloc(((free_pages_now() - reserved_pages() - kept) << PAGE_SHIFT) / 2);
    EXPECT_NOT_NULL(area);
    if (area != NULL)
        mark(area, KB(64), 3);
    vfree(area);
    chain_free(&chain);
}

struct live_area {
    char *start;
    uint64_t bytes;
};

// Areas of 1 to 100 pages come and go at random, with holes between them; each keeps its contents.
KTEST(vmalloc, random_areas_keep_their_contents)
{
    static struct live_area live[24];
    bool intact = true;

    memset(live, 0, sizeof(live));
    for (unsigned step = 0; step < ktest_rounds(400, 150) + array_count(live); step++) {
        bool is_over = step >= ktest_rounds(400, 150);
        struct live_area *area =
            &live[is_over ? step % array_count(live) : ktest_random_below(array_count(live))];
        if (area->start != NULL) {
            intact &= is_marked(area->start, area->bytes, (uintptr_t)area->start);
            vfree(area->start);
            area->start = NULL;
        } else if (!is_over) {
            area->bytes = (1 + ktest_random_below(min_of(100UL, MB(1) / PAGE_SIZE))) << PAGE_SHIFT;
            area->start = vmalloc(area->bytes);
            if (EXPECT(area->start))
                mark(area->start, area->bytes, (uintptr_t)area->start);
        }
    }
    EXPECT(intact);
    for (unsigned i = 0; i < array_count(live); i++)
        vfree(live[i].start);
}

// Pages that may wait on one hart, and as many that are forgotten: at most 1/64 of RAM together on all.
static uint64_t waiting_most(void) { return min_of(zones_managed_pages() / 128 / arch_hart_count(), 512UL); }

// A flush serves all that was freed before it, on whichever hart; until then the pages are the areas' and the addresses
// nobody's, and both count as waiting.
KTEST(vmalloc, freed_areas_wait_for_one_flush)
{
    char *areas[8], *again[8];

    if (waiting_most() <= 2 * array_count(areas))
        ktest_skip("too little memory for that much to wait");
    vmalloc_flush();
    struct vmalloc_stats before = vmalloc_stats();
    EXPECT_EQ(before.waiting_pages, 0);
    for (unsigned i = 0; i < array_count(areas); i++)
        REQUIRE(areas[i] = vmalloc(PAGE_SIZE * 2));
    for (unsigned i = 0; i < array_count(areas); i++)
        vfree(areas[i]);
    struct vmalloc_stats waiting = vmalloc_stats();
    EXPECT_EQ(waiting.waiting_pages, 2 * array_count(areas));
    EXPECT_EQ(waiting.area_count, before.area_count);
    EXPECT_EQ(waiting.pages, before.pages);
    EXPECT_EQ(waiting.flush_count, before.flush_count);
    for (unsigned i = 0; i < array_count(again); i++) {
        REQUIRE(again[i] = vmalloc(PAGE_SIZE * 2));
        for (unsigned k = 0; k < array_count(areas); k++)
            EXPECT_NE(again[i], areas[k]);
    }
    vmalloc_flush();
    EXPECT_EQ(vmalloc_stats().waiting_pages, 0);
    EXPECT_EQ(vmalloc_stats().flush_count, before.flush_count + 1);
    vmalloc_flush();
    EXPECT_EQ(vmalloc_stats().flush_count, before.flush_count + 1);
    for (unsigned i = 0; i < array_count(again); i++)
        vfree(again[i]);
}

// What waits is never more than 1/64 of memory, and where memory is not small one flush serves at least 20 areas of 16
// pages.
KTEST(vmalloc, what_waits_is_bounded)
{
    const unsigned rounds = ktest_rounds(2000, 400);
    uint64_t most = zones_managed_pages() / 64;
    struct vmalloc_stats before = vmalloc_stats();

    for (unsigned i = 0; i < rounds; i++) {
        void *area = vmalloc(PAGE_SIZE * 16);
        REQUIRE(area);
        vfree(area);
        EXPECT_LE(vmalloc_stats().waiting_pages, max_of(most, 16UL));
    }
    uint64_t flushes = vmalloc_stats().flush_count - before.flush_count;
    EXPECT_GE(flushes, rounds * 16 / max_of(most, 16UL) / 2);
    if (waiting_most() >= 20 * 16)
        EXPECT_LE(flushes * 20, rounds);
    ktest_note("%lu flushes for %u areas of 16 pages", flushes, rounds);
}

// Short of memory, the pages of what was freed come back without being asked for.
KTEST(vmalloc, pressure_brings_the_flush)
{
    if (waiting_most() <= 4)
        ktest_skip("too little memory for that much to wait");
    vmalloc_flush();
    for (unsigned i = 0; i < 4; i++) {
        void *area = vmalloc(PAGE_SIZE);
        REQUIRE(area);
        vfree(area);
    }
    EXPECT_EQ(vmalloc_stats().waiting_pages, 4);
    EXPECT_GE(shrinkers_run(0), 4);
    EXPECT_EQ(vmalloc_stats().waiting_pages, 0);
}

// Products that do not fit are refused; what fits is an area, and zero where that is asked for.
KTEST(vmalloc, arrays)
{
    EXPECT_NULL(vmalloc_array(SIZE_MAX / 2, 3));
    EXPECT_NULL(vcalloc(1UL << 33, 1UL << 33));
    EXPECT_MISUSE(1, EXPECT_NULL(vmalloc_array(0, 8)));
    char *array = vmalloc_array(3, PAGE_SIZE), *zeros;
    REQUIRE(array);
    memset(array, 0xee, PAGE_SIZE * 3);
    vfree(array);
    vmalloc_flush();
    zeros = vcalloc(PAGE_SIZE, 3);
    REQUIRE(zeros);
    uint64_t nonzero = 0;
    for (uint64_t i = 0; i < PAGE_SIZE * 3; i++)
        nonzero += zeros[i] != 0;
    EXPECT_EQ(nonzero, 0);
    vfree(zeros);
}

// A large area takes large blocks where there are any, is shown by leaves as large, and page by page is still its own.
KTEST(vmalloc, large_areas_take_large_blocks)
{
    uint64_t bytes = MB(4) + KB(64) + PAGE_SIZE;
    char *area = vmalloc(bytes);
    REQUIRE(area);

    EXPECT_EQ((uintptr_t)area % pt_level_size(1), 0);
    unsigned level = pgtable_walk(&kernel_pgtable, vaddr_of(area)).level;
    ktest_note("the first leaf has level %u", level);
    mark(area, bytes, 9);
    EXPECT(is_marked(area, bytes, 9));
    for (uint64_t offset = 0; offset < bytes; offset += PAGE_SIZE * 37) {
        struct page *page = vmalloc_to_page(area + offset);
        REQUIRE(page);
        EXPECT_EQ(page_to_phys(page).value, align_down(pgtable_walk(&kernel_pgtable, vaddr_of(area + offset)).pa.value,
                                                       PAGE_SIZE));
    }
    EXPECT_EQ(check_vmalloc(), 0);
    vfree(area);
    vmalloc_flush();
    EXPECT_EQ(faulting_granules(area, bytes, false), bytes / MMU_PAGE_SIZE);
}

// A table that went is not looked into again, although another one is now where it was: the second area's note lies in
// the first one's last table.
KTEST(vmalloc, looks_into_no_table_that_went)
{
    const uint64_t bytes = 2 * pt_level_size(1) + KB(64);
    void *granules[16], *first = vmalloc(bytes), *second = vmalloc(bytes), *third;

    REQUIRE(first && second);
    vfree(first);
    vfree(second);
    vmalloc_flush();
    for (unsigned i = 0; i < array_count(granules); i++)
        REQUIRE(granules[i] = granule_alloc(&granule_tables, GFP_KERNEL));
    REQUIRE(first = vmalloc(bytes));
    REQUIRE(third = vmalloc(bytes));
    if (third != second)
        ktest_note("the second area is now at another address");
    EXPECT_MISUSE(0, vfree(third));
    vfree(first);
    for (unsigned i = 0; i < array_count(granules); i++)
        granule_free(&granule_tables, granules[i]);
}

// With many areas alive, one of a page and one of a hundred can still be had, and the ranges do not overlap.
KTEST(vmalloc, many_areas_alive)
{
    uint64_t count = min_of((uint64_t)ktest_rounds(15000, 2000), free_pages_now() / 3), made = 0;
    uint64_t before = vmalloc_stats().area_count;
    char **areas = vmalloc(count * sizeof(*areas));
    REQUIRE(areas);

    while (made < count && (areas[made] = vmalloc(PAGE_SIZE)) != NULL)
        made++;
    EXPECT_EQ(made, count);
    for (unsigned round = 0; round < 20; round++) {
        char *small = vmalloc(1), *large = vmalloc(MB(1));
        EXPECT(small && large);
        EXPECT(access_faults(small - 1, false));
        vfree(small);
        vfree(large);
    }
    EXPECT_EQ(vmalloc_stats().area_count, before + made + 1);
    // Every other one first, so that the space is full of holes.
    for (uint64_t i = 0; i < made; i += 2)
        vfree(areas[i]);
    char *in_a_hole = vmalloc(PAGE_SIZE);
    EXPECT_NOT_NULL(in_a_hole);
    EXPECT_EQ(check_vmalloc(), 0);
    vfree(in_a_hole);
    for (uint64_t i = 1; i < made; i += 2)
        vfree(areas[i]);
    vfree(areas);
}

struct vmalloc_churn {
    uint64_t seed;
    unsigned defects;                  // (A)
};

// Of each hart: four make 10,000 together, and a million where rounds=all asks the kernel for it.
static unsigned churn_steps(void)
{
#ifdef QUIRE_HOST
    return 2500;
#else
    return ktest_wants_all_rounds() ? 250000 : 2500;
#endif
}

static void churn_on_hart(unsigned index, void *argument)
{
    struct vmalloc_churn *churn = argument;
    struct random random = random_seeded(churn->seed + index);
    struct live_area live[6] = { 0 };
    unsigned wrong = 0;

    for (unsigned step = 0; step < churn_steps() + array_count(live); step++) {
        bool is_over = step >= churn_steps();
        struct live_area *area =
            &live[is_over ? step % array_count(live) : random_below(&random, array_count(live))];
        if (area->start != NULL) {
            wrong += !is_marked(area->start, area->bytes, index);
            vfree(area->start);
            area->start = NULL;
        } else if (!is_over) {
            area->bytes = (1 + random_below(&random, 10)) << PAGE_SHIFT;
            area->start = vmalloc(area->bytes);
            wrong += area->start == NULL;
            if (area->start != NULL)
                mark(area->start, area->bytes, index);
        }
    }
    for (unsigned i = 0; i < array_count(live); i++)
        vfree(live[i].start);
    if (wrong != 0)
        __atomic_fetch_add(&churn->defects, wrong, __ATOMIC_RELAXED);
}

// Harts that make and free areas at once never see each other's contents.
KTEST(vmalloc, harts_churn)
{
    struct vmalloc_churn churn = { .seed = ktest_random() };

    ktest_run_on_harts(churn_on_hart, &churn);
    EXPECT_EQ(churn.defects, 0);
}

// The validator sees a hole in an area, a mapped guard, a page of another owner and a mapping of nobody's.
KTEST(vmalloc, validator_sees_planted_defects)
{
    char *area = vmalloc(PAGE_SIZE * 2);
    struct page *page = alloc_page(GFP_KERNEL);
    REQUIRE(area && page);
    vaddr_t last = vaddr_of(area + PAGE_SIZE * 2 - MMU_PAGE_SIZE), guard = vaddr_of(area + PAGE_SIZE * 2);
    paddr_t behind = pgtable_walk(&kernel_pgtable, last).pa;

    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, last, MMU_PAGE_SIZE), MMU_PAGE_SIZE);
    EXPECT_NE(check_vmalloc(), 0);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, last, page_to_phys(page), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
    EXPECT_NE(check_vmalloc(), 0);
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, last, MMU_PAGE_SIZE), MMU_PAGE_SIZE);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, last, behind, MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
    EXPECT_EQ(check_vmalloc(), 0);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, guard, page_to_phys(page), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
    EXPECT_NE(check_vmalloc(), 0);
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, guard, MMU_PAGE_SIZE), MMU_PAGE_SIZE);
    vaddr_t nobodys = vaddr(ARCH_VMALLOC_END - MMU_PAGE_SIZE);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, nobodys, page_to_phys(page), MMU_PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
    EXPECT_NE(check_vmalloc(), 0);
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, nobodys, MMU_PAGE_SIZE), MMU_PAGE_SIZE);
    struct page *owned = vmalloc_to_page(area);
    void *owner = owned->owner;
    owned->owner = NULL;
    EXPECT_NE(check_vmalloc(), 0);
    owned->owner = owner;
    EXPECT_EQ(check_vmalloc(), 0);
    tlb_flush_kernel(last, MMU_PAGE_SIZE, TLB_UNMAP);
    tlb_flush_kernel(guard, MMU_PAGE_SIZE, TLB_UNMAP);
    tlb_flush_kernel(nobodys, MMU_PAGE_SIZE, TLB_UNMAP);
    vfree(area);
    __free_page(page);
}
