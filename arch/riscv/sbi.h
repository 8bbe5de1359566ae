// Calls to the firmware: RISC-V Supervisor Binary Interface 1.0.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct sbi_result {
    int64_t error;          // 0, or a negative SBI_ERR_
    uint64_t value;
};

#define SBI_EXT_BASE   0x10
#define SBI_EXT_TIME   0x54494d45
#define SBI_EXT_IPI    0x735049
#define SBI_EXT_HSM    0x48534d
#define SBI_EXT_RFENCE 0x52464e43

struct sbi_result sbi_call(uint64_t extension, uint64_t function, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
                           uint64_t a4);

void sbi_console_putchar(char character);
void sbi_set_timer(uint64_t deadline);
void sbi_send_ipi(uint64_t hart_id);
struct sbi_result sbi_hart_start(uint64_t hart_id, uint64_t entry_phys, uint64_t opaque);

bool sbi_has_extension(uint64_t extension);

// Returns when the harts have done it: bit i of the mask is the hart of machine id hart_mask_base + i. Bytes 0 from
// address 0: everything. The ASID form leaves global entries alone.
struct sbi_result sbi_remote_fence_i(uint64_t hart_mask, uint64_t hart_mask_base);
struct sbi_result sbi_remote_sfence_vma(uint64_t hart_mask, uint64_t hart_mask_base, uint64_t start, uint64_t bytes);
struct sbi_result sbi_remote_sfence_vma_asid(uint64_t hart_mask, uint64_t hart_mask_base, uint64_t start,
                                             uint64_t bytes, uint64_t asid);
