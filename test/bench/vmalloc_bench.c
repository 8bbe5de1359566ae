// Rows of vmalloc.
// SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <mm/vmalloc.h>

static void pair(struct bench *bench, unsigned pages, unsigned variant)
{
    (void)variant;
    // The first pair makes the page tables, and is not kept.
    for (unsigned i = 0; i < 101; i++) {
        void *area = NULL;
        if (i == 1)
            bench->count = 0;
        BENCH_TIME(bench, area = vmalloc(pages * PAGE_SIZE); vfree(area));
        if (!area)
            bench->out_of_memory = true;
    }
}
BENCH_ROW(vmalloc1, "vmalloc.1.pair", pair, 1, 0);
BENCH_ROW(vmalloc4, "vmalloc.4.pair", pair, 4, 0);
BENCH_ROW(vmalloc16, "vmalloc.16.pair", pair, 16, 0);
BENCH_ROW(vmalloc64, "vmalloc.64.pair", pair, 64, 0);
BENCH_ROW(vmalloc256, "vmalloc.256.pair", pair, 256, 0);
BENCH_ROW(vmalloc1024, "vmalloc.1024.pair", pair, 1024, 0);

static always_inline void *take_area(void) { return vmalloc(4 * PAGE_SIZE); }
static always_inline void give_area(void *area) { vfree(area); }

static void live(struct bench *bench, unsigned count, unsigned variant)
{
    bench_batch(bench, count, variant, take_area, give_area);
}
BENCH_ROW(live_alloc, "vmalloc.live256.alloc", live, 256, BENCH_VARIANT(BENCH_RANDOM, BENCH_ALLOC));
BENCH_ROW(live_free, "vmalloc.live256.free", live, 256, BENCH_VARIANT(BENCH_RANDOM, BENCH_FREE));
