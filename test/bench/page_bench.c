// Rows of the page allocator.
// SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <mm/page_alloc.h>
#include <mm/page_ops.h>
#include <mm/zone.h>

#define PAIRS 10000

static always_inline void time_pairs(struct bench *bench, gfp_t gfp, unsigned order)
{
    for (unsigned i = 0; i < PAIRS; i++) {
        struct page *page = NULL;
        BENCH_TIME(bench, page = alloc_pages(gfp, order); if (likely(page)) __free_pages(page, order));
        if (!page)
            bench->out_of_memory = true;
    }
}

static void order_pair(struct bench *bench, unsigned order, unsigned variant)
{
    (void)variant;
    if (order <= MAX_ORDER)
        time_pairs(bench, GFP_KERNEL, order);
}
BENCH_ROW(order0, "page.order0.pair", order_pair, 0, 0);
BENCH_ROW(order1, "page.order1.pair", order_pair, 1, 0);
BENCH_ROW(order2, "page.order2.pair", order_pair, 2, 0);
BENCH_ROW(order3, "page.order3.pair", order_pair, 3, 0);
BENCH_ROW(order4, "page.order4.pair", order_pair, 4, 0);
BENCH_ROW(order6, "page.order6.pair", order_pair, 6, 0);
BENCH_ROW(order9, "page.order9.pair", order_pair, 9, 0);
BENCH_ROW(order10, "page.order10.pair", order_pair, 10, 0);

static void atomic_pair(struct bench *bench, unsigned order, unsigned variant)
{
    (void)variant;
    time_pairs(bench, GFP_ATOMIC, order);
}
BENCH_ROW(atomic, "page.atomic.order0.pair", atomic_pair, 0, 0);

static void zeroed_pair(struct bench *bench, unsigned size, unsigned variant)
{
    (void)size;
    (void)variant;
    for (unsigned i = 0; i < 1000; i++) {
        void *page = NULL;
        BENCH_TIME(bench, page = get_zeroed_page(GFP_KERNEL); free_page(page));
        if (!page)
            bench->out_of_memory = true;
    }
}
BENCH_ROW(zeroed, "page.zeroed.pair", zeroed_pair, 0, 0);

enum { CLEAR, COPY };

static void clear_or_copy(struct bench *bench, unsigned size, unsigned variant)
{
    char *to = __get_free_page(GFP_KERNEL), *from = get_zeroed_page(GFP_KERNEL);

    (void)size;
    for (unsigned i = 0; i < 1000 && to && from; i++) {
        if (variant == CLEAR)
            BENCH_TIME(bench, clear_page(to));
        else
            BENCH_TIME(bench, copy_page(to, from));
    }
    free_page(to);
    free_page(from);
}
BENCH_ROW(clear, "page.clear", clear_or_copy, 0, CLEAR);
BENCH_ROW(copy, "page.copy", clear_or_copy, 0, COPY);

static void *take_page(void) { return alloc_page(GFP_KERNEL); }
static void give_page(void *page) { __free_page(page); }

static void batch(struct bench *bench, unsigned count, unsigned variant)
{
    bench_batch(bench, count, variant, take_page, give_page);
}

#define BATCH_ROWS(count) \
    BENCH_ROW(batch##count##la, "page.batch" #count ".lifo.alloc", batch, count, \
              BENCH_VARIANT(BENCH_LIFO, BENCH_ALLOC)); \
    BENCH_ROW(batch##count##lf, "page.batch" #count ".lifo.free", batch, count, \
              BENCH_VARIANT(BENCH_LIFO, BENCH_FREE)); \
    BENCH_ROW(batch##count##fa, "page.batch" #count ".fifo.alloc", batch, count, \
              BENCH_VARIANT(BENCH_FIFO, BENCH_ALLOC)); \
    BENCH_ROW(batch##count##ff, "page.batch" #count ".fifo.free", batch, count, \
              BENCH_VARIANT(BENCH_FIFO, BENCH_FREE)); \
    BENCH_ROW(batch##count##ra, "page.batch" #count ".random.alloc", batch, count, \
              BENCH_VARIANT(BENCH_RANDOM, BENCH_ALLOC)); \
    BENCH_ROW(batch##count##rf, "page.batch" #count ".random.free", batch, count, \
              BENCH_VARIANT(BENCH_RANDOM, BENCH_FREE))
BATCH_ROWS(1024);
BATCH_ROWS(16384);
