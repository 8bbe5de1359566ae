// Rules of the kernel that a caller broke, found before they did harm: reported with a backtrace, then a panic.
// SPDX-License-Identifier: BSD-2-Clause
//
// A test that breaks a rule on purpose announces it: violations that are expected are reported and counted, and the
// caller goes on as if nothing had been wrong.
#pragma once

#include <base/compiler.h>

// Says "violation: ..." and where, then panics unless one is expected. Any context.
void violation(const char *format, ...) printf_like(1, 2);

// The next `count` violations, on any hart, are expected; returns how many of the earlier announcement have happened.
// 0 ends it.
unsigned violation_expect(unsigned count);
