// Copies that may fault, in every context that there is.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/nofault.h>

#include "contexts.h"

#include <arch/irq.h>
#include <base/errno.h>
#include <ktest/ktest.h>
#include <mm/vmalloc.h>

// Unaligned, over the end of an area and before it.
static void copy_at_the_end(void *area)
{
    const char *end = (const char *)area + PAGE_SIZE;
    bool were_enabled = arch_irqs_enabled();
    char target[24];

    EXPECT_EQ(copy_from_kernel_nofault(target, end - 21, 21), 0);
    EXPECT_EQ(target[20], 'z');
    EXPECT_EQ((uint64_t)copy_from_kernel_nofault(target, end - 20, 21), (uint64_t)-EFAULT);
    EXPECT_EQ(arch_irqs_enabled(), were_enabled);
}

// In interrupts, bottom halves and under locks a copy gives what is there and refuses what is not, as in a thread.
KTEST(nofault, copies_in_every_context)
{
    char *area = vzalloc(PAGE_SIZE);
    REQUIRE(area != NULL);

    area[PAGE_SIZE - 1] = 'z';
    run_wherever(WHERE_BIT(WHERE_COUNT) - 1, copy_at_the_end, area);
    vfree(area);
}
