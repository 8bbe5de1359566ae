// Other names for lib/base's string functions, so that they can be tested in a program that has libc's.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#define memset quire_memset
#define memcpy quire_memcpy
#define memmove quire_memmove
#define memcmp quire_memcmp
#define strlen quire_strlen
#define strnlen quire_strnlen
#define strcmp quire_strcmp
#define strncmp quire_strncmp
#define strchr quire_strchr
#define strstr quire_strstr
