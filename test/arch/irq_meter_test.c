// In checked kernels: how long interrupts are masked under a load of everything, and what the meter sees.
// SPDX-License-Identifier: BSD-2-Clause

#include "../unit/page_chain.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <debug/irq_meter.h>
#include <debug/klog.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/kstack.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>
#include <task/thread.h>
#include <task/timer.h>
#include <task/workqueue.h>

#define THINGS 256
#define TIMERS 64

static void spend(uint64_t instructions)
{
    uint64_t end = arch_instructions() + instructions;

    while (arch_instructions() < end) {
    }
}

static void say_longest(const char *of)
{
    struct irq_section longest = irq_meter_longest();

    console_print("# %s: ", of);
    irq_section_print(&longest, console_print);
    console_print("\n");
}

// Blocks of every order, alive together, and freed in an order that merges late.
static void load_pages(void)
{
    struct page_chain chain = { 0 };

    for (unsigned order = 0; order <= MAX_ORDER; order++)
        chain_fill(&chain, GFP_KERNEL | __GFP_ZERO, order, 4);
    chain_free(&chain);
    chain_fill(&chain, GFP_KERNEL, 0, 4UL << MAX_ORDER);
    chain_free(&chain);
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct page *block = alloc_pages(GFP_KERNEL | __GFP_COMP, order);
        if (block)
            __free_pages(block, order);
    }
}

// The last page is taken, in blocks as large as there are, and somebody asks for more, who may wait and who may not.
static void load_exhaustion(void)
{
    struct page_chain chain = { 0 };

    for (unsigned order = MAX_ORDER + 1; order-- > 0;)
        chain_fill(&chain, GFP_ATOMIC | __GFP_MEMALLOC | __GFP_NOWARN, order, UINT64_MAX);
    EXPECT_NULL(alloc_page(GFP_KERNEL));
    EXPECT_NULL(alloc_page(GFP_ATOMIC));
    EXPECT_NULL(alloc_pages(GFP_KERNEL, MAX_ORDER));
    chain_free(&chain);
}

static void load_objects(void)
{
    static void *objects[THINGS];
    static const size_t sizes[] = { 8, 64, 200, 1024, 8192, 65536 };
    struct kmem_cache *cache = kmem_cache_create("metered", 96, 0, SLAB_NO_MAGAZINES, NULL, NULL);

    for (unsigned size = 0; size < array_count(sizes); size++) {
        for (unsigned i = 0; i < THINGS; i++)
            objects[i] = kmalloc(sizes[size], GFP_KERNEL);
        for (unsigned i = 0; i < THINGS; i++)
            kfree(objects[i]);
    }
    REQUIRE(cache);
    for (unsigned round = 0; round < 4; round++) {
        size_t got = kmem_cache_alloc_bulk(cache, GFP_KERNEL, THINGS, objects);
        kmem_cache_free_bulk(cache, got, objects);
    }
    kmem_cache_reap(UINT64_MAX);
    kmem_cache_destroy(cache);
}

static void load_addresses(void)
{
    void *areas[16], *stacks[4];

    for (unsigned i = 0; i < array_count(areas); i++)
        areas[i] = vmalloc((i + 1) * 5 * PAGE_SIZE);
    for (unsigned i = 0; i < array_count(areas); i++)
        vfree(areas[i]);
    for (unsigned i = 0; i < array_count(stacks); i++)
        stacks[i] = kstack_alloc();
    for (unsigned i = 0; i < array_count(stacks); i++)
        if (stacks[i])
            kstack_free(stacks[i]);
}

static uint32_t fired_count;

static void count_firing(struct timer *timer unused_arg)
{
    __atomic_fetch_add(&fired_count, 1, __ATOMIC_RELAXED);
}

