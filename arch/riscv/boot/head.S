// The first instructions of every hart: from physical addresses to the kernel's own.
// SPDX-License-Identifier: BSD-2-Clause
//
// There is never an identity map. stvec points at the virtual address of the next instruction when satp is written; the
// instruction after the write is not mapped where it physically lies, so fetching it traps to stvec, which is.

#include "hart_start.h"
#include <port/csr.h>

    .cfi_sections .debug_frame
    .section .head.text, "ax"

// Entered by the firmware in S-mode: a0 = hart id, a1 = device tree (physical), satp = 0. Uses every register.
    .globl _start
    .type _start, @function
_start:
    .cfi_startproc
    .cfi_undefined ra
    csrw    sie, zero
    csrw    sscratch, zero
    mv      s0, a0
    mv      s1, a1

    // OpenSBI 1.1 (sbi_hsm_hart_start) lets a hart go before it has noted where to, and one that looks at that
    // moment comes here, where the first one went. The record of the hart that is being started is its own.
    la      t0, is_entered
    li      t1, 1
    amoswap.w t1, t1, (t0)
    la      a1, riscv_hart_start
    bnez    t1, riscv_secondary_start

    la      t0, __bss_start
    la      t1, __bss_end
1:  bgeu    t0, t1, 2f
    sd      zero, 0(t0)
    addi    t0, t0, 8
    j       1b

2:  la      t0, __boot_hart_block
    la      t1, __tdata_start
    la      t2, __tdata_bytes_word
    ld      t2, 0(t2)
    add     t2, t2, t1
3:  bgeu    t1, t2, 4f
    lb      t3, 0(t1)
    sb      t3, 0(t0)
    addi    t1, t1, 1
    addi    t0, t0, 1
    j       3b

4:  la      sp, __boot_stack_end
    la      a0, _start
    call    riscv_early_map         // a0: the early root table, physical

    la      t0, __link_addresses
    ld      s2, 0(t0)               // where _start is linked ...
    la      t1, _start
    sub     s2, s2, t1              // ... less where it is: the way up
    la      t0, 5f
    add     t0, t0, s2
    csrw    stvec, t0
    srli    a0, a0, 12
    li      t1, SATP_MODE_SV39
    or      a0, a0, t1
    sfence.vma
    csrw    satp, a0
    .balign 4
5:  la      t0, riscv_trap_entry
    csrw    stvec, t0
    // The section on SFENCE.VMA (4.2.1): a write of satp orders nothing and flushes nothing by itself.
    sfence.vma
    la      sp, __boot_stack_end
    la      tp, __boot_hart_block
    mv      a0, s0
    mv      a1, s1
    mv      a2, s2
    call    riscv_boot
    unimp
    .cfi_endproc
    .size _start, . - _start

// Entered by SBI HSM: a0 = hart id, a1 = struct hart_start (physical), satp = 0.
    .globl riscv_secondary_start
    .type riscv_secondary_start, @function
riscv_secondary_start:
    .cfi_startproc
    .cfi_undefined ra
    csrw    sie, zero
    csrw    sscratch, zero
    ld      sp, HART_START_STACK_TOP(a1)
    ld      tp, HART_START_BLOCK(a1)
    ld      t0, HART_START_CONTINUE(a1)
    ld      t1, HART_START_SATP(a1)
    csrw    stvec, t0
    sfence.vma
    csrw    satp, t1
    .balign 4
    .globl riscv_secondary_continue
riscv_secondary_continue:
    la      t0, riscv_trap_entry
    csrw    stvec, t0
    sfence.vma
    call    riscv_hart_started
    unimp
    .cfi_endproc
    .size riscv_secondary_start, . - riscv_secondary_start

// Not in .bss, which the first hart clears.
    .section .data
    .balign 4
is_entered:
    .word   0

    .section .head.text, "ax"

// Absolute values, since an instruction here can only reach what is near the physical pc.
    .balign 8
__link_addresses:
    .dword  _start
__tdata_bytes_word:
    .dword  __tdata_bytes
