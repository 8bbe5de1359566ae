// Names for the compiler's attributes and the few macros that every file uses.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define noinline __attribute__((__noinline__))
#define always_inline inline __attribute__((always_inline))
#define cold __attribute__((__cold__, __noinline__))
#define printf_like(format_index, args_index) __attribute__((format(printf, format_index, args_index)))
#define packed_struct __attribute__((packed))
#define aligned_to(bytes) __attribute__((aligned(bytes)))
#define unused_arg __attribute__((unused))
#define must_check __attribute__((warn_unused_result))

// Code and data that only start-up needs; the memory goes to the allocator when start-up is over.
#ifdef QUIRE_HOST
#define init_code
#define init_data
#else
#define init_code __attribute__((section(".init.text"), __noinline__))
#define init_data __attribute__((section(".init.data")))
#endif

// A relaxed atomic store of an aligned word, for readers that take it without the writer's lock. GCC 12 makes an atomic
// swap of __atomic_store_n where it could be a store; on the host that form is what a race detector understands.
#ifdef QUIRE_HOST
#define store_relaxed(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELAXED)
#else
#define store_relaxed(pointer, value) ((void)(*(volatile __typeof__(*(pointer)) *)(pointer) = (value)))
#endif

#define CACHE_LINE_BYTES 64

#define array_count(array) (sizeof(array) / sizeof((array)[0]))
#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#define min_of(a, b) ({ __typeof__(a) min_a_ = (a); __typeof__(b) min_b_ = (b); min_a_ < min_b_ ? min_a_ : min_b_; })
#define max_of(a, b) ({ __typeof__(a) max_a_ = (a); __typeof__(b) max_b_ = (b); max_a_ > max_b_ ? max_a_ : max_b_; })

// `alignment` is a power of two.
#define align_down(value, alignment) ((value) & ~((__typeof__(value))(alignment) - 1))
#define align_up(value, alignment) align_down((value) + (__typeof__(value))(alignment) - 1, alignment)
#define is_aligned(value, alignment) (((value) & ((__typeof__(value))(alignment) - 1)) == 0)
#define is_power_of_two(value) ((value) != 0 && ((value) & ((value) - 1)) == 0)

#define KB(n) ((uint64_t)(n) << 10)
#define MB(n) ((uint64_t)(n) << 20)
#define GB(n) ((uint64_t)(n) << 30)
