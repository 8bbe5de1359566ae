// Contract: a kernel thread's saved registers and the switch from one to another.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// struct arch_context: the registers that a function call must preserve, with the stack pointer and the return
// address. Defined by the port.
#include <port/context.h>

// Prepares a context that, when first switched to, runs entry(argument) at stack_top with interrupts masked. The
// entry function never returns. stack_top is 16-byte aligned.
void arch_context_init(struct arch_context *context, void *stack_top, void (*entry)(void *argument), void *argument);

// Saves the caller in *from and continues *to. Interrupts are masked by the caller and stay so.
void arch_context_switch(struct arch_context *from, const struct arch_context *to);
