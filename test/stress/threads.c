// The threads that stay: some bound to a hart each, the others wherever they please; and the hog.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <arch/time.h>
#include <base/bits.h>
#include <base/format.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/zone.h>
#include <task/thread.h>
#include <task/timer.h>

#define HOG_NUMBER 0xffff
#define HOG_PAUSE_US 1500000
#define HOG_HOLD_US 60000

struct stayer {
    struct actor actor;
    struct thread *thread;
    bool is_bound;                 // (C)
    unsigned hart;                 // (C) if it is
};

static struct stayer *stayers;
static unsigned stayer_count;
static struct actor hog;
static struct thread *hog_thread;

// Locks under which atomic sections stand: with interrupts enabled, and masked.
static struct spinlock plain_lock = SPINLOCK_INIT(TEST_OUTER);
static struct spinlock masking_lock = SPINLOCK_INIT(TEST_IRQ_OUTER);

static void operate_atomically(struct actor *actor)
{
    for (uint64_t left = 1 + draw(actor, 3); left > 0; left--)
        stress_operate(actor, STRESS_ATOMIC);
}

static void atomic_section(struct actor *actor)
{
    irqflags_t flags;

    switch (draw(actor, 5)) {
    case 0:
        preempt_disable();
        operate_atomically(actor);
        preempt_enable();
        break;
    case 1:
        local_bh_disable();
        operate_atomically(actor);
        local_bh_enable();
        break;
    case 2:
        flags = arch_irq_save();
        operate_atomically(actor);
        arch_irq_restore(flags);
        break;
    case 3:
        spin_lock(&plain_lock);
        operate_atomically(actor);
        spin_unlock(&plain_lock);
        break;
    case 4:
        flags = spin_lock_irqsave(&masking_lock);
        operate_atomically(actor);
        spin_unlock_irqrestore(&masking_lock, flags);
        break;
    }
}

static void move_elsewhere(struct actor *actor)
{
    unsigned harts = arch_hart_count();
    hart_mask_t mask = random_next(&actor->random) & low_bits(harts);

    if (!mask)
        mask = draw(actor, 2) ? HART_MASK_ALL : hart_mask_of((unsigned)draw(actor, harts));
    thread_set_affinity(thread_current(), mask);
    preempt_disable();
    if (!(mask & hart_mask_of(arch_hart_index())))
        stress_fail("a thread runs on hart %u, and may run on %#lx only", arch_hart_index(), mask);
    preempt_enable();
}

static void sleep_some(struct actor *actor)
{
    uint64_t deadline = timer_after_us(draw(actor, 1500));

    if (thread_sleep_until(deadline) && arch_time() < deadline)
        stress_fail("a sleep ended before its time");
}

static void act(struct stayer *stayer)
{
    struct actor *actor = &stayer->actor;
    uint64_t lot = draw(actor, 1000);

    if (lot < 620)
        stress_operate(actor, STRESS_THREAD);
    else if (lot < 720)
        atomic_section(actor);
    else if (lot < 790)
        sleep_some(actor);
    else if (lot < 820)
        thread_yield();
    else if (lot < 900)
        wait_for_something(actor);
    else if (lot < 940)
        rain_more(actor);
    else if (lot < 970)
        child_make(actor);
    else if (lot < 985)
        objects_of_passing_cache(actor);
    else if (!stayer->is_bound)
        move_elsewhere(actor);
    if (stayer->is_bound && arch_hart_index() != stayer->hart)
        stress_fail("a thread of hart %u runs on hart %u", stayer->hart, arch_hart_index());
}

static void run_stayer(void *argument)
{
    struct stayer *stayer = argument;

    while (!stress_is_stopping())
        act(stayer);
    actor_retire(&stayer->actor);
}

// What the hog holds: blocks linked by their first words.
struct hogged {
    struct hogged *next;
    unsigned order;
};

static void give_back(struct hogged *first)
{
    for (struct hogged *next; first; first = next) {
        next = first->next;
        free_pages(first, first->order);
    }
}

// Takes all that there is, the largest blocks first, now and then down into the emergency pool.
static struct hogged *take_all(void)
{
    gfp_t gfp = draw(&hog, 3) ? GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN : GFP_ATOMIC | __GFP_NOWARN;
    struct hogged *first = NULL, *block;

    for (unsigned order = (unsigned)draw(&hog, MAX_ORDER + 1) + 1; order-- > 0 && !stress_is_stopping();)
        while ((block = __get_free_pages(gfp, order)) != NULL) {
            *block = (struct hogged){ first, order };
            first = block;
        }
    STRESS_COUNT(failed_pages);
    return first;
}

static void run_hog(void *unused unused_arg)
{
    while (thread_sleep_us(HOG_PAUSE_US / 2 + draw(&hog, HOG_PAUSE_US)) && !stress_is_stopping()) {
        struct hogged *first = take_all();
        thread_sleep_us(draw(&hog, HOG_HOLD_US));
        give_back(first);
        hog.operations++;
    }
    actor_retire(&hog);
}

static void start_stayer(unsigned index)
{
    struct stayer *stayer = &stayers[index];
    char name[THREAD_NAME_BYTES];

    actor_init(&stayer->actor, index);
    stayer->hart = index % arch_hart_count();
    // Every hart has some of both.
    stayer->is_bound = index / arch_hart_count() % 2 == 0;
    format_text(name, sizeof name, "stress/%u", index);
    stayer->thread = stayer->is_bound ? thread_create_on(stayer->hart, name, run_stayer, stayer)
                                      : thread_create(name, run_stayer, stayer);
}

bool threads_start(unsigned per_hart)
{
    bool is_complete = true;

    stayer_count = per_hart * arch_hart_count();
    stayers = kcalloc(stayer_count, sizeof *stayers, GFP_KERNEL);
    if (!stayers)
        return false;
    for (unsigned i = 0; i < stayer_count && is_complete; i++) {
        start_stayer(i);
        is_complete = stayers[i].thread != NULL;
    }
    actor_init(&hog, HOG_NUMBER);
    hog_thread = thread_create("stress/hog", run_hog, NULL);
    return is_complete && hog_thread;
}

void threads_stop(void)
{
    if (hog_thread) {
        thread_kill(hog_thread);
        thread_join(hog_thread);
    }
    for (unsigned i = 0; stayers && i < stayer_count; i++)
        if (stayers[i].thread)
            thread_join(stayers[i].thread);
    kfree(stayers);
    while (children_alone() > 0)
        thread_sleep_us(1000);
}
