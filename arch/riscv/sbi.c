// Calls to the firmware.
// SPDX-License-Identifier: BSD-2-Clause

#include "sbi.h"

#define SBI_LEGACY_CONSOLE_PUTCHAR 1
#define SBI_BASE_PROBE_EXTENSION 3
#define SBI_RFENCE_FENCE_I 0
#define SBI_RFENCE_SFENCE_VMA 1
#define SBI_RFENCE_SFENCE_VMA_ASID 2

struct sbi_result sbi_call(uint64_t extension, uint64_t function, uint64_t arg0, uint64_t arg1, uint64_t arg2,
                           uint64_t arg3, uint64_t arg4)
{
    register uint64_t a0 __asm__("a0") = arg0;
    register uint64_t a1 __asm__("a1") = arg1;
    register uint64_t a2 __asm__("a2") = arg2;
    register uint64_t a3 __asm__("a3") = arg3;
    register uint64_t a4 __asm__("a4") = arg4;
    register uint64_t a6 __asm__("a6") = function;
    register uint64_t a7 __asm__("a7") = extension;

    __asm__ volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){ (int64_t)a0, a1 };
}

void sbi_console_putchar(char character)
{
    sbi_call(SBI_LEGACY_CONSOLE_PUTCHAR, 0, (uint8_t)character, 0, 0, 0, 0);
}

void sbi_set_timer(uint64_t deadline)
{
    sbi_call(SBI_EXT_TIME, 0, deadline, 0, 0, 0, 0);
}

// Mask 1 with the hart itself as the mask's base: ids may be sparse and large.
void sbi_send_ipi(uint64_t hart_id)
{
    sbi_call(SBI_EXT_IPI, 0, 1, hart_id, 0, 0, 0);
}

struct sbi_result sbi_hart_start(uint64_t hart_id, uint64_t entry_phys, uint64_t opaque)
{
    return sbi_call(SBI_EXT_HSM, 0, hart_id, entry_phys, opaque, 0, 0);
}

bool sbi_has_extension(uint64_t extension)
{
    return sbi_call(SBI_EXT_BASE, SBI_BASE_PROBE_EXTENSION, extension, 0, 0, 0, 0).value != 0;
}

struct sbi_result sbi_remote_fence_i(uint64_t hart_mask, uint64_t hart_mask_base)
{
    return sbi_call(SBI_EXT_RFENCE, SBI_RFENCE_FENCE_I, hart_mask, hart_mask_base, 0, 0, 0);
}

struct sbi_result sbi_remote_sfence_vma(uint64_t hart_mask, uint64_t hart_mask_base, uint64_t start, uint64_t bytes)
{
    return sbi_call(SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA, hart_mask, hart_mask_base, start, bytes, 0);
}

struct sbi_result sbi_remote_sfence_vma_asid(uint64_t hart_mask, uint64_t hart_mask_base, uint64_t start,
                                             uint64_t bytes, uint64_t asid)
{
    return sbi_call(SBI_EXT_RFENCE, SBI_RFENCE_SFENCE_VMA_ASID, hart_mask, hart_mask_base, start, bytes, asid);
}
