// Every trap enters here.
// SPDX-License-Identifier: BSD-2-Clause
//
// There is no user mode yet: tp is always the hart's block, sp a kernel stack. Before anything is pushed, the bit of
// the stack's size in the new sp tells whether the frame would lie below the stack (<mm/kstack.h>); if so the frame
// goes to this hart's overflow stack instead, and the trap is reported as what it is.

#include "trap_frame.h"
#include <port/csr.h>

#define STACK_BYTES (CONFIG_KERNEL_STACK_KB * 1024)

// Saves x1, x3 .. x31 and the trap registers in the frame at sp. x2 and x5 (t0) are the caller's business. Clobbers t0.
.macro save_registers
    sd      x1, TRAP_FRAME_X(1)(sp)
    .irp    i, 3,4,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    sd      x\i, TRAP_FRAME_X(\i)(sp)
    .endr
    csrr    t0, sepc
    sd      t0, TRAP_FRAME_PC(sp)
    csrr    t0, sstatus
    sd      t0, TRAP_FRAME_STATUS(sp)
    csrr    t0, scause
    sd      t0, TRAP_FRAME_CAUSE(sp)
    csrr    t0, stval
    sd      t0, TRAP_FRAME_VALUE(sp)
.endm

    .cfi_sections .debug_frame
    .text
    .balign 4
    .globl riscv_trap_entry
    .type riscv_trap_entry, @function
riscv_trap_entry:
    .cfi_startproc
    .cfi_undefined ra
    sd      t0, %tprel_lo(riscv_trap_scratch)(tp)
    addi    t0, sp, -TRAP_FRAME_BYTES
    // Shifts the bit of the stack's size into the sign.
    slli    t0, t0, 63 - STACK_SHIFT
    bltz    t0, trap_on_overrun

    sd      sp, TRAP_FRAME_X(2) - TRAP_FRAME_BYTES(sp)
    addi    sp, sp, -TRAP_FRAME_BYTES
    ld      t0, %tprel_lo(riscv_trap_scratch)(tp)
    sd      t0, TRAP_FRAME_X(5)(sp)
    save_registers
    mv      a0, sp
    call    riscv_trap
    .globl __trap_return_start
__trap_return_start:
    ld      t0, TRAP_FRAME_PC(sp)
    csrw    sepc, t0
    ld      t0, TRAP_FRAME_STATUS(sp)
    csrw    sstatus, t0
    ld      x1, TRAP_FRAME_X(1)(sp)
    .irp    i, 5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
    ld      x\i, TRAP_FRAME_X(\i)(sp)
    .endr
    ld      sp, TRAP_FRAME_X(2)(sp)
    sret

trap_on_overrun:
    sd      sp, %tprel_lo(riscv_trap_scratch + 8)(tp)
    ld      sp, %tprel_lo(riscv_overflow_stack_top)(tp)
    addi    sp, sp, -TRAP_FRAME_BYTES
    ld      t0, %tprel_lo(riscv_trap_scratch + 8)(tp)
    sd      t0, TRAP_FRAME_X(2)(sp)
    ld      t0, %tprel_lo(riscv_trap_scratch)(tp)
    sd      t0, TRAP_FRAME_X(5)(sp)
    save_registers
    mv      a0, sp
    call    riscv_stack_overrun
    unimp
    .globl __trap_return_end
__trap_return_end:
    .cfi_endproc
    .size riscv_trap_entry, . - riscv_trap_entry
