// The inline arithmetic of lib/base: bits.h, compiler.h's rounding, addr.h's orders, random.h.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/addr.h>
#include <base/bits.h>
#include <base/random.h>
#include <ktest/ktest.h>

// Each single bit is its own lowest and highest, also among random others below or above it.
KTEST(bits, lowest_and_highest)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t word = 1UL << bit, others = ktest_random();
        EXPECT_EQ(lowest_bit(word), bit);
        EXPECT_EQ(highest_bit(word), bit);
        EXPECT_EQ(lowest_bit(word | (others & ~low_bits(bit))), bit);
        EXPECT_EQ(highest_bit(word | (others & low_bits(bit))), bit);
    }
}

// A count is the number of steps that clear the lowest bit.
KTEST(bits, counts)
{
    EXPECT_EQ(count_bits(0), 0);
    EXPECT_EQ(count_bits(UINT64_MAX), 64);
    for (unsigned round = 0; round < 1000; round++) {
        uint64_t word = ktest_random() & ktest_random(), rest = word;
        unsigned count = 0;
        for (; rest != 0; rest &= rest - 1)
            count++;
        REQUIRE(EXPECT_EQ(count_bits(word), count));
    }
}

// low_bits takes every count from none to all.
KTEST(bits, low_bits)
{
    for (unsigned count = 0; count <= 64; count++)
        EXPECT_EQ(count_bits(low_bits(count)), count);
    EXPECT_EQ(low_bits(0), 0);
    EXPECT_EQ(low_bits(1), 1);
    EXPECT_EQ(low_bits(64), UINT64_MAX);
}

// Rounding goes to multiples, leaves them alone, and works at the type's own width.
KTEST(bits, rounding)
{
    EXPECT_EQ(align_down(4097UL, 4096), 4096);
    EXPECT_EQ(align_up(4097UL, 4096), 8192);
    EXPECT_EQ(align_up(4096UL, 4096), 4096);
    EXPECT_EQ(align_up(0UL, 4096), 0);
    EXPECT_EQ(align_down(0xffffffff00000fffUL, 4096), 0xffffffff00000000UL);
    EXPECT(is_aligned(8192UL, 4096));
    EXPECT(!is_aligned(8193UL, 4096));
    EXPECT(is_power_of_two(1UL << 63));
    EXPECT(!is_power_of_two(0UL));
    EXPECT(!is_power_of_two(6UL));
    EXPECT_EQ(min_of(3, 4), 3);
    EXPECT_EQ(max_of(-3, -4) + 10, 7);
}

// The order of a size is the smallest whose block holds it.
KTEST(addr, order_of_a_size)
{
    EXPECT_EQ(get_order(1), 0);
    EXPECT_EQ(get_order(PAGE_SIZE), 0);
    EXPECT_EQ(get_order(PAGE_SIZE + 1), 1);
    for (unsigned order = 1; order < 20; order++) {
        EXPECT_EQ(get_order(PAGE_SIZE << order), order);
        EXPECT_EQ(get_order((PAGE_SIZE << order) - PAGE_SIZE / 2), order);
        EXPECT_EQ(get_order((PAGE_SIZE << order) + 1), order + 1);
    }
}

// The generator is the published one (the first values for seed 0), and stays below its bound.
KTEST(random, is_splitmix64)
{
    struct random random = random_seeded(0);

    EXPECT_EQ(random_next(&random), 0xe220a8397b1dcdaf);
    EXPECT_EQ(random_next(&random), 0x6e789e6aa1b965f4);
    EXPECT_EQ(random_next(&random), 0x06c45d188009454f);
    for (unsigned i = 0; i < 1000; i++)
        EXPECT_LT(random_below(&random, 7), 7);
    EXPECT_EQ(random_below(&random, 1), 0);
}
