// kmap and kunmap: the pool of slots that all harts share.
// SPDX-License-Identifier: BSD-2-Clause

#include "kmap_private.h"
#include "vmalloc_area.h"

#include <arch/smp.h>
#include <base/bits.h>
#include <debug/klog.h>
#include <mm/memblock.h>
#include <mm/page_clear.h>
#include <mm/tlb.h>
#include <sync/waitq.h>

#define POOL_BYTES (KMAP_SLOTS * PAGE_SIZE)
#define WINDOW_BYTES (POOL_BYTES + MAX_HARTS * KMAP_LOCAL_SLOTS * PAGE_SIZE)
#define BUCKETS 64
#define NO_SLOT KMAP_SLOTS

_Static_assert(KMAP_SLOTS == 64, "the masks are words");
_Static_assert(POOL_BYTES % (KMAP_LOCAL_SLOTS * PAGE_SIZE) == 0, "a hart's slots start at a multiple of their size");

struct slot {
    struct page *page;             // NULL: clean
    unsigned users;
    uint8_t next;                  // in the bucket, NO_SLOT at the end
};

// (L) the lock, (C) constant after start-up
static struct {
    struct spinlock lock;
    struct waitq freed;            // those who found every slot in use
    vaddr_t start;                 // (C) 0: there is no HIGHMEM
    pte_t *entry[KMAP_SLOTS];      // (C) of the slot's first granule
    struct slot slot[KMAP_SLOTS];  // (L)
    uint8_t bucket[BUCKETS];       // (L) first slot by page frame number, or NO_SLOT
    uint64_t clean, lazy;          // (L) a bit for each slot; in use are the others
    uint64_t flushes, full_count;  // (L)
} pool = { .lock = SPINLOCK_INIT(KMAP), .freed = WAITQ_INIT(pool.freed) };

static uint64_t misuse_count;      // (A)

cold void kmap_report_misuse(const char *operation, const void *what, const char *why, const void *caller)
{
    __atomic_fetch_add(&misuse_count, 1, __ATOMIC_RELAXED);
    klog_error("kmap: %s(%p) called by %p: %s\n", operation, what, caller, why);
}

const char *kmap_page_fault(const struct page *page)
{
    uintptr_t offset = (uintptr_t)page - ARCH_MEMMAP_BASE;

    if (offset >= MAX_PFN * sizeof(struct page) || offset % sizeof(struct page) != 0)
        return "no struct page";
    uint64_t first = page_to_phys(page).value, last = first + (PAGE_SIZE - 1);
    for (unsigned i = 0; i < memblock_ram.count; i++)
        if (first >= memblock_ram.range[i].start && last - memblock_ram.range[i].start < memblock_ram.range[i].size)
            return NULL;
    return "no page of RAM";
}

static vaddr_t slot_address(unsigned index)
{
    return vaddr_add(pool.start, index * PAGE_SIZE);
}

static uint8_t *bucket_of(const struct page *page)
{
    return &pool.bucket[page_to_pfn(page).value % BUCKETS];
}

static unsigned find_slot(const struct page *page)
{
    unsigned index = *bucket_of(page);

    while (index != NO_SLOT && pool.slot[index].page != page)
        index = pool.slot[index].next;
    return index;
}

static void unhash(unsigned index)
{
    uint8_t *link = bucket_of(pool.slot[index].page);

    while (*link != index)
        link = &pool.slot[*link].next;
    *link = pool.slot[index].next;
}

// One flush, from the first to the last of them: what is in use between loses nothing but a walk.
static void empty_lazy_slots(void)
{
    unsigned first = lowest_bit(pool.lazy), last = highest_bit(pool.lazy);

    for (uint64_t rest = pool.lazy; rest != 0; rest &= rest - 1) {
        unsigned index = lowest_bit(rest);
        unhash(index);
        pool.slot[index].page = NULL;
        pgtable_write_granules(pool.entry[index], GRANULES_PER_PAGE, paddr(0), 0);
    }
    // Section 4.2.1: leaves were changed, and are about to show other pages.
    tlb_flush_kernel(slot_address(first), (last - first + 1) * PAGE_SIZE, TLB_KMAP_EMPTIED);
    pool.clean |= pool.lazy;
    pool.lazy = 0;
    pool.flushes++;
}

// The caller has seen that a slot is clean.
static unsigned fill_slot(struct page *page)
{
    unsigned index = lowest_bit(pool.clean);

    pool.clean &= pool.clean - 1;
    pool.slot[index] = (struct slot){ .page = page, .next = *bucket_of(page) };
    *bucket_of(page) = (uint8_t)index;
    pgtable_write_granules(pool.entry[index], GRANULES_PER_PAGE, page_to_phys(page), PROT_KERNEL_RW);
    // This hart may remember that nothing was there; another one takes a fault, and tries again: section 4.2.1 allows
    // that for new leaves.
    tlb_flush_local(slot_address(index), PAGE_SIZE, TLB_KMAP_FILLED);
    return index;
}

