// Contract: what the port calls in the generic kernel. Lower layers call upward only through these.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/addr.h>

struct trap_frame;

// The first C code of the hart that booted, on the boot stack, with the early tables active.
_Noreturn void upcall_boot(uint64_t hart_machine_id, paddr_t device_tree);

// The first generic code of every other hart, on its own stack, with its per-hart data in place.
_Noreturn void upcall_hart_started(void);

// In interrupt context, interrupts masked.
void upcall_timer(void);
void upcall_ipi(unsigned reasons);
void upcall_external_interrupt(void);

// A trap that the port cannot resolve. Returns only when somebody has claimed it and changed the frame so that
// execution can go on; otherwise panics.
void upcall_trap(struct trap_frame *frame);

// The stack pointer had left the stack; runs on the overflow stack.
_Noreturn void upcall_stack_overrun(struct trap_frame *frame);
