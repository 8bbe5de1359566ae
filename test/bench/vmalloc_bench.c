// Rows of vmalloc and vm_map_ram. Freeing is lazy: what a flush costs, and giving back what it serves, is in each
// share. SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <mm/page_alloc.h>
#include <mm/vmalloc.h>

#define REPEATS 5
#define RAM_PAGES 16

static unsigned operations_of(unsigned pages)
{
    return max_of(200U, 4000 / pages);
}

static void pair(struct bench *bench, unsigned pages, unsigned variant)
{
    unsigned operations = operations_of(pages);

    (void)variant;
    // The first repeat makes what stays, and is not kept.
    for (unsigned repeat = 0; repeat <= REPEATS; repeat++) {
        uint64_t before = arch_instructions();
        for (unsigned i = 0; i < operations; i++) {
            void *area = vmalloc(pages * PAGE_SIZE);
            bench_hide(area);
            bench->out_of_memory |= area == NULL;
            vfree(area);
        }
        vmalloc_flush();
        uint64_t after = arch_instructions();
        if (repeat > 0)
            bench_record_share(bench, after - before, operations);
    }
}
BENCH_ROW(vmalloc1, "vmalloc.1.pair", pair, 1, 0);
BENCH_ROW(vmalloc4, "vmalloc.4.pair", pair, 4, 0);
BENCH_ROW(vmalloc16, "vmalloc.16.pair", pair, 16, 0);
BENCH_ROW(vmalloc64, "vmalloc.64.pair", pair, 64, 0);
BENCH_ROW(vmalloc256, "vmalloc.256.pair", pair, 256, 0);
BENCH_ROW(vmalloc1024, "vmalloc.1024.pair", pair, 1024, 0);

// `count` areas of 4 pages alive, freed at random.
static void live(struct bench *bench, unsigned count, unsigned variant)
{
    struct bench_batch *batch = bench_batch_start(count, BENCH_RANDOM);

    for (unsigned repeat = 0; repeat <= REPEATS; repeat++) {
        uint64_t start = arch_instructions();
        for (unsigned i = 0; i < count; i++)
            bench->out_of_memory |= (batch->things[i] = vmalloc(4 * PAGE_SIZE)) == NULL;
        uint64_t allocated = arch_instructions();
        for (unsigned i = 0; i < count; i++)
            vfree(batch->things[batch->permutation[i]]);
        vmalloc_flush();
        uint64_t freed = arch_instructions();
        if (repeat > 0)
            bench_record_share(bench, variant == BENCH_ALLOC ? allocated - start : freed - allocated, count);
    }
}
BENCH_ROW(live_alloc, "vmalloc.live256.alloc", live, 256, BENCH_ALLOC);
BENCH_ROW(live_free, "vmalloc.live256.free", live, 256, BENCH_FREE);

// Pairs of 4 pages while `count` areas of a page are alive.
static void among(struct bench *bench, unsigned count, unsigned variant)
{
    struct bench_batch *batch = bench_batch_start(count, BENCH_RANDOM);
    unsigned made = 0;

    while (made < count && (batch->things[made] = vmalloc(PAGE_SIZE)) != NULL)
        made++;
    // So that the addresses in use are full of holes.
    for (unsigned i = 0; i < made; i += 2) {
        vfree(batch->things[i]);
        batch->things[i] = vmalloc(PAGE_SIZE);
    }
    pair(bench, 4, variant);
    for (unsigned i = 0; i < made; i++)
        vfree(batch->things[i]);
    vmalloc_flush();
    bench->out_of_memory |= made < count;
}
BENCH_ROW(among15000, "vmalloc.4.pair.among15000", among, 15000, 0);

static void map_ram(struct bench *bench, unsigned operations, unsigned variant)
{
    struct page *pages[RAM_PAGES];
    unsigned count = alloc_pages_bulk(GFP_KERNEL, RAM_PAGES, pages);

    (void)variant;
    for (unsigned repeat = 0; repeat <= REPEATS && count == RAM_PAGES; repeat++) {
        uint64_t before = arch_instructions();
        for (unsigned i = 0; i < operations; i++) {
            void *area = vm_map_ram(pages, RAM_PAGES);
            bench_hide(area);
            bench->out_of_memory |= area == NULL;
            vm_unmap_ram(area, RAM_PAGES);
        }
        vmalloc_flush();
        uint64_t after = arch_instructions();
        if (repeat > 0)
            bench_record_share(bench, after - before, operations);
    }
    while (count > 0)
        __free_page(pages[--count]);
}
BENCH_ROW(map_ram, "vm_map_ram.16.pair", map_ram, 2000, 0);
