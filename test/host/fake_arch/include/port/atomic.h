// Compare and store, as the compiler does it. The contract is <arch/atomic.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

static always_inline bool arch_replace(uint64_t *word, uint64_t expected, uint64_t desired)
{
    return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
