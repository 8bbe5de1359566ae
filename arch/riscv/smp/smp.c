// Harts: their numbers, their blocks of per-hart data, start by SBI HSM, and interrupts between them.
// SPDX-License-Identifier: BSD-2-Clause

#include "../boot/hart_start.h"
#include "../riscv.h"
#include "../sbi.h"
#include <arch/context.h>
#include <arch/image.h>
#include <arch/irq.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/upcalls.h>
#include <base/assert.h>
#include <base/errno.h>
#include <base/string.h>
#include <port/csr.h>

// A hart that the firmware has accepted answers within this time, or never.
#define START_TIMEOUT_SECONDS 5

#define ROUNDS_BEFORE_NAP 256
#define NAPS_PER_SECOND 20000

struct hart_start riscv_hart_start;

extern char __boot_hart_block[], __tdata_start[], __tdata_bytes[], __hart_block_bytes[];
extern char __boot_overflow_stack[];

struct hart {
    uint64_t machine_id;           // (C)
    char *block;                   // (C)
    uint32_t mailbox;              // (A) IPI_ bits
} aligned_to(CACHE_LINE_BYTES);

static struct hart harts[MAX_HARTS];
static unsigned hart_count;        // (A)

unsigned arch_hart_count(void) { return __atomic_load_n(&hart_count, __ATOMIC_ACQUIRE); }
uint64_t arch_hart_machine_id(unsigned index) { return harts[index].machine_id; }
char *arch_hart_block(unsigned index) { return harts[index].block; }
size_t arch_hart_block_bytes(void) { return (size_t)(uintptr_t)__hart_block_bytes; }

static void enable_interrupt_sources(void)
{
    csr_set(sie, SIE_SSIE | SIE_STIE | SIE_SEIE);
}

void riscv_first_hart(uint64_t hart_id)
{
    harts[0] = (struct hart){ .machine_id = hart_id, .block = __boot_hart_block };
    riscv_trap_init_hart(__boot_overflow_stack + 4096);
    hart_count = 1;
    enable_interrupt_sources();
}

int arch_hart_start(uint64_t machine_id, void *block, void *stack_top, void *overflow_stack_top)
{
    unsigned index = arch_hart_count();

    ASSERT(index < MAX_HARTS);
    memset(block, 0, arch_hart_block_bytes());
    memcpy(block, __tdata_start, (size_t)(uintptr_t)__tdata_bytes);
    harts[index] = (struct hart){ .machine_id = machine_id, .block = block };
    per_hart_of(hart_local, index)->index = index;
    *per_hart_of(riscv_overflow_stack_top, index) = (uintptr_t)overflow_stack_top;
    *per_hart_of(riscv_probe_landing, index) = 0;

    riscv_hart_start = (struct hart_start){
        .stack_top = (uintptr_t)stack_top,
        .block = (uintptr_t)block,
        .resume_at = (uintptr_t)riscv_secondary_continue,
        .satp = riscv_kernel_satp(),
    };
    uint64_t up = (uintptr_t)__kernel_start - arch_image_phys().value;
    struct sbi_result result = sbi_hart_start(machine_id, (uintptr_t)riscv_secondary_start - up,
                                              (uintptr_t)&riscv_hart_start - up);
    if (result.error != 0)
        return -ENODEV;

    uint64_t deadline = arch_time() + START_TIMEOUT_SECONDS * arch_timer_hz();
    for (unsigned round = 0; arch_hart_count() == index; round++) {
        if (arch_time() > deadline)
            return -EIO;
        arch_relax(round);
    }
    return 0;
}

_Noreturn void riscv_hart_started(void)
{
    arch_timer_set(UINT64_MAX);
    enable_interrupt_sources();
    __atomic_fetch_add(&hart_count, 1, __ATOMIC_RELEASE);
    upcall_hart_started();
}

void arch_ipi_send(unsigned index, unsigned reasons)
{
    // The release makes the sender's writes visible to the handler's acquire. A non-empty mailbox means that an
    // interrupt is on its way already: so nothing may come in between here.
    irqflags_t flags = arch_irq_save();
    if (__atomic_fetch_or(&harts[index].mailbox, reasons, __ATOMIC_RELEASE) == 0) {
        if (index == arch_hart_index())
            csr_set(sip, SIE_SSIE);
        else
            sbi_send_ipi(harts[index].machine_id);
    }
    arch_irq_restore(flags);
}

// Accesses to CSRs are ordered with those to memory only by a fence, as device output (RISC-V unprivileged
// specification 20191213, chapter 9, CSR access ordering).
static void clear_own_interrupt(void)
{
    csr_clear(sip, SIE_SSIE);
    __asm__ volatile("fence o, rw" : : : "memory");
}

void riscv_handle_ipi(void)
{
    // Cleared before the mailbox is read: a request after the read interrupts again.
    clear_own_interrupt();
    unsigned reasons = __atomic_exchange_n(&harts[arch_hart_index()].mailbox, 0, __ATOMIC_ACQ_REL);
    if (reasons & RISCV_IPI_FLUSH)
        riscv_serve_remote_flush();
    if (reasons & ~RISCV_IPI_FLUSH)
        upcall_ipi(reasons & ~RISCV_IPI_FLUSH);
}

// A hart that waits for an interrupt gives its turn away where a simulator runs the harts in turn. So: raise our own
// software interrupt with delivery masked, and wait for it, which returns at once. What it hid is looked for
// afterwards: a flush is served here and now, since the hart that wants it may be the one that we wait for; the rest
// is raised again.
//
// Where the harts are threads of a host with fewer processors, the one we wait for may not be running at all: a long
// wait naps instead, which leaves the host's processor to it. An interrupt, also one for a flush, ends the nap.
void riscv_yield_hart(unsigned round)
{
    irqflags_t flags = arch_irq_save();
    uint32_t *mailbox = &harts[arch_hart_index()].mailbox;

    if (round < ROUNDS_BEFORE_NAP) {
        csr_set(sip, SIE_SSIE);
        arch_wait_for_interrupt();
    } else {
        // What is pending already, and cannot be taken here, would end every nap at once.
        csr_clear(sip, SIE_SSIE);
        riscv_timer_nap(NAPS_PER_SECOND);
    }
    clear_own_interrupt();
    if (__atomic_load_n(mailbox, __ATOMIC_ACQUIRE) & RISCV_IPI_FLUSH) {
        __atomic_fetch_and(mailbox, ~RISCV_IPI_FLUSH, __ATOMIC_ACQ_REL);
        riscv_serve_remote_flush();
    }
    // A hart that waits with interrupts masked may wait for ever: it still tells where it is.
    if (__atomic_load_n(mailbox, __ATOMIC_ACQUIRE) & IPI_HALT)
        upcall_ipi(IPI_HALT);
    if (__atomic_load_n(mailbox, __ATOMIC_ACQUIRE) != 0)
        csr_set(sip, SIE_SSIE);
    arch_irq_restore(flags);
}

void arch_context_init(struct arch_context *context, void *stack_top, void (*entry)(void *argument), void *argument)
{
    *context = (struct arch_context){
        .ra = (uintptr_t)riscv_context_begin,
        .sp = (uintptr_t)stack_top,
        .s = { (uintptr_t)entry, (uintptr_t)argument },
    };
}
