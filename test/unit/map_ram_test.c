// mm/vmap/map_ram: pages shown for a short time, round after round.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/vmalloc.h>

#include "area_marks.h"
#include "memory_left.h"

#include <arch/smp.h>
#include <base/string.h>
#include <check/check.h>
#include <mm/pgtable.h>

// More than a hart empties between two flushes, at any page size.
#define MANY 80

// vm_map_ram shows the caller's pages, at as many addresses as it is asked; after vm_unmap_ram and a flush nobody
// reaches them. A wrong count, a second call and a stranger are reported and change nothing.
KTEST(map_ram, shows_the_callers_pages)
{
    enum { COUNT = 24 };
    struct page *pages[COUNT];
    char on_stack[8];

    for (unsigned i = 0; i < COUNT; i++)
        REQUIRE(pages[i] = alloc_page(GFP_KERNEL));
    for (unsigned count = 1; count <= COUNT; count += count / 3 + 1) {
        char *area = vm_map_ram(pages, count), *other = vm_map_ram(pages, count);
        REQUIRE(area && other && area != other);
        for (unsigned i = 0; i < count; i++) {
            mark(area + PAGE_SIZE * i, PAGE_SIZE, i);
            EXPECT(is_marked(other + PAGE_SIZE * i, PAGE_SIZE, i));
            EXPECT(is_marked(page_to_virt(pages[i]), PAGE_SIZE, i));
            EXPECT_EQ(vmalloc_to_page(area + PAGE_SIZE * i + 1), pages[i]);
        }
        EXPECT(access_faults(area - 1, false) && access_faults(area + PAGE_SIZE * count, false));
        EXPECT_EQ(check_vmalloc(), 0);
        EXPECT_MISUSE(5, (vm_unmap_ram(area, count + 1), vm_unmap_ram(area, 0), vm_unmap_ram(area + PAGE_SIZE, count),
                          vm_unmap_ram(on_stack, count), vfree(area)));
        vm_unmap_ram(area, count);
        EXPECT_MISUSE(1, vm_unmap_ram(area, count));
        vmalloc_flush();
        EXPECT_EQ(faulting_granules(area, PAGE_SIZE * count, false), GRANULES_PER_PAGE * count);
        EXPECT_EQ(faulting_granules(other, PAGE_SIZE * count, true), 0);
        vm_unmap_ram(other, count);
    }
    struct page *last = pages[COUNT - 1];
    pages[COUNT - 1] = NULL;
    EXPECT_MISUSE(1, EXPECT_NULL(vm_map_ram(pages, COUNT)));
    EXPECT_MISUSE(2, (EXPECT_NULL(vm_map_ram(pages, 0)), EXPECT_NULL(vm_map_ram(NULL, 1))));
    EXPECT_MISUSE(0, vm_unmap_ram(NULL, 1));
    pages[COUNT - 1] = last;
    for (unsigned i = 0; i < COUNT; i++)
        __free_page(pages[i]);
}

// A page that is missing is found at the first call and at later ones, whose areas were used before; nothing stays
// mapped, and the next call is served.
KTEST(map_ram, a_missing_page_is_refused_whenever_it_comes)
{
    struct page *pages[3] = { alloc_page(GFP_KERNEL), NULL, alloc_page(GFP_KERNEL) };
    struct page *good[3] = { pages[0], pages[2], pages[0] };

    REQUIRE(pages[0] && pages[2]);
    for (unsigned i = 0; i < 2 * MANY; i++) {
        if (i % MANY < 2) {
            EXPECT_MISUSE(1, EXPECT_NULL(vm_map_ram(pages, 3)));
            EXPECT_EQ(check_vmalloc(), 0);
        }
        char *area = vm_map_ram(good, 3);
        REQUIRE(area);
        mark(area, PAGE_SIZE * 3, i);
        EXPECT(is_marked(page_to_virt(pages[0]), MMU_PAGE_SIZE, i ^ 2 * PAGE_SIZE));
        vm_unmap_ram(area, 3);
    }
    __free_page(pages[0]);
    __free_page(pages[2]);
}

struct rounds {
    struct page *pages[MAX_HARTS][MANY];
    unsigned defects;              // (A)
};

// Shows one page after the other and writes to it by the area: at an address that a hart remembers from the round
// before, that would be another page.
static void go_round(unsigned index, void *argument)
{
    struct rounds *rounds = argument;
    unsigned wrong = 0;

    for (unsigned step = 0; step < 4 * MANY; step++) {
        struct page **page = &rounds->pages[index][step % MANY];
        uint64_t *word = vm_map_ram(page, 1);
        if (word == NULL) {
            wrong++;
            continue;
        }
        *word = step;
        wrong += *(uint64_t *)page_to_virt(*page) != step;
        vm_unmap_ram(word, 1);
    }
    if (wrong != 0)
        __atomic_fetch_add(&rounds->defects, wrong, __ATOMIC_RELAXED);
}

// Addresses come round again, on all harts at once, and always show the page that they were given last.
KTEST(map_ram, addresses_come_round)
{
    struct rounds *rounds = vzalloc(sizeof(*rounds));
    unsigned harts = arch_hart_count();

    REQUIRE(rounds);
    for (unsigned hart = 0; hart < harts; hart++)
        for (unsigned i = 0; i < MANY; i++)
            REQUIRE(rounds->pages[hart][i] = alloc_page(GFP_KERNEL & ~__GFP_HIGHMEM));
    ktest_run_on_harts(go_round, rounds);
    EXPECT_EQ(rounds->defects, 0);
    EXPECT_EQ(check_vmalloc(), 0);
    for (unsigned hart = 0; hart < harts; hart++)
        for (unsigned i = 0; i < MANY; i++)
            __free_page(rounds->pages[hart][i]);
    vfree(rounds);
}

struct handing_on {
    struct page *page;
    void *areas[2 * MANY];
    unsigned to;
};

static void map_on_one(unsigned index, void *argument)
{
    struct handing_on *handing = argument;

    for (unsigned i = 0; i < array_count(handing->areas) && index == 0; i++)
        handing->areas[i] = vm_map_ram(&handing->page, 1);
}

static void unmap_on_another(unsigned index, void *argument)
{
    struct handing_on *handing = argument;

    for (unsigned i = 0; i < array_count(handing->areas) && index == handing->to; i++)
        vm_unmap_ram(handing->areas[i], 1);
}

// Where one hart only maps and another only unmaps, addresses go back to the first: no more are held however long it
// goes on. After a flush nobody reaches any of them.
KTEST(map_ram, one_hart_maps_and_another_unmaps)
{
    struct handing_on handing = { .page = alloc_page(GFP_KERNEL), .to = arch_hart_count() - 1 };
    uint64_t held = 0;

    REQUIRE(handing.page);
    vmalloc_flush();
    for (unsigned round = 0; round < 12; round++) {
        ktest_run_on_harts(map_on_one, &handing);
        for (unsigned i = 0; i < array_count(handing.areas); i++)
            REQUIRE(handing.areas[i]);
        ktest_run_on_harts(unmap_on_another, &handing);
        if (round == 3)
            held = vmalloc_kept_bytes();
    }
    EXPECT_LE(vmalloc_kept_bytes(), held + held / 2);
    vmalloc_flush();
    for (unsigned i = 0; i < array_count(handing.areas); i++)
        EXPECT(access_faults(handing.areas[i], false));
    __free_page(handing.page);
}
