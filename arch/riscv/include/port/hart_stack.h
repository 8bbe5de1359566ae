// Pushes and pops that start again when they are interrupted. The contract is <arch/hart_stack.h>.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each run stands in a table with its bounds: from label 1, where it can start again from its operands, to label 2
// behind the store that ends it. The trap entry puts the pc of a run that an interrupt broke off back to 1
// (trap/restart.c). All runs lie in one section, so that one comparison tells most interrupts that there is nothing to
// do.
#pragma once

#include <base/compiler.h>

#define restartable __attribute__((section(".text.restart")))

#define RESTART_ENTRY \
    ".pushsection .restart_table, \"a\"\n\t.quad 1b, 2b\n\t.popsection"

#define hart_stack_offset(variable) ({ \
    int64_t hart_stack_offset_; \
    __asm__(".option push\n\t.option norelax\n\t" \
            "lui %0, %%tprel_hi(" #variable ")\n\taddi %0, %0, %%tprel_lo(" #variable ")\n\t" \
            ".option pop" : "=r"(hart_stack_offset_)); \
    hart_stack_offset_; })

static always_inline struct hart_stack *hart_stack_of(int64_t offset)
{
    struct hart_stack *stack;

    __asm__ volatile("add %0, %1, tp" : "=r"(stack) : "r"(offset));
    return stack;
}

static always_inline void *hart_stack_pop(int64_t offset)
{
    uint64_t stack, top;
    void *popped;

    __asm__ volatile goto("1:\tadd %[stack], %[offset], tp\n\t"
                 "ld %[top], 0(%[stack])\n\t"
                 "ld %[popped], 0(%[top])\n\t"
                 "beqz %[popped], %l[empty]\n\t"
                 "addi %[top], %[top], -8\n\t"
                 "sd %[top], 0(%[stack])\n"
                 "2:\n\t" RESTART_ENTRY
                 : [stack] "=&r"(stack), [top] "=&r"(top), [popped] "=&r"(popped) : [offset] "r"(offset)
                 : "memory" : empty);
    if (popped == NULL)
        __builtin_unreachable();
    return popped;
empty:
    return NULL;
}

// The linker makes one instruction of the address where it lies in the first 2 KB of the hart's block.
#define hart_stack_pop_of(variable, index) ({ \
    __label__ hart_stack_empty_, hart_stack_done_; \
    uint64_t hart_stack_, hart_stack_top_; \
    void *hart_stack_popped_; \
    __asm__ volatile goto("1:\tlui %[stack], %%tprel_hi(" #variable " + %[at])\n\t" \
                 "add %[stack], %[stack], tp, %%tprel_add(" #variable " + %[at])\n\t" \
                 "ld %[top], %%tprel_lo(" #variable " + %[at])(%[stack])\n\t" \
                 "ld %[popped], 0(%[top])\n\t" \
                 "beqz %[popped], %l[hart_stack_empty_]\n\t" \
                 "addi %[top], %[top], -8\n\t" \
                 "sd %[top], %%tprel_lo(" #variable " + %[at])(%[stack])\n" \
                 "2:\n\t" RESTART_ENTRY \
                 : [stack] "=&r"(hart_stack_), [top] "=&r"(hart_stack_top_), [popped] "=&r"(hart_stack_popped_) \
                 : [at] "i"((index) * sizeof(struct hart_stack)) : "memory" : hart_stack_empty_); \
    if (hart_stack_popped_ == NULL) \
        __builtin_unreachable(); \
    goto hart_stack_done_; \
hart_stack_empty_: \
    hart_stack_popped_ = NULL; \
hart_stack_done_: \
    hart_stack_popped_; })

static always_inline bool hart_stack_push(int64_t offset, void *pointer)
{
    uint64_t stack, top, limit;

    __asm__ volatile goto("1:\tadd %[stack], %[offset], tp\n\t"
                 "ld %[top], 0(%[stack])\n\t"
                 "ld %[limit], 8(%[stack])\n\t"
                 "beq %[top], %[limit], %l[full]\n\t"
                 "addi %[top], %[top], 8\n\t"
                 "sd %[pointer], 0(%[top])\n\t"
                 "sd %[top], 0(%[stack])\n"
                 "2:\n\t" RESTART_ENTRY
                 : [stack] "=&r"(stack), [top] "=&r"(top), [limit] "=&r"(limit)
                 : [offset] "r"(offset), [pointer] "r"(pointer) : "memory" : full);
    return true;
full:
    return false;
}
