// Changing from one stack to another: between threads, and to a new thread.
// SPDX-License-Identifier: BSD-2-Clause

#include <port/context.h>

    .cfi_sections .debug_frame
    .text

// void arch_context_switch(struct arch_context *from, const struct arch_context *to)
// Saves ra, sp and s0-s11 in *from, loads them from *to; tp belongs to the hart and stays. Clobbers nothing else.
    .globl arch_context_switch
    .type arch_context_switch, @function
arch_context_switch:
    .cfi_startproc
    sd      ra, CONTEXT_RA(a0)
    sd      sp, CONTEXT_SP(a0)
    .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    sd      s\i, CONTEXT_S0 + 8 * \i(a0)
    .endr
    ld      ra, CONTEXT_RA(a1)
    ld      sp, CONTEXT_SP(a1)
    .irp    i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
    ld      s\i, CONTEXT_S0 + 8 * \i(a1)
    .endr
    ret
    .cfi_endproc
    .size arch_context_switch, . - arch_context_switch

// Where a new context begins: s0 = entry, s1 = argument. The end of every backtrace.
    .globl riscv_context_begin
    .type riscv_context_begin, @function
riscv_context_begin:
    .cfi_startproc
    .cfi_undefined ra
    mv      a0, s1
    jalr    s0
    unimp
    .cfi_endproc
    .size riscv_context_begin, . - riscv_context_begin
