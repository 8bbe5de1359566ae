// Boot mode bench: runs the rows that the filter names, and prints each as a line of JSON behind "@bench ".
// SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <arch/smp.h>
#include <base/addr.h>
#include <base/parse.h>
#include <base/random.h>
#include <debug/klog.h>
#include <init/boot_mode.h>
#include <init/bootargs.h>
#include <init/report.h>
#include <mm/memblock.h>
#include <mm/vmalloc.h>

extern const struct bench_row __bench_start[], __bench_end[];

uint64_t bench_timing_cost;

// What the rows work with, taken before the first of them.
static struct tables {
    uint32_t samples[BENCH_MAX_SAMPLES];
    struct bench_batch batch;
} *tables;

// Shell sort with Ciura's gaps ("Best Increments for the Average Case of Shellsort", FCT 2001).
static void sort(uint32_t *values, unsigned count)
{
    static const unsigned gaps[] = { 6927, 3079, 1750, 701, 301, 132, 57, 23, 10, 4, 1 };

    for (unsigned g = 0; g < array_count(gaps); g++)
        for (unsigned i = gaps[g]; i < count; i++) {
            uint32_t value = values[i];
            unsigned j = i;
            for (; j >= gaps[g] && values[j - gaps[g]] > value; j -= gaps[g])
                values[j] = values[j - gaps[g]];
            values[j] = value;
        }
}

struct bench_batch *bench_batch_start(unsigned count, enum bench_order order)
{
    struct bench_batch *batch = &tables->batch;
    struct random random = random_seeded(bootarg_u64("seed"));

    for (unsigned i = 0; i < count; i++)
        batch->permutation[i] = order == BENCH_LIFO ? count - 1 - i : i;
    for (unsigned i = count - 1; i > 0 && order == BENCH_RANDOM; i--) {
        unsigned j = (unsigned)random_below(&random, i + 1);
        uint32_t moved = batch->permutation[i];
        batch->permutation[i] = batch->permutation[j];
        batch->permutation[j] = moved;
    }
    return batch;
}

static void calibrate(void)
{
    bench_timing_cost = UINT64_MAX;
    for (unsigned i = 0; i < 16; i++) {
        uint64_t before = arch_instructions();
        uint64_t after = arch_instructions();
        bench_timing_cost = min_of(bench_timing_cost, after - before);
    }
}

static void print_sample(const struct bench *bench, const char *key, unsigned index)
{
    uint32_t sample = bench->samples[index];

    if (bench->is_in_hundredths)
        console_print("\"%s\": %u.%02u, ", key, sample / 100, sample % 100);
    else
        console_print("\"%s\": %u, ", key, sample);
}

static void report(const struct bench_row *row, struct bench *bench)
{
    uint64_t sum = 0;
    unsigned count = bench->count;

    sort(bench->samples, count);
    for (unsigned i = 0; i < count; i++)
        sum += bench->samples[i];
    uint64_t hundredths = sum * (bench->is_in_hundredths ? 1 : 100) / count;
    console_print("@bench {\"name\": \"%s\", \"page_size\": %lu, \"harts\": %u, \"ops\": %u, ", row->name, PAGE_SIZE,
                  arch_hart_count(), count);
    print_sample(bench, "min", 0);
    print_sample(bench, "p50", count / 2);
    print_sample(bench, "p99", (unsigned)((uint64_t)count * 99 / 100));
    print_sample(bench, "max", count - 1);
    if (bench->has_shared_locks)
        console_print("\"shared_locks\": %lu.%04lu, ", bench->shared_locks / 10000, bench->shared_locks % 10000);
    if (bench->ram_mb != 0)
        console_print("\"ram_mb\": %lu, ", bench->ram_mb);
    console_print("\"mean\": %lu.%02lu}\n", hundredths / 100, hundredths % 100);
}

static int run_bench(void)
{
    const char *filter = bootarg_text("filter");
    unsigned matched = 0;

    tables = vmalloc(sizeof *tables);
    if (!tables) {
        console_print("quire: benchmarks need %zu KB of memory\n", sizeof *tables >> 10);
        return EXIT_BAD_INPUT;
    }
    calibrate();
    for (const struct bench_row *row = __bench_start; row < __bench_end; row++) {
        struct bench bench = { .samples = tables->samples };
        if (!pattern_list_matches(filter, row->name))
            continue;
        matched++;
        row->run(&bench, row->size, row->variant);
        if (bench.out_of_memory || bench.count == 0)
            console_print("@bench-absent %s\n", row->name);
        else
            report(row, &bench);
    }
    if (matched > 0)
        return EXIT_OK;
    console_print("quire: boot argument filter=%s matches no benchmark\n", filter);
    return EXIT_BAD_INPUT;
}
BOOT_MODE(bench, run_bench);

static void empty_row(struct bench *bench, unsigned size, unsigned variant)
{
    (void)variant;
    for (unsigned i = 0; i < size; i++)
        BENCH_TIME(bench, );
}
BENCH_ROW(empty, "bench.empty", empty_row, 10000, 0);

// A loop of two instructions a round: shows that what is counted is instructions.
static void loop_row(struct bench *bench, unsigned size, unsigned variant)
{
    (void)variant;
    for (unsigned i = 0; i < 100; i++) {
        uint64_t rounds = size;
        BENCH_TIME(bench, __asm__ volatile("1: addi %0, %0, -1\n\tbnez %0, 1b" : "+r"(rounds)));
    }
}
BENCH_ROW(loop1000, "bench.loop1000", loop_row, 1000, 0);

// From the kernel's first C function until every allocator works, as it was when this kernel started.
static void boot_row(struct bench *bench, unsigned size, unsigned variant)
{
    (void)size;
    (void)variant;
    bench->ram_mb = memblock_ram_bytes() >> 20;
    bench_record(bench, 0, report_boot_instructions() + bench_timing_cost);
}
BENCH_ROW(boot, "boot.allocator", boot_row, 0, 0);
