// lib/debug's contract on the host: the log and the console are standard output, a panic ends the program.
// SPDX-License-Identifier: BSD-2-Clause
#include "host_debug.h"

#include <base/assert.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/panic.h>
#include <debug/symbols.h>
#include <ktest/ktest.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_BYTES 1024

static pthread_mutex_t console_lock = PTHREAD_MUTEX_INITIALIZER;
static enum klog_level shown_level = KLOG_INFO;
static const char *line_prefix = "# ";

static void write_to_stdout(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDOUT_FILENO, text, size);
        if (written <= 0)
            break;
        text += written;
        size -= (size_t)written;
    }
}

static console_writer_t console = write_to_stdout;      // what NULL stands for too

void console_write(const char *text, size_t size)
{
    pthread_mutex_lock(&console_lock);
    console(text, size);
    pthread_mutex_unlock(&console_lock);
}

console_writer_t console_register(console_writer_t writer)
{
    console_writer_t earlier;

    pthread_mutex_lock(&console_lock);
    earlier = console;
    console = writer != NULL ? writer : write_to_stdout;
    pthread_mutex_unlock(&console_lock);
    return earlier;
}

// Formats one unit of text behind an opening; what does not fit is cut and still ends its line.
static void write_text(const char *opening, const char *format, va_list args)
{
    char text[LINE_BYTES];
    size_t start = strlen(opening), length;

    memcpy(text, opening, start);
    length = start + (size_t)format_text_va(text + start, sizeof(text) - start, format, args);
    if (length >= sizeof(text)) {
        length = sizeof(text) - 1;
        text[length - 1] = '\n';
    }
    console_write(text, length);
}

void console_print(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_text("", format, args);
    va_end(args);
}

void klog_va(enum klog_level level, const char *format, va_list args)
{
    if (level <= __atomic_load_n(&shown_level, __ATOMIC_RELAXED))
        write_text(line_prefix, format, args);
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
    __atomic_store_n(&shown_level, level, __ATOMIC_RELAXED);
}

void klog_set_prefix(const char *prefix)
{
    line_prefix = prefix;
}

// The test program has no tables of names.
bool symbol_lookup(uintptr_t pc unused_arg, struct symbol *out unused_arg)
{
    return false;
}

int symbol_format(char *text, size_t size, uintptr_t return_address)
{
    return format_text(text, size, "%p", (void *)return_address);
}

unsigned backtrace_capture(uintptr_t caller, uintptr_t *frames, unsigned most unused_arg)
{
    frames[0] = caller;
    return 1;
}

// There are no backtraces either: a debugger does it better.
void backtrace_log(const struct arch_registers *start unused_arg)
{
}

bool panic_is_under_way(void)
{
    return false;
}

_Noreturn void panic(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_text("# panic: ", format, args);
    va_end(args);
    console_print("%s%s\n", ktest_running() != NULL ? "\n# in case " : "",
                  ktest_running() != NULL ? ktest_running() : "");
    _exit(HOST_EXIT_PANIC);
}

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    panic("%s:%d: assertion failed: %s", file, line, condition);
}

_Noreturn void host_refuse(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    write_text("# ", format, args);
    va_end(args);
    console_write("\n", 1);
    _exit(HOST_EXIT_BAD_INPUT);
}
