// Assertions in tiers of cost, and the way out when one fails.
// SPDX-License-Identifier: BSD-2-Clause
//
//   BUG_ON(c)       always compiled: a broken invariant that must never be survived
//   ASSERT(c)       CONFIG_ASSERT_TIER >= 1 (default): a few instructions, off the fast paths
//   ASSERT_SLOW(c)  CONFIG_ASSERT_TIER >= 2: on fast paths, or walks a structure
//
// A disabled assertion still compiles its condition, so that it cannot rot, and runs nothing of it.
#pragma once

#include <base/compiler.h>

// Supplied by the kernel (lib/debug/panic.c) and by the host test program.
_Noreturn void panic(const char *format, ...) printf_like(1, 2);
_Noreturn void assert_failed(const char *condition, const char *file, int line);

#define BUG_ON(condition) \
    do { \
        if (unlikely(condition)) \
            assert_failed("not (" #condition ")", __FILE__, __LINE__); \
    } while (0)

#define ASSERT_IN_TIER(tier, condition) \
    do { \
        if (CONFIG_ASSERT_TIER >= (tier) && unlikely(!(condition))) \
            assert_failed(#condition, __FILE__, __LINE__); \
    } while (0)

#define ASSERT(condition) ASSERT_IN_TIER(1, condition)
#define ASSERT_SLOW(condition) ASSERT_IN_TIER(2, condition)
