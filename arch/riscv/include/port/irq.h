// Interrupt masking by sstatus.SIE. The contract is <arch/irq.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <port/csr.h>

typedef uint64_t irqflags_t;

static always_inline irqflags_t arch_irq_save(void) { return csr_read_clear(sstatus, SSTATUS_SIE); }

// The flags are all of sstatus as it was, and setting all of it again saves picking out the one bit. Of the others, SPP
// and SPIE mean nothing outside of a trap's return, which writes the whole register first (trap/entry.S). UXL is
// constant, FS and VS are on or off for good, and nobody uses what they guard. SUM and MXR are never set; once SUM is,
// nobody may clear it between a save and its restore, which would set it again.
// A thread that goes on on another hart brings nothing there but what holds on every hart.
static always_inline void arch_irq_restore(irqflags_t flags) { csr_set(sstatus, flags); }

static always_inline bool arch_irq_was_enabled(irqflags_t flags) { return (flags & SSTATUS_SIE) != 0; }

static always_inline void arch_irq_enable(void) { csr_set(sstatus, SSTATUS_SIE); }
static always_inline void arch_irq_disable(void) { csr_clear(sstatus, SSTATUS_SIE); }
static always_inline bool arch_irqs_enabled(void) { return (csr_read(sstatus) & SSTATUS_SIE) != 0; }
static always_inline void arch_wait_for_interrupt(void) { __asm__ volatile("wfi" : : : "memory"); }

// Spins that go on for this many rounds give the simulator a chance to run another hart.
#define RELAX_ROUNDS_PER_YIELD 8

void riscv_yield_hart(unsigned round);

static always_inline void arch_relax(unsigned round)
{
    if (round % RELAX_ROUNDS_PER_YIELD == RELAX_ROUNDS_PER_YIELD - 1)
        riscv_yield_hart(round);
    else
        // The pause hint of Zihintpause: a fence with no effect where the hart does not know it.
        __asm__ volatile(".insn i 0x0f, 0, x0, x0, 0x010" : : : "memory");
}
