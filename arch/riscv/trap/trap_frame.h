// What a trap saves: every integer register and the four trap registers.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#define TRAP_FRAME_X(n) ((n) * 8)          // x0's slot holds the pc
#define TRAP_FRAME_PC 0
#define TRAP_FRAME_STATUS 256
#define TRAP_FRAME_CAUSE 264
#define TRAP_FRAME_VALUE 272
#define TRAP_FRAME_BYTES 288               // a multiple of 16, as the stack pointer is

#ifndef __ASSEMBLER__

#include <base/compiler.h>

struct trap_frame {
    union {
        uint64_t pc;                       // sepc
        uint64_t x[32];                    // x[2] is the interrupted sp
    };
    uint64_t status, cause, value;         // sstatus, scause, stval
    uint64_t padding;
};

_Static_assert(offsetof(struct trap_frame, pc) == TRAP_FRAME_PC, "entry.S");
_Static_assert(offsetof(struct trap_frame, status) == TRAP_FRAME_STATUS, "entry.S");
_Static_assert(offsetof(struct trap_frame, cause) == TRAP_FRAME_CAUSE, "entry.S");
_Static_assert(offsetof(struct trap_frame, value) == TRAP_FRAME_VALUE, "entry.S");
_Static_assert(sizeof(struct trap_frame) == TRAP_FRAME_BYTES, "entry.S");

#endif