// All due at one moment, which is past when the last is armed.
static void load_timers(void)
{
    struct timer *timers = kmalloc(TIMERS * sizeof *timers, GFP_KERNEL);
    uint64_t moment = timer_after_us(100);

    REQUIRE(timers);
    fired_count = 0;
    for (unsigned i = 0; i < TIMERS; i++) {
        timers[i] = (struct timer)TIMER_INIT(count_firing);
        timer_arm(&timers[i], moment);
    }
    for (unsigned round = 0; __atomic_load_n(&fired_count, __ATOMIC_RELAXED) < TIMERS; round++)
        arch_relax(round);
    for (unsigned i = 0; i < TIMERS; i++)
        timer_cancel(&timers[i]);
    kfree(timers);
}

static void yield_often(void *unused unused_arg)
{
    for (unsigned i = 0; i < 50; i++)
        thread_yield();
}

static void load_threads(void)
{
    struct thread *threads[24];

    for (unsigned i = 0; i < array_count(threads); i++)
        threads[i] = thread_create("metered", yield_often, NULL);
    for (unsigned i = 0; i < array_count(threads); i++)
        if (threads[i])
            thread_join(threads[i]);
}

// Whatever the allocators, timers and threads are asked for, no interrupt waits for longer than 5,000 instructions.
KTEST(irq, masked_sections_are_short)
{
    static const struct { const char *name; void (*run)(void); } loads[] = {
        { "pages", load_pages }, { "exhaustion", load_exhaustion }, { "objects", load_objects },
        { "addresses and stacks", load_addresses }, { "timers", load_timers }, { "threads", load_threads },
    };

    if (!irq_meter_is_exact())
        ktest_skip("lengths are true of one hart under -icount only");
    for (unsigned i = 0; i < array_count(loads); i++) {
        irq_meter_mark();
        loads[i].run();
        EXPECT_LE(irq_meter_longest().instructions, IRQ_METER_LIMIT);
        say_longest(loads[i].name);
    }
}

static noinline void mask_for(uint64_t instructions)
{
    irqflags_t flags = arch_irq_save();

    spend(instructions);
    arch_irq_restore(flags);
}

static void mask_in_timer(struct timer *timer unused_arg)
{
    spend(6000);
    __atomic_fetch_add(&fired_count, 1, __ATOMIC_RELAXED);
}

static bool is_within(uintptr_t address, void (*function)(uint64_t))
{
    return address - (uintptr_t)function < 256;
}

// A section of 6,000 instructions is measured and placed: a thread's, and an interrupt's. What is paused does not
// count, and neither does what a thread does with interrupts enabled, nor a wait for one.
KTEST(irq, meter_sees_long_sections)
{
    struct timer timer = TIMER_INIT(mask_in_timer);
    struct irq_section longest;

    if (!irq_meter_is_exact())
        ktest_skip("lengths are true of one hart under -icount only");
    irq_meter_mark();
    mask_for(6000);
    longest = irq_meter_longest();
    EXPECT_GE(longest.instructions, 6000);
    EXPECT_LT(longest.instructions, 6200);
    EXPECT(is_within(longest.from, mask_for) && is_within(longest.to, mask_for));

    irq_meter_mark();
    fired_count = 0;
    timer_arm(&timer, arch_time());
    while (__atomic_load_n(&fired_count, __ATOMIC_RELAXED) == 0) {
    }
    timer_cancel(&timer);
    EXPECT_GE(irq_meter_longest().instructions, 6000);
    EXPECT_LT(irq_meter_longest().instructions, 8000);

    irq_meter_mark();
    irqflags_t flags = arch_irq_save();
    irq_meter_pause("this is a test of it");
    spend(6000);
    irq_meter_pause("and nests");
    irq_meter_resume();
    spend(1000);
    irq_meter_resume();
    spend(1000);
    arch_irq_restore(flags);
    spend(6000);
    EXPECT_GE(irq_meter_longest().instructions, 1000);
    EXPECT_LT(irq_meter_longest().instructions, 2000);

    timer = (struct timer)TIMER_INIT(count_firing);
    timer_arm(&timer, timer_after_us(1000));
    irq_meter_mark();
    flags = arch_irq_save();
    arch_wait_for_interrupt();
    arch_irq_restore(flags);
    timer_cancel(&timer);
    EXPECT_LT(irq_meter_longest().instructions, 2000);
    irq_meter_mark();
}
