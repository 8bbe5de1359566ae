// Walks a stack from callee to caller, at no cost to the code that runs: no frame pointers, but tables.
// SPDX-License-Identifier: BSD-2-Clause
//
// A frame is described by its function's place and the registers that its caller's frame follows from:
//
//     high addresses   ...
//                      | caller's frame   |
//        CFA --------> +------------------+    the caller's sp at the call
//                      | ra, s0, ...      |    where, says the row of the pc
//                      | locals           |
//        sp ---------> +------------------+
//
// The row of a pc (DWARF's call frame information, made small by tools/mkdebug.py) gives the CFA as sp + N or
// s0 + N, and whether ra and s0 are still in their registers or at which place below the CFA.
//
// The stack may be corrupt, so nothing on it is believed: reads stay inside the bounds that the caller gives,
// the CFA must be 16-byte aligned (RISC-V's calling convention) and rise with every step, and a return
// address must lie in a function that the tables know. A walk therefore ends, and never faults as long as the
// bounds are mapped.
//
// Any context; no locks; no memory but the caller's frame and 300 bytes of stack. Walking the stack of a hart
// that runs is safe but may give nonsense.
#pragma once

#include <debug/symbols.h>

// Frames in one walk, also over traps: a recursion that overflowed the stack needs no full list.
#define UNWIND_FRAMES_MAX 64

struct unwind_frame {
    uintptr_t pc, sp, s0, ra;
    // True where execution was stopped at pc itself, by a trap, so that the function's ra may still be in the
    // register. False where pc is the address that a call will return to; ra means nothing then.
    bool ra_is_valid;
    unsigned depth;                        // frames walked so far; start with 0, keep it over a trap
    uintptr_t stack_low, stack_high;       // mapped memory [low, high) that the walk may read
};

enum unwind_result {
    UNWIND_CALLER,        // the frame is now the caller's
    UNWIND_TRAP,          // the frame is the trap entry's, sp as at its call: go on with what it saved there
    UNWIND_END,           // the frame is the first of its thread or hart
    UNWIND_UNKNOWN,       // the tables say nothing about the pc
    UNWIND_CORRUPT,       // the stack does not hold what the tables promise
    UNWIND_TOO_DEEP,      // UNWIND_FRAMES_MAX
};

// Replaces the frame by its caller's. With any result but UNWIND_CALLER the frame is left as it was.
//
// A return address between the symbols __trap_return_start and __trap_return_end gives UNWIND_TRAP: the port
// puts them around the code that follows the trap entry's calls into C. A trap on a pc that the tables say
// nothing about (a call through a bad pointer, assembly without .cfi directives) is taken as one in a
// function that has not yet changed anything, so that its caller is found.
enum unwind_result unwind_step(struct unwind_frame *frame);
enum unwind_result unwind_step_in(const struct debug_tables *tables, struct unwind_frame *frame);

// The address to ask symbol_lookup for: a return address may lie behind its function's end.
static inline uintptr_t unwind_lookup_pc(const struct unwind_frame *frame)
{
    return frame->ra_is_valid ? frame->pc : frame->pc - 1;
}

// "end of the stack", ...: how a walk ended, for its last line. Never NULL.
const char *unwind_result_text(enum unwind_result result);
