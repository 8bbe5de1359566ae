// Entry, trap entry and assembly functions of the unwind tests' image; it runs in M-mode, without firmware.
// SPDX-License-Identifier: BSD-2-Clause

// As GCC says for C; otherwise the directives go to .eh_frame.
    .cfi_sections .debug_frame

    .section .text.entry, "ax"
    .globl _start
    .type _start, @function
_start:
    .cfi_startproc
    .cfi_undefined ra
    la      sp, stack_top
    la      t0, trap_entry
    csrw    mtvec, t0
    call    target_main
    .globl target_end
target_end:
    j       target_end
    .cfi_endproc
    .size _start, . - _start

// The frame at sp: pc, ra, sp, s0, then what C may clobber. 18 words, a multiple of 16 bytes.
#define FRAME_BYTES 160

    .text
    .balign 4
    .globl trap_entry
    .type trap_entry, @function
trap_entry:
    .cfi_startproc
    .cfi_undefined ra
    sd      sp, 16 - FRAME_BYTES(sp)
    addi    sp, sp, -FRAME_BYTES
    sd      ra, 8(sp)
    sd      s0, 24(sp)
    sd      t0, 32(sp)
    sd      t1, 40(sp)
    sd      t2, 48(sp)
    sd      t3, 56(sp)
    sd      t4, 64(sp)
    sd      t5, 72(sp)
    sd      t6, 80(sp)
    sd      a0, 88(sp)
    sd      a1, 96(sp)
    sd      a2, 104(sp)
    sd      a3, 112(sp)
    sd      a4, 120(sp)
    sd      a5, 128(sp)
    sd      a6, 136(sp)
    sd      a7, 144(sp)
    csrr    t0, mepc
    sd      t0, 0(sp)
    call    target_trap
    .globl __trap_return_start
__trap_return_start:
    ld      t0, 0(sp)
    addi    t0, t0, 4
    csrw    mepc, t0
    ld      ra, 8(sp)
    ld      t0, 32(sp)
    ld      t1, 40(sp)
    ld      t2, 48(sp)
    ld      t3, 56(sp)
    ld      t4, 64(sp)
    ld      t5, 72(sp)
    ld      t6, 80(sp)
    ld      a0, 88(sp)
    ld      a1, 96(sp)
    ld      a2, 104(sp)
    ld      a3, 112(sp)
    ld      a4, 120(sp)
    ld      a5, 128(sp)
    ld      a6, 136(sp)
    ld      a7, 144(sp)
    ld      sp, 16(sp)
    mret
    .globl __trap_return_end
__trap_return_end:
    .cfi_endproc
    .size trap_entry, . - trap_entry

// long assembly_framed(long (*call)(long), long value): calls through a frame of its own.
    .globl assembly_framed
    .type assembly_framed, @function
assembly_framed:
    .cfi_startproc
    addi    sp, sp, -32
    .cfi_def_cfa_offset 32
    sd      ra, 8(sp)
    .cfi_offset ra, -24
    sd      s0, 16(sp)
    .cfi_offset s0, -16
    mv      s0, a1
    mv      t0, a0
    mv      a0, a1
    jalr    t0
    add     a0, a0, s0
    ld      s0, 16(sp)
    .cfi_restore s0
    ld      ra, 8(sp)
    .cfi_restore ra
    addi    sp, sp, 32
    .cfi_def_cfa_offset 0
    ret
    .cfi_endproc
    .size assembly_framed, . - assembly_framed

// A leaf that nobody describes, and that has no size either.
    .globl assembly_plain
    .type assembly_plain, @function
assembly_plain:
    slli    a0, a0, 1
    addi    a0, a0, 1
    ret
