// The fake port's interrupts: there are none, but masking is tracked, so that unbalanced code is found.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>
#include <sched.h>

typedef bool irqflags_t;

extern _Thread_local bool fake_irqs_enabled;

static always_inline irqflags_t arch_irq_save(void)
{
    irqflags_t earlier = fake_irqs_enabled;
    fake_irqs_enabled = false;
    return earlier;
}

static always_inline void arch_irq_restore(irqflags_t flags) { fake_irqs_enabled = flags; }
static always_inline bool arch_irq_was_enabled(irqflags_t flags) { return flags; }
static always_inline void arch_irq_enable(void) { fake_irqs_enabled = true; }
static always_inline void arch_irq_disable(void) { fake_irqs_enabled = false; }
static always_inline bool arch_irqs_enabled(void) { return fake_irqs_enabled; }
static always_inline void arch_wait_for_interrupt(void) { sched_yield(); }
static always_inline void arch_relax(unsigned round unused_arg) { sched_yield(); }
