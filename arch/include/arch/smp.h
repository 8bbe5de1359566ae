// Contract: harts, their numbers and how to reach them.
// SPDX-License-Identifier: BSD-2-Clause
//
// A hart has a dense index 0 .. hart_count() - 1 (0 is the one that booted) and whatever id the machine gave it.
// Per-hart data are thread-local variables (see <arch/per_hart.h>): the thread pointer is the hart pointer.
#pragma once

#include <arch/per_hart.h>

#define MAX_HARTS CONFIG_MAX_HARTS

// Reasons for an interrupt from another hart; bits of one mailbox word per hart, so equal requests merge.
enum ipi {
    IPI_WAKE = 1 << 0,     // look at the run queue
    IPI_HALT = 1 << 1,     // a panic elsewhere: record the state and stop
    IPI_CALL = 1 << 2,     // run the functions that were posted to this hart
    IPI_WATCH = 1 << 3,    // the machine is busy again: watch the other harts
    IPI_DRAIN = 1 << 4,    // give the free blocks in this hart's lists back
};

// Harts that run the kernel now. Grows while start-up brings them in, never shrinks.
unsigned arch_hart_count(void);

// The machine's own number of a hart; index below arch_hart_count().
uint64_t arch_hart_machine_id(unsigned index);

// Posts the reasons to the hart's mailbox and interrupts it, also the caller's own as soon as it takes interrupts. All
// writes before the call are visible to the handler. Any context.
void arch_ipi_send(unsigned index, unsigned reasons);

// Start-up only. Bytes of per-hart data that a hart needs, to be aligned to CACHE_LINE_BYTES.
size_t arch_hart_block_bytes(void);

// Starts the stopped hart of that machine id on the kernel's page tables with the given memory: per-hart block (its
// contents are filled in here), stack, overflow stack (tops, 16-byte aligned). Waits until it runs upcall_hart_started;
// its index is then arch_hart_count() - 1. 0; -ENODEV when the firmware refuses, -EIO when it does not come up in time.
int arch_hart_start(uint64_t machine_id, void *block, void *stack_top, void *overflow_stack_top);

// Gives the boot hart an overflow stack that outlives start-up.
void arch_hart_set_overflow_stack(void *stack_top);
