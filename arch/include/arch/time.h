// Contract: time and instruction counts.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// Ticks of the machine's timer since some fixed moment; never goes back. arch_timer_hz of them a second.
//   uint64_t arch_time(void)
// Retired instructions, for measuring. On QEMU true only under -icount, and then one count for all harts.
//   uint64_t arch_instructions(void)
// The port defines both inline.
#include <port/time.h>

uint64_t arch_timer_hz(void);

// Calls upcall_timer on this hart once, at or after that time; replaces an earlier request. UINT64_MAX cancels.
void arch_timer_set(uint64_t deadline);
