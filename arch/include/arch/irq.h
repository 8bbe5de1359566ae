// Contract: interrupt masking on this hart, and waiting.
// SPDX-License-Identifier: BSD-2-Clause
//
// The port defines, all inline:
//   irqflags_t                      the earlier state, as returned by arch_irq_save
//   irqflags_t arch_irq_save(void)  masks interrupts on this hart and returns the earlier state
//   void arch_irq_restore(irqflags_t)
//   bool arch_irq_was_enabled(irqflags_t)   whether interrupts were enabled before arch_irq_save
//   void arch_irq_enable(void), arch_irq_disable(void)
//   bool arch_irqs_enabled(void)
//   void arch_wait_for_interrupt(void)  stops the hart until an interrupt is pending, masked or not
//   void arch_relax(unsigned round)     the body of every spin loop, `round` counting from 0: lets another hart make
//                                       progress, also on a simulator that runs the harts in turn. Loses no interrupt.
// They are compiler barriers too. None orders memory between harts. In the checked kernel they also tell the meter of
// masked sections; and so does the port, of traps (<arch/irq_meter.h>).
#pragma once

#include <port/irq.h>

#include <arch/irq_meter.h>
