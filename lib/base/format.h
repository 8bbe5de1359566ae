// Formatted text into a caller's buffer.
// SPDX-License-Identifier: BSD-2-Clause
//
// Understands d i u x X c s p %, the flags '-' '0' '+' ' ' and '#', width and precision (also '*'), and the
// sizes hh h l ll j z t. %p is 0x and hexadecimal digits; %s of NULL is (null). Anything else is copied as it
// stands, and the conversions after it still get their arguments.
#pragma once

#include <base/compiler.h>
#include <stdarg.h>

// As C's snprintf: writes at most size bytes with the NUL, returns the length that the whole text has.
int format_text(char *buffer, size_t size, const char *format, ...) printf_like(3, 4);
int format_text_va(char *buffer, size_t size, const char *format, va_list args) printf_like(3, 0);
