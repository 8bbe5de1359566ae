// Flushes of all harts dropped, or without one of them: harts go on using what they should have forgotten.
// SPDX-License-Identifier: BSD-2-Clause
//
// QEMU forgets everything at every fence, and remembers no absence. So it shows neither a flush beside the address or
// too short nor one that a new entry needs; those are the host's (test/host/flush_mutation_test.c), which has a row for
// every cause. What it does show is that a fence reaches the other harts, and that they need it.
#include "../unit/highmem_support.h"

#include <arch/smp.h>
#include <arch/uaccess.h>
#include <base/bits.h>
#include <mm/pgtable.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>
#include <mm/vmem.h>

enum mutation { NONE, DROP, HART, MUTATIONS };

static struct {
    enum tlb_cause cause;
    enum mutation mutation;
    void *address;                 // what harts read, or write, before and after
    bool by_write;
    struct page *page;
    void (*change)(void);
    unsigned arrived, changed;     // (A)
    uint64_t stale;                // (A) harts that had access afterwards
} drill;

static struct page *pool_pages[KMAP_SLOTS + 1];

static bool spoil(struct tlb_request *request, enum tlb_cause cause)
{
    if (cause == drill.cause && drill.mutation == HART)
        request->harts &= ~(1UL << (arch_hart_count() - 1));
    return cause != drill.cause || drill.mutation != DROP;
}

static bool has_access(void)
{
    uint8_t value;

    return drill.by_write ? arch_probe_write(drill.address, 1) : arch_probe_read(drill.address, &value);
}

static void touch_before_and_after(unsigned index, void *argument unused_arg)
{
    EXPECT(has_access());
    __atomic_fetch_add(&drill.arrived, 1, __ATOMIC_ACQ_REL);
    if (index == 0) {
        for (unsigned round = 0; __atomic_load_n(&drill.arrived, __ATOMIC_ACQUIRE) < arch_hart_count(); round++)
            arch_relax(round);
        tlb_set_flush_hook(spoil);
        drill.change();
        tlb_set_flush_hook(NULL);
        __atomic_store_n(&drill.changed, 1, __ATOMIC_RELEASE);
    }
    for (unsigned round = 0; __atomic_load_n(&drill.changed, __ATOMIC_ACQUIRE) == 0; round++)
        arch_relax(round);
    if (has_access())
        __atomic_fetch_or(&drill.stale, 1UL << index, __ATOMIC_RELAXED);
}

// --- What harts share, and what becomes of it.

static bool map_page_with(unsigned prot)
{
    uint64_t at;

    drill.page = alloc_page(GFP_KERNEL);
    if (!EXPECT(drill.page) ||
        !EXPECT_EQ(vmem_alloc(&vmalloc_arena, PAGE_SIZE, PAGE_SIZE, 0, GFP_KERNEL, &at), 0) ||
        !EXPECT_EQ(pgtable_map(&kernel_pgtable, vaddr(at), page_to_phys(drill.page), PAGE_SIZE, prot, 0), 0))
        return false;
    drill.address = (void *)at;
    return true;
}

static bool map_page(void) { return map_page_with(PROT_KERNEL_RW); }
static bool map_own_page(void) { return map_page_with(PROT_READ | PROT_WRITE); }

static void unmap(void)
{
    pgtable_unmap(&kernel_pgtable, vaddr_of(drill.address), PAGE_SIZE);
    tlb_flush_kernel(vaddr_of(drill.address), PAGE_SIZE, drill.cause);
}

static void unmap_table(void)
{
    pgtable_unmap(&kernel_pgtable, vaddr_of(drill.address), PAGE_SIZE);
    tlb_flush_kernel_all(drill.cause);
}

static void unmap_of_asid(void)
{
    pgtable_unmap(&kernel_pgtable, vaddr_of(drill.address), PAGE_SIZE);
    tlb_flush_asid(ASID_KERNEL, vaddr_of(drill.address), PAGE_SIZE, TLB_EVERY_HART, drill.cause);
}

static void unmap_all_of_asid(void)
{
    pgtable_unmap(&kernel_pgtable, vaddr_of(drill.address), PAGE_SIZE);
    tlb_flush_asid_all(ASID_KERNEL, TLB_EVERY_HART, drill.cause);
}

static void unmap_by_batch(void)
{
    struct tlb_batch batch;

    tlb_batch_init(&batch);
    pgtable_unmap(&kernel_pgtable, vaddr_of(drill.address), PAGE_SIZE);
    tlb_batch_add(&batch, vaddr_of(drill.address), PAGE_SIZE);
    tlb_batch_flush(&batch, drill.cause);
}

