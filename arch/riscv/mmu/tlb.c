// Every fence of the kernel, and the root of its page tables.
// SPDX-License-Identifier: BSD-2-Clause

#include "../riscv.h"
#include <arch/irq.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/tlb.h>
#include <base/assert.h>
#include <port/csr.h>
#include <sync/spinlock.h>

// Beyond this many granules one fence for everything is cheaper than one for each: a refill of a 64-entry TLB.
#define FLUSH_ALL_GRANULES 64

// Rounds of waiting between two looks at the clock.
#define ROUNDS_PER_LOOK 1024

static uint64_t kernel_satp;       // (C) once start-up is over

uint64_t riscv_kernel_satp(void)
{
    return kernel_satp;
}

static void fence_all(void)
{
    __asm__ volatile("sfence.vma" : : : "memory");
}

// Section 4.2.1: with rs1 = an address, all levels of translation for it, in every address space since rs2 = x0.
static void fence_address(uint64_t address)
{
    __asm__ volatile("sfence.vma %0, zero" : : "r"(address) : "memory");
}

void arch_mmu_activate(paddr_t root)
{
    kernel_satp = root.value >> MMU_PAGE_SHIFT | SATP_MODE_SV39;
    // Stores to the tables must be ordered before the walks that follow, and old translations forgotten.
    fence_all();
    csr_write(satp, kernel_satp);
    fence_all();
}

void arch_tlb_flush_local(vaddr_t start, uint64_t bytes)
{
    if (bytes / MMU_PAGE_SIZE > FLUSH_ALL_GRANULES) {
        fence_all();
        return;
    }
    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE)
        fence_address(start.value + offset);
}

// One request at a time, served by every other hart. A hart that waits for its turn, or for any other lock, serves the
// request of the hart that it waits for (riscv_yield_hart), so masked interrupts cannot make two harts wait for each
// other.
static struct {
    struct spinlock lock;
    vaddr_t start;                 // (L)
    uint64_t bytes;                // (L)
    unsigned unserved;             // (A) harts that have not done it yet
} remote = { .lock = SPINLOCK_INIT(REMOTE_FLUSH) };

void riscv_serve_remote_flush(void)
{
    arch_tlb_flush_local(remote.start, remote.bytes);
    // Release: the fence is done before the requester can know.
    __atomic_fetch_sub(&remote.unserved, 1, __ATOMIC_RELEASE);
}

// By interrupts of our own and not by the firmware's remote fence: that one spins in M-mode, where nothing lets the
// other harts run on a simulator that runs them in turn, and it costs twice the instructions.
static void flush_others(vaddr_t start, uint64_t bytes)
{
    irqflags_t flags = spin_lock_irqsave(&remote.lock);
    unsigned self = arch_hart_index(), count = arch_hart_count();

    remote.start = start;
    remote.bytes = bytes;
    __atomic_store_n(&remote.unserved, count - 1, __ATOMIC_RELAXED);
    for (unsigned index = 0; index < count; index++)
        if (index != self)
            arch_ipi_send(index, RISCV_IPI_FLUSH);
    uint64_t started = arch_time();
    for (unsigned round = 0; __atomic_load_n(&remote.unserved, __ATOMIC_ACQUIRE) != 0; round++) {
        arch_relax(round);
        if (round % ROUNDS_PER_LOOK == ROUNDS_PER_LOOK - 1 && arch_time() - started > spin_lock_limit)
            panic("hart %u waits for %u harts to flush %lu bytes at %#lx", self, remote.unserved, bytes, start.value);
    }
    spin_unlock_irqrestore(&remote.lock, flags);
}

void arch_tlb_flush_kernel(vaddr_t start, uint64_t bytes)
{
    if (bytes == 0)
        return;
    // Moved to another hart in between, the caller would leave that one out.
    preempt_disable();
    arch_tlb_flush_local(start, bytes);
    if (arch_hart_count() > 1)
        flush_others(start, bytes);
    preempt_enable();
}
