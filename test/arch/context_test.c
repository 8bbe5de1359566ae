// The contexts: what each knows of itself, and which memory it may ask for.
// SPDX-License-Identifier: BSD-2-Clause

#include "contexts.h"

#include <arch/smp.h>
#include <arch/time.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>
#include <mm/zone.h>
#include <sync/preempt.h>
#include <task/bottom_half.h>
#include <task/hart_call.h>
#include <task/timer.h>
#include <task/workqueue.h>

struct facts {
    bool irq, bottom_half, interrupt, atomic, irqs_enabled;
    uint32_t count;
};

static void note_facts(void *argument)
{
    *(struct facts *)argument = (struct facts){
        .irq = in_irq(), .bottom_half = in_bottom_half(), .interrupt = in_interrupt(), .atomic = in_atomic(),
        .irqs_enabled = arch_irqs_enabled(), .count = preempt_count(),
    };
}

static bool are_same(const struct facts *a, const struct facts *b)
{
    return a->irq == b->irq && a->bottom_half == b->bottom_half && a->interrupt == b->interrupt &&
           a->atomic == b->atomic && a->irqs_enabled == b->irqs_enabled && a->count == b->count;
}

// Every context knows what it is: in_irq, in_bottom_half, in_interrupt, in_atomic and the count itself; and leaves no
// trace of itself behind.
KTEST(context, each_knows_itself)
{
    static const struct facts expected[WHERE_COUNT] = {
        [IN_THREAD] = { .irqs_enabled = true },
        [IN_WORK_ITEM] = { .irqs_enabled = true },
        [IN_PREEMPT_OFF] = { .atomic = true, .irqs_enabled = true, .count = PREEMPT_ONE },
        [IN_SPIN_LOCK] = { .atomic = true, .irqs_enabled = true, .count = PREEMPT_ONE },
        [IN_IRQ_SPIN_LOCK] = { .atomic = true },
        [IN_MASKED] = { .atomic = true },
        [IN_BOTTOM_HALVES_OFF] = { .interrupt = true, .atomic = true, .irqs_enabled = true, .count = BOTTOM_HALF_OFF },
        [IN_TIMER] = { .irq = true, .interrupt = true, .atomic = true, .count = HARD_IRQ_ONE },
        [IN_CALL_HERE] = { .irq = true, .interrupt = true, .atomic = true, .count = HARD_IRQ_ONE },
        [IN_CALL_ELSEWHERE] = { .irq = true, .interrupt = true, .atomic = true, .count = HARD_IRQ_ONE },
        [IN_TASKLET] = { .bottom_half = true, .interrupt = true, .atomic = true, .irqs_enabled = true,
                         .count = BOTTOM_HALF_RUNS },
        [IN_TASKLET_OF_INTERRUPT] = { .bottom_half = true, .interrupt = true, .atomic = true, .irqs_enabled = true,
                                      .count = BOTTOM_HALF_RUNS },
    };

    for (enum where where = 0; where < WHERE_COUNT; where++) {
        struct facts facts;
        run_where(where, note_facts, &facts);
        // The other hart may have been interrupted anywhere.
        if (where == IN_CALL_ELSEWHERE)
            facts.count &= HARD_IRQ_MASK;
        if (!EXPECT(are_same(&facts, &expected[where])))
            ktest_note("in %s: irq %d, bottom half %d, interrupt %d, atomic %d, interrupts %d, count %#x",
                       where_name(where), facts.irq, facts.bottom_half, facts.interrupt, facts.atomic,
                       facts.irqs_enabled, facts.count);
        EXPECT_EQ(preempt_count(), 0);
        EXPECT(arch_irqs_enabled());
    }
}

// An interrupt on top of whatever runs on this hart; the facts inside it.
static uint32_t interrupted_flag;
static struct facts interrupted_facts;

static void note_interrupt(struct timer *timer unused_arg)
{
    note_facts(&interrupted_facts);
    __atomic_store_n(&interrupted_flag, 1, __ATOMIC_RELEASE);
}

static struct timer interrupting_timer = TIMER_INIT(note_interrupt);

