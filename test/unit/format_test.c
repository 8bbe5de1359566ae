// lib/base/format.c.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/format.h>
#include <base/string.h>
#include <ktest/ktest.h>

// Without the compiler's check of the format: some here are wrong on purpose.
static int format_any(char *buffer, size_t size, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    length = format_text_va(buffer, size, format, args);
    va_end(args);
    return length;
}

#define EXPECT_FORMAT(expected, ...) \
    do { \
        char text_[120]; \
        int length_ = format_any(text_, sizeof(text_), __VA_ARGS__); \
        EXPECT_STREQ(text_, expected); \
        EXPECT_EQ(length_, sizeof(expected) - 1); \
    } while (0)

// Whole numbers of every size and sign.
KTEST(format, numbers)
{
    EXPECT_FORMAT("0 -1 42", "%d %i %u", 0, -1, 42U);
    EXPECT_FORMAT("-2147483648 4294967295", "%d %u", INT32_MIN, UINT32_MAX);
    EXPECT_FORMAT("-9223372036854775808", "%ld", INT64_MIN);
    EXPECT_FORMAT("18446744073709551615", "%lu", UINT64_MAX);
    EXPECT_FORMAT("18446744073709551615 7", "%llu %zu", (unsigned long long)UINT64_MAX, (size_t)7);
    EXPECT_FORMAT("-3 -4 5", "%td %jd %ju", (ptrdiff_t)-3, (intmax_t)-4, (uintmax_t)5);
    EXPECT_FORMAT("-1 255 -1 65535", "%hhd %hhu %hd %hu", 0xff, 0x1ff, 0xffff, 0x1ffff);
    EXPECT_FORMAT("deadbeef DEADBEEF ffffffffffffffff", "%x %X %lx", 0xdeadbeef, 0xdeadbeef, UINT64_MAX);
    EXPECT_FORMAT("0x1f 0X1F 0", "%#x %#X %#x", 0x1f, 0x1f, 0);
    EXPECT_FORMAT("0x1000 0x0", "%p %p", (void *)0x1000, NULL);
}

// Width, precision and flags, alone and together.
KTEST(format, padding_and_precision)
{
    EXPECT_FORMAT("[   42][42   ][00042]", "[%5d][%-5d][%05d]", 42, 42, 42);
    EXPECT_FORMAT("[-0042][  -42][-42  ]", "[%05d][%5d][%-5d]", -42, -42, -42);
    EXPECT_FORMAT("[+42][ 42][+042]", "[%+d][% d][%+04d]", 42, 42, 42);
    EXPECT_FORMAT("[  007][007  ][  007]", "[%5.3d][%-5.3d][%05.3d]", 7, 7, 7);
    EXPECT_FORMAT("[][7]", "[%.0d][%.0d]", 0, 7);
    EXPECT_FORMAT("[  0x1f][0x001f]", "[%#6x][%#06x]", 0x1f, 0x1f);
    EXPECT_FORMAT("[    7][7    ]", "[%*d][%*d]", 5, 7, -5, 7);
    EXPECT_FORMAT("[123456]", "[%3d]", 123456);
    EXPECT_FORMAT("[  abc][abc  ][ab]", "[%5s][%-5s][%.2s]", "abc", "abc", "abc");
    EXPECT_FORMAT("[   ab][abc]", "[%5.2s][%.*s]", "abc", -1, "abc");
    EXPECT_FORMAT("[x][  x][x  ]", "[%c][%3c][%-3c]", 'x', 'x', 'x');
}

// A text of a given precision need not end with a NUL.
KTEST(format, precision_bounds_the_reading)
{
    const char unended[3] = { 'a', 'b', 'c' };

    EXPECT_FORMAT("abc", "%.3s", unended);
    EXPECT_FORMAT("ab", "%.*s", 2, unended);
    EXPECT_FORMAT("", "%.0s", unended);
}

// What is no conversion is copied; a missing text is named; what follows still gets its own argument.
KTEST(format, odd_input)
{
    EXPECT_FORMAT("(null)", "%s", NULL);
    EXPECT_FORMAT("100%", "100%%");
    EXPECT_FORMAT("%k 5", "%k %d", 5);
    EXPECT_FORMAT("%", "%");
    EXPECT_FORMAT("a%-5", "a%-5");
    EXPECT_FORMAT("", "");
}

// A text that does not fit is cut with a NUL, and the length is that of the whole.
KTEST(format, cuts_at_the_end)
{
    char buffer[8] = "???????";

    EXPECT_EQ(format_text(buffer, 4, "%d", 123456), 6);
    EXPECT_STREQ(buffer, "123");
    EXPECT_EQ(buffer[4], '?');
    EXPECT_EQ(format_text(buffer, 1, "abc"), 3);
    EXPECT_STREQ(buffer, "");
    buffer[0] = '!';
    EXPECT_EQ(format_text(buffer, 0, "abc"), 3);
    EXPECT_EQ(buffer[0], '!');
    EXPECT_EQ(format_text(NULL, 0, "%5d", 1), 5);
    EXPECT_EQ(format_text(buffer, 4, "abc"), 3);
    EXPECT_STREQ(buffer, "abc");
}
