// lib/base/format.c against the C library's snprintf, on random conversions.
// SPDX-License-Identifier: BSD-2-Clause
#include <stdio.h>

#include <base/format.h>
#include <base/string.h>
#include <ktest/ktest.h>

static bool agrees(const char *format, ...)
{
    char ours[64], theirs[64];
    size_t size = ktest_random_below(sizeof(ours)) + 1;
    int our_length, their_length;
    va_list args, again;
    bool agrees;

    va_start(args, format);
    va_copy(again, args);
    our_length = format_text_va(ours, size, format, args);
    their_length = vsnprintf(theirs, size, format, again);
    va_end(again);
    va_end(args);
    agrees = our_length == their_length && strcmp(ours, theirs) == 0;
    if (!agrees)
        ktest_note("format \"%s\" size %zu: \"%s\" (%d), and libc says \"%s\" (%d)", format, size, ours,
                   our_length, theirs, their_length);
    return agrees;
}

// A random conversion that C gives a meaning, with the given letters at its end.
static void make_format(char format[32], const char *flags, const char *ending)
{
    size_t length = 0;

    format[length++] = '%';
    for (; *flags != '\0'; flags++)
        if (ktest_random_below(3) == 0)
            format[length++] = *flags;
    if (ktest_random_below(2))
        length += (size_t)format_text(format + length, 4, "%u", (unsigned)ktest_random_below(30) + 1);
    if (ktest_random_below(2))
        length += (size_t)format_text(format + length, 4, ".%u", (unsigned)ktest_random_below(25));
    format_text(format + length, 32 - length, "%s|", ending);
}

// Numbers of any size, small ones as often as large ones.
static uint64_t random_number(void)
{
    return ktest_random() >> ktest_random_below(64);
}

// Signed and unsigned numbers, characters and texts come out as the C library writes them, cut or not.
KTEST(format, agrees_with_libc)
{
    static const char *const signed_endings[] = { "d", "i", "hd", "hhd" };
    static const char *const unsigned_endings[] = { "u", "x", "X", "hu", "hhx" };
    static const char *const long_signed[] = { "ld", "lld", "zd", "jd", "ti" };
    static const char *const long_unsigned[] = { "lu", "llx", "zu", "jX", "lx" };
    char format[32], text[20];

    for (unsigned round = 0; round < 20000; round++) {
        uint64_t value = ktest_random_below(2) ? random_number() : -random_number();

        make_format(format, "-0+ ", signed_endings[ktest_random_below(array_count(signed_endings))]);
        EXPECT(agrees(format, (int)value));
        make_format(format, "-0", unsigned_endings[ktest_random_below(array_count(unsigned_endings))]);
        EXPECT(agrees(format, (unsigned)value));
        make_format(format, "-0+ ", long_signed[ktest_random_below(array_count(long_signed))]);
        EXPECT(agrees(format, value));
        make_format(format, "-0", long_unsigned[ktest_random_below(array_count(long_unsigned))]);
        EXPECT(agrees(format, value));
        make_format(format, "-0#", "lx");
        EXPECT(agrees(format, value));
        make_format(format, "-", "c");
        if (strchr(format, '.') == NULL)
            EXPECT(agrees(format, (int)(value % 94 + 33)));
        size_t length = value % sizeof(text);
        memset(text, 'x', length);
        text[length] = '\0';
        make_format(format, "-", "s");
        EXPECT(agrees(format, text));
        EXPECT(agrees("%*d|%-*.*x", (int)(value % 60) - 30, (int)value, 12, (int)(value % 20) - 10,
                      (unsigned)value));
    }
}
