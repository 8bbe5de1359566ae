// Per-hart data at an offset from tp. The contract is <arch/per_hart.h>.
// SPDX-License-Identifier: BSD-2-Clause
//
// A per-hart variable is a thread-local variable in the compiler's sense, and the linker lays out the hart's block of
// them; but GCC takes tp for a constant and would carry an address over a move to another hart. So the address is
// formed in assembly (three instructions, which the linker makes one for the first 2 KB of the block).
#pragma once

#define PER_HART __attribute__((used)) _Thread_local

extern _Thread_local struct hart_local hart_local;

#define arch_this_hart(variable) (*({ \
    __typeof__(variable) *this_hart_; \
    __asm__ volatile("lui %0, %%tprel_hi(" #variable ")\n\t" \
                     "add %0, %0, tp, %%tprel_add(" #variable ")\n\t" \
                     "addi %0, %0, %%tprel_lo(" #variable ")" : "=r"(this_hart_)); \
    this_hart_; }))

// The offset alone: relaxed, the addition would take tp for its base.
#define per_hart_of(variable, index) ({ \
    uint64_t hart_offset_; \
    __asm__(".option push\n\t.option norelax\n\t" \
            "lui %0, %%tprel_hi(" #variable ")\n\taddi %0, %0, %%tprel_lo(" #variable ")\n\t" \
            ".option pop" : "=r"(hart_offset_)); \
    (__typeof__(variable) *)(arch_hart_block(index) + hart_offset_); })

// hart_local lies within one offset of tp: the link map places it first in the block.
#define hart_local_read_as(type, instruction, field) ({ \
    type hart_local_value_; \
    __asm__ volatile(instruction " %0, %%tprel_lo(hart_local + %1)(tp)" \
                     : "=r"(hart_local_value_) : "i"(offsetof(struct hart_local, field)) : "memory"); \
    hart_local_value_; })

#define hart_local_read64(field) hart_local_read_as(uint64_t, "ld", field)

#define hart_local_read(field) ({ \
    __typeof__(((struct hart_local *)0)->field) hart_local_read_; \
    if (sizeof hart_local_read_ == 8) \
        hart_local_read_ = hart_local_read_as(__typeof__(hart_local_read_), "ld", field); \
    else \
        hart_local_read_ = hart_local_read_as(__typeof__(hart_local_read_), "lw", field); \
    hart_local_read_; })

#define hart_local_write(field, value) ({ \
    __typeof__(((struct hart_local *)0)->field) hart_local_write_ = (value); \
    if (sizeof hart_local_write_ == 8) \
        __asm__ volatile("sd %z0, %%tprel_lo(hart_local + %1)(tp)" \
                         : : "rJ"(hart_local_write_), "i"(offsetof(struct hart_local, field)) : "memory"); \
    else \
        __asm__ volatile("sw %z0, %%tprel_lo(hart_local + %1)(tp)" \
                         : : "rJ"(hart_local_write_), "i"(offsetof(struct hart_local, field)) : "memory"); \
    })
