// Contract: looking at a trap and at the registers a backtrace starts from.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/addr.h>

struct trap_frame;

// Where a backtrace starts: program counter, stack pointer, frame pointer register, return address register.
struct arch_registers {
    uint64_t pc, sp, fp, ra;
};

struct arch_registers arch_trap_registers(const struct trap_frame *frame);

// The frame that a trap pushed at this stack pointer, for a backtrace that has come to the trap entry.
const struct trap_frame *arch_trap_frame_at(uint64_t sp);

// "load page fault", ...; and the address that goes with it (0 when none does).
const char *arch_trap_cause_name(const struct trap_frame *frame);
vaddr_t arch_trap_address(const struct trap_frame *frame);
enum arch_access { ARCH_ACCESS_NONE, ARCH_ACCESS_READ, ARCH_ACCESS_WRITE, ARCH_ACCESS_EXEC };
enum arch_access arch_trap_access(const struct trap_frame *frame);    // NONE: not a memory fault

// All registers, some lines of text, through `print`.
void arch_trap_print(const struct trap_frame *frame, void (*print)(const char *format, ...));
