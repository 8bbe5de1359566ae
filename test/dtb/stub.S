// Stands between the firmware and the kernel and gives the kernel another device tree than the firmware's.
// SPDX-License-Identifier: BSD-2-Clause
//
// The firmware checks its tree before it starts anything, so a broken one never gets as far as the kernel
// that way. The stub is what -kernel of QEMU starts; kernel, tree and the address of the tree are put into
// memory by its loader device. a0, the hart id, goes through unchanged; a1 is what the test has written to
// TREE_POINTER.

    .section .text, "ax"
    .globl _start
_start:
    li      t0, TREE_POINTER
    ld      a1, 0(t0)
    li      t0, KERNEL_ENTRY
    jr      t0
