// Kernel stacks: granules in the vmalloc space, with unmapped guards.
// SPDX-License-Identifier: BSD-2-Clause
//
// A stack of KERNEL_STACK_SIZE bytes starts at a multiple of twice its size, and the half below it is never
// mapped. So the bit of that size in the stack pointer is 0 on the stack, and 1 for any overrun of less than
// the stack's own size: the trap entry tests one bit before it pushes anything.
//
//     multiple of 2 * size            KERNEL_STACK_SIZE           multiple of 2 * size
//     +-------------------------------+---------------------------+
//     | the stack, grows down  <----  | guard of the next one     |
//     +-------------------------------+---------------------------+
#pragma once

#include <base/addr.h>

#define KERNEL_STACK_SIZE ((size_t)CONFIG_KERNEL_STACK_KB * 1024)

// The lowest byte of a new mapped stack, or NULL. The contents are zero. May sleep.
must_check void *kstack_alloc(void);
// Not the one you are running on. Process context.
void kstack_free(void *stack);

// For a fault at `address`: whether this is an overrun of a stack, and of which one.
bool kstack_is_overrun(vaddr_t address, void **stack);
