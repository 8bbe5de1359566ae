// The way out for broken invariants: a readable report, every hart's state, and a failing exit code.
// SPDX-License-Identifier: BSD-2-Clause
//
// panic() and assert_failed() are declared in <base/assert.h>. The first hart to panic stops the others (IPI_HALT),
// waits a moment for them to say where they were, prints, and ends the machine with EXIT_PANIC. Nothing here
// allocates or locks.
#pragma once

#include <base/assert.h>

struct trap_frame;

// As panic, with the registers of the trap; the backtrace starts where it happened.
_Noreturn void panic_on_trap(const struct trap_frame *frame, const char *format, ...) printf_like(2, 3);

bool panic_is_under_way(void);

// The other harts' side of it: called for IPI_HALT with the interrupted registers on the stack. Does not return.
_Noreturn void panic_halt_hart(void);

// How to end the machine with an exit code, without coming back; the platform's. Until it is set, a panic stops the
// hart.
void panic_set_exit(void (*machine_exit)(int code));

// A name for what the hart is doing ("thread init"), from whoever knows; NULL or "" is fine. Called with harts stopped.
void panic_set_describer(const char *(*describe)(unsigned hart_index));

// The memory of the stack that `sp` lies on, from whoever knows: false when it is no known stack.
void panic_set_stack_finder(bool (*find)(uintptr_t sp, uintptr_t *low, uintptr_t *high));

// What that hart runs has its stack there (lowest byte), or NULL when nobody knows: for harts that do not answer.
void panic_set_stack_of_hart(void *(*stack_of_hart)(unsigned hart_index));

// The calls that led to a place, innermost first: on the console as it is, or as lines of the log.
struct arch_registers;
void backtrace_print(const struct arch_registers *start, bool is_trap);
void backtrace_log(const struct arch_registers *start);

// The same into frames[], up to `most` (at least 1) return addresses, from `caller` on: where that is not among those
// that led here, it alone. Returns how many. Any context.
unsigned backtrace_capture(uintptr_t caller, uintptr_t *frames, unsigned most);
