// Rows of the page allocator's halves, and of pages by the dozen.
// SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <mm/page_alloc.h>
#include <mm/page_zero.h>
#include <task/thread.h>

#define PAIRS 10000
#define BULK 64
#define BULKS 1000

// One half of alternating allocations and frees; the order is a constant, as callers write it.
#define HALF_ROWS(number) \
    static void order##number##_half(struct bench *bench, unsigned size, unsigned half) \
    { \
        (void)size; \
        for (unsigned i = 0; i < PAIRS && !bench->out_of_memory; i++) { \
            struct page *page = NULL; \
            uint64_t before = arch_instructions(); \
            page = alloc_pages(GFP_KERNEL, number); \
            uint64_t middle = arch_instructions(); \
            bench->out_of_memory = !page; \
            uint64_t start = arch_instructions(); \
            __free_pages(page, number); \
            uint64_t end = arch_instructions(); \
            if (half == BENCH_ALLOC) \
                bench_record(bench, before, middle); \
            else \
                bench_record(bench, start, end); \
        } \
    } \
    BENCH_ROW(order##number##a, "page.order" #number ".alloc", order##number##_half, 0, BENCH_ALLOC); \
    BENCH_ROW(order##number##f, "page.order" #number ".free", order##number##_half, 0, BENCH_FREE)
HALF_ROWS(0);
HALF_ROWS(1);
HALF_ROWS(2);
HALF_ROWS(3);

// A bulk of pages taken by one call and given back by as many calls as there are pages: the cost of all, per page.
static void bulk(struct bench *bench, unsigned size, unsigned variant)
{
    static struct page *pages[BULK];

    (void)size;
    (void)variant;
    for (unsigned i = 0; i < BULKS && !bench->out_of_memory; i++) {
        uint64_t before = arch_instructions();
        unsigned got = alloc_pages_bulk(GFP_KERNEL, BULK, pages);
        uint64_t total = arch_instructions() - before - bench_timing_cost;

        for (unsigned k = 0; k < got; k++) {
            struct page *page = pages[k];
            before = arch_instructions();
            __free_page(page);
            total += arch_instructions() - before - bench_timing_cost;
        }
        bench->out_of_memory = got != BULK;
        bench_record_share(bench, total, BULK);
    }
}
BENCH_ROW(bulk64, "page.bulk64", bulk, 0, 0);

enum { SERVED, CLEARED };

// What a caller pays for a page that an idle hart has cleared, and what that one paid for it. With prezero=on only.
static void prezeroed(struct bench *bench, unsigned size, unsigned variant)
{
    uint64_t cleared;

    (void)size;
    if (!page_zero_is_on())
        return;
    do {
        cleared = page_zero_stats().cleared;
        (void)thread_sleep_us(1000);
    } while (page_zero_stats().cleared > cleared);
    struct page_zero_stats before = page_zero_stats();
    if (variant == CLEARED)
        bench_record_share(bench, before.instructions, before.cleared);
    for (uint64_t i = 0; i < before.held && variant == SERVED; i++) {
        void *page = NULL;
        BENCH_TIME(bench, page = get_zeroed_page(GFP_KERNEL); free_page(page));
        if (!page)
            bench->out_of_memory = true;
    }
}
BENCH_ROW(prezeroed, "page.prezeroed.pair", prezeroed, 0, SERVED);
BENCH_ROW(prezeroed_clear, "page.prezeroed.clear", prezeroed, 0, CLEARED);
