// Accesses that may fault: each sets the landing, tries, and tells by how it got to the end.
// SPDX-License-Identifier: BSD-2-Clause
//
// Interrupts are masked by the caller, so a trap between setting and clearing the landing is the access's own.

#include <port/csr.h>

    .cfi_sections .debug_frame
    .text

.macro set_landing label
    la      t0, \label
    sd      t0, %tprel_lo(riscv_probe_landing)(tp)
.endm

// bool riscv_probe_load(const volatile void *address, uint8_t *value)
    .globl riscv_probe_load
    .type riscv_probe_load, @function
riscv_probe_load:
    .cfi_startproc
    set_landing riscv_probe_failed
    lbu     t1, 0(a0)
    sb      t1, 0(a1)
    j       riscv_probe_done
    .cfi_endproc
    .size riscv_probe_load, . - riscv_probe_load

// bool riscv_probe_store(volatile void *address, uint8_t value)
    .globl riscv_probe_store
    .type riscv_probe_store, @function
riscv_probe_store:
    .cfi_startproc
    set_landing riscv_probe_failed
    sb      a1, 0(a0)
    j       riscv_probe_done
    .cfi_endproc
    .size riscv_probe_store, . - riscv_probe_store

// bool riscv_probe_call(const volatile void *address)
    .globl riscv_probe_call
    .type riscv_probe_call, @function
riscv_probe_call:
    .cfi_startproc
    addi    sp, sp, -16
    .cfi_def_cfa_offset 16
    sd      ra, 8(sp)
    .cfi_offset ra, -8
    set_landing 1f
    jalr    a0
    ld      ra, 8(sp)
    addi    sp, sp, 16
    .cfi_remember_state
    .cfi_def_cfa_offset 0
    .cfi_restore ra
    j       riscv_probe_done
    .cfi_restore_state
1:  ld      ra, 8(sp)
    addi    sp, sp, 16
    .cfi_def_cfa_offset 0
    .cfi_restore ra
    j       riscv_probe_failed
    .cfi_endproc
    .size riscv_probe_call, . - riscv_probe_call

    .type riscv_probe_done, @function
riscv_probe_done:
    .cfi_startproc
    sd      zero, %tprel_lo(riscv_probe_landing)(tp)
    li      a0, 1
    ret
riscv_probe_failed:
    li      a0, 0
    ret
    .cfi_endproc
    .size riscv_probe_done, . - riscv_probe_done
