// What a secondary hart needs for its first steps, read by it with translation off.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#define HART_START_STACK_TOP 0
#define HART_START_BLOCK 8
#define HART_START_CONTINUE 16
#define HART_START_SATP 24

#ifndef __ASSEMBLER__

#include <base/compiler.h>

struct hart_start {
    uint64_t stack_top;        // virtual
    uint64_t block;            // virtual: the hart's per-hart data
    uint64_t resume_at;        // virtual address of riscv_secondary_continue
    uint64_t satp;
};

// Of the hart that is being started.
extern struct hart_start riscv_hart_start;

_Static_assert(offsetof(struct hart_start, stack_top) == HART_START_STACK_TOP, "head.S");
_Static_assert(offsetof(struct hart_start, block) == HART_START_BLOCK, "head.S");
_Static_assert(offsetof(struct hart_start, resume_at) == HART_START_CONTINUE, "head.S");
_Static_assert(offsetof(struct hart_start, satp) == HART_START_SATP, "head.S");

#endif
