// Which flush is carried out for which reason: batches, address spaces, counters.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/tlb.h>

#include <arch/smp.h>
#include <base/assert.h>
#include <base/bits.h>
#include <base/string.h>
#include <sync/spinlock.h>

// (A) A hart adds to its own line; one that was moved in between, to its neighbour's, where the sum is the same.
static struct hart_counts {
    struct tlb_counts of[TLB_CAUSE_COUNT];
} aligned_to(CACHE_LINE_BYTES) counts[MAX_HARTS];

static tlb_flush_hook_t flush_hook;        // (A)

const char *tlb_cause_name(enum tlb_cause cause)
{
    static const char *const names[TLB_CAUSE_COUNT] = {
#define TLB_CAUSE_NAME(name, text) [TLB_##name] = text,
        TLB_CAUSES(TLB_CAUSE_NAME)
#undef TLB_CAUSE_NAME
    };

    return names[cause];
}

void tlb_set_flush_hook(tlb_flush_hook_t hook)
{
    __atomic_store_n(&flush_hook, hook, __ATOMIC_RELEASE);
}

static struct tlb_counts *own_counts(enum tlb_cause cause)
{
    return &counts[arch_hart_index()].of[cause];
}

static void add(uint64_t *count, uint64_t more)
{
    __atomic_fetch_add(count, more, __ATOMIC_RELAXED);
}

// Read once: on another hart the drill may be over.
static bool is_let_through(struct tlb_request *request, enum tlb_cause cause)
{
    tlb_flush_hook_t hook = __atomic_load_n(&flush_hook, __ATOMIC_ACQUIRE);

    return hook == NULL || hook(request, cause);
}

// `flushes`: the kind that it is counted as.
static void submit(struct tlb_request *request, enum tlb_cause cause, uint64_t *flushes)
{
    struct tlb_counts *own = own_counts(cause);

    add(flushes, 1);
    if (request->asid != TLB_EVERY_ASID)
        add(&own->asid, 1);
    if (request->range_count == 0)
        add(&own->all, 1);
    else
        add(&own->granules, tlb_request_granules(request));
    request->cause = tlb_cause_name(cause);
    if (is_let_through(request, cause))
        arch_tlb_flush(request);
}

static void submit_range(vaddr_t start, uint64_t bytes, uint32_t asid, uint64_t harts, enum tlb_cause cause)
{
    const struct tlb_range range = { start, bytes };
    struct tlb_request request = { .range = &range, .range_count = 1, .asid = asid, .harts = harts };

    if (bytes / MMU_PAGE_SIZE > arch_tlb_flush_all_granules())
        request.range_count = 0;
    if (bytes != 0)
        submit(&request, cause, &own_counts(cause)->remote);
}

static void submit_all(uint32_t asid, uint64_t harts, enum tlb_cause cause)
{
    struct tlb_request request = { .asid = asid, .harts = harts };

    submit(&request, cause, &own_counts(cause)->remote);
}

void tlb_flush_local(vaddr_t start, uint64_t bytes, enum tlb_cause cause)
{
    struct tlb_counts *own = own_counts(cause);

    add(&own->local, 1);
    add(&own->granules, bytes / MMU_PAGE_SIZE);
    if (unlikely(__atomic_load_n(&flush_hook, __ATOMIC_RELAXED) != NULL)) {
        struct tlb_range range = { start, bytes };
        struct tlb_request request = { .range = &range, .range_count = 1, .asid = TLB_EVERY_ASID,
                                       .harts = 1UL << arch_hart_index() };
        if (!is_let_through(&request, cause))
            return;
        start = request.range->start;
        bytes = request.range->bytes;
    }
    arch_tlb_flush_local(start, bytes);
}

void tlb_flush_local_all(enum tlb_cause cause)
{
    struct tlb_request request = { .asid = TLB_EVERY_ASID, .harts = 1UL << arch_hart_index() };

    submit(&request, cause, &own_counts(cause)->local);
}

void tlb_flush_kernel(vaddr_t start, uint64_t bytes, enum tlb_cause cause)
{
    submit_range(start, bytes, TLB_EVERY_ASID, TLB_EVERY_HART, cause);
}

void tlb_flush_kernel_all(enum tlb_cause cause)
{
    submit_all(TLB_EVERY_ASID, TLB_EVERY_HART, cause);
}

void tlb_flush_asid(uint32_t asid, vaddr_t start, uint64_t bytes, uint64_t harts_mask, enum tlb_cause cause)
{
    submit_range(start, bytes, asid, harts_mask, cause);
}

