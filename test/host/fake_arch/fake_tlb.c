// The fake port's MMU: an exact TLB of every hart, filled by faults and emptied by flushes.
// SPDX-License-Identifier: BSD-2-Clause
#define _GNU_SOURCE
#include <fake_arch.h>

#include "fake_private.h"
#include "linux_memory.h"

#include <arch/layout.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/tlb.h>
#include <arch/uaccess.h>
#include <base/assert.h>
#include <base/bits.h>
#include <base/format.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#define GRANULES ((ARCH_MODULE_END - ARCH_DIRECT_BASE) >> MMU_PAGE_SHIFT)

// Few, so that numbers come round soon; and more granules than most cases flush, since those count them.
#define FAKE_ASID_BITS 7
#define FAKE_FLUSH_ALL_GRANULES 2048

// x86 page-fault error code (Intel SDM volume 3, section 4.7).
#define FAULT_WRITE (1U << 1)
#define FAULT_FETCH (1U << 4)

// What a hart knows of a granule; 0: nothing.
//
//    63      52 51                12   11      10    9 ... 6   5 ... 0
//   +----------+--------------------+-------+------+---------+---------+
//   |   ASID   | of the granule     | known | leaf |    0    |  prot   |
//   +----------+--------------------+-------+------+---------+---------+
#define ENTRY_ASID_SHIFT 52
#define ENTRY_ADDRESS (low_bits(ENTRY_ASID_SHIFT) & -MMU_PAGE_SIZE)
#define ENTRY_KNOWN (1UL << 11)
#define ENTRY_LEAF (1UL << 10)
#define ENTRY_RIGHTS (PROT_READ | PROT_WRITE | PROT_EXEC)

// Entries by granule, from the direct map's start on. All that are not 0 lie in [first, end).
struct entries {
    uint64_t *entry;
    uint64_t known, first, end;
};

static struct entries tlb[MAX_HARTS];
static uint32_t asid_in_use[MAX_HARTS];
static struct entries shown;               // the process's mappings in the vmalloc space, by the entries they show
static bool ignore_flushes;
static struct fake_tlb_stats stats;
bool fake_has_napot;
static paddr_t active_root;
static bool is_active;
static bool tlb_lock;                      // guards all of the above; plain, for use in a signal handler

static _Thread_local volatile bool fault_expected;      // read by the handler in the middle of an access
static _Thread_local sigjmp_buf after_fault;

static bool probe_lock;                    // one probe at a time: none maps what another one is about to use

static void take(bool *lock)
{
    while (__atomic_test_and_set(lock, __ATOMIC_ACQUIRE))
        sched_yield();
}

static void release(bool *lock)
{
    __atomic_clear(lock, __ATOMIC_RELEASE);
}

static void lock_tlb(void) { take(&tlb_lock); }
static void unlock_tlb(void) { release(&tlb_lock); }

static uint64_t granule_of(uint64_t address)
{
    return (address - ARCH_DIRECT_BASE) >> MMU_PAGE_SHIFT;
}

static bool is_vmalloc(uint64_t address)
{
    return address >= ARCH_VMALLOC_BASE && address < ARCH_MODULE_END;
}

static void entries_init(struct entries *entries)
{
    *entries = (struct entries){ .entry = linux_zeros(GRANULES * sizeof(uint64_t)), .first = GRANULES };
}

static void put(struct entries *entries, uint64_t granule, uint64_t entry)
{
    entries->known += (entry != 0) - (uint64_t)(entries->entry[granule] != 0);
    entries->entry[granule] = entry;
    if (entry != 0) {
        entries->first = min_of(entries->first, granule);
        entries->end = max_of(entries->end, granule + 1);
    } else if (entries->known == 0) {
        entries->first = GRANULES;
        entries->end = 0;
    }
}

