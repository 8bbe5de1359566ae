// For the trap handler: what becomes of runs of instructions that a trap broke off.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

extern const char __restart_start[], __restart_end[];

// Where to go on: `pc`, or the start of the run that it lies in.
uint64_t riscv_restart(uint64_t pc);

// Most code has no such run.
static always_inline bool riscv_may_restart(uint64_t pc)
{
    return pc - (uintptr_t)__restart_start < (uint64_t)(__restart_end - __restart_start);
}

// Where an access at `pc` that may fault goes on when it has; 0 when it may not.
uint64_t riscv_fault_landing(uint64_t pc);

// Panics when a run lies where riscv_may_restart does not look. Start-up, once.
void riscv_restart_check(void);
