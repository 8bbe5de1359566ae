// The fake port's TLB: exact enough to show a flush that is missing, too short or in the wrong place.
// SPDX-License-Identifier: BSD-2-Clause
#include <fake_arch.h>

#include <arch/smp.h>
#include <arch/uaccess.h>
#include <ktest/ktest.h>
#include <mm/page_alloc.h>
#include <mm/pgtable.h>
#include <mm/tlb.h>
#include <mm/vmalloc.h>

// An area of two pages in the vmalloc space, whose mapping a case changes behind the back of its owner.
struct area {
    struct page *page[2];
    char *start;
};

static bool area_open(struct area *area)
{
    for (unsigned i = 0; i < 2; i++) {
        area->page[i] = alloc_page(GFP_KERNEL);
        if (!EXPECT(area->page[i]))
            return false;
        *(char *)page_to_virt(area->page[i]) = (char)('a' + i);
    }
    area->start = vmap(area->page, 2, PROT_KERNEL_RW);
    return EXPECT(area->start);
}

static void area_close(struct area *area)
{
    vunmap(area->start);
    for (unsigned i = 0; i < 2; i++)
        __free_page(area->page[i]);
}

// Maps `page` over the first page of the area, with those rights, and flushes nothing.
static void remap(struct area *area, struct page *page, unsigned prot)
{
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, vaddr_of(area->start), PAGE_SIZE), PAGE_SIZE);
    EXPECT_EQ(pgtable_map(&kernel_pgtable, vaddr_of(area->start), page_to_phys(page), PAGE_SIZE, prot, 0), 0);
}

static bool can_read(const void *address)
{
    uint8_t value;

    return arch_probe_read(address, &value);
}

// What was translated once stays so until a flush, also when the tables say something else by then.
KTEST(fake_tlb, keeps_a_translation_until_it_is_flushed)
{
    struct area area;

    REQUIRE(area_open(&area));
    EXPECT_EQ(*(volatile char *)area.start, 'a');
    EXPECT(fake_tlb_holds(vaddr_of(area.start)));
    remap(&area, area.page[1], PROT_KERNEL_RW);
    EXPECT_EQ(*(volatile char *)area.start, 'a');
    tlb_flush_kernel(vaddr_of(area.start), PAGE_SIZE, TLB_UNMAP);
    EXPECT(!fake_tlb_holds(vaddr_of(area.start)));
    EXPECT_EQ(*(volatile char *)area.start, 'b');
    remap(&area, area.page[0], PROT_KERNEL_RW);
    area_close(&area);
}

// That there was nothing is remembered until an access asks again, and the rights that there were until a flush.
KTEST(fake_tlb, keeps_absence_and_rights)
{
    struct area area;

    REQUIRE(area_open(&area));
    tlb_flush_kernel(vaddr_of(area.start), PAGE_SIZE, TLB_UNMAP);
    EXPECT_EQ(pgtable_unmap(&kernel_pgtable, vaddr_of(area.start), PAGE_SIZE), PAGE_SIZE);
    EXPECT(!can_read(area.start));
    EXPECT_EQ(pgtable_map(&kernel_pgtable, vaddr_of(area.start), page_to_phys(area.page[0]), PAGE_SIZE,
                          PROT_KERNEL_RO, 0), 0);
    EXPECT(can_read(area.start));
    EXPECT(!arch_probe_write(area.start, 'x'));
    EXPECT(!arch_probe_exec(area.start));
    EXPECT_EQ(pgtable_protect(&kernel_pgtable, vaddr_of(area.start), PAGE_SIZE, PROT_KERNEL_RW), 0);
    EXPECT(!arch_probe_write(area.start, 'x'));
    tlb_flush_local(vaddr_of(area.start), PAGE_SIZE, TLB_UNMAP);
    EXPECT(arch_probe_write(area.start, 'x'));
    EXPECT_EQ(*(char *)page_to_virt(area.page[0]), 'x');
    area_close(&area);
}

// Execution needs the right to it.
KTEST(fake_tlb, executes_what_it_may)
{
    struct area area;

    REQUIRE(area_open(&area));
    arch_write_return(page_to_virt(area.page[0]));
    EXPECT(!arch_probe_exec(area.start));
    EXPECT_EQ(pgtable_protect(&kernel_pgtable, vaddr_of(area.start), PAGE_SIZE, PROT_KERNEL_RX), 0);
    tlb_flush_kernel(vaddr_of(area.start), PAGE_SIZE, TLB_UNMAP);
    EXPECT(arch_probe_exec(area.start));
    EXPECT(!arch_probe_write(area.start, 0));
    area_close(&area);
}

// A flush forgets the granules that it names and no others, and is counted with its operands.
KTEST(fake_tlb, flushes_just_what_is_named)
{
    struct fake_tlb_stats before, after;
    struct area area;
    uint64_t granules = 2 * GRANULES_PER_PAGE, from = granules / 2, bytes = MMU_PAGE_SIZE;

    REQUIRE(area_open(&area));
    for (uint64_t i = 0; i < granules; i++)
        EXPECT(can_read(area.start + i * MMU_PAGE_SIZE));
    before = fake_tlb_stats();
    tlb_flush_kernel(vaddr_of(area.start + from * MMU_PAGE_SIZE), bytes, TLB_UNMAP);
    tlb_flush_local(vaddr_of(area.start), 0, TLB_UNMAP);
    after = fake_tlb_stats();
    for (uint64_t i = 0; i < granules; i++)
        EXPECT_EQ(fake_tlb_holds(vaddr_of(area.start + i * MMU_PAGE_SIZE)), i != from);
    EXPECT_EQ(after.kernel_flushes - before.kernel_flushes, 1);
    EXPECT_EQ(after.local_flushes - before.local_flushes, 1);
    EXPECT_EQ(after.granules_named - before.granules_named, 1);
    EXPECT_EQ(after.granules_dropped - before.granules_dropped, 1);
    EXPECT_EQ(after.last_start.value, (uintptr_t)area.start);
    EXPECT_EQ(after.last_bytes, 0);
    area_close(&area);
}

