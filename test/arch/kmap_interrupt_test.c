// Local mappings of HIGHMEM in interrupts, nested in those of the thread that was interrupted, on every hart.
// SPDX-License-Identifier: BSD-2-Clause

#include "../unit/highmem_support.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <task/hart_call.h>
#include <task/timer.h>

#define PAGES 4                    // of each hart; the first two are the thread's, the others the interrupt's

static struct hart_case {
    struct timer timer;
    struct page *page[PAGES];
    uint64_t interrupts, nested, wrong;
    bool is_over;
} cases[MAX_HARTS];

static uint64_t tag_of(unsigned hart, unsigned page)
{
    return (uint64_t)hart << 32 | page;
}

static char *show(struct hart_case *own, unsigned page)
{
    char *address = kmap_local_page(own->page[page]);

    own->wrong += address == NULL || !granules_are_marked(address, tag_of(arch_hart_index(), page));
    return address;
}

// What an interrupt does: two mappings, one inside the other.
static void map_in_interrupt(struct hart_case *own)
{
    char *outer = show(own, 2), *inner = show(own, 3);

    own->interrupts++;
    own->nested += kmap_to_page(outer) == own->page[2] && outer != inner;
    own->wrong += !in_irq();
    kunmap_local(inner);
    kunmap_local(outer);
}

static void called(void *argument)
{
    map_in_interrupt(argument);
}

static void fired(struct timer *timer)
{
    struct hart_case *own = container_of(timer, struct hart_case, timer);

    map_in_interrupt(own);
    if (!own->is_over)
        timer_arm(timer, timer_after_us(7));
}

static bool open_cases(void)
{
    unsigned taken = 0;

    memset(cases, 0, sizeof cases);
    while (taken < arch_hart_count() && take_high_pages(cases[taken].page, PAGES))
        taken++;
    for (unsigned hart = 0; hart < taken; hart++)
        for (unsigned i = 0; i < PAGES; i++) {
            char *memory = kmap_local_page(cases[hart].page[i]);
            mark_granules(memory, tag_of(hart, i));
            kunmap_local(memory);
        }
    return taken == arch_hart_count();
}

static void close_cases(void)
{
    for (unsigned hart = 0; hart < arch_hart_count(); hart++)
        give_pages(cases[hart].page, PAGES);
}

static void interrupt_oneself(unsigned hart, void *unused unused_arg)
{
    struct hart_case *own = &cases[hart];
    char *outer = show(own, 0), *inner = show(own, 1);
    struct hart_call call = HART_CALL_INIT(called, own);

    for (unsigned i = 0; i < 10; i++) {
        EXPECT(hart_call_post(hart, &call));
        hart_call_wait(&call);
        own->wrong += !granules_are_marked(outer, tag_of(hart, 0)) || !granules_are_marked(inner, tag_of(hart, 1));
    }
    kunmap_local(inner);
    kunmap_local(outer);
}

// A call that comes in while the thread holds two mappings makes two of its own, and the thread's are what
// they were.
KTEST(kmap, local_mappings_nest_in_calls)
{
    SKIP_WITHOUT_HIGHMEM();
    REQUIRE(open_cases());
    ktest_run_on_harts(interrupt_oneself, NULL);
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        EXPECT_EQ(cases[hart].interrupts, 10);
        EXPECT_EQ(cases[hart].nested, 10);
        EXPECT_EQ(cases[hart].wrong, 0);
    }
    close_cases();
}

static void map_under_a_timer(unsigned hart, void *rounds)
{
    struct hart_case *own = &cases[hart];
    uint64_t until = timer_after_us(200000);

    own->timer = (struct timer)TIMER_INIT(fired);
    timer_arm(&own->timer, timer_after_us(7));
    for (uint64_t i = 0; i < (uintptr_t)rounds || (*(volatile uint64_t *)&own->interrupts < 20 && arch_time() < until);
         i++) {
        char *outer = show(own, i % 2), *inner = show(own, 1 - i % 2);
        own->wrong += !granules_are_marked(outer, tag_of(hart, i % 2));
        kunmap_local(inner);
        kunmap_local(outer);
    }
    own->is_over = true;
    timer_cancel(&own->timer);
}

// Wherever a timer's interrupt falls, between mapping and unmapping and inside both, nobody sees another's
// page.
KTEST(kmap, local_mappings_nest_in_timers)
{
    SKIP_WITHOUT_HIGHMEM();
    REQUIRE(open_cases());
    ktest_run_on_harts(map_under_a_timer, (void *)(uintptr_t)ktest_rounds(5000UL, 1500UL));
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        EXPECT_GE(cases[hart].interrupts, 10);
        EXPECT_EQ(cases[hart].nested, cases[hart].interrupts);
        EXPECT_EQ(cases[hart].wrong, 0);
    }
    close_cases();
}
