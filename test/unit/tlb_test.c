// mm/vmap: which flush is carried out, and how it is counted.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/tlb.h>

#include <arch/layout.h>
#include <base/string.h>
#include <ktest/ktest.h>

// Addresses of the vmalloc space's end, where nothing is mapped: to forget them harms nobody.
#define AREA_START (ARCH_VMALLOC_END - MB(64))

static struct {
    unsigned requests, range_count;
    struct tlb_range range[TLB_BATCH_RANGES];
    uint32_t asid;
    uint64_t harts;
} seen;

static bool look(struct tlb_request *request, enum tlb_cause cause)
{
    // Spurious faults of other harts go by.
    if (cause != TLB_VMALLOC_PURGE)
        return true;
    seen.requests++;
    seen.range_count = request->range_count;
    seen.asid = request->asid;
    seen.harts = request->harts;
    for (unsigned i = 0; i < request->range_count; i++)
        seen.range[i] = request->range[i];
    return true;
}

static vaddr_t granule(uint64_t index)
{
    return vaddr(AREA_START + index * MMU_PAGE_SIZE);
}

static void add(struct tlb_batch *batch, uint64_t first, uint64_t count)
{
    tlb_batch_add(batch, granule(first), count * MMU_PAGE_SIZE);
}

static struct tlb_counts flush(struct tlb_batch *batch)
{
    struct tlb_counts before = tlb_counts(TLB_VMALLOC_PURGE);

    memset(&seen, 0, sizeof seen);
    tlb_set_flush_hook(look);
    tlb_batch_flush(batch, TLB_VMALLOC_PURGE);
    tlb_set_flush_hook(NULL);
    struct tlb_counts after = tlb_counts(TLB_VMALLOC_PURGE);
    return (struct tlb_counts){ after.local - before.local, after.remote - before.remote,
                                after.granules - before.granules, after.all - before.all, after.asid - before.asid };
}

// Ranges that touch become one, in whatever order they come; all go in one request, and the batch is empty then.
KTEST(tlb, batch_merges_neighbours)
{
    struct tlb_batch batch;

    tlb_batch_init(&batch);
    EXPECT_EQ(flush(&batch).remote, 0);
    add(&batch, 10, 2);
    add(&batch, 12, 3);
    add(&batch, 20, 1);
    add(&batch, 9, 1);
    add(&batch, 30, 0);
    struct tlb_counts made = flush(&batch);
    EXPECT_EQ(seen.requests, 1);
    EXPECT_EQ(seen.range_count, 2);
    EXPECT_EQ(seen.range[0].start.value, granule(9).value);
    EXPECT_EQ(seen.range[0].bytes, 6 * MMU_PAGE_SIZE);
    EXPECT_EQ(seen.range[1].start.value, granule(20).value);
    EXPECT_EQ(seen.range[1].bytes, MMU_PAGE_SIZE);
    EXPECT_EQ(seen.asid, TLB_EVERY_ASID);
    EXPECT_EQ(seen.harts, TLB_EVERY_HART);
    EXPECT_EQ(made.remote, 1);
    EXPECT_EQ(made.granules, 7);
    EXPECT_EQ(made.all + made.local + made.asid, 0);
    EXPECT_EQ(flush(&batch).remote, 0);
}

// A batch that has no range left, or is past the threshold, flushes everything, once.
KTEST(tlb, batch_becomes_everything)
{
    uint64_t most = arch_tlb_flush_all_granules();
    struct tlb_batch batch;

    tlb_batch_init(&batch);
    for (unsigned i = 0; i < TLB_BATCH_RANGES; i++)
        add(&batch, 2 * i, 1);
    EXPECT_EQ(flush(&batch).all, 0);
    EXPECT_EQ(seen.range_count, TLB_BATCH_RANGES);
    for (unsigned i = 0; i <= TLB_BATCH_RANGES; i++)
        add(&batch, 2 * i, 1);
    EXPECT_EQ(flush(&batch).all, 1);
    EXPECT_EQ(seen.requests, 1);
    EXPECT_EQ(seen.range_count, 0);
    tlb_batch_add_all(&batch);
    EXPECT_EQ(flush(&batch).all, 1);
    EXPECT_EQ(flush(&batch).all, 0);
    for (uint64_t more = 0; more < 2; more++) {
        add(&batch, 0, most - 1);
        add(&batch, most, 1 + more);
        struct tlb_counts made = flush(&batch);
        EXPECT_EQ(made.all, more);
        EXPECT_EQ(made.granules, more ? 0 : most);
    }
}

// One range is held against the threshold too; nothing is no flush.
KTEST(tlb, range_becomes_everything)
{
    uint64_t most = arch_tlb_flush_all_granules();
    struct tlb_counts before = tlb_counts(TLB_UNMAP);

    tlb_flush_kernel(granule(0), 0, TLB_UNMAP);
    tlb_flush_kernel(granule(0), most * MMU_PAGE_SIZE, TLB_UNMAP);
    tlb_flush_kernel(granule(0), (most + 1) * MMU_PAGE_SIZE, TLB_UNMAP);
    tlb_flush_kernel_all(TLB_UNMAP);
    tlb_flush_asid(1, granule(0), MMU_PAGE_SIZE, TLB_EVERY_HART, TLB_UNMAP);
    tlb_flush_asid_all(1, 1, TLB_UNMAP);
    tlb_flush_local(granule(0), 2 * MMU_PAGE_SIZE, TLB_UNMAP);
    tlb_flush_local_all(TLB_UNMAP);
    struct tlb_counts after = tlb_counts(TLB_UNMAP);
    EXPECT_EQ(after.remote - before.remote, 5);
    EXPECT_EQ(after.all - before.all, 4);
    EXPECT_EQ(after.asid - before.asid, 2);
    EXPECT_EQ(after.granules - before.granules, most + 3);
    EXPECT_EQ(after.local - before.local, 2);
}

// Numbers are each handed out once, never the kernel's; when all are in use there is none. Those given back come again
// only after a flush of everything, which serves them all.
KTEST(tlb, asids_come_again_after_a_flush)
{
    static uint64_t taken[1UL << 16 >> 6];
    struct tlb_counts before = tlb_counts(TLB_ASID_REUSED);
    uint32_t asid, count = 0, highest = 0;

    if (arch_tlb_asid_bits() == 0)
        ktest_skip("harts have no ASIDs");
    memset(taken, 0, sizeof taken);
    while ((asid = asid_alloc()) != ASID_KERNEL) {
        EXPECT(!(taken[asid / 64] >> asid % 64 & 1));
        taken[asid / 64] |= 1UL << asid % 64;
        highest = max_of(highest, asid);
        count++;
    }
    EXPECT_EQ(count, highest);
    EXPECT_LT(highest, 1UL << arch_tlb_asid_bits());
    for (asid = 1; asid <= highest; asid++)
        asid_free(asid);
    uint64_t made = tlb_counts(TLB_ASID_REUSED).all - before.all;
    EXPECT_LE(made, 1);
    EXPECT_NE(asid_alloc(), ASID_KERNEL);
    EXPECT_EQ(tlb_counts(TLB_ASID_REUSED).all - before.all, made + 1);
    EXPECT_NE(asid_alloc(), ASID_KERNEL);
    EXPECT_EQ(tlb_counts(TLB_ASID_REUSED).all - before.all, made + 1);
    asid_free(1);
    asid_free(2);
}
