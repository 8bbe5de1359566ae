// The fake port's interrupts: those from other harts, taken when a hart unmasks or spins. Masking is tracked, so that
// unbalanced code is found.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>
#include <sched.h>

typedef bool irqflags_t;

extern _Thread_local bool fake_irqs_enabled;

// This hart's mailbox: reasons of <arch/smp.h> that wait. NULL before the thread is a hart.
extern _Thread_local uint32_t *fake_mailbox;
void fake_take_interrupts(void);

static always_inline void fake_set_irqs(bool enabled)
{
    fake_irqs_enabled = enabled;
    if (enabled && fake_mailbox != NULL && __atomic_load_n(fake_mailbox, __ATOMIC_RELAXED) != 0)
        fake_take_interrupts();
}

static always_inline irqflags_t arch_irq_save(void)
{
    irqflags_t earlier = fake_irqs_enabled;
    fake_irqs_enabled = false;
    return earlier;
}

static always_inline void arch_irq_restore(irqflags_t flags) { fake_set_irqs(flags); }
static always_inline bool arch_irq_was_enabled(irqflags_t flags) { return flags; }
static always_inline void arch_irq_enable(void) { fake_set_irqs(true); }
static always_inline void arch_irq_disable(void) { fake_irqs_enabled = false; }
static always_inline bool arch_irqs_enabled(void) { return fake_irqs_enabled; }
static always_inline void arch_wait_for_interrupt(void) { sched_yield(); }
static always_inline void arch_relax(unsigned round unused_arg)
{
    fake_set_irqs(fake_irqs_enabled);
    sched_yield();
}
