// Control and status registers of S-mode: their bits and access to them.
// SPDX-License-Identifier: BSD-2-Clause
//
// RISC-V privileged specification 20211203, chapter 4. Constants are usable from assembly.
#pragma once

#define SSTATUS_SIE  (1 << 1)
#define SSTATUS_SPIE (1 << 5)
#define SSTATUS_SPP  (1 << 8)

#define SIE_SSIE (1 << 1)
#define SIE_STIE (1 << 5)
#define SIE_SEIE (1 << 9)

#define SATP_MODE_SV39 (8UL << 60)
#define SATP_ASID_MASK (0xffffUL << 44)

// stimecmp of the Sstc extension; GCC 12 has no name for it.
#define CSR_STIMECMP 0x14d

#ifndef __ASSEMBLER__

#include <base/compiler.h>

#define csr_read(csr) ({ \
    uint64_t csr_value_; \
    __asm__ volatile("csrr %0, " #csr : "=r"(csr_value_) : : "memory"); \
    csr_value_; })
#define csr_write(csr, value) __asm__ volatile("csrw " #csr ", %0" : : "rK"((uint64_t)(value)) : "memory")
#define csr_set(csr, bits) __asm__ volatile("csrs " #csr ", %0" : : "rK"((uint64_t)(bits)) : "memory")
#define csr_clear(csr, bits) __asm__ volatile("csrc " #csr ", %0" : : "rK"((uint64_t)(bits)) : "memory")
#define csr_read_clear(csr, bits) ({ \
    uint64_t csr_value_; \
    __asm__ volatile("csrrc %0, " #csr ", %1" : "=r"(csr_value_) : "rK"((uint64_t)(bits)) : "memory"); \
    csr_value_; })

#endif
