// Instruction counts by class of operation.
// SPDX-License-Identifier: BSD-2-Clause

#include "measure.h"
#include <base/bits.h>

#define CALIBRATION_ROUNDS 16

static struct measure measures[MEASURE_CLASSES];
static uint64_t empty_cost;

uint64_t measure_calibrate(void)
{
    empty_cost = UINT64_MAX;
    for (unsigned i = 0; i < CALIBRATION_ROUNDS; i++) {
        uint64_t before = arch_instructions();
        uint64_t after = arch_instructions();
        empty_cost = min_of(empty_cost, after - before);
    }
    return empty_cost;
}

void measure_add(enum measure_class class, uint64_t before, uint64_t after, bool failed)
{
    struct measure *measure = &measures[class];
    uint64_t cost = after - before - empty_cost;

    measure->min = measure->count == 0 ? cost : min_of(measure->min, cost);
    measure->max = max_of(measure->max, cost);
    measure->instructions += cost;
    measure->log2[min_of(highest_bit(cost | 1), MEASURE_BUCKETS - 1U)]++;
    measure->count++;
    measure->failed += failed;
}

const struct measure *measure_of(enum measure_class class)
{
    return &measures[class];
}

uint64_t measure_failed(void)
{
    uint64_t failed = 0;

    for (unsigned class = 0; class < MEASURE_CLASSES; class++)
        failed += measures[class].failed;
    return failed;
}
