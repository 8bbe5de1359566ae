// What the port's own files share.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/addr.h>
#include <arch/per_hart.h>

struct trap_frame;

// trap/
void riscv_trap_init_hart(void *overflow_stack_top);
void riscv_trap(struct trap_frame *frame);
_Noreturn void riscv_stack_overrun(struct trap_frame *frame);
bool riscv_probe_load(const volatile void *address, uint8_t *value);
bool riscv_probe_store(volatile void *address, uint8_t value);
bool riscv_probe_call(const volatile void *address);

// boot/ and smp/
void riscv_first_hart(uint64_t hart_id);
_Noreturn void riscv_boot(uint64_t hart_id, uint64_t device_tree, uint64_t offset);
uint64_t riscv_early_map(uint64_t image_phys);
_Noreturn void riscv_hart_started(void);
void riscv_handle_ipi(void);
void riscv_secondary_start(void);
void riscv_secondary_continue(void);
void riscv_context_begin(void);

// mmu/
uint64_t riscv_kernel_satp(void);
void riscv_serve_remote_flush(void);
void riscv_tlb_init(bool svinval);

// A reason for an interrupt between harts that is the port's own (the others: enum ipi).
#define RISCV_IPI_FLUSH (1U << 31)

// timer.c
void riscv_timer_quiet(void);

// Waits for an interrupt, but no longer than 1 / per_second of a second; interrupts are masked. Keeps the deadline of
// arch_timer_set.
void riscv_timer_nap(unsigned per_second);

// Per-hart data of the trap entry (trap/trap.c).
extern _Thread_local uint64_t riscv_overflow_stack_top, riscv_probe_landing;
