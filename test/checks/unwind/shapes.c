// Functions with every kind of frame that the compiler makes, called from one place.
// SPDX-License-Identifier: BSD-2-Clause
//
// Compiled once with -O2, and once with -O0, where every frame is addressed by s0.
#include "shapes.h"

#include <stdarg.h>
#include <stddef.h>

#define apart __attribute__((noinline, noclone))

static volatile long sink;
static volatile long zero;

static apart void touch(void *memory, size_t size)
{
    *(volatile char *)memory = (char)size;
    ((volatile char *)memory)[size - 1] = 1;
}

static apart long leaf(long value) { return 3 * value + 1; }

static apart long tail(long value)
{
    sink = value;
    return leaf(value + 2);
}

// Only one way through it needs a frame.
static apart long shrink_wrapped(long value)
{
    if (value < 0)
        return -value;
    long sum = 0;
    for (long i = 0; i < 3; i++)
        sum += leaf(value + i) * tail(i);
    return sum;
}

// A first step of sp keeps the saved registers in reach, a second one makes room.
static apart long big_frame(long value)
{
    char room[5000];
    touch(room, sizeof(room));
    return shrink_wrapped(value) + room[sizeof(room) - 1];
}

static apart long middle_frame(long value)
{
    char room[1900];
    touch(room, sizeof(room));
    return leaf(value) + room[0];
}

static apart long with_alloca(long size)
{
    char *room = __builtin_alloca((size_t)size);
    touch(room, (size_t)size);
    long sum = shrink_wrapped(size) + leaf(room[0]);
    room = __builtin_alloca((size_t)size + 100);
    touch(room, (size_t)size + 100);
    return sum + tail(room[0]);
}

static apart long variadic(int count, ...)
{
    va_list args;
    long sum = 0;

    va_start(args, count);
    while (count-- > 0)
        sum += leaf(va_arg(args, long));
    va_end(args);
    return sum;
}

static apart long many_live(long a, long b, long c, long d)
{
    long e = leaf(a), f = leaf(b), g = leaf(c), h = leaf(d);
    long i = tail(e), j = tail(f), k = tail(g), l = tail(h);
    return a + b * c + d + e * f + g + h * i + j + k * l + leaf(a * l + b * k + c * j + d * i);
}

static apart long recursive(long depth)
{
    if (depth == 0)
        return with_alloca(48);
    return recursive(depth - 1) * 2 + depth;
}

static apart long odd(long value);
static apart long even(long value) { return value == 0 ? 1 : odd(value - 1) + 1; }
static apart long odd(long value) { return value == 0 ? 0 : even(value - 1) + 2; }

struct wide {
    long words[8];
};

static apart struct wide returned_by_memory(long value)
{
    struct wide result = { { value, leaf(value), tail(value), 4, 5, 6, 7, 8 } };
    return result;
}

static apart __attribute__((cold)) long unlikely_path(long value) { return leaf(value) - 1; }

// The unlikely half goes to a part of its own, "with_cold_part.cold", that starts in the middle of the frame.
static apart long with_cold_part(long value)
{
    long sum = leaf(value);
    if (__builtin_expect(value == 7, 0)) {
        sum += unlikely_path(sum);
        sum += unlikely_path(sum + 1);
    }
    return sum + tail(sum);
}

static apart long several_returns(long value)
{
    if (value > 4) {
        long sum = leaf(value);
        if (sum > 40)
            return sum + leaf(sum);
        sink = sum;
        return tail(sum) + 1;
    }
    if (value == 2)
        return 7;
    return leaf(value) * leaf(value + 1);
}

static apart long traps(long value)
{
    long before = leaf(value);
    __asm__ volatile("ecall" ::: "memory");
    return before + value;
}

// Traps with ra still in the register.
static apart long leaf_traps(long value)
{
    __asm__ volatile("ecall" ::: "memory");
    return value + 5;
}

long NAME(shapes)(long seed)
{
    long (*volatile call)(long) = leaf;
    long sum = leaf(seed) + tail(seed) + shrink_wrapped(-1) + shrink_wrapped(seed);

    sum += big_frame(seed) + middle_frame(seed) + with_alloca(seed + 30);
    sum += variadic(3, 1L, 2L, 3L) + variadic(0) + many_live(seed, 2, 3, 4) + recursive(3) + even(4);
    sum += returned_by_memory(seed).words[1] + with_cold_part(7) + with_cold_part(8);
    sum += several_returns(2) + several_returns(5) + several_returns(50) + several_returns(1);
    sum += call(sum) + assembly_framed(with_alloca, 20) + assembly_framed(call, 1) + assembly_plain(sum);
    sum += traps(seed) + leaf_traps(seed) + assembly_framed(traps, 2);
    return sum + zero;
}
