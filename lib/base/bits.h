// Words of bits: the index of the lowest and the highest (of a word that is not 0), and counts.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// The base instruction set counts no zeros, and the compiler's library call costs three times this: a de
// Bruijn sequence, whose windows of six bits are all different (Leiserson, Prokop, Randall: "Using de Bruijn
// Sequences to Index a 1 in a Computer Word", MIT 1998).
static inline unsigned lowest_bit(uint64_t word)
{
    static const uint8_t place[64] = {
        0, 1, 48, 2, 57, 49, 28, 3, 61, 58, 50, 42, 38, 29, 17, 4,
        62, 55, 59, 36, 53, 51, 43, 22, 45, 39, 33, 30, 24, 18, 12, 5,
        63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21, 44, 32, 23, 11,
        46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9, 13, 8, 7, 6,
    };
    if (__builtin_constant_p(word))
        return (unsigned)__builtin_ctzl(word);
    return place[(word & -word) * 0x03f79d71b4cb0a89 >> 58];
}

static always_inline unsigned highest_bit(uint64_t word) { return 63 - (unsigned)__builtin_clzl(word); }

static always_inline bool has_at_most_one_bit(uint64_t word) { return (word & (word - 1)) == 0; }

// Without Zbb a popcount is a library call, so this is the textbook tree (Warren: "Hacker's Delight", 5-1).
static inline unsigned count_bits(uint64_t word)
{
    word -= (word >> 1) & 0x5555555555555555;
    word = (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333);
    word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (unsigned)((word * 0x0101010101010101) >> 56);
}

// The low `count` bits set (0 to 64).
static always_inline uint64_t low_bits(unsigned count)
{
    return count >= 64 ? ~0UL : (1UL << count) - 1;
}
