// The C library's memory and string functions that the compiler and the kernel need.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

void *memset(void *to, int byte, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
size_t strnlen(const char *text, size_t limit);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t limit);
char *strchr(const char *text, int character);
char *strstr(const char *text, const char *part);

// Copies at most size - 1 characters and always ends with a NUL (size at least 1). Returns false when it had
// to cut.
bool string_copy(char *to, const char *from, size_t size);
