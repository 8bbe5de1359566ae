// Where execution stands: process context, bottom half or interrupt, and whether the thread may be taken off its hart.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Each hart counts what forbids to leave it, in fields of one word:
//
//      31        20 19      16 15        8 7          0
//     +------------+----------+-----------+------------+
//     |     0      | hard irq |  bottom   | preemption |
//     |            |  depth   |   half    |  disabled  |
//     +------------+----------+-----------+------------+
//
// A bottom half that runs counts 1 in its field, each local_bh_disable 2. Threads are only ever switched with the word
// at 0, so the word belongs to the hart, and is never saved. The word beside it says whether the scheduler is wanted;
// both are read at once, and 0 means: now.
//
// Masked interrupts forbid preemption too, without being counted: nothing can come in between. So the irq-saving forms
// of locks leave the count alone. Whoever makes a thread ready with interrupts masked, and nothing counted, interrupts
// his own hart and is preempted when he unmasks them; with preemption disabled around that, preempt_enable does it, at
// a tenth of the cost.
//
// The order of an access to the count and of what it protects is that of the program: a hart sees its own accesses in
// order, and so do its interrupts (RVWMO, RISC-V unprivileged specification 20191213, section 14.1, memory-model
// primitives: a hart's own loads return its latest store).
#pragma once

#include <arch/irq.h>
#include <arch/per_hart.h>

#define PREEMPT_ONE (1U << 0)
#define PREEMPT_MASK 0xffU
#define BOTTOM_HALF_RUNS (1U << 8)
#define BOTTOM_HALF_OFF (2U << 8)
#define BOTTOM_HALF_MASK 0xff00U
#define HARD_IRQ_ONE (1U << 16)
#define HARD_IRQ_MASK 0xf0000U

static always_inline uint32_t preempt_count(void) { return hart_local_read(preempt.count); }

// In an interrupt handler.
static always_inline bool in_irq(void) { return (preempt_count() & HARD_IRQ_MASK) != 0; }

// In a bottom half (not merely with bottom halves off).
static always_inline bool in_bottom_half(void) { return (preempt_count() & BOTTOM_HALF_RUNS) != 0; }

// In either, or in process context with bottom halves off.
static always_inline bool in_interrupt(void) { return (preempt_count() & (HARD_IRQ_MASK | BOTTOM_HALF_MASK)) != 0; }

// Wherever sleeping is forbidden: in_interrupt, preemption disabled (a spin lock held), interrupts masked.
static always_inline bool in_atomic(void) { return preempt_count() != 0 || !arch_irqs_enabled(); }

// Supplied by the scheduler. Switches to another thread if one is wanted and this may be left; in any context.
void sched_preempt(void);

// The same at the end of an interrupt, with interrupts masked and nothing counted.
void sched_preempt_masked(void);

// Supplied by the scheduler: runs the bottom halves that wait on this hart. Interrupts are enabled or masked, and so
// they are afterwards; the caller cannot be moved to another hart meanwhile.
void sched_run_bottom_halves(void);

static always_inline void preempt_count_add(uint32_t value)
{
    hart_local_write(preempt.count, preempt_count() + value);
}

static always_inline void preempt_count_sub(uint32_t value)
{
    hart_local_write(preempt.count, preempt_count() - value);
}

// Nests. Between the two the thread stays on its hart, and may not sleep.
static always_inline void preempt_disable(void)
{
    preempt_count_add(PREEMPT_ONE);
}

// Whether another thread is to run now; then who called owes sched_preempt.
static always_inline bool preempt_enable_is_due(void)
{
    preempt_count_sub(PREEMPT_ONE);
    // Read anew: an interrupt just before the store has seen a count that was not 0, and left the switch to us.
    return unlikely(hart_local_preempt_word() == 0);
}

static always_inline void preempt_enable(void)
{
    if (preempt_enable_is_due())
        sched_preempt();
}

// Nests. Keeps bottom halves off this hart, from process context or a bottom half; implies preempt_disable. What has
// come up meanwhile runs in local_bh_enable, or with interrupts masked at the end of the next interrupt.
static always_inline void local_bh_disable(void)
{
    preempt_count_add(BOTTOM_HALF_OFF);
}

static always_inline void local_bh_enable(void)
{
    // Still on this hart, whose bottom halves they are. An interrupt behind the look finds them allowed, and runs them.
    preempt_count_sub(BOTTOM_HALF_OFF - PREEMPT_ONE);
    if (unlikely(hart_local_read(bottom_halves) != 0) && !in_interrupt() && arch_irqs_enabled())
        sched_run_bottom_halves();
    preempt_count_sub(PREEMPT_ONE);
    if (unlikely(hart_local_preempt_word() == 0))
        sched_preempt();
}

// Says that the caller may sleep here. In checked builds, once threads run, a place where it may not is reported at
// once, whether this call would have slept or not (lib/sync/lockdep.c); elsewhere it costs nothing.
#if CONFIG_CHECKED
void might_sleep(void);
#else
static always_inline void might_sleep(void)
{
}
#endif

static always_inline void might_sleep_if(bool condition)
{
    if (CONFIG_CHECKED && condition)
        might_sleep();
}
