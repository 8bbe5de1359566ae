// The kernel's log and the console's text.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/cpu.h>
#include <arch/irq.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/irq_meter.h>
#include <debug/klog.h>
#include <debug/panic.h>
#include <sync/spinlock.h>

#define LINE_BYTES 512

static struct spinlock console_lock = SPINLOCK_INIT(CONSOLE);
static console_writer_t console;                           // (A)
static enum klog_level level_shown = CONFIG_LOG_LEVEL;     // (A)
static const char *line_prefix = "";                       // (A)

static void early_write(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        arch_early_putchar(text[i]);
}

static irqflags_t console_enter(void)
{
    irqflags_t flags = arch_irq_save();
    irq_meter_pause("the console is written character by character");
    // The hart that panics may have been stopped, or may have stopped another, inside this lock.
    if (!panic_is_under_way()) {
        lockdep_acquire_spinlock(&console_lock);
        spin_acquire(&console_lock);
    }
    return flags;
}

static void console_leave(irqflags_t flags)
{
    if (!panic_is_under_way()) {
        lockdep_release_spinlock(&console_lock);
        spin_release(&console_lock);
    }
    irq_meter_resume();
    arch_irq_restore(flags);
}

static void write_locked(const char *text, size_t size)
{
    void (*write)(const char *, size_t) = console;
    (write ? write : early_write)(text, size);
}

void console_write(const char *text, size_t size)
{
    irqflags_t flags = console_enter();
    write_locked(text, size);
    console_leave(flags);
}

// A longer text is cut, and says so.
static size_t format_line(char *line, const char *format, va_list args)
{
    static const char cut_mark[] = "...\n";
    int length = format_text_va(line, LINE_BYTES, format, args);

    if (length < LINE_BYTES)
        return (size_t)length;
    memcpy(line + LINE_BYTES - sizeof cut_mark, cut_mark, sizeof cut_mark);
    return LINE_BYTES - 1;
}

void console_print(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;

    va_start(args, format);
    size_t size = format_line(line, format, args);
    va_end(args);
    console_write(line, size);
}

void klog_va(enum klog_level level, const char *format, va_list args)
{
    static const char *const marks[] = { "error: ", "warning: ", "", "debug: " };
    char line[LINE_BYTES];

    if (level > level_shown)
        return;
    size_t size = format_line(line, format, args);
    irqflags_t flags = console_enter();
    for (size_t start = 0; start < size;) {
        const char *newline = strchr(line + start, '\n');
        size_t end = newline ? (size_t)(newline - line) + 1 : size;
        write_locked(line_prefix, strlen(line_prefix));
        if (start == 0)
            write_locked(marks[level], strlen(marks[level]));
        write_locked(line + start, end - start);
        start = end;
    }
    console_leave(flags);
}

void klog(enum klog_level level, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    klog_va(level, format, args);
    va_end(args);
}

void klog_print_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    klog_va(KLOG_ERROR, format, args);
    va_end(args);
}

void klog_set_level(enum klog_level level)
{
    level_shown = level;
}

void klog_set_prefix(const char *prefix)
{
    line_prefix = prefix;
}

console_writer_t console_register(console_writer_t write)
{
    console_writer_t earlier = console;

    console = write;
    return earlier;
}
