// Numbers and sizes out of text that is not trusted.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// Decimal, or hexadecimal after 0x. False on an empty text, a stray character or a value over 2^64 - 1; then
// *value is untouched.
must_check bool parse_u64(const char *text, uint64_t *value);

// As parse_u64, with one of K M G (powers of 1024) allowed behind the digits. Result in bytes.
must_check bool parse_size(const char *text, uint64_t *bytes);

// Shell-like match of a whole text: '*' stands for any run of characters, '?' for one.
bool pattern_matches(const char *pattern, const char *text);

// Whether one of several patterns, separated by commas, matches the whole text.
bool pattern_list_matches(const char *patterns, const char *text);
