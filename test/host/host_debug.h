// The host's log and panic, and how the test program ends.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// Exit codes of a run, the same as the kernel's.
enum { HOST_EXIT_OK = 0, HOST_EXIT_FAILED = 1, HOST_EXIT_BAD_INPUT = 2, HOST_EXIT_PANIC = 3 };

// Prints the line to the console as a comment and ends the program with HOST_EXIT_BAD_INPUT.
_Noreturn void host_refuse(const char *format, ...) printf_like(1, 2);
