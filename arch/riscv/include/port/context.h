// A kernel thread's callee-saved registers. The contract is <arch/context.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

// Byte offsets for switch.S.
#define CONTEXT_RA 0
#define CONTEXT_SP 8
#define CONTEXT_S0 16

#ifndef __ASSEMBLER__

#include <base/compiler.h>

struct arch_context {
    uint64_t ra, sp;
    uint64_t s[12];
};

_Static_assert(offsetof(struct arch_context, ra) == CONTEXT_RA, "switch.S");
_Static_assert(offsetof(struct arch_context, sp) == CONTEXT_SP, "switch.S");
_Static_assert(offsetof(struct arch_context, s) == CONTEXT_S0, "switch.S");

#endif