// As the hardware would, by the entries in memory alone. Says whether the leaf is a run of neighbours.
static uint64_t walk(vaddr_t address, bool *is_run)
{
    paddr_t table = active_root;

    if (!is_active)
        return ENTRY_KNOWN;
    for (unsigned level = ARCH_PT_LEVELS - 1;; level--) {
        if (!is_aligned(table.value, MMU_PAGE_SIZE) || !fake_ram_contains(table))
            panic("page table at %#lx, which is no RAM", table.value);
        const pte_t *entries = (const pte_t *)(table.value + ARCH_DIRECT_BASE);
        pte_t pte = { __atomic_load_n(&entries[pt_index(address, level)].value, __ATOMIC_RELAXED) };
        if (!arch_pte_is_present(pte))
            return ENTRY_KNOWN;
        if (arch_pte_is_leaf(pte)) {
            uint64_t inside = align_down(address.value, MMU_PAGE_SIZE) & (pt_level_size(level) - 1);
            unsigned order = arch_pte_is_napot(pte) ? ARCH_NAPOT_ORDER : 0;
            if (level >= ARCH_PT_LEAF_LEVELS || (order > 0 && (level > 0 || !fake_has_napot)) ||
                !is_aligned(arch_pte_paddr(pte).value, pt_level_size(level) << order))
                panic("page-table entry %#lx is no leaf for level %u", pte.value, level);
            *is_run = order > 0;
            if (order > 0)
                inside = align_down(address.value, MMU_PAGE_SIZE) & ((MMU_PAGE_SIZE << order) - 1);
            return ((arch_pte_paddr(pte).value + inside) & ENTRY_ADDRESS) | ENTRY_KNOWN | ENTRY_LEAF |
                   arch_pte_prot(pte);
        }
        if (level == 0)
            panic("page-table entry %#lx names a table at level 0", pte.value);
        table = arch_pte_paddr(pte);
    }
}

// What the hart goes by for an address now, 0 when it has to walk. An entry of another address space is none.
static uint64_t known_entry(unsigned hart, uint64_t granule)
{
    uint64_t entry = tlb[hart].entry[granule];
    bool is_global = (entry & ENTRY_LEAF) != 0 && (entry & PROT_GLOBAL) != 0;

    return is_global || entry >> ENTRY_ASID_SHIFT == asid_in_use[hart] ? entry & low_bits(ENTRY_ASID_SHIFT) : 0;
}

static uint64_t look_up(unsigned hart, uint64_t address)
{
    uint64_t granule = granule_of(address), entry = known_entry(hart, granule);

    if (entry != 0)
        return entry;
    bool is_run = false;
    entry = walk(vaddr(address), &is_run);
    // One entry of a run is enough for the hardware to know all of it, whatever the others hold.
    unsigned granules = is_run ? 1U << ARCH_NAPOT_ORDER : 1;
    uint64_t first = granule & ~(uint64_t)(granules - 1), start = entry - (granule - first) * MMU_PAGE_SIZE;
    for (unsigned i = 0; i < granules; i++)
        if (first + i == granule || known_entry(hart, first + i) == 0) {
            put(&tlb[hart], first + i, (start + i * MMU_PAGE_SIZE) | (uint64_t)asid_in_use[hart] << ENTRY_ASID_SHIFT);
            stats.fills += (entry & ENTRY_LEAF) != 0;
        }
    return entry;
}

// Makes the access possible if this hart's TLB, or else the tables, allow it. What the process has mapped there may be
// what another hart knows, so it is made what this one does.
static bool translate(uint64_t address, unsigned needed)
{
    uint64_t granule = granule_of(address);

    lock_tlb();
    uint64_t entry = look_up(arch_hart_index(), address);
    if ((entry & ENTRY_LEAF) == 0) {
        // That nothing was there is answered as the kernel does (lib/init/fault.c): by a fence and another look.
        put(&tlb[arch_hart_index()], granule, 0);
        entry = look_up(arch_hart_index(), address);
    }
    bool allowed = (entry & ENTRY_LEAF) != 0 && (entry & needed) == needed;
    if (allowed && shown.entry[granule] != entry) {
        linux_map_phys(align_down(address, MMU_PAGE_SIZE), MMU_PAGE_SIZE, entry & ENTRY_ADDRESS, entry & PROT_READ,
                       entry & PROT_WRITE, entry & PROT_EXEC);
        put(&shown, granule, entry);
    }
    stats.faults += !allowed;
    unlock_tlb();
    return allowed;
}

