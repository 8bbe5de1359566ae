// Harts: the clock, interrupts between them, and translations that one hart drops for all.
// SPDX-License-Identifier: BSD-2-Clause

#include <arch/irq.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <arch/uaccess.h>
#include <ktest/ktest.h>
#include <mm/page_alloc.h>
#include <mm/pgtable.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>
#include <arch/per_hart.h>
#include <sync/spinlock.h>

static PER_HART unsigned own_number;

static void set_own_number(unsigned index, void *machine_ids)
{
    this_hart(own_number) = index + 100;
    ((uint64_t *)machine_ids)[index] = arch_hart_machine_id(arch_hart_index());
    EXPECT_EQ(arch_hart_index(), index);
}

// Every hart runs threads of its own, has its own machine id and its own copy of per-hart data.
KTEST(hart, all_run_with_their_own_data)
{
    uint64_t ids[MAX_HARTS];
    unsigned count = ktest_run_on_harts(set_own_number, ids);

    EXPECT_EQ(count, arch_hart_count());
    for (unsigned i = 0; i < count; i++) {
        EXPECT_EQ(*per_hart_of(own_number, i), i + 100);
        for (unsigned j = 0; j < i; j++)
            EXPECT_NE(ids[i], ids[j]);
    }
}

static struct spinlock counter_lock = SPINLOCK_INIT(TEST_IRQ_OUTER);
static uint64_t counter;

static void count_up(unsigned index, void *rounds)
{
    (void)index;
    for (unsigned i = 0; i < *(unsigned *)rounds; i++) {
        irqflags_t flags = spin_lock_irqsave(&counter_lock);
        uint64_t seen = *(volatile uint64_t *)&counter;
        // Never so long that it naps: the others would only wait.
        arch_relax(i % 64);
        *(volatile uint64_t *)&counter = seen + 1;
        spin_unlock_irqrestore(&counter_lock, flags);
    }
}

// No increment is lost under the lock, although every holder lets the others in between.
KTEST(hart, spinlock_excludes)
{
    unsigned rounds = ktest_rounds(2000, 1000);
    counter = 0;
    unsigned count = ktest_run_on_harts(count_up, &rounds);
    EXPECT_EQ(counter, (uint64_t)count * rounds);
    EXPECT(!spin_is_locked(&counter_lock));
}

// The clock runs, at the rate that the device tree gives, and never back.
KTEST(hart, time_goes_on)
{
    uint64_t start = arch_time(), last = start;

    EXPECT_NE(arch_timer_hz(), 0);
    while (last - start < arch_timer_hz() / 1000) {
        uint64_t now = arch_time();
        REQUIRE(now >= last);
        last = now;
        arch_relax(7);
    }
}

struct shared_page {
    volatile uint64_t *address;
    unsigned arrived, changed, stale;
};

static void read_before_and_after(unsigned index, void *argument)
{
    struct shared_page *shared = argument;
    uint8_t value;

    // Every hart has the translation before it goes.
    EXPECT_EQ(*shared->address, 1);
    __atomic_fetch_add(&shared->arrived, 1, __ATOMIC_ACQ_REL);
    if (index == 0) {
        for (unsigned round = 0; __atomic_load_n(&shared->arrived, __ATOMIC_ACQUIRE) < arch_hart_count(); round++)
            arch_relax(round);
        pgtable_unmap(&kernel_pgtable, vaddr_of((void *)(uintptr_t)shared->address), PAGE_SIZE);
        tlb_flush_kernel(vaddr_of((void *)(uintptr_t)shared->address), PAGE_SIZE, TLB_UNMAP);
        __atomic_store_n(&shared->changed, 1, __ATOMIC_RELEASE);
    }
    for (unsigned round = 0; __atomic_load_n(&shared->changed, __ATOMIC_ACQUIRE) == 0; round++)
        arch_relax(round);
    for (size_t offset = 0; offset < PAGE_SIZE; offset += MMU_PAGE_SIZE)
        if (arch_probe_read((const volatile char *)shared->address + offset, &value))
            __atomic_fetch_add(&shared->stale, 1, __ATOMIC_RELAXED);
}

// Once the flush has returned no hart can reach any granule of the page by the old translation.
KTEST(tlb, flush_reaches_every_hart)
{
    uint64_t *area = vmalloc(PAGE_SIZE);
    REQUIRE(area);
    struct page *page = vmalloc_to_page(area);
    struct shared_page shared = { .address = area };

    *area = 1;
    ktest_run_on_harts(read_before_and_after, &shared);
    EXPECT_EQ(shared.stale, 0);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, vaddr_of(area), page_to_phys(page), PAGE_SIZE, PROT_KERNEL_RW, 0), 0);
    tlb_flush_kernel(vaddr_of(area), PAGE_SIZE, TLB_UNMAP);
    vfree(area);
}
