// lib/sync/seqlock.h: readers see a whole writing or read again.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/seqlock.h>

#include "sync_support.h"

#include <base/string.h>

static struct {
    struct seqcount seq;
    uint64_t value, opposite;              // (A) relaxed; opposite == ~value
    unsigned is_over;                      // (A)
    uint64_t torn, went_back;              // (A)
    uint64_t retries[MAX_HARTS], readings[MAX_HARTS];      // (A)
} shared;

static void write_pair(uint64_t value)
{
    write_seqcount_begin(&shared.seq);
    __atomic_store_n(&shared.value, value, __ATOMIC_RELAXED);
    if (value % 4 == 0)
        let_others_run();
    __atomic_store_n(&shared.opposite, ~value, __ATOMIC_RELAXED);
    write_seqcount_end(&shared.seq);
}

static bool others_have_retried(unsigned harts)
{
    for (unsigned i = 1; i < harts; i++)
        if (LOAD(shared.retries[i]) == 0 || LOAD(shared.readings[i]) == 0)
            return false;
    return true;
}

static void write_or_read(unsigned index, void *rounds)
{
    unsigned harts = arch_hart_count();
    uint64_t latest = 0;

    if (index == 0) {
        for (uint64_t i = 1; i <= *(unsigned *)rounds || !others_have_retried(harts); i++) {
            write_pair(i);
            if (i % 8 == 0)
                let_others_run();
        }
        STORE(shared.is_over, 1);
        return;
    }
    while (!LOAD(shared.is_over)) {
        uint64_t value, opposite;
        uint32_t start;
        bool is_stale;

        do {
            start = read_seqcount_begin(&shared.seq);
            value = __atomic_load_n(&shared.value, __ATOMIC_RELAXED);
            if (start % 3 == 0)
                let_others_run();
            opposite = __atomic_load_n(&shared.opposite, __ATOMIC_RELAXED);
            is_stale = read_seqcount_retry(&shared.seq, start);
            if (is_stale)
                ADD(shared.retries[index], 1);
        } while (is_stale && !LOAD(shared.is_over));
        if (is_stale)
            break;
        ADD(shared.torn, value != ~opposite);
        ADD(shared.went_back, value < latest);
        latest = value;
        if (ADD(shared.readings[index], 1) % 4 == 0)
            let_others_run();
    }
}

// While a writer is at work, every reading is one that he wrote, none is older than the one before, and some are taken
// again.
KTEST(seqlock, readers_see_no_torn_pair)
{
    unsigned rounds = ktest_rounds(20000, 4000);

    memset(&shared, 0, sizeof(shared));
    shared.opposite = ~0UL;
    ktest_run_on_harts(write_or_read, &rounds);
    EXPECT_EQ(shared.torn, 0);
    EXPECT_EQ(shared.went_back, 0);
}

// A reading is good when nobody wrote meanwhile, and no other.
KTEST(seqlock, reading_is_stale_after_a_write)
{
    memset(&shared, 0, sizeof(shared));
    uint32_t start = read_seqcount_begin(&shared.seq);
    EXPECT(!read_seqcount_retry(&shared.seq, start));
    write_seqcount_begin(&shared.seq);
    EXPECT_EQ(shared.seq.count & 1, 1);
    EXPECT(read_seqcount_retry(&shared.seq, start));
    write_seqcount_end(&shared.seq);
    EXPECT(read_seqcount_retry(&shared.seq, start));
    start = read_seqcount_begin(&shared.seq);
    EXPECT_EQ(start & 1, 0);
    EXPECT(!read_seqcount_retry(&shared.seq, start));
}
