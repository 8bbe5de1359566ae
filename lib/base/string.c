// Memory and string functions: plain C, long runs unrolled, since most of the work is on whole pages.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/string.h>

// Otherwise the compiler recognises these very loops and calls the functions that they are the body of.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

typedef uint64_t aligned_word __attribute__((may_alias));

#define WORD_BYTES sizeof(aligned_word)

// One round of a long run is 64 words: the loop around them is then a hundredth of the cost.
#define RUN_BYTES (64 * WORD_BYTES)
#define REPEAT_8(step, i) \
    step((i) + 0) step((i) + 1) step((i) + 2) step((i) + 3) \
    step((i) + 4) step((i) + 5) step((i) + 6) step((i) + 7)
#define REPEAT_64(step) \
    REPEAT_8(step, 0) REPEAT_8(step, 8) REPEAT_8(step, 16) REPEAT_8(step, 24) \
    REPEAT_8(step, 32) REPEAT_8(step, 40) REPEAT_8(step, 48) REPEAT_8(step, 56)

void *memset(void *to, int byte, size_t size)
{
    uint8_t *at = to, *end = at + size;
    uint64_t word = (uint8_t)byte * 0x0101010101010101UL;

    while (at < end && !is_aligned((uintptr_t)at, WORD_BYTES))
        *at++ = (uint8_t)byte;
    for (; (size_t)(end - at) >= RUN_BYTES; at += RUN_BYTES) {
#define STORE(i) ((aligned_word *)(void *)at)[i] = word;
        REPEAT_64(STORE)
#undef STORE
    }
    for (; (size_t)(end - at) >= WORD_BYTES; at += WORD_BYTES)
        *(aligned_word *)(void *)at = word;
    while (at < end)
        *at++ = (uint8_t)byte;
    return to;
}

// From the low end up, each word read before anything above it is written: right also when the target
// overlaps the source from below.
static void copy_up(uint8_t *at, const uint8_t *source, size_t size)
{
    uint8_t *end = at + size;

    if (is_aligned((uintptr_t)at ^ (uintptr_t)source, WORD_BYTES)) {
        while (at < end && !is_aligned((uintptr_t)at, WORD_BYTES))
            *at++ = *source++;
        for (; (size_t)(end - at) >= RUN_BYTES; at += RUN_BYTES, source += RUN_BYTES) {
#define COPY(i) ((aligned_word *)(void *)at)[i] = ((const aligned_word *)(const void *)source)[i];
            REPEAT_64(COPY)
#undef COPY
        }
        for (; (size_t)(end - at) >= WORD_BYTES; at += WORD_BYTES, source += WORD_BYTES)
            *(aligned_word *)(void *)at = *(const aligned_word *)(const void *)source;
    }
    while (at < end)
        *at++ = *source++;
}

static void copy_down(uint8_t *start, const uint8_t *source_start, size_t size)
{
    uint8_t *at = start + size;
    const uint8_t *source = source_start + size;

    if (is_aligned((uintptr_t)at ^ (uintptr_t)source, WORD_BYTES)) {
        while (at > start && !is_aligned((uintptr_t)at, WORD_BYTES))
            *--at = *--source;
        while ((size_t)(at - start) >= WORD_BYTES) {
            at -= WORD_BYTES;
            source -= WORD_BYTES;
            *(aligned_word *)(void *)at = *(const aligned_word *)(const void *)source;
        }
    }
    while (at > start)
        *--at = *--source;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
    copy_up(to, from, size);
    return to;
}

void *memmove(void *to, const void *from, size_t size)
{
    // Only a target that starts within the source would be overwritten before it is read.
    if ((uintptr_t)to - (uintptr_t)from < size)
        copy_down(to, from, size);
    else
        copy_up(to, from, size);
    return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b, *end = x + size;

    if (is_aligned((uintptr_t)x | (uintptr_t)y, WORD_BYTES))
        for (; (size_t)(end - x) >= WORD_BYTES; x += WORD_BYTES, y += WORD_BYTES)
            if (*(const aligned_word *)(const void *)x != *(const aligned_word *)(const void *)y)
                break;
    for (; x < end; x++, y++)
        if (*x != *y)
            return *x - *y;
    return 0;
}

size_t strlen(const char *text)
{
    const char *end = text;

    while (*end != '\0')
        end++;
    return (size_t)(end - text);
}

size_t strnlen(const char *text, size_t limit)
{
    size_t length = 0;

    while (length < limit && text[length] != '\0')
        length++;
    return length;
}

int strcmp(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b)
        a++, b++;
    return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t limit)
{
    while (limit > 0 && *a != '\0' && *a == *b)
        a++, b++, limit--;
    return limit == 0 ? 0 : (uint8_t)*a - (uint8_t)*b;
}

char *strchr(const char *text, int character)
{
    for (;; text++) {
        if (*text == (char)character)
            return (char *)(uintptr_t)text;
        if (*text == '\0')
            return NULL;
    }
}

char *strstr(const char *text, const char *part)
{
    size_t length = strlen(part);

    for (;; text++) {
        if (strncmp(text, part, length) == 0)
            return (char *)(uintptr_t)text;
        if (*text == '\0')
            return NULL;
    }
}

bool string_copy(char *to, const char *from, size_t size)
{
    size_t length = strnlen(from, size - 1);

    memcpy(to, from, length);
    to[length] = '\0';
    return from[length] == '\0';
}
