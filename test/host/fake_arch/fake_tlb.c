// The fake port's MMU: an exact TLB over the vmalloc space, filled by faults and emptied by flushes.
// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include <fake_arch.h>

#include "fake_private.h"
#include "linux_memory.h"

#include <arch/layout.h>
#include <arch/mmu.h>
#include <arch/tlb.h>
#include <arch/uaccess.h>
#include <base/assert.h>
#include <base/format.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#define TLB_GRANULES ((ARCH_VMALLOC_END - ARCH_VMALLOC_BASE) >> MMU_PAGE_SHIFT)

// x86 page-fault error code (Intel SDM volume 3, section 4.7).
#define FAULT_WRITE (1U << 1)
#define FAULT_FETCH (1U << 4)

// What the TLB knows of a granule; with ENTRY_LEAF, the leaf's PROT_ bits stand below.
#define ENTRY_UNKNOWN 0
#define ENTRY_NO_LEAF (1U << 6)
#define ENTRY_LEAF (1U << 7)

static uint8_t tlb[TLB_GRANULES];
static uint64_t tlb_known;                 // entries that are not ENTRY_UNKNOWN
static bool ignore_flushes;
static struct fake_tlb_stats stats;
bool fake_has_napot;
static paddr_t active_root;
static bool is_active;
static bool tlb_lock;                      // guards all of the above; plain, for use in a signal handler

static _Thread_local volatile bool fault_expected;      // read by the handler in the middle of an access
static _Thread_local sigjmp_buf after_fault;

static void lock_tlb(void)
{
    while (__atomic_test_and_set(&tlb_lock, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void unlock_tlb(void)
{
    __atomic_clear(&tlb_lock, __ATOMIC_RELEASE);
}

static uint64_t granule_of(uint64_t address)
{
    return (address - ARCH_VMALLOC_BASE) >> MMU_PAGE_SHIFT;
}

// As the hardware would, by the entries in memory alone. Where a leaf is one of a run, the walk finds the run's start,
// and how many granules it has; else the granule.
static uint8_t walk(vaddr_t address, paddr_t *phys, unsigned *granules)
{
    paddr_t table = active_root;

    if (!is_active)
        return ENTRY_NO_LEAF;
    for (unsigned level = ARCH_PT_LEVELS - 1;; level--) {
        if (!is_aligned(table.value, MMU_PAGE_SIZE) || !fake_ram_contains(table))
            panic("page table at %#lx, which is no RAM", table.value);
        const pte_t *entries = (const pte_t *)(table.value + ARCH_DIRECT_BASE);
        pte_t pte = { __atomic_load_n(&entries[pt_index(address, level)].value, __ATOMIC_RELAXED) };
        if (!arch_pte_is_present(pte))
            return ENTRY_NO_LEAF;
        if (arch_pte_is_leaf(pte)) {
            uint64_t inside = align_down(address.value, MMU_PAGE_SIZE) & (pt_level_size(level) - 1);
            unsigned order = arch_pte_is_napot(pte) ? ARCH_NAPOT_ORDER : 0;
            if (level >= ARCH_PT_LEAF_LEVELS || (order > 0 && (level > 0 || !fake_has_napot)) ||
                !is_aligned(arch_pte_paddr(pte).value, pt_level_size(level) << order))
                panic("page-table entry %#lx is no leaf for level %u", pte.value, level);
            *phys = paddr_add(arch_pte_paddr(pte), inside);
            *granules = 1U << order;
            return (uint8_t)(ENTRY_LEAF | (arch_pte_prot(pte) & (PROT_READ | PROT_WRITE | PROT_EXEC)));
        }
        if (level == 0)
            panic("page-table entry %#lx names a table at level 0", pte.value);
        table = arch_pte_paddr(pte);
    }
}

static void fill_granule(uint64_t granule, uint8_t entry, paddr_t phys)
{
    if (tlb[granule] != ENTRY_UNKNOWN)
        return;
    tlb[granule] = entry;
    tlb_known++;
    if (entry & ENTRY_LEAF) {
        stats.fills++;
        linux_map_phys(ARCH_VMALLOC_BASE + (granule << MMU_PAGE_SHIFT), MMU_PAGE_SIZE, phys.value, entry & PROT_READ,
                       entry & PROT_WRITE, entry & PROT_EXEC);
    }
}

// One entry of a run is enough for the hardware to know all of it, whatever the others hold.
static void fill(uint64_t address)
{
    paddr_t phys = { 0 };
    unsigned granules = 1;
    uint8_t entry = walk(vaddr(address), &phys, &granules);
    uint64_t first = granule_of(align_down(address, granules * MMU_PAGE_SIZE));

    for (unsigned i = 0; i < granules; i++)
        fill_granule(first + i, entry, paddr_add(phys, i * MMU_PAGE_SIZE));
}

// Makes the access possible if the TLB, or else the tables, allow it.
static bool translate(uint64_t address, unsigned needed)
{
    uint64_t granule = granule_of(address);
    bool allowed;

    lock_tlb();
    if (tlb[granule] == ENTRY_UNKNOWN)
        fill(address);
    allowed = (tlb[granule] & ENTRY_LEAF) != 0 && (tlb[granule] & needed) == needed;
    stats.faults += !allowed;
    unlock_tlb();
    return allowed;
}

static void on_fault(int signal_number unused_arg, siginfo_t *info, void *context)
{
    uint64_t error = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
    uint64_t address = (uint64_t)info->si_addr;
    unsigned needed = error & FAULT_FETCH ? PROT_EXEC : error & FAULT_WRITE ? PROT_WRITE : PROT_READ;

    if (address >= ARCH_VMALLOC_BASE && address < ARCH_VMALLOC_END && translate(address, needed))
        return;
    if (fault_expected) {
        fault_expected = false;
        siglongjmp(after_fault, 1);
    }
    panic("unexpected fault: %s of %#lx",
          needed == PROT_EXEC ? "fetch" : needed == PROT_WRITE ? "write" : "read", address);
}

// The landing for a fault is set around a single access; after it the function that set it returns false. The
// signal mask is put back too: under a sanitizer the handler runs with everything masked.
#define PROBE(access) \
    do { \
        if (sigsetjmp(after_fault, 1) != 0) \
            return false; \
        fault_expected = true; \
        access; \
        fault_expected = false; \
        return true; \
    } while (0)

// What they do is wrong on purpose: sanitizers look away.
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "undefined")))

