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

// The order is a constant, as callers write it.
#define ORDER_PAIR(number) \
    static void order##number##_pair(struct bench *bench, unsigned size, unsigned variant) \
    { \
        (void)size; \
        (void)variant; \
        if (number <= MAX_ORDER) \
            time_pairs(bench, GFP_KERNEL, number); \
    } \
    BENCH_ROW(order##number, "page.order" #number ".pair", order##number##_pair, number, 0)
ORDER_PAIR(0);
ORDER_PAIR(1);
ORDER_PAIR(2);
ORDER_PAIR(3);
ORDER_PAIR(4);
ORDER_PAIR(6);
ORDER_PAIR(9);
ORDER_PAIR(10);

static void atomic_pair(struct bench *bench, unsigned size, unsigned variant)
{
    (void)size;
    (void)variant;
    time_pairs(bench, GFP_ATOMIC, 0);
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

static always_inline void *take_page(void) { return alloc_page(GFP_KERNEL); }
static always_inline void give_page(void *page) { __free_page(page); }

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
