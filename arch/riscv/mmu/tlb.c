// Every fence of the kernel, and the root of its page tables.
// SPDX-License-Identifier: BSD-2-Clause

#include "../riscv.h"
#include "../sbi.h"
#include <arch/irq.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/tlb.h>
#include <base/assert.h>
#include <base/bits.h>
#include <base/errno.h>
#include <base/format.h>
#include <port/csr.h>
#include <sync/spinlock.h>

// When to forget everything. What a flush costs is its fences, and the refill of what it took away for nothing:
//
//     a fence for each of n granules     n * FENCE_CYCLES
//     the same with Svinval              2 * FENCE_CYCLES + n * INVALIDATE_CYCLES
//     one fence for everything           FENCE_CYCLES + TLB_ENTRIES * REFILL_CYCLES
//
// The quantities are those of a small application core, in cycles. A fence drains the store buffer and refills the
// pipeline. What is lost is the first-level TLBs, for instructions and for data; of a refilled entry's walk the upper
// levels were met by its neighbours', so it is one load, which hits the second-level cache. Svinval's invalidations
// need not wait for each other, and each takes a pass through the TLB.
#define FENCE_CYCLES 24
#define INVALIDATE_CYCLES 4
#define TLB_ENTRIES (32 + 32)
#define REFILL_CYCLES 20
#define FENCED_GRANULES (1 + TLB_ENTRIES * REFILL_CYCLES / FENCE_CYCLES)
#define INVALIDATED_GRANULES ((TLB_ENTRIES * REFILL_CYCLES - FENCE_CYCLES) / INVALIDATE_CYCLES)

// Rounds of waiting between two looks at the clock. Several of them gave the turn away, which is the dearer thing.
#define ROUNDS_PER_LOOK 64

static uint64_t kernel_satp;       // (C) once start-up is over
static unsigned asid_bits;         // (C)
static bool has_svinval;           // (C)
static bool by_firmware;

uint64_t riscv_kernel_satp(void)
{
    return kernel_satp;
}

void riscv_tlb_init(bool svinval)
{
    has_svinval = svinval;
}

uint64_t arch_tlb_flush_all_granules(void)
{
    return has_svinval ? INVALIDATED_GRANULES : FENCED_GRANULES;
}

unsigned arch_tlb_asid_bits(void)
{
    return asid_bits;
}

int arch_tlb_set_remote(enum arch_tlb_remote remote)
{
    if (remote == ARCH_TLB_BY_FIRMWARE && !sbi_has_extension(SBI_EXT_RFENCE))
        return -ENODEV;
    by_firmware = remote == ARCH_TLB_BY_FIRMWARE;
    return 0;
}

// Section 4.2.1. With rs1 = an address, the leaf that translates it; x0: everything, tables included. With rs2 = x0, of
// every address space; else of that one, and no global entries.
static void fence_all(uint32_t asid)
{
    if (asid == TLB_EVERY_ASID)
        __asm__ volatile("sfence.vma" : : : "memory");
    else
        __asm__ volatile("sfence.vma zero, %0" : : "r"((uint64_t)asid) : "memory");
}

static void fence_address(uint64_t address, uint32_t asid)
{
    if (asid == TLB_EVERY_ASID)
        __asm__ volatile("sfence.vma %0, zero" : : "r"(address) : "memory");
    else
        __asm__ volatile("sfence.vma %0, %1" : : "r"(address), "r"((uint64_t)asid) : "memory");
}

// Chapter 7, Svinval: sinval.vma between sfence.w.inval and sfence.inval.ir is sfence.vma.
static void invalidate_begin(void)
{
    __asm__ volatile(".insn r 0x73, 0, 0x0c, x0, x0, x0" : : : "memory");
}

static void invalidate_address(uint64_t address, uint32_t asid)
{
    if (asid == TLB_EVERY_ASID)
        __asm__ volatile(".insn r 0x73, 0, 0x0b, x0, %0, x0" : : "r"(address) : "memory");
    else
        __asm__ volatile(".insn r 0x73, 0, 0x0b, x0, %0, %1" : : "r"(address), "r"((uint64_t)asid) : "memory");
}

static void invalidate_end(void)
{
    __asm__ volatile(".insn r 0x73, 0, 0x0c, x0, x0, x1" : : : "memory");
}

static void fence_ranges(const struct tlb_range *range, unsigned count, uint32_t asid)
{
    for (; count > 0; count--, range++)
        for (uint64_t offset = 0; offset < range->bytes; offset += MMU_PAGE_SIZE)
            fence_address(range->start.value + offset, asid);
}

static void invalidate_ranges(const struct tlb_range *range, unsigned count, uint32_t asid)
{
    invalidate_begin();
    for (; count > 0; count--, range++)
        for (uint64_t offset = 0; offset < range->bytes; offset += MMU_PAGE_SIZE)
            invalidate_address(range->start.value + offset, asid);
    invalidate_end();
}

static void fence(const struct tlb_request *request)
{
    uint64_t granules = tlb_request_granules(request);

    // Unprivileged specification 20191213, chapter 3: stores are seen by the fetches of the hart that executes it.
    if (request->fetches)
        __asm__ volatile("fence.i" : : : "memory");
    if (request->range_count == 0 || granules > arch_tlb_flush_all_granules())
        fence_all(request->asid);
    else if (has_svinval && granules > 1)
        invalidate_ranges(request->range, request->range_count, request->asid);
    else
        fence_ranges(request->range, request->range_count, request->asid);
}

