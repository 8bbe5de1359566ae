// Numbers, sizes and patterns out of text that is not trusted.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/parse.h>

// The value of a digit in that base, or -1.
static int digit_value(char character, unsigned base)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (base == 16 && character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    if (base == 16 && character >= 'A' && character <= 'F')
        return character - 'A' + 10;
    return -1;
}

// Reads the digits at *text and moves it behind them. False when there are none or the value is too large.
static bool parse_digits(const char **text, uint64_t *value)
{
    const char *at = *text;
    unsigned base = 10;
    uint64_t sum = 0;

    if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
        base = 16;
        at += 2;
    }
    if (digit_value(*at, base) < 0)
        return false;
    for (int digit; (digit = digit_value(*at, base)) >= 0; at++)
        if (__builtin_mul_overflow(sum, (uint64_t)base, &sum) ||
            __builtin_add_overflow(sum, (uint64_t)digit, &sum))
            return false;
    *text = at;
    *value = sum;
    return true;
}

bool parse_u64(const char *text, uint64_t *value)
{
    uint64_t parsed;

    if (!parse_digits(&text, &parsed) || *text != '\0')
        return false;
    *value = parsed;
    return true;
}

bool parse_size(const char *text, uint64_t *bytes)
{
    uint64_t parsed;
    unsigned shift = 0;

    if (!parse_digits(&text, &parsed))
        return false;
    if (*text != '\0') {
        shift = *text == 'K' ? 10 : *text == 'M' ? 20 : *text == 'G' ? 30 : 0;
        if (shift == 0 || text[1] != '\0' || parsed > UINT64_MAX >> shift)
            return false;
    }
    *bytes = parsed << shift;
    return true;
}

// Matches against the pattern that ends at `end`. After a mismatch only the last '*' need take one character
// more: an earlier one could not make anything match that this cannot.
static bool matches_up_to(const char *pattern, const char *end, const char *text)
{
    const char *star = NULL, *resume = NULL;

    for (;;) {
        if (pattern < end && *pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*text == '\0') {
            return pattern == end;
        } else if (pattern < end && (*pattern == '?' || *pattern == *text)) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
}

bool pattern_matches(const char *pattern, const char *text)
{
    const char *end = pattern;

    while (*end != '\0')
        end++;
    return matches_up_to(pattern, end, text);
}

bool pattern_list_matches(const char *patterns, const char *text)
{
    for (const char *start = patterns;;) {
        const char *end = start;
        while (*end != '\0' && *end != ',')
            end++;
        if (matches_up_to(start, end, text))
            return true;
        if (*end == '\0')
            return false;
        start = end + 1;
    }
}
