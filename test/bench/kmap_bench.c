// Rows of kmap: what an address costs, for a page that has one and for a page of HIGHMEM.
// SPDX-License-Identifier: BSD-2-Clause

#include "bench.h"
#include <mm/kmap.h>
#include <mm/page_alloc.h>

#define PAIRS 1000

enum { DIRECT, HIGH };

// A page of that kind, or NULL on a machine that has none.
static struct page *take_page(unsigned kind)
{
    struct page *page = alloc_page(kind == HIGH ? GFP_HIGHUSER : GFP_KERNEL);

    if (page == NULL || page_is_high(page) == (kind == HIGH))
        return page;
    __free_page(page);
    return NULL;
}

// A function for each way to map a page: calls, as callers write them, not pointers to functions.
#define PAIR(name, map, unmap) \
    static void name(struct bench *bench, unsigned size unused_arg, unsigned kind) \
    { \
        struct page *page = take_page(kind); \
        bench->out_of_memory = page == NULL; \
        for (unsigned i = 0; i < PAIRS && page != NULL; i++) { \
            bench_hide(page); \
            BENCH_TIME(bench, char *address = map(page); bench_hide(address); unmap); \
        } \
        __free_page(page); \
    }

PAIR(shared_pair, kmap, kunmap(page))
PAIR(local_pair, kmap_local_page, kunmap_local(address))
BENCH_ROW(kmap_direct, "kmap.direct.pair", shared_pair, 0, DIRECT);
BENCH_ROW(kmap_high, "kmap.high.pair", shared_pair, 0, HIGH);
BENCH_ROW(kmap_local_direct, "kmap.local.direct.pair", local_pair, 0, DIRECT);
BENCH_ROW(kmap_local_high, "kmap.local.high.pair", local_pair, 0, HIGH);
