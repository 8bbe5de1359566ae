// The object model test: a seeded generator of operations on caches and kmalloc, and what it did.
// SPDX-License-Identifier: BSD-2-Clause
//
// The mix. Of 16 operations outside phases that fill or empty, 15 allocate or free one object: 3 of 8 allocations by
// kmalloc, 5 from one of 24 slots. A slot holds a cache of 1 to 16384 bytes (one in 64: to 100,000), each size half as
// frequent as half the size, a quarter of them aligned, a quarter without magazines; the first eight have constructors,
// destructors or both, and one constructor allocates. Of 64 requests 24 are GFP_KERNEL (and 16 more by the front, as
// unchecked callers have it), 4 without retries, 12 without waiting, 8 zeroed.
//
// The 16th operation is another one: of 64, 16 bulk allocations and 16 bulk frees of up to 100 objects, 27 krealloc, 2
// caches created or destroyed, 2 trims, and 1 that shrinks a cache, reaps, or empties the lists.
//
// A phase that fills alternates between two sources until both were refused, one phase in two to the last pages.
#pragma once

#include "object_model.h"

#define OBJECT_REQUEST_KINDS 7
#define OBJECT_BULK_MOST 100

enum object_operation {
    OP_ALLOC_BULK, OP_FREE_BULK, OP_KREALLOC, OP_CREATE, OP_DESTROY, OP_TRIM, OP_SHRINK, OP_REAP, OP_DRAIN,
    OBJECT_OPERATIONS,
};

struct object_run {
    struct random random;
    struct object_counts {
        uint64_t requested[OBJECT_REQUEST_KINDS];
        uint64_t taken[SOURCES], refused[SOURCES];
        uint64_t freed[VICTIMS];
        uint64_t operation[OBJECT_OPERATIONS];
        uint64_t bulk_objects, large, phases, exhaustions;
    } counts;
};

// Runs that many operations, frees what is left, and checks everything; returns when all is well. On hart 0.
void object_model_run(struct object_run *run, uint64_t operations);

// Prints the mix as comments.
void object_model_report(const struct object_run *run);
