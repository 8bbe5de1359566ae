// Pushes and pops of the fake port, whose interrupts come when it asks for them. The contract is <arch/hart_stack.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

#define restartable

#define hart_stack_offset(variable) ((int64_t)((char *)&(variable) - arch_hart_block(hart_local_read(index))))
#define hart_stack_at(offset) ((struct hart_stack *)(void *)(arch_hart_block(hart_local_read(index)) + (offset)))

static always_inline struct hart_stack *hart_stack_of(int64_t offset) { return hart_stack_at(offset); }

static always_inline void *hart_stack_pop(int64_t offset)
{
    struct hart_stack *stack = hart_stack_at(offset);
    void *popped = *stack->top;

    if (popped != NULL)
        stack->top--;
    return popped;
}

#define hart_stack_pop_of(variable, index) hart_stack_pop(hart_stack_offset((variable)[index]))

static always_inline bool hart_stack_push(int64_t offset, void *pointer)
{
    struct hart_stack *stack = hart_stack_at(offset);

    if (stack->top == stack->limit)
        return false;
    *++stack->top = pointer;
    return true;
}