static void on_fault(int signal_number unused_arg, siginfo_t *info, void *context)
{
    uint64_t error = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR];
    uint64_t address = (uint64_t)info->si_addr;
    unsigned needed = error & FAULT_FETCH ? PROT_EXEC : error & FAULT_WRITE ? PROT_WRITE : PROT_READ;

    if (is_vmalloc(address) && translate(address, needed))
        return;
    if (fault_expected) {
        fault_expected = false;
        siglongjmp(after_fault, 1);
    }
    panic("unexpected fault: %s of %#lx",
          needed == PROT_EXEC ? "fetch" : needed == PROT_WRITE ? "write" : "read", address);
}

// By this hart's TLB, also where another hart's entry is what the process has mapped. Elsewhere all memory is simply
// there.
static bool may_access(uint64_t address, unsigned needed)
{
    return !is_vmalloc(address) || translate(address, needed);
}

// The landing for a fault is set around a single access; after it the function that set it returns false. The
// signal mask is put back too: under a sanitizer the handler runs with everything masked.
#define PROBE(needed, access) \
    do { \
        take(&probe_lock); \
        if (!may_access((uint64_t)address, needed) || sigsetjmp(after_fault, 1) != 0) { \
            release(&probe_lock); \
            return false; \
        } \
        fault_expected = true; \
        access; \
        fault_expected = false; \
        release(&probe_lock); \
        return true; \
    } while (0)

// What they do is wrong on purpose: sanitizers look away.
#define UNCHECKED __attribute__((no_sanitize("address", "thread", "undefined")))

UNCHECKED bool arch_probe_read(const volatile void *address, uint8_t *value)
{
    PROBE(PROT_READ, *value = *(const volatile uint8_t *)address);
}

UNCHECKED bool fake_try_load(const uint64_t *address, uint64_t *value)
{
    PROBE(PROT_READ, *value = *(const volatile uint64_t *)address);
}

UNCHECKED bool arch_probe_write(volatile void *address, uint8_t value)
{
    PROBE(PROT_WRITE, *(volatile uint8_t *)address = value);
}

UNCHECKED bool arch_probe_exec(const volatile void *address)
{
    PROBE(PROT_EXEC, ((void (*)(void))(uintptr_t)address)());
}

void arch_write_return(void *address)
{
    *(uint8_t *)address = 0xc3;
}

void fake_tlb_init(unsigned hart_count)
{
    struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

    for (unsigned hart = 0; hart < hart_count; hart++)
        entries_init(&tlb[hart]);
    entries_init(&shown);
    linux_reserve(ARCH_VMALLOC_BASE, ARCH_MODULE_END - ARCH_VMALLOC_BASE, false);
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGSEGV, &action, NULL) != 0 || sigaction(SIGBUS, &action, NULL) != 0)
        panic("no fault handler");
}

static bool is_of(uint64_t entry, uint32_t asid)
{
    return asid == TLB_EVERY_ASID || (entry >> ENTRY_ASID_SHIFT == asid && !(entry & PROT_GLOBAL));
}

static void forget(struct entries *entries, uint64_t first, uint64_t end, uint32_t asid)
{
    first = max_of(first, entries->first);
    end = min_of(end, entries->end);
    for (uint64_t granule = first; granule < end && entries->known > 0; granule++)
        if (entries->entry[granule] != 0 && is_of(entries->entry[granule], asid)) {
            stats.granules_dropped += (entries->entry[granule] & ENTRY_LEAF) != 0;
            put(entries, granule, 0);
        }
}

// Takes away what the process has mapped of those granules, neighbours by one system call. Harts that still have
// entries map them again, by a fault.
static void hide(uint64_t first, uint64_t end)
{
    first = max_of(first, shown.first);
    end = min_of(end, shown.end);
    for (uint64_t granule = first; granule < end && shown.known > 0; granule++) {
        uint64_t run = granule;
        for (; granule < end && shown.entry[granule] != 0; granule++)
            put(&shown, granule, 0);
        if (granule > run)
            linux_unmap(ARCH_DIRECT_BASE + (run << MMU_PAGE_SHIFT), (granule - run) << MMU_PAGE_SHIFT);
    }
}