// False when every slot is in use.
static bool try_map(struct page *page, void **address)
{
    spin_lock(&pool.lock);
    unsigned index = find_slot(page);

    if (index == NO_SLOT) {
        if (pool.clean == 0 && pool.lazy != 0)
            empty_lazy_slots();
        if (pool.clean != 0)
            index = fill_slot(page);
        else
            pool.full_count++;
    }
    if (index != NO_SLOT) {
        pool.slot[index].users++;
        pool.lazy &= ~(1UL << index);
        *address = vaddr_ptr(slot_address(index));
    }
    spin_unlock(&pool.lock);
    return index != NO_SLOT;
}

void *kmap_high(struct page *page)
{
    const char *fault = kmap_page_fault(page);
    void *address = NULL;

    if (fault != NULL)
        kmap_report_misuse("kmap", page, fault, __builtin_return_address(0));
    else if (!try_map(page, &address))
        wait_event(&pool.freed, try_map(page, &address));
    return address;
}

void kunmap_high(struct page *page)
{
    const char *fault = kmap_page_fault(page);
    bool wakes = false;

    if (fault == NULL) {
        spin_lock(&pool.lock);
        unsigned index = find_slot(page);
        if (index == NO_SLOT || pool.slot[index].users == 0) {
            fault = "it is not mapped";
        } else if (--pool.slot[index].users == 0) {
            // Who waits has seen every slot in use, so only the first to come free has anybody to wake.
            wakes = (pool.clean | pool.lazy) == 0;
            pool.lazy |= 1UL << index;
        }
        spin_unlock(&pool.lock);
    }
    if (fault != NULL)
        kmap_report_misuse("kunmap", page, fault, __builtin_return_address(0));
    if (wakes)
        waitq_wake_all(&pool.freed);
}

void kmap_flush_unused(void)
{
    spin_lock(&pool.lock);
    if (pool.lazy != 0)
        empty_lazy_slots();
    spin_unlock(&pool.lock);
}

// The slot of an address of the pool, or NO_SLOT.
static unsigned slot_at(uint64_t address)
{
    uint64_t offset = address - pool.start.value;

    return pool.start.value != 0 && offset < POOL_BYTES ? (unsigned)(offset / PAGE_SIZE) : NO_SLOT;
}

struct page *kmap_to_page(const void *address)
{
    unsigned index = slot_at((uintptr_t)address);

    if (virt_is_direct(address))
        return virt_to_page(address);
    if (index == NO_SLOT)
        return kmap_local_to_page(address);
    spin_lock(&pool.lock);
    struct page *page = pool.slot[index].users > 0 ? pool.slot[index].page : NULL;
    spin_unlock(&pool.lock);
    return page;
}

struct page *kmap_shown_page(vaddr_t address)
{
    unsigned index = slot_at(address.value);

    return index != NO_SLOT ? pool.slot[index].page : kmap_local_shown_page(address);
}

struct kmap_stats kmap_stats(void)
{
    spin_lock(&pool.lock);
    struct kmap_stats stats = {
        .in_use = pool.start.value != 0 ? KMAP_SLOTS - count_bits(pool.clean | pool.lazy) : 0,
        .lazy = count_bits(pool.lazy),
        .flushes = pool.flushes,
        .full_count = pool.full_count,
    };
    spin_unlock(&pool.lock);
    stats.misuse_count = __atomic_load_n(&misuse_count, __ATOMIC_RELAXED);
    return stats;
}

bool kmap_is_consistent(const char **why)
{
    if (pool.start.value == 0)
        return true;
    *why = (pool.clean & pool.lazy) != 0 ? "a slot is clean and lazy" : NULL;
    for (unsigned index = 0; index < KMAP_SLOTS && *why == NULL; index++) {
        const struct slot *slot = &pool.slot[index];
        bool is_clean = (pool.clean >> index & 1) != 0, is_lazy = (pool.lazy >> index & 1) != 0;

        if (is_clean != (slot->page == NULL))
            *why = "a clean slot has a page, or another one has none";
        else if ((slot->users != 0) != (!is_clean && !is_lazy))
            *why = "a slot is in use without users, or has users and is not in use";
        else if (!is_clean && find_slot(slot->page) != index)
            *why = "a page's slot is not found by the page";
    }
    return *why == NULL;
}

void kmap_init(void)
{
    if (memblock_ram_end().value <= highmem_start().value)
        return;
    struct vmalloc_area *area = vmalloc_area_create(WINDOW_BYTES, POOL_BYTES, 0, VMALLOC_KMAP,
                                                    __builtin_return_address(0));
    if (area == NULL || pgtable_pin(&kernel_pgtable, area->start, WINDOW_BYTES) != 0)
        panic("kmap: no memory for its window");
    for (unsigned i = 0; i < BUCKETS; i++)
        pool.bucket[i] = NO_SLOT;
    pool.start = area->start;
    pool.clean = UINT64_MAX;
    for (unsigned index = 0; index < KMAP_SLOTS; index++)
        pool.entry[index] = pgtable_granule_entry(&kernel_pgtable, slot_address(index));
    kmap_local_init(vaddr_add(area->start, POOL_BYTES));
    vmalloc_area_publish(area, VMALLOC_KMAP, 0);
    pages_set_high_clear(clear_highpage);
}
