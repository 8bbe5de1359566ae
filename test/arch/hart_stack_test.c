// Stacks of a hart: whatever interrupts a push or a pop, and does the same, no pointer is lost and none popped twice.
// SPDX-License-Identifier: BSD-2-Clause
#include <arch/hart_stack.h>

#include <arch/irq.h>
#include <arch/layout.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/uaccess.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <task/timer.h>

#define TOKENS 8

static PER_HART struct hart_stack stack[2];
#define SECOND (hart_stack_offset(stack) + (int64_t)sizeof(*stack))

static struct scene {
    struct timer timer;
    void *slots[1 + TOKENS];
    uint64_t token[TOKENS];        // 1: popped, and not pushed again yet
    uint64_t *stash;               // the interrupt's
    uint64_t interrupts, twice, refused;
    bool is_over;
} scenes[MAX_HARTS];

restartable static noinline uint64_t *pop(struct scene *scene, bool by_name)
{
    uint64_t *token = by_name ? hart_stack_pop_of(stack, 1) : hart_stack_pop(SECOND);

    if (token != NULL)
        scene->twice += (*token)++ != 0;
    return token;
}

restartable static noinline void push(struct scene *scene, uint64_t *token)
{
    --*token;
    scene->refused += !hart_stack_push(SECOND, token);
}

// Holds a token from one interrupt to the next.
static void interrupt(struct timer *timer)
{
    struct scene *scene = container_of(timer, struct scene, timer);

    if (scene->stash != NULL)
        push(scene, scene->stash);
    scene->stash = scene->interrupts++ % 2 == 0 ? pop(scene, true) : NULL;
    if (!scene->is_over)
        timer_arm(timer, arch_time() + 20 + scene->interrupts % 13);
}

static void push_and_pop(unsigned index, void *unused unused_arg)
{
    struct scene *scene = &scenes[index];
    uint64_t wanted = ktest_rounds(20000, 2000);

    irqflags_t flags = arch_irq_save();
    arch_this_hart(stack)[1] = (struct hart_stack){ scene->slots, scene->slots + TOKENS };
    arch_irq_restore(flags);
    for (unsigned i = 0; i < TOKENS; i++) {
        scene->token[i] = 1;
        push(scene, &scene->token[i]);
    }
    timer_arm(&scene->timer, arch_time());
    for (uint64_t i = 0; scene->interrupts < wanted; i++) {
        uint64_t *first = pop(scene, i % 2), *second = i % 3 == 0 ? pop(scene, true) : NULL;
        if (second != NULL)
            push(scene, second);
        if (first != NULL)
            push(scene, first);
        __asm__ volatile("" : : : "memory");
    }
    scene->is_over = true;
    timer_cancel(&scene->timer);
    if (scene->stash != NULL)
        push(scene, scene->stash);
}

// On every hart a thread and its interrupts push and pop on one stack, at every instruction of each other.
KTEST(hart_stack, interrupted_pushes_and_pops_start_again)
{
    for (unsigned i = 0; i < MAX_HARTS; i++)
        scenes[i] = (struct scene){ .timer = TIMER_INIT(interrupt) };
    unsigned harts = ktest_run_on_harts(push_and_pop, NULL);
    for (unsigned i = 0; i < harts; i++) {
        struct hart_stack left = (*per_hart_of(stack, i))[1];
        unsigned missing = 0;
        EXPECT_EQ(scenes[i].twice, 0);
        EXPECT_EQ(scenes[i].refused, 0);
        EXPECT_EQ(left.top - scenes[i].slots, TOKENS);
        for (unsigned k = 0; k < TOKENS; k++) {
            bool is_there = false;
            for (unsigned slot = 1; slot <= TOKENS; slot++)
                is_there |= scenes[i].slots[slot] == &scenes[i].token[k];
            missing += !is_there;
        }
        EXPECT_EQ(missing, 0);
    }
}

// An empty stack gives NULL and a full one refuses, and neither changes.
static void fill_and_empty(unsigned index, void *unused unused_arg)
{
    struct scene *scene = &scenes[index];

    arch_this_hart(stack)[1] = (struct hart_stack){ scene->slots, scene->slots + 1 };
    scene->refused = scene->twice = 0;
    EXPECT_NULL(pop(scene, false));
    EXPECT_NULL(pop(scene, true));
    scene->token[0] = scene->token[1] = 1;
    push(scene, &scene->token[0]);
    EXPECT_EQ(scene->refused, 0);
    push(scene, &scene->token[1]);
    EXPECT_EQ(scene->refused, 1);
    EXPECT(pop(scene, true) == &scene->token[0]);
    EXPECT_NULL(pop(scene, false));
}

KTEST(hart_stack, bounds_are_kept)
{
    memset(scenes, 0, sizeof(scenes));
    ktest_run_on_harts(fill_and_empty, NULL);
}

static noinline bool can_load(uintptr_t address, uint64_t *value)
{
    return arch_try_load((const uint64_t *)address, value);
}

// A load that may fault gives the word where there is one, and says so where there is none.
KTEST(uaccess, try_load_survives_a_fault)
{
    static const uintptr_t nowhere[] = { 0, 8, ARCH_VMALLOC_END, UINTPTR_MAX - 7 };
    uint64_t word = 42, value = 0;

    EXPECT(arch_try_load(&word, &value));
    EXPECT_EQ(value, 42);
    for (unsigned i = 0; i < array_count(nowhere); i++)
        EXPECT(!can_load(nowhere[i], &value));
    irqflags_t flags = arch_irq_save();
    EXPECT(!can_load(8, &value));
    EXPECT(!arch_irqs_enabled());
    arch_irq_restore(flags);
    EXPECT_EQ(value, 42);
}