void tlb_flush_asid_all(uint32_t asid, uint64_t harts_mask, enum tlb_cause cause)
{
    submit_all(asid, harts_mask, cause);
}

void tlb_batch_init(struct tlb_batch *batch)
{
    batch->count = 0;
    batch->granules = 0;
    batch->is_all = false;
    batch->fetches = false;
}

void tlb_batch_add(struct tlb_batch *batch, vaddr_t start, uint64_t bytes)
{
    batch->granules += bytes / MMU_PAGE_SIZE;
    if (bytes == 0)
        return;
    for (struct tlb_range *range = batch->range; range < batch->range + batch->count; range++) {
        bool is_behind = range->start.value + range->bytes == start.value;
        if (is_behind || start.value + bytes == range->start.value) {
            range->start = is_behind ? range->start : start;
            range->bytes += bytes;
            return;
        }
    }
    if (batch->count == TLB_BATCH_RANGES)
        batch->is_all = true;
    else
        batch->range[batch->count++] = (struct tlb_range){ start, bytes };
}

void tlb_batch_add_all(struct tlb_batch *batch)
{
    batch->is_all = true;
}

void tlb_batch_add_fetches(struct tlb_batch *batch)
{
    batch->fetches = true;
}

void tlb_batch_flush(struct tlb_batch *batch, enum tlb_cause cause)
{
    bool is_all = batch->is_all || batch->granules > arch_tlb_flush_all_granules();
    struct tlb_request request = { .range = batch->range, .range_count = is_all ? 0 : batch->count,
                                   .asid = TLB_EVERY_ASID, .harts = TLB_EVERY_HART, .fetches = batch->fetches };

    if (is_all || batch->count != 0)
        submit(&request, cause, &own_counts(cause)->remote);
    tlb_batch_init(batch);
}

struct tlb_counts tlb_counts(enum tlb_cause cause)
{
    struct tlb_counts sum = { 0 };

    for (unsigned hart = 0; hart < MAX_HARTS; hart++) {
        const struct tlb_counts *own = &counts[hart].of[cause];
        sum.local += __atomic_load_n(&own->local, __ATOMIC_RELAXED);
        sum.remote += __atomic_load_n(&own->remote, __ATOMIC_RELAXED);
        sum.granules += __atomic_load_n(&own->granules, __ATOMIC_RELAXED);
        sum.all += __atomic_load_n(&own->all, __ATOMIC_RELAXED);
        sum.asid += __atomic_load_n(&own->asid, __ATOMIC_RELAXED);
    }
    return sum;
}

// --- Numbers of address spaces.

// As many as are ever in use at once; a hart may have room for more.
#define ASIDS 1024U

static struct {
    struct spinlock lock;
    uint64_t used[ASIDS / 64];     // (L) in use
    uint64_t stale[ASIDS / 64];    // (L) given back since the last flush: some hart may hold entries of them
    unsigned stale_count;          // (L)
} asids = { .lock = SPINLOCK_INIT(ASID), .used[0] = 1UL << ASID_KERNEL };

static uint32_t asid_limit(void)
{
    return min_of(1U << arch_tlb_asid_bits(), ASIDS);
}

static uint32_t take_clean_asid(void)
{
    for (uint32_t word = 0; word * 64 < asid_limit(); word++) {
        uint64_t clean = ~(asids.used[word] | asids.stale[word]) & low_bits(asid_limit() - word * 64);
        if (clean != 0) {
            asids.used[word] |= clean & -clean;
            return word * 64 + lowest_bit(clean);
        }
    }
    return ASID_KERNEL;
}

uint32_t asid_alloc(void)
{
    spin_lock(&asids.lock);
    uint32_t asid = take_clean_asid();
    if (asid == ASID_KERNEL && asids.stale_count != 0) {
        // Section 4.2.1: an ASID that gets another page table is fenced before its use, where it has been used.
        tlb_flush_kernel_all(TLB_ASID_REUSED);
        memset(asids.stale, 0, sizeof asids.stale);
        asids.stale_count = 0;
        asid = take_clean_asid();
    }
    spin_unlock(&asids.lock);
    return asid;
}

void asid_free(uint32_t asid)
{
    uint64_t bit = 1UL << asid % 64;

    spin_lock(&asids.lock);
    BUG_ON(asid == ASID_KERNEL || asid >= asid_limit() || !(asids.used[asid / 64] & bit));
    asids.used[asid / 64] &= ~bit;
    asids.stale[asid / 64] |= bit;
    asids.stale_count++;
    spin_unlock(&asids.lock);
}
