// lib/base/string.c: every function at every alignment, against the plainest loop.
// SPDX-License-Identifier: BSD-2-Clause
#ifdef QUIRE_HOST
#include "../host/string_names.h"
#endif

#include <base/string.h>
#include <ktest/ktest.h>

#define ROOM 1400
#define FENCE 16           // bytes on each side that must stay as they were

// Around the words, the runs of words, and what is left over on either side of them.
static const size_t sizes[] = { 0,  1,  2,  3,  7,   8,   9,   15,  16,   17,  31,
                                63, 64, 65, 511, 512, 513, 520, 1024, 1031, 1100 };

static uint8_t target[ROOM], source[ROOM], expected[ROOM];

static void fill_randomly(uint8_t *bytes)
{
    for (size_t i = 0; i < ROOM; i++)
        bytes[i] = (uint8_t)ktest_random();
}

static bool same_bytes(const uint8_t *a, const uint8_t *b)
{
    for (size_t i = 0; i < ROOM; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

// Both have the same bytes before a function changes the one and a loop the other.
static void start_equal(void)
{
    fill_randomly(target);
    for (size_t i = 0; i < ROOM; i++)
        expected[i] = target[i];
}

// memset writes exactly the bytes asked for.
KTEST(string, memset_writes_just_its_bytes)
{
    for (size_t shift = 0; shift < 8; shift++)
        for (size_t i = 0; i < array_count(sizes); i++) {
            int byte = (int)ktest_random_below(256);
            start_equal();
            for (size_t k = 0; k < sizes[i]; k++)
                expected[FENCE + shift + k] = (uint8_t)byte;
            EXPECT_EQ(memset(target + FENCE + shift, byte, sizes[i]), target + FENCE + shift);
            REQUIRE(same_bytes(target, expected));
        }
    memset(target, 0x1234, 1);
    EXPECT_EQ(target[0], 0x34);
}

// memcpy and memmove copy right from every alignment to every alignment.
KTEST(string, copies_at_all_alignments)
{
    fill_randomly(source);
    for (size_t to = 0; to < 8; to++)
        for (size_t from = 0; from < 8; from++)
            for (size_t i = 0; i < array_count(sizes); i++) {
                start_equal();
                for (size_t k = 0; k < sizes[i]; k++)
                    expected[FENCE + to + k] = source[FENCE + from + k];
                EXPECT_EQ(memcpy(target + FENCE + to, source + FENCE + from, sizes[i]), target + FENCE + to);
                REQUIRE(same_bytes(target, expected));
                EXPECT_EQ(memmove(target + FENCE + to, source + FENCE + from, sizes[i]), target + FENCE + to);
                REQUIRE(same_bytes(target, expected));
            }
}

// memmove copies right when the ranges overlap in either direction.
KTEST(string, memmove_overlaps)
{
    static const size_t shifts[] = { 0, 1, 4, 7, 8, 9, 16, 24, 100, 512 };

    for (size_t i = 0; i < array_count(sizes); i++)
        for (size_t k = 0; k < array_count(shifts); k++) {
            size_t low = FENCE, high = FENCE + shifts[k], size = sizes[i];
            if (high + size + FENCE > ROOM)
                continue;
            for (int upwards = 0; upwards < 2; upwards++) {
                size_t from = upwards ? low : high, to = upwards ? high : low;
                start_equal();
                for (size_t b = 0; b < size; b++)
                    source[b] = target[from + b];
                for (size_t b = 0; b < size; b++)
                    expected[to + b] = source[b];
                memmove(target + to, target + from, size);
                REQUIRE(same_bytes(target, expected));
            }
        }
}

// memcmp tells by the first byte that differs, as unsigned bytes, wherever it is.
KTEST(string, memcmp_finds_the_first_difference)
{
    for (size_t shift = 0; shift < 8; shift++)
        for (size_t place = 0; place < 40; place++) {
            start_equal();
            EXPECT_EQ(memcmp(target + shift, expected + shift, 40), 0);
            target[shift + place] = 0x80;
            expected[shift + place] = 0x7f;
            target[shift + 40] ^= 1;
            EXPECT(memcmp(target + shift, expected + shift, 40) > 0);
            EXPECT(memcmp(expected + shift, target + shift, 40) < 0);
            EXPECT_EQ(memcmp(target + shift, expected + shift, place), 0);
        }
}

// Lengths, comparisons and searches agree with their definitions at the edges.
KTEST(string, text_functions_at_the_edges)
{
    const char *text = "one two one";

    EXPECT_EQ(strlen(""), 0);
    EXPECT_EQ(strlen(text), 11);
    EXPECT_EQ(strnlen(text, 4), 4);
    EXPECT_EQ(strnlen(text, 100), 11);
    EXPECT_EQ(strnlen(text, 0), 0);
    EXPECT_EQ(strcmp("", ""), 0);
    EXPECT(strcmp("ab", "abc") < 0);
    EXPECT(strcmp("abd", "abc") > 0);
    EXPECT(strcmp("\x80", "\x7f") > 0);
    EXPECT_EQ(strncmp("abcx", "abcy", 3), 0);
    EXPECT(strncmp("abcx", "abcy", 4) < 0);
    EXPECT_EQ(strncmp("ab", "ab", 100), 0);
    EXPECT_EQ(strncmp("a", "b", 0), 0);
    EXPECT_EQ(strchr(text, 't'), text + 4);
    EXPECT_EQ(strchr(text, '\0'), text + 11);
    EXPECT_NULL(strchr(text, 'x'));
    EXPECT_EQ(strstr(text, "one"), text);
    EXPECT_EQ(strstr(text, "ne"), text + 1);
    EXPECT_EQ(strstr(text + 1, "one"), text + 8);
    EXPECT_EQ(strstr(text, ""), text);
    EXPECT_EQ(strstr("", ""), "");
    EXPECT_NULL(strstr(text, "onex"));
    EXPECT_NULL(strstr("aa", "aaa"));
    EXPECT_NOT_NULL(strstr("aab", "ab"));
}

// string_copy always ends the text within the buffer, and says whether it had to cut.
KTEST(string, copy_cuts_and_says_so)
{
    char buffer[5] = { 'x', 'x', 'x', 'x', '!' };

    EXPECT(string_copy(buffer, "abc", 4));
    EXPECT_STREQ(buffer, "abc");
    EXPECT(!string_copy(buffer, "abcd", 4));
    EXPECT_STREQ(buffer, "abc");
    EXPECT(string_copy(buffer, "", 1));
    EXPECT_STREQ(buffer, "");
    EXPECT(!string_copy(buffer, "a", 1));
    EXPECT_STREQ(buffer, "");
    EXPECT_EQ(buffer[4], '!');
}
