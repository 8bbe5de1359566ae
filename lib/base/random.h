// A small seeded generator for tests, studies and benchmarks: one seed, the same numbers everywhere.
// SPDX-License-Identifier: BSD-2-Clause
//
// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#pragma once

#include <base/compiler.h>

struct random {
    uint64_t state;
};

static inline struct random random_seeded(uint64_t seed)
{
    return (struct random){ seed };
}

static inline uint64_t random_next(struct random *random)
{
    uint64_t z = (random->state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

// Uniform enough over [0, bound) for tests; bound is at least 1.
static inline uint64_t random_below(struct random *random, uint64_t bound)
{
    return random_next(random) % bound;
}