static void drop(uint64_t harts, uint64_t first, uint64_t end, uint32_t asid)
{
    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        if (tlb[hart].entry != NULL && (harts >> hart & 1) != 0)
            forget(&tlb[hart], first, end, asid);
    hide(first, end);
}

// With the lock.
static void drop_range(const struct tlb_range *range, uint64_t harts, uint32_t asid)
{
    uint64_t start = range->start.value, bytes = range->bytes;

    if (!is_aligned(start | bytes, MMU_PAGE_SIZE) || start + bytes < start)
        panic("flush of %#lx bytes at %#lx: not in whole granules", bytes, start);
    stats.granules_named += bytes >> MMU_PAGE_SHIFT;
    stats.last_start = range->start;
    stats.last_bytes = bytes;
    uint64_t first = max_of(start, ARCH_DIRECT_BASE), end = min_of(start + bytes, ARCH_MODULE_END);
    if (first < end && !ignore_flushes)
        drop(harts, granule_of(first), granule_of(end), asid);
}

void arch_tlb_flush_local(vaddr_t start, uint64_t bytes)
{
    lock_tlb();
    stats.local_flushes++;
    drop_range(&(struct tlb_range){ start, bytes }, 1UL << arch_hart_index(), TLB_EVERY_ASID);
    unlock_tlb();
}

void arch_tlb_flush(const struct tlb_request *request)
{
    lock_tlb();
    stats.kernel_flushes++;
    if (request->fetches)
        stats.fetching_harts = request->harts;
    if (request->range_count == 0 && !ignore_flushes)
        drop(request->harts, 0, GRANULES, request->asid);
    for (unsigned i = 0; i < request->range_count; i++)
        drop_range(&request->range[i], request->harts, request->asid);
    unlock_tlb();
}

uint64_t arch_tlb_flush_all_granules(void)
{
    return FAKE_FLUSH_ALL_GRANULES;
}

unsigned arch_tlb_asid_bits(void)
{
    return FAKE_ASID_BITS;
}

int arch_tlb_set_remote(enum arch_tlb_remote remote unused_arg)
{
    return 0;
}

void arch_mmu_activate(paddr_t root)
{
    lock_tlb();
    active_root = root;
    is_active = true;
    drop(TLB_EVERY_HART, 0, GRANULES, TLB_EVERY_ASID);
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
    bool holds = false;

    if (address.value < ARCH_DIRECT_BASE || address.value >= ARCH_MODULE_END)
        return false;
    lock_tlb();
    for (unsigned hart = 0; hart < MAX_HARTS; hart++)
        holds |= tlb[hart].entry != NULL && (tlb[hart].entry[granule_of(address.value)] & ENTRY_LEAF) != 0;
    unlock_tlb();
    return holds;
}

void fake_tlb_load(unsigned hart, vaddr_t start, uint64_t bytes)
{
    lock_tlb();
    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE)
        (void)look_up(hart, start.value + offset);
    unlock_tlb();
}

void fake_tlb_load_nothing(unsigned hart, vaddr_t start, uint64_t bytes)
{
    uint64_t nothing = ENTRY_KNOWN | (uint64_t)asid_in_use[hart] << ENTRY_ASID_SHIFT;

    lock_tlb();
    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE)
        put(&tlb[hart], granule_of(start.value + offset), nothing);
    unlock_tlb();
}

uint64_t fake_tlb_stale_granules(unsigned hart, vaddr_t start, uint64_t bytes)
{
    uint64_t stale = 0;

    lock_tlb();
    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE) {
        bool is_run;
        uint64_t known = known_entry(hart, granule_of(start.value + offset));
        stale += known != 0 && known != walk(vaddr_add(start, offset), &is_run);
    }
    unlock_tlb();
    return stale;
}

void fake_tlb_use_asid(unsigned hart, uint32_t asid)
{
    lock_tlb();
    asid_in_use[hart] = asid;
    hide(0, GRANULES);
    unlock_tlb();
}
