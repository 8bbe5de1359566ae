// The time and instret counters. The contract is <arch/time.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <port/csr.h>

static always_inline uint64_t arch_time(void) { return csr_read(time); }
static always_inline uint64_t arch_instructions(void) { return csr_read(instret); }
