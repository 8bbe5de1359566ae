// mm/vmap: vmem.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/vmem.h>

#include "fault_plan.h"

#include <base/bits.h>
#include <base/errno.h>
#include <base/string.h>

static struct vmem arena;

static bool is_consistent(void)
{
    const char *why;

    if (vmem_is_consistent(&arena, &why))
        return true;
    ktest_note("vmem: %s", why);
    return false;
}

// Ranges are aligned with their phase, inside the arena and apart; all given back, the arena is one segment
// again.
KTEST(vmem, ranges_are_aligned_and_apart)
{
    static struct { uint64_t start, size; } ranges[200];
    uint64_t base = 0x7000000, size = 0x900000, got = 0;
    REQUIRE(vmem_init(&arena, "test", base, size, 0x1000) == 0);

    for (; got < array_count(ranges); got++) {
        uint64_t bytes = ktest_random_below(0x9000) + 1, alignment = 0x200UL << ktest_random_below(10);
        uint64_t phase = ktest_random_below(2) ?
                             ktest_random_below(max_of(alignment / 0x1000, 1UL)) * 0x1000 :
                             0;
        if (vmem_alloc(&arena, bytes, alignment, phase, GFP_KERNEL, &ranges[got].start) != 0)
            break;
        ranges[got].size = align_up(bytes, 0x1000);
        EXPECT_EQ((ranges[got].start - phase) % alignment, 0);
        EXPECT_EQ(ranges[got].start % 0x1000, 0);
        EXPECT(ranges[got].start >= base && ranges[got].start + ranges[got].size <= base + size);
        EXPECT_EQ(vmem_lookup(&arena, ranges[got].start), ranges[got].size);
    }
    EXPECT_GE(got, 50);
    bool apart = true;
    for (uint64_t i = 0; i < got; i++)
        for (uint64_t k = 0; k < i; k++)
            apart &= ranges[i].start + ranges[i].size <= ranges[k].start ||
                     ranges[k].start + ranges[k].size <= ranges[i].start;
    EXPECT(apart);
    EXPECT(is_consistent());
    EXPECT_EQ(vmem_destroy(&arena), -EBUSY);
    while (got > 0) {
        uint64_t k = ktest_random_below(got);
        EXPECT_EQ(vmem_free(&arena, ranges[k].start), ranges[k].size);
        ranges[k] = ranges[--got];
    }
    EXPECT_EQ(arena.free_bytes, size);
    EXPECT_EQ(arena.segment_count, 1);
    EXPECT(is_consistent());
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

// Alignments from 1 to 2^63, sizes from 1 to 2^64 - 1: each is served where it can be, and fails cleanly
// where not.
KTEST(vmem, every_alignment_and_size)
{
    uint64_t base = 1UL << 40, size = 1UL << 36, start;
    REQUIRE(vmem_init(&arena, "test", base, size, 0x1000) == 0);

    for (unsigned shift = 0; shift < 64; shift++) {
        uint64_t alignment = 1UL << shift;
        int error = vmem_alloc(&arena, 0x1000, alignment, 0, GFP_KERNEL, &start);
        EXPECT_EQ(error, shift <= 40 ? 0 : -ENOSPC);
        if (error == 0) {
            EXPECT_EQ(start % alignment, 0);
            EXPECT_EQ(vmem_free(&arena, start), 0x1000);
        }
        error = vmem_alloc(&arena, alignment, 1, 0, GFP_KERNEL, &start);
        EXPECT_EQ(error, shift <= 36 ? 0 : -ENOSPC);
        if (error == 0)
            EXPECT_EQ(vmem_free(&arena, start), max_of(alignment, 0x1000UL));
    }
    EXPECT_EQ(vmem_alloc(&arena, size + 1, 1, 0, GFP_KERNEL, &start), -ENOSPC);
    EXPECT_EQ(vmem_alloc(&arena, size, size, 0, GFP_KERNEL, &start), 0);
    EXPECT_EQ(start, base);
    EXPECT_EQ(vmem_alloc(&arena, 1, 1, 0, GFP_KERNEL, &start), -ENOSPC);
    EXPECT_EQ(vmem_free(&arena, base), size);
    EXPECT_EQ(arena.segment_count, 1);
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

// Bad arguments change nothing; a start at which no range stands gives 0, also that of a free segment.
KTEST(vmem, bad_arguments)
{
    static const struct { uint64_t size, alignment, phase; } bad[] = {
        { 0, 1, 0 }, { SIZE_MAX, 1, 0 }, { -0xfffUL, 1, 0 }, { 1, 0, 0 }, { 1, 3, 0 }, { 1, 0x3000, 0 },
        { 1, 0x4000, 0x4000 }, { 1, 0x4000, 0x800 }, { 1, 1, 0x1000 },
    };
    uint64_t start = 77;
    REQUIRE(vmem_init(&arena, "test", 0x10000, 0x10000, 0x1000) == 0);

    for (unsigned i = 0; i < array_count(bad); i++)
        EXPECT_EQ(vmem_alloc(&arena, bad[i].size, bad[i].alignment, bad[i].phase, GFP_KERNEL, &start),
                  -EINVAL);
    EXPECT_EQ(start, 77);
    EXPECT_EQ(vmem_free(&arena, 0x10000), 0);
    EXPECT_EQ(vmem_free(&arena, 0), 0);
    EXPECT_EQ(vmem_alloc(&arena, 0x3000, 1, 0, GFP_KERNEL, &start), 0);
    EXPECT_EQ(vmem_free(&arena, start + 0x1000), 0);
    EXPECT_EQ(vmem_lookup(&arena, start + 0x1000), 0);
    EXPECT_EQ(vmem_free(&arena, start), 0x3000);
    EXPECT_EQ(vmem_free(&arena, start), 0);
    EXPECT_EQ(arena.free_bytes, 0x10000);
    EXPECT(is_consistent());
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

// An arena may reach to the end of all integers, and its quantum may be 1.
KTEST(vmem, end_of_the_integers)
{
    uint64_t start;
    REQUIRE(vmem_init(&arena, "test", -256UL, 256, 1) == 0);

    for (unsigned i = 0; i < 256; i++)
        EXPECT_EQ(vmem_alloc(&arena, 1, 1, 0, GFP_KERNEL, &start), 0);
    EXPECT_EQ(vmem_alloc(&arena, 1, 1, 0, GFP_KERNEL, &start), -ENOSPC);
    EXPECT(is_consistent());
    for (uint64_t at = -256UL; at != 0; at += 2)
        EXPECT_EQ(vmem_free(&arena, at), 1);
    EXPECT_EQ(arena.segment_count, 256);
    EXPECT_EQ(vmem_alloc(&arena, 2, 1, 0, GFP_KERNEL, &start), -ENOSPC);
    EXPECT_EQ(vmem_alloc(&arena, 1, 256, 254, GFP_KERNEL, &start), 0);
    EXPECT_EQ(start, -2UL);
    EXPECT_EQ(vmem_free(&arena, start), 1);
    for (uint64_t at = -255UL; at != 1; at += 2)
        EXPECT_EQ(vmem_free(&arena, at), 1);
    EXPECT_EQ(arena.segment_count, 1);
    EXPECT(is_consistent());
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

// A freed range merges with a free neighbour on either side, and on both.
KTEST(vmem, free_neighbours_merge)
{
    uint64_t start[5];
    REQUIRE(vmem_init(&arena, "test", 0x1000, 0x5000, 0x1000) == 0);

    for (unsigned i = 0; i < 5; i++)
        EXPECT_EQ(vmem_alloc(&arena, 0x1000, 1, 0, GFP_KERNEL, &start[i]), 0);
    EXPECT_EQ(arena.segment_count, 5);
    vmem_free(&arena, 0x1000);
    vmem_free(&arena, 0x5000);
    EXPECT_EQ(arena.segment_count, 5);
    vmem_free(&arena, 0x2000);             // behind a free one
    EXPECT_EQ(arena.segment_count, 4);
    vmem_free(&arena, 0x4000);             // before a free one
    EXPECT_EQ(arena.segment_count, 3);
    EXPECT(is_consistent());
    vmem_free(&arena, 0x3000);             // between two
    EXPECT_EQ(arena.segment_count, 1);
    EXPECT(is_consistent());
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

// A range that fits only in one segment is found, also where alignment makes it a matter of that segment's
// place.
KTEST(vmem, finds_the_only_fit)
{
    uint64_t start, other;
    REQUIRE(vmem_init(&arena, "test", 0x10000, 0x40000, 0x1000) == 0);

    EXPECT_EQ(vmem_alloc(&arena, 0x40000, 1, 0, GFP_KERNEL, &start), 0);
    vmem_free(&arena, start);
    // Leaves [0x10000, 0x17000) and [0x28000, 0x2f000), with the second one aligned well.
    EXPECT_EQ(vmem_alloc(&arena, 0x7000, 1, 0, GFP_KERNEL, &start), 0);
    EXPECT_EQ(vmem_alloc(&arena, 0x11000, 0x1000, 0, GFP_KERNEL, &other), 0);
    EXPECT_EQ(vmem_alloc(&arena, 0x7000, 1, 0, GFP_KERNEL, &start), 0);
    EXPECT_EQ(start, 0x28000);
    EXPECT_EQ(vmem_alloc(&arena, 0x21000, 1, 0, GFP_KERNEL, &other), 0);
    EXPECT_EQ(arena.free_bytes, 0);
    vmem_free(&arena, 0x10000);
    vmem_free(&arena, 0x28000);
    EXPECT_EQ(vmem_alloc(&arena, 0x7000, 0x8000, 0, GFP_KERNEL, &start), 0);
    EXPECT_EQ(vmem_alloc(&arena, 0x7000, 0x8000, 0, GFP_KERNEL, &other), 0);
    EXPECT_EQ(start + other, 0x38000);
    vmem_free(&arena, 0x10000);
    EXPECT_EQ(vmem_alloc(&arena, 0x7000, 0x20000, 0x10000, GFP_KERNEL, &start), 0);
    EXPECT_EQ(start, 0x10000);
    vmem_free(&arena, 0x28000);
    EXPECT_EQ(vmem_alloc(&arena, 0x6000, 0x8000, 0x1000, GFP_KERNEL, &start), 0);
    EXPECT_EQ(start, 0x29000);
    EXPECT_EQ(vmem_alloc(&arena, 0x2000, 1, 0, GFP_KERNEL, &start), -ENOSPC);
    EXPECT(is_consistent());
    for (uint64_t at = 0x10000; at < 0x50000; at += 0x1000)
        vmem_free(&arena, at);
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

// Whatever allocation behind it fails, an operation fails as a whole.
KTEST(vmem, failed_bookkeeping_changes_nothing)
{
    uint64_t start[40];

    for (uint64_t step = 0;; step++) {
        fault_plan_start(FAULT_ALL, step, UINT64_MAX);
        int error = vmem_init(&arena, "test", 0x1000, 0x1000000, 0x1000);
        unsigned got = 0;
        while (error == 0 && got < array_count(start) &&
               vmem_alloc(&arena, 0x1000, 0x4000, 0x2000, GFP_KERNEL, &start[got]) == 0)
            got++;
        bool has_failed = fault_plan_stop();
        EXPECT_EQ(error != 0 || got < array_count(start), has_failed);
        if (error == 0) {
            EXPECT(is_consistent());
            while (got > 0)
                EXPECT_EQ(vmem_free(&arena, start[--got]), 0x1000);
            EXPECT_EQ(vmem_destroy(&arena), 0);
        }
        if (!has_failed)
            break;
    }
}

#define MODEL_UNITS 512
#define MODEL_LIVE 256

static uint8_t unit_taken[MODEL_UNITS];        // of a range: 1 at its start, 2 behind; free: 0

static uint64_t model_free_run(uint64_t unit)
{
    uint64_t run = 0;

    while (unit + run < MODEL_UNITS && unit_taken[unit + run] == 0)
        run++;
    return run;
}

static bool model_has_room(uint64_t base_unit, uint64_t size, uint64_t alignment, uint64_t phase)
{
    for (uint64_t unit = 0; unit < MODEL_UNITS; unit++)
        if ((base_unit + unit - phase) % alignment == 0 && model_free_run(unit) >= size)
            return true;
    return false;
}

static uint64_t model_segments(void)
{
    uint64_t segments = 0;

    for (uint64_t unit = 0; unit < MODEL_UNITS; unit++)
        segments += unit_taken[unit] == 1 ||
                    (unit_taken[unit] == 0 && (unit == 0 || unit_taken[unit - 1] != 0));
    return segments;
}

// Any sequence of allocations and frees gives what a map of units allows: a range is had exactly when there
// is room.
KTEST(vmem, agrees_with_a_model)
{
    const uint64_t base_unit = 3;
    static uint64_t live[MODEL_LIVE], size_of[MODEL_LIVE];
    uint64_t count = 0, limit = 0;
    bool agrees = true;
    REQUIRE(vmem_init(&arena, "test", base_unit * 0x1000, MODEL_UNITS * 0x1000UL, 0x1000) == 0);

    memset(unit_taken, 0, sizeof(unit_taken));
    for (unsigned step = 0; step < ktest_rounds(200000, 3000) && agrees; step++) {
        if (step % 300 == 0)
            limit = ktest_random_below(MODEL_LIVE);
        if (count <= limit && count < MODEL_LIVE) {
            uint64_t size = 1 + ktest_random_below(1UL << ktest_random_below(7)), alignment = 1, phase = 0,
                     start;
            if (ktest_random_below(3) == 0) {
                alignment = 1UL << ktest_random_below(9);
                phase = ktest_random_below(alignment);
            }
            bool has_room = model_has_room(base_unit, size, alignment, phase);
            int error = vmem_alloc(&arena, size * 0x1000, alignment * 0x1000, phase * 0x1000, GFP_KERNEL,
                                   &start);
            agrees = error == (has_room ? 0 : -ENOSPC);
            if (error != 0)
                continue;
            uint64_t unit = start / 0x1000 - base_unit;
            agrees = agrees && (start / 0x1000 - phase) % alignment == 0 && unit < MODEL_UNITS &&
                     model_free_run(unit) >= size;
            for (uint64_t i = 0; i < size && agrees; i++)
                unit_taken[unit + i] = i == 0 ? 1 : 2;
            live[count] = start;
            size_of[count++] = size;
        } else if (count > 0) {
            uint64_t k = ktest_random_below(count), unit = live[k] / 0x1000 - base_unit;
            agrees = vmem_free(&arena, live[k]) == size_of[k] * 0x1000;
            memset(unit_taken + unit, 0, size_of[k]);
            live[k] = live[--count];
            size_of[k] = size_of[count];
        }
        if (step % 64 == 0)
            agrees = agrees && arena.segment_count == model_segments() && is_consistent();
    }
    EXPECT(agrees);
    while (count > 0)
        vmem_free(&arena, live[--count]);
    EXPECT_EQ(arena.segment_count, 1);
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

struct vmem_churn {
    uint64_t seed;
    unsigned defects;                  // (A)
    uint32_t owner[4096];              // (A) of each unit: hart number + 1
};

// Returns how many units were not `from`'s.
static uint64_t change_owner(struct vmem_churn *churn, uint64_t start, uint64_t units, uint32_t from,
                             uint32_t to)
{
    uint64_t wrong = 0;

    for (uint64_t i = 0; i < units; i++)
        wrong += __atomic_exchange_n(&churn->owner[start + i], to, __ATOMIC_RELAXED) != from;
    return wrong;
}

static void churn_on_hart(unsigned index, void *argument)
{
    struct vmem_churn *churn = argument;
    struct random random = random_seeded(churn->seed + index);
    struct { uint64_t start, units; } held[16] = { 0 };
    const unsigned steps = ktest_rounds(20000, 2000);
    uint64_t wrong = 0;

    for (unsigned step = 0; step < steps + array_count(held); step++) {
        uint64_t k = step < steps ? random_below(&random, array_count(held)) : step - steps;
        if (held[k].units != 0) {
            wrong += change_owner(churn, held[k].start, held[k].units, index + 1, 0);
            wrong += vmem_free(&arena, held[k].start) != held[k].units;
            held[k].units = 0;
        } else if (step < steps) {
            uint64_t units = 1 + random_below(&random, 30);
            uint64_t alignment = 1UL << random_below(&random, 4);
            if (vmem_alloc(&arena, units, alignment, 0, GFP_KERNEL, &held[k].start) == 0) {
                held[k].units = units;
                wrong += change_owner(churn, held[k].start, units, 0, index + 1);
            }
        }
    }
    if (wrong != 0)
        __atomic_fetch_add(&churn->defects, 1, __ATOMIC_RELAXED);
}

// No range is handed out to two harts.
KTEST(vmem, harts_share_an_arena)
{
    static struct vmem_churn churn;
    memset(&churn, 0, sizeof(churn));
    churn.seed = ktest_random();
    REQUIRE(vmem_init(&arena, "test", 0, array_count(churn.owner), 1) == 0);

    ktest_run_on_harts(churn_on_hart, &churn);
    EXPECT_EQ(churn.defects, 0);
    EXPECT(is_consistent());
    EXPECT_EQ(arena.segment_count, 1);
    EXPECT_EQ(vmem_destroy(&arena), 0);
}

// The validator sees a segment of the wrong size, on the wrong list, in no bucket, and wrong counters.
KTEST(vmem, validator_sees_planted_defects)
{
    uint64_t start;
    const char *why;
    REQUIRE(vmem_init(&arena, "test", 0x1000, 0x100000, 0x1000) == 0);
    REQUIRE(vmem_alloc(&arena, 0x3000, 1, 0, GFP_KERNEL, &start) == 0);
    struct vmem_segment *taken = list_first(&arena.segments, struct vmem_segment, in_order);
    struct vmem_segment *rest = list_first(&taken->in_order, struct vmem_segment, in_order);

    taken->size += 0x1000;
    EXPECT(!vmem_is_consistent(&arena, &why));
    taken->size -= 0x1000;
    taken->is_free = true;
    EXPECT(!vmem_is_consistent(&arena, &why));
    taken->is_free = false;
    arena.free_bytes++;
    EXPECT(!vmem_is_consistent(&arena, &why));
    arena.free_bytes--;
    arena.free_lists_used ^= 1UL << highest_bit(rest->size);
    EXPECT(!vmem_is_consistent(&arena, &why));
    arena.free_lists_used ^= 1UL << highest_bit(rest->size);
    taken->start += 0x1000;
    EXPECT(!vmem_is_consistent(&arena, &why));
    taken->start -= 0x1000;
    EXPECT(is_consistent());
    vmem_free(&arena, start);
    EXPECT_EQ(vmem_destroy(&arena), 0);
}