static void protect(void)
{
    EXPECT_EQ(pgtable_protect(&kernel_pgtable, vaddr_of(drill.address), PAGE_SIZE, PROT_KERNEL_RO), 0);
    tlb_flush_kernel(vaddr_of(drill.address), PAGE_SIZE, drill.cause);
}

static void end_page(void)
{
    pgtable_unmap(&kernel_pgtable, vaddr_of(drill.address), PAGE_SIZE);
    vmem_free(&vmalloc_arena, (uintptr_t)drill.address);
    __free_page(drill.page);
}

// Two pages, so more than one granule: where harts have Svinval, it is used.
static bool make_area(void)
{
    drill.page = alloc_page(GFP_KERNEL);
    drill.address = vmap((struct page *[]){ drill.page, drill.page }, 2, PROT_KERNEL_RW);
    return EXPECT(drill.address);
}

static void remove_area(void) { vunmap(drill.address); }
static void end_area(void) { __free_page(drill.page); }

// Every slot has been used, the one to look at last: it is not the first to be filled again.
static bool use_up_pool(void)
{
    if (!EXPECT(take_high_pages(pool_pages, KMAP_SLOTS + 1)))
        return false;
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        drill.address = max_of(drill.address, kmap(pool_pages[i]));
    for (unsigned i = 0; i < KMAP_SLOTS; i++)
        kunmap(pool_pages[i]);
    return true;
}

static void use_one_more(void) { EXPECT_NE(kmap(pool_pages[KMAP_SLOTS]), drill.address); }

static void end_pool(void)
{
    kunmap(pool_pages[KMAP_SLOTS]);
    give_pages(pool_pages, KMAP_SLOTS + 1);
}

static const struct row {
    const char *name;
    enum tlb_cause cause;
    bool (*prepare)(void);
    void (*change)(void), (*end)(void);
    bool by_write, needs_highmem;
} rows[] = {
    { "vmalloc purge", TLB_VMALLOC_PURGE, map_page, unmap_by_batch, end_page, false, false },
    { "unmap", TLB_UNMAP, make_area, remove_area, end_area, false, false },
    { "unmap of an asid", TLB_UNMAP, map_own_page, unmap_of_asid, end_page, false, false },
    { "all of an asid", TLB_UNMAP, map_own_page, unmap_all_of_asid, end_page, false, false },
    { "table freed", TLB_TABLE_FREED, map_page, unmap_table, end_page, false, false },
    { "init freed", TLB_INIT_FREED, map_page, unmap, end_page, false, false },
    { "guard hidden", TLB_GUARD_HIDDEN, map_page, unmap, end_page, false, false },
    { "protect", TLB_PROTECT, map_page, protect, end_page, true, false },
    { "kmap emptied", TLB_KMAP_EMPTIED, use_up_pool, use_one_more, end_pool, false, true },
};

static void run(const struct row *row, enum mutation mutation)
{
    memset(&drill, 0, sizeof drill);
    drill.cause = row->cause;
    drill.mutation = mutation;
    drill.change = row->change;
    drill.by_write = row->by_write;
    if (!row->prepare())
        return;
    ktest_run_on_harts(touch_before_and_after, NULL);
    tlb_flush_kernel_all(TLB_UNMAP);
    row->end();
    tlb_flush_kernel_all(TLB_UNMAP);
}

// A flush that is dropped leaves the old translation to some hart, one without a hart to that hart alone, and a right
// one to nobody.
KTEST(flush_mutation, harts_left_out_are_seen)
{
    uint64_t last = 1UL << (arch_hart_count() - 1);

    if (arch_hart_count() == 1)
        ktest_skip("one hart");
    ktest_note("%-20s %6s %6s %6s", "flush", "none", "drop", "hart");
    for (unsigned i = 0; i < array_count(rows); i++) {
        unsigned stale[MUTATIONS];

        if (rows[i].needs_highmem && !has_highmem()) {
            ktest_note("%-20s      -      -      -", rows[i].name);
            continue;
        }
        for (enum mutation mutation = NONE; mutation < MUTATIONS; mutation++) {
            run(&rows[i], mutation);
            if (mutation == DROP)
                EXPECT_NE(drill.stale, 0);
            else
                EXPECT_EQ(drill.stale, mutation == HART ? last : 0);
            stale[mutation] = count_bits(drill.stale);
        }
        ktest_note("%-20s %6u %6u %6u", rows[i].name, stale[NONE], stale[DROP], stale[HART]);
    }
}