static void be_interrupted(void *count_after)
{
    interrupted_flag = 0;
    timer_arm(&interrupting_timer, arch_time());
    for (unsigned round = 0; !__atomic_load_n(&interrupted_flag, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
    *(uint32_t *)count_after = preempt_count();
}

// An interrupt adds its own count to that of what it interrupts, bottom halves among them, and takes it off again.
KTEST(context, interrupts_nest_in_all_that_lets_them_in)
{
    static const struct { enum where where; uint32_t count; } outer[] = {
        { IN_THREAD, 0 }, { IN_WORK_ITEM, 0 }, { IN_PREEMPT_OFF, PREEMPT_ONE }, { IN_SPIN_LOCK, PREEMPT_ONE },
        { IN_BOTTOM_HALVES_OFF, BOTTOM_HALF_OFF }, { IN_TASKLET, BOTTOM_HALF_RUNS },
        { IN_TASKLET_OF_INTERRUPT, BOTTOM_HALF_RUNS },
    };

    for (unsigned i = 0; i < array_count(outer); i++) {
        uint32_t after;
        run_where(outer[i].where, be_interrupted, &after);
        EXPECT(interrupted_facts.irq && interrupted_facts.interrupt && interrupted_facts.atomic);
        EXPECT_EQ(interrupted_facts.bottom_half, (outer[i].count & BOTTOM_HALF_RUNS) != 0);
        EXPECT_EQ(interrupted_facts.count, outer[i].count + HARD_IRQ_ONE);
        EXPECT_EQ(after, outer[i].count);
        EXPECT_EQ(preempt_count(), 0);
    }
    timer_cancel(&interrupting_timer);
}

// What forbids preemption nests, in any mixture, and each end takes off what its beginning has put on.
KTEST(context, counts_nest)
{
    preempt_disable();
    preempt_disable();
    EXPECT_EQ(preempt_count(), 2 * PREEMPT_ONE);
    EXPECT(!in_interrupt() && in_atomic());
    local_bh_disable();
    local_bh_disable();
    EXPECT_EQ(preempt_count(), 2 * PREEMPT_ONE + 2 * BOTTOM_HALF_OFF);
    EXPECT(in_interrupt() && !in_bottom_half() && !in_irq());
    preempt_enable();
    local_bh_enable();
    EXPECT_EQ(preempt_count(), PREEMPT_ONE + BOTTOM_HALF_OFF);
    local_bh_enable();
    EXPECT(!in_interrupt() && in_atomic());
    preempt_enable();
    EXPECT(!in_atomic());
    EXPECT_EQ(preempt_count(), 0);
}

// --- Memory by context

struct request {
    gfp_t gfp;
    struct kmem_cache *cache;
    unsigned done;                 // contexts that have come through here
};

static struct zone *lowest_zone(void)
{
    for (unsigned i = 0; i < ZONE_COUNT; i++)
        if (zones[i].present_pages > 0)
            return &zones[i];
    return NULL;
}

static bool is_good(const struct request *request, void *memory, size_t size)
{
    if (!EXPECT_NOT_NULL(memory))
        return false;
    memset(memory, 0x5a, size);
    return !(request->gfp & __GFP_DMA) || EXPECT_EQ(page_zone(page_head(virt_to_page(memory))), lowest_zone());
}

static void take_pages(void *argument)
{
    struct request *request = argument;
    bool is_right = true;

    for (unsigned order = 0; order < 3; order++) {
        struct page *page = alloc_pages(request->gfp, order);
        is_right &= is_good(request, page ? phys_to_virt(page_to_phys(page)) : NULL, PAGE_SIZE << order);
        __free_pages(page, order);
    }
    if (!is_right)
        ktest_note("... in %s", where_name(where_now));
    request->done++;
}

static void take_kmalloc(void *argument)
{
    static const size_t sizes[] = { 8, 100, 1024, KMALLOC_MAX_CACHE_BYTES, 3 * PAGE_SIZE };
    struct request *request = argument;
    bool is_right = true;

    for (unsigned i = 0; i < array_count(sizes); i++) {
        void *object = kmalloc(sizes[i], request->gfp);
        is_right &= is_good(request, object, sizes[i]);
        kfree(object);
    }
    void *object = kmalloc(100, request->gfp);
    is_right &= is_good(request, object, 100);
    kfree(object);
    if (!is_right)
        ktest_note("... in %s", where_name(where_now));
    request->done++;
}

// More than a slab of them, so that the cache has to grow here.
static void take_objects(void *argument)
{
    enum { OBJECTS = 40 };
    struct request *request = argument;
    void *objects[OBJECTS];
    bool is_right = true;

    for (unsigned i = 0; i < OBJECTS; i++) {
        objects[i] = kmem_cache_alloc(request->cache, request->gfp);
        is_right &= is_good(request, objects[i], 700);
    }
    for (unsigned i = 0; i < OBJECTS; i++)
        kmem_cache_free(request->cache, objects[i]);
    if (!is_right)
        ktest_note("... in %s", where_name(where_now));
    request->done++;
}

static unsigned bits_of(unsigned set)
{
    return (unsigned)__builtin_popcount(set);
}

static void try_everywhere(unsigned set, gfp_t gfp)
{
    struct request request = { .gfp = gfp };

    run_wherever(set, take_pages, &request);
    run_wherever(set, take_kmalloc, &request);
    request.cache = kmem_cache_create("context", 700, 0, gfp & __GFP_DMA ? SLAB_DMA : 0, NULL, NULL);
    REQUIRE(request.cache);
    run_wherever(set, take_objects, &request);
    EXPECT_EQ(kmem_cache_destroy(request.cache), 0);
    EXPECT_EQ(request.done, 3 * bits_of(set));
}

// The literature's table, a row a case.
KTEST(context, process_that_can_sleep_takes_gfp_kernel)
{
    try_everywhere(WHERE_MAY_SLEEP, GFP_KERNEL);
}

KTEST(context, process_that_cannot_sleep_takes_gfp_atomic)
{
    try_everywhere(WHERE_PROCESS_ATOMIC, GFP_ATOMIC);
}

KTEST(context, interrupt_handler_takes_gfp_atomic)
{
    try_everywhere(WHERE_INTERRUPT, GFP_ATOMIC);
}

KTEST(context, bottom_half_takes_gfp_atomic)
{
    try_everywhere(WHERE_BOTTOM_HALF, GFP_ATOMIC);
}

KTEST(context, dma_where_one_can_sleep_takes_gfp_dma_kernel)
{
    try_everywhere(WHERE_MAY_SLEEP, GFP_DMA | GFP_KERNEL);
}

KTEST(context, dma_where_one_cannot_takes_gfp_dma_atomic)
{
    try_everywhere(WHERE_PROCESS_ATOMIC | WHERE_INTERRUPT | WHERE_BOTTOM_HALF, GFP_DMA | GFP_ATOMIC);
}
