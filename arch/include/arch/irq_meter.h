// Where interrupts become masked and enabled again, told to the meter of masked sections (<debug/irq_meter.h>).
// SPDX-License-Identifier: BSD-2-Clause
//
// Included by <arch/irq.h> alone. In the checked kernel the functions of that contract are these, around the port's
// own; in other builds this header is empty, and the port's calls to the meter are nothing.
#pragma once

#if CONFIG_CHECKED && !defined(QUIRE_HOST)
#define IRQ_METER 1

// On this hart interrupts have just become masked: by the caller's function, or where `from` says.
// (lib/debug/irq_meter.c)
void irq_meter_begin(void);
void irq_meter_begin_at(uintptr_t from);

// They are about to be enabled by the caller's function. Whether a section was open; with interrupts enabled, there is
// none.
bool irq_meter_end(void);

static always_inline irqflags_t irq_meter_save(void)
{
    irqflags_t flags = arch_irq_save();

    if (arch_irq_was_enabled(flags))
        irq_meter_begin();
    return flags;
}

static always_inline void irq_meter_restore(irqflags_t flags)
{
    if (arch_irq_was_enabled(flags))
        irq_meter_end();
    arch_irq_restore(flags);
}

static always_inline void irq_meter_enable(void)
{
    irq_meter_end();
    arch_irq_enable();
}

static always_inline void irq_meter_disable(void)
{
    bool were_enabled = arch_irqs_enabled();

    arch_irq_disable();
    if (were_enabled)
        irq_meter_begin();
}

// Whoever waits for an interrupt keeps none waiting: the section is over, and a new one begins with the interrupt.
static always_inline void irq_meter_wait(void)
{
    bool was_open = irq_meter_end();

    arch_wait_for_interrupt();
    if (was_open)
        irq_meter_begin();
}

#define arch_irq_save() irq_meter_save()
#define arch_irq_restore(flags) irq_meter_restore(flags)
#define arch_irq_enable() irq_meter_enable()
#define arch_irq_disable() irq_meter_disable()
#define arch_wait_for_interrupt() irq_meter_wait()

#else
#define IRQ_METER 0

static always_inline void irq_meter_begin_at(uintptr_t from unused_arg) { }
static always_inline bool irq_meter_end(void) { return false; }

#endif
