// What filled memory holds: words that each differ from the last, drawn from a tag.
// SPDX-License-Identifier: BSD-2-Clause
#include "stress.h"

#include <debug/klog.h>

#define LARGE_BYTES KB(16)
#define STEP 0x9e3779b97f4a7c15UL

void pattern_damage(const char *what, const void *address, uint64_t offset, uint64_t found, uint64_t expected)
{
    if (__atomic_fetch_add(&stress_counts.damaged, 1, __ATOMIC_RELAXED) == 0)
        console_print("stress: damage: %s at %p, offset %lu: %#lx found, %#lx expected\n", what, address, offset, found,
                      expected);
}

void pattern_fill(void *address, uint64_t bytes, uint64_t tag)
{
    uint64_t *word = address, words = bytes / sizeof *word, value = tag;
    uint8_t *tail = (uint8_t *)(word + words);

    for (uint64_t i = 0; i < words; i++, value += STEP)
        word[i] = value;
    for (uint64_t i = 0; i < bytes % sizeof *word; i++)
        tail[i] = (uint8_t)(tag + i);
}

void pattern_verify(const char *what, const void *address, uint64_t bytes, uint64_t tag)
{
    const uint64_t *word = address;
    uint64_t words = bytes / sizeof *word, value = tag;
    const uint8_t *tail = (const uint8_t *)(word + words);

    // Of a large object a word of each cache line: whoever else has the memory writes more than that.
    uint64_t stride = bytes > LARGE_BYTES ? CACHE_LINE_BYTES / sizeof *word : 1;

    for (uint64_t i = 0; i < words; i += stride, value += STEP * stride)
        if (unlikely(word[i] != value)) {
            pattern_damage(what, address, i * sizeof *word, word[i], value);
            return;
        }
    for (uint64_t i = 0; i < bytes % sizeof *word; i++)
        if (unlikely(tail[i] != (uint8_t)(tag + i))) {
            pattern_damage(what, address, words * sizeof *word + i, tail[i], (uint8_t)(tag + i));
            return;
        }
}

void pattern_verify_zero(const char *what, const void *address, uint64_t bytes)
{
    const uint8_t *byte = address;
    uint64_t i = 0;

    for (; i + sizeof(uint64_t) <= bytes; i += sizeof(uint64_t))
        if (unlikely(*(const uint64_t *)(const void *)(byte + i) != 0)) {
            pattern_damage(what, address, i, *(const uint64_t *)(const void *)(byte + i), 0);
            return;
        }
    for (; i < bytes; i++)
        if (unlikely(byte[i] != 0)) {
            pattern_damage(what, address, i, byte[i], 0);
            return;
        }
}
