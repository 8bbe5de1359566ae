// The kernel's log: levels, one line at a time, to whoever has registered as console.
// SPDX-License-Identifier: BSD-2-Clause
//
// Context: any. Lines from several harts do not mix. Before a console is registered, lines go to the port's early one.
#pragma once

#include <base/compiler.h>
#include <stdarg.h>

enum klog_level { KLOG_ERROR, KLOG_WARN, KLOG_INFO, KLOG_DEBUG };

// A line (or more) of text, newline included, if the level is at most klog_level(). In the order of the calls.
void klog(enum klog_level level, const char *format, ...) printf_like(2, 3);
void klog_va(enum klog_level level, const char *format, va_list args);

// At level KLOG_ERROR, for what prints to whom it is told.
void klog_print_error(const char *format, ...) printf_like(1, 2);

#define klog_error(...) klog(KLOG_ERROR, __VA_ARGS__)
#define klog_warn(...) klog(KLOG_WARN, __VA_ARGS__)
#define klog_info(...) klog(KLOG_INFO, __VA_ARGS__)
#define klog_debug(...) klog(KLOG_DEBUG, __VA_ARGS__)

void klog_set_level(enum klog_level level);

// Put in front of every line of klog, so that a protocol on the console stays readable (TAP wants "# "). Not copied.
void klog_set_prefix(const char *prefix);

// Text for the console as it is: reports, TAP, command output. One call is one unit.
void console_print(const char *format, ...) printf_like(1, 2);
void console_write(const char *text, size_t size);

// Where the text goes. `write` may be called in any context with interrupts masked. Returns who had it before; NULL is
// the port's early console.
typedef void (*console_writer_t)(const char *text, size_t size);
console_writer_t console_register(console_writer_t write);