void arch_tlb_flush_local(vaddr_t start, uint64_t bytes)
{
    const struct tlb_range range = { start, bytes };

    if (bytes == MMU_PAGE_SIZE)
        fence_address(start.value, TLB_EVERY_ASID);
    else
        fence(&(struct tlb_request){ .range = &range, .range_count = 1, .asid = TLB_EVERY_ASID });
}

// As many ASID bits as stay set. No entry of the number that is tried is left behind.
static unsigned probe_asid_bits(uint64_t satp)
{
    csr_write(satp, satp | SATP_ASID_MASK);
    uint64_t kept = csr_read(satp) & SATP_ASID_MASK;
    csr_write(satp, satp);
    return count_bits(kept);
}

void arch_mmu_activate(paddr_t root)
{
    kernel_satp = root.value >> MMU_PAGE_SHIFT | SATP_MODE_SV39;
    // Stores to the tables must be ordered before the walks that follow, and old translations forgotten.
    fence_all(TLB_EVERY_ASID);
    csr_write(satp, kernel_satp);
    asid_bits = probe_asid_bits(kernel_satp);
    fence_all(TLB_EVERY_ASID);
}

// One request at a time, served by every hart of it. A hart that waits for its turn, or for any other lock, serves the
// request of the hart that it waits for (riscv_yield_hart), so masked interrupts cannot make two harts wait for each
// other.
static struct {
    struct spinlock lock;
    const struct tlb_request *request;     // (L)
    uint64_t unserved;                     // (A) harts that have not done it yet
} remote = { .lock = SPINLOCK_INIT(REMOTE_FLUSH) };

void riscv_serve_remote_flush(void)
{
    fence(remote.request);
    // Release: the fence is done before the requester can know.
    __atomic_fetch_and(&remote.unserved, ~(1UL << arch_hart_index()), __ATOMIC_RELEASE);
}

static cold _Noreturn void panic_on_silence(const struct tlb_request *request, uint64_t silent, uint64_t ticks)
{
    char harts[MAX_HARTS * 3 + 1], what[64] = "everything";
    size_t used = 0;

    for (; silent != 0; silent &= silent - 1)
        used += (size_t)format_text(harts + used, sizeof harts - used, " %u", lowest_bit(silent));
    if (request->range_count != 0)
        format_text(what, sizeof what, "%lu bytes at %#lx%s", request->range[0].bytes, request->range[0].start.value,
                    request->range_count > 1 ? " and more" : "");
    panic("hart %u waits since %lu ms for a flush of %s (%s): no answer of hart%s", arch_hart_index(),
          ticks * 1000 / arch_timer_hz(), what, request->cause, harts);
}

// Rather by interrupts of our own than by the firmware's remote fence: that one spins in M-mode, where nothing lets the
// other harts run on a simulator that runs them in turn.
static void flush_by_interrupt(const struct tlb_request *request, uint64_t others)
{
    irqflags_t flags = spin_lock_irqsave(&remote.lock);
    uint64_t started = arch_time(), silent;

    remote.request = request;
    __atomic_store_n(&remote.unserved, others, __ATOMIC_RELAXED);
    for (uint64_t rest = others; rest != 0; rest &= rest - 1)
        arch_ipi_send(lowest_bit(rest), RISCV_IPI_FLUSH);
    for (unsigned round = 0; (silent = __atomic_load_n(&remote.unserved, __ATOMIC_ACQUIRE)) != 0; round++) {
        arch_relax(round);
        if (round % ROUNDS_PER_LOOK == ROUNDS_PER_LOOK - 1 && arch_time() - started > spin_lock_limit)
            panic_on_silence(request, silent, arch_time() - started);
    }
    spin_unlock_irqrestore(&remote.lock, flags);
}

// One call names 64 machine ids and one range: several become everything. There is no limit to the wait: M-mode
// answers, which a hart of ours cannot forbid.
static void flush_by_firmware(const struct tlb_request *request, uint64_t others)
{
    struct tlb_range range = request->range_count == 1 ? request->range[0] : (struct tlb_range){ .bytes = 0 };

    // Stores to the tables come before the walks of other harts: the firmware need not order them.
    __atomic_thread_fence(__ATOMIC_RELEASE);
    while (others != 0) {
        uint64_t base = arch_hart_machine_id(lowest_bit(others)), mask = 0;
        for (uint64_t rest = others; rest != 0; rest &= rest - 1) {
            uint64_t place = arch_hart_machine_id(lowest_bit(rest)) - base;
            if (place < 64) {
                mask |= 1UL << place;
                others &= ~(rest & -rest);
            }
        }
        struct sbi_result result = request->asid == TLB_EVERY_ASID
            ? sbi_remote_sfence_vma(mask, base, range.start.value, range.bytes)
            : sbi_remote_sfence_vma_asid(mask, base, range.start.value, range.bytes, request->asid);
        BUG_ON(result.error != 0);
        BUG_ON(request->fetches && sbi_remote_fence_i(mask, base).error != 0);
    }
}

void arch_tlb_flush(const struct tlb_request *request)
{
    // Moved to another hart in between, the caller would leave that one out.
    preempt_disable();
    uint64_t harts = request->harts & low_bits(arch_hart_count()), self = 1UL << arch_hart_index();

    if (harts & self)
        fence(request);
    if ((harts & ~self) != 0)
        (by_firmware ? flush_by_firmware : flush_by_interrupt)(request, harts & ~self);
    preempt_enable();
}