// If the kernel forgot the flush of an unmap, the memory could still be reached: that is how a test finds
// out.
KTEST(fake_tlb, shows_a_forgotten_flush)
{
    struct area area;
    char *start;

    REQUIRE(area_open(&area));
    start = area.start;
    EXPECT(can_read(start));
    fake_tlb_ignore_flushes(true);
    area_close(&area);
    fake_tlb_ignore_flushes(false);
    EXPECT(can_read(start));
    tlb_flush_kernel(vaddr_of(start), 2 * PAGE_SIZE, TLB_UNMAP);
    EXPECT(!can_read(start));
    tlb_flush_kernel(vaddr_of(start), 2 * PAGE_SIZE, TLB_UNMAP);
}

static void change_behind_one(unsigned index, void *argument)
{
    static unsigned read_count, changed;
    struct area *area = argument;
    uint8_t value = 0;

    EXPECT(can_read(area->start));
    __atomic_fetch_add(&read_count, 1, __ATOMIC_ACQ_REL);
    if (index == 0) {
        for (unsigned round = 0; __atomic_load_n(&read_count, __ATOMIC_ACQUIRE) < arch_hart_count(); round++)
            arch_relax(round);
        remap(area, area->page[1], PROT_KERNEL_RW);
        struct tlb_range range = { vaddr_of(area->start), PAGE_SIZE };
        arch_tlb_flush(&(struct tlb_request){ .range = &range, .range_count = 1, .asid = TLB_EVERY_ASID,
                                              .harts = TLB_EVERY_HART & ~2UL });
        __atomic_store_n(&changed, 1, __ATOMIC_RELEASE);
    }
    for (unsigned round = 0; __atomic_load_n(&changed, __ATOMIC_ACQUIRE) == 0; round++)
        arch_relax(round);
    EXPECT(arch_probe_read(area->start, &value));
    EXPECT_EQ(value, index == 1 ? 'a' : 'b');
    EXPECT_EQ(fake_tlb_stale_granules(index, vaddr_of(area->start), PAGE_SIZE), index == 1 ? GRANULES_PER_PAGE : 0);
}

// Every hart has a TLB of its own: the one that a flush leaves out goes on reading what was there before.
KTEST(fake_tlb, is_every_harts_own)
{
    struct area area;

    if (arch_hart_count() < 2)
        ktest_skip("one hart");
    REQUIRE(area_open(&area));
    for (uint64_t offset = 0; offset < PAGE_SIZE; offset += MMU_PAGE_SIZE)
        fake_tlb_load(1, vaddr_of(area.start + offset), MMU_PAGE_SIZE);
    ktest_run_on_harts(change_behind_one, &area);
    remap(&area, area.page[0], PROT_KERNEL_RW);
    area_close(&area);
}

// A flush of one address space leaves global entries and those of others.
KTEST(fake_tlb, tells_address_spaces_apart)
{
    struct area area;

    REQUIRE(area_open(&area));
    vaddr_t own = vaddr_of(area.start), global = vaddr_of(area.start + PAGE_SIZE);
    remap(&area, area.page[0], PROT_READ | PROT_WRITE);
    fake_tlb_use_asid(0, 5);
    fake_tlb_load(0, own, PAGE_SIZE);
    fake_tlb_load(0, global, PAGE_SIZE);
    for (uint32_t asid = 4; asid <= 5; asid++) {
        tlb_flush_asid_all(asid, 1, TLB_UNMAP);
        EXPECT_EQ(fake_tlb_holds(own), asid == 4);
        EXPECT(fake_tlb_holds(global));
    }
    fake_tlb_load(0, own, PAGE_SIZE);
    tlb_flush_asid(5, own, PAGE_SIZE, 2, TLB_UNMAP);
    EXPECT(fake_tlb_holds(own));
    tlb_flush_asid(5, own, PAGE_SIZE, 1, TLB_UNMAP);
    EXPECT(!fake_tlb_holds(own));
    fake_tlb_use_asid(0, 0);
    remap(&area, area.page[0], PROT_KERNEL_RW);
    area_close(&area);
}

// Outside of RAM and of what is mapped, every access faults; inside, none does.
KTEST(fake_arch, memory_is_where_it_is_said_to_be)
{
    char *page = __get_free_page(GFP_KERNEL);
    uint8_t value;

    REQUIRE(page);
    EXPECT(arch_probe_write(page, 5));
    EXPECT(arch_probe_read(page, &value));
    EXPECT_EQ(value, 5);
    EXPECT(!can_read((void *)ARCH_DIRECT_BASE));
    EXPECT(!can_read((void *)(ARCH_DIRECT_BASE + ARCH_PHYS_LIMIT - 1)));
    EXPECT(can_read((void *)ARCH_MEMMAP_BASE));
    EXPECT(can_read((char *)(MEMMAP + MAX_PFN) - 1));
    EXPECT(!can_read((void *)(ARCH_VMALLOC_END - 1)));
    EXPECT(!can_read(NULL));
    free_page(page);
}
