// Benchmarks: what an operation costs in retired instructions, one row each.
// SPDX-License-Identifier: BSD-2-Clause
//
// A row times a call as its callers would write it, arguments included; not the loop and the array around it. Each
// operation is timed on its own, and the cost of timing nothing is taken off, so that an empty operation measures 0.
// Counts are true under -icount only, and then they repeat exactly.
#pragma once

#include <arch/time.h>
#include <base/compiler.h>

#define BENCH_MAX_SAMPLES 16384

struct bench {
    uint32_t *samples;             // instructions of each operation, or hundredths of them
    unsigned count;
    bool is_in_hundredths;
    bool out_of_memory;            // the row cannot be had on this machine
    bool has_shared_locks;         // the row also tells how often an operation takes a lock that all harts share:
    uint64_t shared_locks;         // in ten thousandths
    uint64_t ram_mb;               // not 0: the row also tells how much RAM there is
};

struct bench_row {
    const char *name;
    void (*run)(struct bench *bench, unsigned size, unsigned variant);
    unsigned size, variant;        // what the row's function makes of them
};

// Registers a row; the linker gathers them between __bench_start and __bench_end. `id` only has to be unique.
#define BENCH_ROW(id, row_name, function, size_value, variant_value) \
    static const struct bench_row bench_row_##id __attribute__((used, section(".bench"), aligned(8))) = \
        { row_name, function, size_value, variant_value }

// What two readings of the counter cost by themselves.
extern uint64_t bench_timing_cost;

static inline void bench_record(struct bench *bench, uint64_t before, uint64_t after)
{
    if (bench->count < BENCH_MAX_SAMPLES)
        bench->samples[bench->count++] = (uint32_t)(after - before - bench_timing_cost);
}

// Times a statement as one operation of the row.
#define BENCH_TIME(bench, ...) \
    do { \
        uint64_t bench_before_ = arch_instructions(); \
        __VA_ARGS__; \
        uint64_t bench_after_ = arch_instructions(); \
        bench_record(bench, bench_before_, bench_after_); \
    } while (0)

// The cost of an operation that was measured together with many others.
static inline void bench_record_share(struct bench *bench, uint64_t instructions, uint64_t operations)
{
    bench->is_in_hundredths = true;
    if (bench->count < BENCH_MAX_SAMPLES)
        bench->samples[bench->count++] = (uint32_t)(instructions * 100 / operations);
}

// Keeps the compiler from dropping or folding a value.
#define bench_hide(value) __asm__ volatile("" : "+r"(value) : : "memory")

// The order in which a batch is freed: the index of the k'th to go.
enum bench_order { BENCH_LIFO, BENCH_FIFO, BENCH_RANDOM };
enum bench_half { BENCH_ALLOC, BENCH_FREE };
#define BENCH_VARIANT(order, half) ((order) * 2 + (half))

// What a batch is alive in, and the order in which it goes.
struct bench_batch {
    uint32_t permutation[BENCH_MAX_SAMPLES];
    void *things[BENCH_MAX_SAMPLES];
};
struct bench_batch *bench_batch_start(unsigned count, enum bench_order order);

// Times one half of: allocate `count` things with `alloc`, free them in the variant's order with `release`. Inline, so
// that both are called as their callers write them.
static always_inline void bench_batch(struct bench *bench, unsigned count, unsigned variant, void *(*alloc)(void),
                                      void (*release)(void *))
{
    enum bench_half half = variant % 2;
    // The first round warms up and is not kept.
    unsigned rounds = 1 + max_of(1U, 10240 / count);

    struct bench_batch *batch = bench_batch_start(count, variant / 2);
    for (unsigned round = 0; round < rounds; round++) {
        if (round == 1)
            bench->count = 0;
        for (unsigned i = 0; i < count; i++) {
            uint64_t before = arch_instructions();
            void *thing = alloc();
            uint64_t after = arch_instructions();
            batch->things[i] = thing;
            if (!thing) {
                bench->out_of_memory = true;
                count = i;
                break;
            }
            if (half == BENCH_ALLOC)
                bench_record(bench, before, after);
        }
        for (unsigned i = 0; i < count; i++) {
            // With fewer than planned the order is not theirs: each goes once, in the order it came.
            void *thing = batch->things[bench->out_of_memory ? i : batch->permutation[i]];
            uint64_t before = arch_instructions();
            release(thing);
            uint64_t after = arch_instructions();
            if (half == BENCH_FREE)
                bench_record(bench, before, after);
        }
    }
}
