// The model test: a seeded generator of operations on the page allocator, and what it did.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "page_model.h"

#define REQUEST_KINDS 12

enum { OP_BULK, OP_EXACT, OP_SPLIT, OP_GET, OP_PUT, OP_DRAIN, OP_KINDS };

struct run {
    struct page_model model;
    struct random random;
    struct counts {
        uint64_t requested[REQUEST_KINDS];
        uint64_t asked[MAX_ORDER + 1], refused[MAX_ORDER + 1];
        uint64_t freed[VICTIMS];
        uint64_t kind[OP_KINDS];
        uint64_t bulk_pages, phases, exhaustions;
    } counts;
};

// Runs that many operations, each phase of them on the next hart, frees what is left, and checks everything; returns
// when all is well. On hart 0.
void page_model_run(struct run *run, uint64_t operations);

// Prints the mix as comments.
void page_model_report(const struct run *run);
