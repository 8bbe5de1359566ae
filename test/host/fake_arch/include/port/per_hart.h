// Per-hart data of the fake port: a hart is a POSIX thread, and stays one. The contract is <arch/per_hart.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#define PER_HART _Thread_local

extern PER_HART struct hart_local hart_local;

#define arch_this_hart(variable) (variable)
#define hart_local_read64(field) (*(const volatile uint64_t *)(const volatile void *)&hart_local.field)
#define hart_local_read(field) (*(volatile __typeof__(hart_local.field) *)&hart_local.field)
#define hart_local_write(field, value) ((void)(*(volatile __typeof__(hart_local.field) *)&hart_local.field = (value)))
#define per_hart_of(variable, hart) \
    ((__typeof__(variable) *)(arch_hart_block(hart) + \
                              ((char *)&(variable) - arch_hart_block(hart_local_read(index)))))
