// The meter of masked sections: for how many instructions each hart has kept interrupts waiting, and where.
// SPDX-License-Identifier: BSD-2-Clause
//
// In the checked kernel every change of the mask is noted (<arch/irq_meter.h>), entry and exit of traps too, but for
// the 80 instructions that save and restore registers. A section is what a hart does between two moments at which it
// takes interrupts, whatever threads it runs meanwhile; waiting for an interrupt is such a moment, too. In other builds
// there is no meter, every call here is nothing, and no section was ever seen.
//
// Lengths mean something where irq_meter_is_exact(): elsewhere the counter runs on for other harts, or by the clock.
#pragma once

#include <arch/irq.h>
#include <base/compiler.h>

// No section may be longer. Held against what each test case does, and against a load of its own
// (test/arch/irq_meter_test.c).
#define IRQ_METER_LIMIT 5000

struct irq_section {
    uint64_t instructions;
    uintptr_t from, to;            // code addresses: where interrupts became masked, and enabled again
};

#if IRQ_METER

// Leaves out of the section's length what is done between the two, or between the first and the section's end: work
// that is long by nature and not worth cutting up, as `why` says. Interrupts are masked; nests.
void irq_meter_pause(const char *why);
void irq_meter_resume(void);

// Forgets this hart's longest section since the last mark; a section that is open counts from here.
void irq_meter_mark(void);

// The longest section of this hart that has ended since the mark; all zeros when there was none.
struct irq_section irq_meter_longest(void);

// The section's length and places by name, without a line's end.
void irq_section_print(const struct irq_section *section, void (*print)(const char *format, ...));

// Whether lengths are true: one hart, and a counter that gives the same work the same count.
bool irq_meter_is_exact(void);

#else

static always_inline void irq_meter_pause(const char *why unused_arg) { }
static always_inline void irq_meter_resume(void) { }
static always_inline void irq_meter_mark(void) { }
static always_inline struct irq_section irq_meter_longest(void) { return (struct irq_section){ 0 }; }
static always_inline bool irq_meter_is_exact(void) { return false; }
static always_inline void irq_section_print(const struct irq_section *section unused_arg,
                                            void (*print)(const char *format, ...) unused_arg)
{
}

#endif
