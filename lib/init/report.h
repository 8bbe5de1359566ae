// The boot report: what this kernel is, what it runs on, and how the memory is divided. One screen.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct machine;

// Instructions from entry to working allocators.
uint64_t report_boot_instructions(void);

void report_boot(const struct machine *machine, uint64_t init_bytes_freed, uint64_t allocator_instructions);