UNCHECKED bool arch_probe_read(const volatile void *address, uint8_t *value)
{
    PROBE(*value = *(const volatile uint8_t *)address);
}

UNCHECKED bool fake_try_load(const uint64_t *address, uint64_t *value)
{
    PROBE(*value = *(const volatile uint64_t *)address);
}

UNCHECKED bool arch_probe_write(volatile void *address, uint8_t value)
{
    PROBE(*(volatile uint8_t *)address = value);
}

UNCHECKED bool arch_probe_exec(const volatile void *address)
{
    PROBE(((void (*)(void))(uintptr_t)address)());
}

void arch_write_return(void *address)
{
    *(uint8_t *)address = 0xc3;
}

void fake_tlb_init(void)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

    linux_reserve(ARCH_VMALLOC_BASE, ARCH_VMALLOC_END - ARCH_VMALLOC_BASE, false);
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
        panic("no fault handler");
}

// Forgets granules [first, end) of the space; neighbours go by one system call.
static void drop(uint64_t first, uint64_t end)
{
    for (uint64_t granule = first; granule < end && tlb_known > 0; granule++) {
        uint64_t run = granule;
        for (; granule < end && tlb[granule] != ENTRY_UNKNOWN; granule++) {
            stats.granules_dropped += (tlb[granule] & ENTRY_LEAF) != 0;
            tlb[granule] = ENTRY_UNKNOWN;
            tlb_known--;
        }
        if (granule > run)
            linux_unmap(ARCH_VMALLOC_BASE + (run << MMU_PAGE_SHIFT), (granule - run) << MMU_PAGE_SHIFT);
    }
}

static void flush(vaddr_t start, uint64_t bytes, uint64_t *calls)
{
    uint64_t first = max_of(start.value, ARCH_VMALLOC_BASE);
    uint64_t end = min_of(start.value + bytes, ARCH_VMALLOC_END);

    if (!is_aligned(start.value | bytes, MMU_PAGE_SIZE) || start.value + bytes < start.value)
        panic("flush of %#lx bytes at %#lx: not in whole granules", bytes, start.value);
    lock_tlb();
    (*calls)++;
    stats.granules_named += bytes >> MMU_PAGE_SHIFT;
    stats.last_start = start;
    stats.last_bytes = bytes;
    if (first < end && !ignore_flushes)
        drop(granule_of(first), granule_of(end));
    unlock_tlb();
}

void arch_tlb_flush_local(vaddr_t start, uint64_t bytes)
{
    flush(start, bytes, &stats.local_flushes);
}

void arch_tlb_flush_kernel(vaddr_t start, uint64_t bytes)
{
    flush(start, bytes, &stats.kernel_flushes);
}

void arch_mmu_activate(paddr_t root)
{
    lock_tlb();
    active_root = root;
    is_active = true;
    drop(0, TLB_GRANULES);
    unlock_tlb();
}

// V valid, L leaf, and the rights in the order of enum prot.
void arch_pte_describe(pte_t pte, char *text, size_t size)
{
    static const char letters[] = "RWXUGI";
    char rights[sizeof(letters)] = "------";

    for (unsigned bit = 0; bit < sizeof(letters) - 1; bit++)
        if (pte.value >> (FAKE_PTE_PROT_SHIFT + bit) & 1)
            rights[bit] = letters[bit];
    format_text(text, size, "%c%c%s%s%s, granule %#lx", pte.value & FAKE_PTE_VALID ? 'V' : '-',
                pte.value & FAKE_PTE_LEAF ? 'L' : '-', rights, pte.value & FAKE_PTE_RUN ? ", one of a run" : "",
                pte.value & FAKE_PTE_PINNED ? ", pinned" : "", pte.value & FAKE_PTE_GRANULE_MASK);
}

struct fake_tlb_stats fake_tlb_stats(void)
{
    lock_tlb();
    struct fake_tlb_stats copy = stats;
    unlock_tlb();
    return copy;
}

void fake_tlb_ignore_flushes(bool ignore)
{
    lock_tlb();
    ignore_flushes = ignore;
    unlock_tlb();
}

bool fake_tlb_holds(vaddr_t address)
{
    if (address.value < ARCH_VMALLOC_BASE || address.value >= ARCH_VMALLOC_END)
        return false;
    lock_tlb();
    bool holds = (tlb[granule_of(address.value)] & ENTRY_LEAF) != 0;
    unlock_tlb();
    return holds;
}
