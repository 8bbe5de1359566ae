// lib/base/parse.c: text that nobody has checked before.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/parse.h>
#include <ktest/ktest.h>

// Decimal and hexadecimal numbers up to the largest.
KTEST(parse, numbers)
{
    static const struct { const char *text; uint64_t value; } good[] = {
        { "0", 0 }, { "7", 7 }, { "0042", 42 }, { "18446744073709551615", UINT64_MAX },
        { "0x0", 0 }, { "0xfF", 255 }, { "0Xffffffffffffffff", UINT64_MAX }, { "0x00000000000000000001", 1 },
    };
    uint64_t value;

    for (size_t i = 0; i < array_count(good); i++) {
        EXPECT(parse_u64(good[i].text, &value));
        EXPECT_EQ(value, good[i].value);
        EXPECT(parse_size(good[i].text, &value));
        EXPECT_EQ(value, good[i].value);
    }
}

// Anything else is refused, and the caller's value stays.
KTEST(parse, refuses_what_is_no_number)
{
    static const char *const bad[] = {
        "", " ", " 1", "1 ", "-1", "+1", "x", "0x", "0xg", "12a", "1.5", "18446744073709551616",
        "0x10000000000000000", "99999999999999999999999", "1KB", "1k", "1KK", "K", "0xK", "1e3", "\n",
        "18014398509481984K", "17592186044416M", "17179869184G",
    };
    uint64_t value = 77;

    for (size_t i = 0; i < array_count(bad); i++) {
        EXPECT(!parse_u64(bad[i], &value));
        EXPECT(!parse_size(bad[i], &value));
        EXPECT_EQ(value, 77);
    }
    EXPECT(!parse_u64("1K", &value));
    EXPECT_EQ(value, 77);
}

// Sizes take one suffix, in powers of 1024, as long as the result fits.
KTEST(parse, sizes)
{
    uint64_t bytes;

    EXPECT(parse_size("64K", &bytes));
    EXPECT_EQ(bytes, 65536);
    EXPECT(parse_size("0x10M", &bytes));
    EXPECT_EQ(bytes, MB(16));
    EXPECT(parse_size("16G", &bytes));
    EXPECT_EQ(bytes, GB(16));
    EXPECT(parse_size("18014398509481983K", &bytes));
    EXPECT_EQ(bytes, 18014398509481983UL << 10);
}

// A pattern matches whole texts: '*' any run, '?' one character, anything else itself.
KTEST(parse, patterns)
{
    static const struct { const char *pattern, *text; bool matches; } cases[] = {
        { "", "", true }, { "", "a", false }, { "a", "", false }, { "abc", "abc", true },
        { "abc", "abcd", false },
        { "*", "", true }, { "*", "abc", true }, { "?", "", false }, { "?", "a", true },
        { "a?c", "abc", true },
        { "a*c", "ac", true }, { "a*c", "abcbc", true }, { "a*c", "abcb", false }, { "*b*", "abc", true },
        { "*ab", "aab", true }, { "*aab*", "aaab", true }, { "**a**", "bab", true },
        { "a*b*c", "axbxbxc", true },
        { "a*b*c", "axbxbx", false }, { "buddy_*", "buddy_merges", true }, { "buddy_*", "buddy", false },
        { "*?", "", false }, { "?*", "a", true }, { "*\x80", "a\x80", true }, { "abc", "ab", false },
    };

    for (size_t i = 0; i < array_count(cases); i++)
        EXPECT_EQ(pattern_matches(cases[i].pattern, cases[i].text), cases[i].matches);
}

// A pattern with many stars takes no more than its length times the text's.
KTEST(parse, patterns_do_not_explode)
{
    EXPECT(!pattern_matches("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b",
                            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

// A list matches when one of its patterns does; an empty one matches the empty text only.
KTEST(parse, pattern_lists)
{
    EXPECT(pattern_list_matches("a,b*", "a"));
    EXPECT(pattern_list_matches("a,b*", "bcd"));
    EXPECT(!pattern_list_matches("a,b*", "ab"));
    EXPECT(!pattern_list_matches("a,b*", "a,b"));
    EXPECT(!pattern_list_matches("", "a"));
    EXPECT(pattern_list_matches("", ""));
    EXPECT(!pattern_list_matches(",", "a"));
    EXPECT(pattern_list_matches("x,", ""));
    EXPECT(pattern_list_matches("x,*y", "yy"));
}
