// Violations: the report, and those that a test has announced.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/violation.h>

#include <arch/smp.h>
#include <arch/trap.h>
#include <base/assert.h>
#include <base/format.h>
#include <debug/klog.h>
#include <debug/panic.h>

static unsigned announced;         // (A)
static unsigned happened;          // (A) of those announced

unsigned violation_expect(unsigned count)
{
    __atomic_store_n(&announced, count, __ATOMIC_RELAXED);
    return __atomic_exchange_n(&happened, 0, __ATOMIC_RELAXED);
}

static bool is_expected(void)
{
    unsigned left = __atomic_load_n(&announced, __ATOMIC_RELAXED);

    while (left > 0)
        if (__atomic_compare_exchange_n(&announced, &left, left - 1, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
            __atomic_fetch_add(&happened, 1, __ATOMIC_RELAXED);
            return true;
        }
    return false;
}

void violation(const char *format, ...)
{
    struct arch_registers caller = {
        .pc = (uintptr_t)__builtin_return_address(0), .sp = (uintptr_t)__builtin_dwarf_cfa(),
    };
    char text[256];
    va_list args;

    va_start(args, format);
    format_text_va(text, sizeof text, format, args);
    va_end(args);
    if (!is_expected())
        panic("violation: %s", text);
    klog_info("violation, as expected: hart %u: %s\n", arch_hart_index(), text);
    backtrace_log(&caller);
}
