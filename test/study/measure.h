// What the operations of a replay cost, in instructions, by class.
// SPDX-License-Identifier: BSD-2-Clause
//
//     uint64_t before = arch_instructions();
//     void *object = kmalloc(bytes, gfp);
//     measure_add(MEASURE_OBJECT_ALLOC, before, arch_instructions(), object == NULL);
//
// Only the call and its arguments lie between the two counts. One hart at a time.
#pragma once

#include <arch/time.h>
#include <base/compiler.h>

enum measure_class {
    MEASURE_OBJECT_ALLOC, MEASURE_OBJECT_FREE, MEASURE_PAGE_ALLOC, MEASURE_PAGE_FREE, MEASURE_AREA_ALLOC,
    MEASURE_AREA_FREE, MEASURE_CLASSES,
};

#define MEASURE_BUCKETS 32

struct measure {
    uint64_t count, failed;
    uint64_t instructions, min, max;              // min is 0 while count is
    uint64_t log2[MEASURE_BUCKETS];               // how many took 2^i to 2^(i+1)-1; 0 counts in the first
};

// Finds out what an empty measurement shows, to be subtracted from every other one, and returns it.
uint64_t measure_calibrate(void);

void measure_add(enum measure_class class, uint64_t before, uint64_t after, bool failed);
const struct measure *measure_of(enum measure_class class);

// Allocations that failed, over all classes.
uint64_t measure_failed(void);
