// Cases that go wrong on purpose, one way each: provoked_test.py expects the framework to say so.
// SPDX-License-Identifier: BSD-2-Clause
#include <arch/smp.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

// Nothing is wrong.
KTEST(provoked, passes)
{
    void *page = __get_free_page(GFP_KERNEL);

    EXPECT_NOT_NULL(page);
    free_page(page);
}

// Both values are shown.
KTEST(provoked, fails_an_expectation)
{
    EXPECT_EQ(1 + 1, 3);
}

// What comes after REQUIRE is not reached.
KTEST(provoked, leaves_at_require)
{
    REQUIRE(1 > 2);
    panic("went on behind REQUIRE");
}

// A skipped case is neither passed nor failed.
KTEST(provoked, is_skipped)
{
    ktest_skip("for the sake of it");
}

// Of many failures, the first ones are shown and all count.
KTEST(provoked, fails_often)
{
    for (unsigned i = 0; i < 100; i++)
        EXPECT_LT(i, 0);
}

static void expect_hart_0(unsigned index, void *unused unused_arg)
{
    EXPECT_EQ(index, 0);
}

// A failure on another hart is the case's failure.
KTEST(provoked, fails_on_another_hart)
{
    ktest_run_on_harts(expect_hart_0, NULL);
}

// A page that is not given back.
KTEST(provoked, leaks_a_page)
{
    EXPECT_NOT_NULL(alloc_page(GFP_KERNEL));
}

// An object that is not given back, and takes no page of its own, since its cache has others.
KTEST(provoked, leaks_an_object)
{
    EXPECT_NOT_NULL(kmalloc(24, GFP_KERNEL));
}

// An area that is not given back.
KTEST(provoked, leaks_an_area)
{
    EXPECT_NOT_NULL(vmalloc(PAGE_SIZE));
}

// A misuse that the allocator survived, but that nobody announced.
KTEST(provoked, misuses_in_secret)
{
    struct page *page = alloc_page(GFP_KERNEL);

    __free_page(page);
    __free_page(page);
}

// A misuse that was announced and did not happen.
KTEST(provoked, expects_misuse_in_vain)
{
    EXPECT_MISUSE(1, (void)0);
}

// A counter that is wrong from now on.
KTEST(provoked, leaves_damage)
{
    zones[ZONE_DMA32].free_pages++;
}

// A broken invariant ends the program.
KTEST(provoked, panics)
{
    BUG_ON(arch_hart_count() > 0);
}

// So does an access to nothing.
KTEST(provoked, faults)
{
    *(volatile char *)ARCH_VMALLOC_BASE = 1;
}
