// The meter of masked sections: each hart's open one, and the longest that it has seen.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/irq_meter.h>

#if IRQ_METER

#include <arch/smp.h>
#include <arch/time.h>
#include <base/assert.h>
#include <base/format.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <debug/symbols.h>

#define SECTIONS_KEPT 8

// Of one hart, and touched with its interrupts masked. Others read what is kept, perhaps half of a change: good enough
// for people.
struct irq_meter {
    bool is_open;
    uint64_t since;                // instructions; moved forward by what is left out
    uintptr_t from;
    unsigned pause_depth;
    uint64_t paused_at;
    const char *why_paused;
    struct irq_section longest;                  // since the mark
    struct irq_section kept[SECTIONS_KEPT];      // the longest since start-up, one for each pair of places, in order
    uint64_t longest_pause;
    const char *why_longest_pause;
};

static PER_HART struct irq_meter meter = { .is_open = false };

// Interrupts are masked, and that is as far as lockdep may look: it masks them itself.
#define own_meter() (&arch_this_hart(meter))

void irq_meter_begin_at(uintptr_t from)
{
    struct irq_meter *own = own_meter();

    own->is_open = true;
    own->from = from;
    own->since = arch_instructions();
}

void irq_meter_begin(void)
{
    irq_meter_begin_at((uintptr_t)__builtin_return_address(0));
}

static void keep(struct irq_section kept[], struct irq_section section)
{
    unsigned place = 0;

    // The place of an earlier one between the same places, or the last one.
    while (place < SECTIONS_KEPT - 1 && (kept[place].from != section.from || kept[place].to != section.to))
        place++;
    if (kept[place].instructions >= section.instructions)
        return;
    for (; place > 0 && kept[place - 1].instructions < section.instructions; place--)
        kept[place] = kept[place - 1];
    kept[place] = section;
}

static void end_pause(struct irq_meter *own)
{
    uint64_t length = arch_instructions() - own->paused_at;

    own->pause_depth = 0;
    own->since += length;
    if (length > own->longest_pause) {
        own->longest_pause = length;
        own->why_longest_pause = own->why_paused;
    }
}

bool irq_meter_end(void)
{
    struct irq_meter *own = own_meter();

    if (arch_irqs_enabled() || !own->is_open)
        return false;
    if (own->pause_depth > 0)
        end_pause(own);
    own->is_open = false;
    struct irq_section section = {
        .instructions = arch_instructions() - own->since,
        .from = own->from, .to = (uintptr_t)__builtin_return_address(0),
    };
    if (section.instructions > own->longest.instructions)
        own->longest = section;
    if (section.instructions > own->kept[SECTIONS_KEPT - 1].instructions)
        keep(own->kept, section);
    return true;
}

void irq_meter_pause(const char *why)
{
    struct irq_meter *own = own_meter();

    ASSERT(!arch_irqs_enabled());
    if (!own->is_open || own->pause_depth++ > 0)
        return;
    own->why_paused = why;
    own->paused_at = arch_instructions();
}

void irq_meter_resume(void)
{
    struct irq_meter *own = own_meter();

    if (own->pause_depth > 1)
        own->pause_depth--;
    else if (own->pause_depth == 1)
        end_pause(own);
}

void irq_meter_mark(void)
{
    irqflags_t flags = arch_irq_save();
    struct irq_meter *own = own_meter();

    own->longest = (struct irq_section){ 0 };
    own->since = arch_instructions();
    arch_irq_restore(flags);
}

struct irq_section irq_meter_longest(void)
{
    irqflags_t flags = arch_irq_save();
    struct irq_section longest = own_meter()->longest;

    arch_irq_restore(flags);
    return longest;
}

static noinline uint64_t count_some_work(void)
{
    uint64_t before = arch_instructions();

    for (unsigned i = 0; i < 1000; i++)
        __asm__ volatile("");
    return arch_instructions() - before;
}

// A clock never reads the same eight times over so long a stretch, nor as little as the instructions that it takes.
bool irq_meter_is_exact(void)
{
    if (arch_hart_count() != 1)
        return false;
    irqflags_t flags = arch_irq_save();
    irq_meter_pause("the meter looks whether its counter is true");
    uint64_t first = count_some_work();
    bool is_exact = first >= 1000 && first < 10000;

    for (unsigned i = 0; i < 8; i++)
        is_exact &= count_some_work() == first;
    irq_meter_resume();
    arch_irq_restore(flags);
    return is_exact;
}

static void format_place(char text[SYMBOL_NAME_BYTES + 16], uintptr_t address)
{
    struct symbol symbol;

    if (symbol_lookup(address, &symbol))
        format_text(text, SYMBOL_NAME_BYTES + 16, "%s+%#zx", symbol.name, symbol.offset_bytes);
    else
        format_text(text, SYMBOL_NAME_BYTES + 16, "%#lx", address);
}

void irq_section_print(const struct irq_section *section, void (*print)(const char *format, ...))
{
    char from[SYMBOL_NAME_BYTES + 16], to[SYMBOL_NAME_BYTES + 16];

    format_place(from, section->from);
    format_place(to, section->to);
    print("%8lu instructions from %s to %s", section->instructions, from, to);
}

static int command_irqlong(int argc unused_arg, char **argv unused_arg)
{
    if (!irq_meter_is_exact())
        console_print("Lengths are true only of one hart under -icount; here they are some count or other.\n");
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        const struct irq_meter *of_hart = per_hart_of(meter, hart);

        console_print("hart %u: the longest sections with interrupts masked (at most %u are allowed)\n", hart,
                      IRQ_METER_LIMIT);
        for (unsigned i = 0; i < SECTIONS_KEPT && of_hart->kept[i].instructions > 0; i++) {
            irq_section_print(&of_hart->kept[i], console_print);
            console_print("\n");
        }
        if (of_hart->why_longest_pause)
            console_print("  not counted: at most %lu at once, %s\n", of_hart->longest_pause,
                          of_hart->why_longest_pause);
    }
    return 0;
}

SHELL_COMMAND(irqlong, "", "the longest sections with interrupts masked (checked kernel)", command_irqlong);

#endif
