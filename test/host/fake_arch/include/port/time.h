// The fake port's clock: nanoseconds. Nothing counts instructions here, so cycles stand in for them.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>
#include <time.h>

static inline uint64_t arch_time(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static always_inline uint64_t arch_instructions(void) { return __builtin_ia32_rdtsc(); }
