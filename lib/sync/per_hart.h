// Data of which every hart has its own copy.
// SPDX-License-Identifier: BSD-2-Clause
//
// A per-hart variable is a thread-local variable in the compiler's sense, where the "thread" is the hart: the thread
// pointer tp holds the hart's block for as long as it runs kernel code, and the linker turns an access into one load
// at a constant offset from tp. On the host a hart is a POSIX thread, and the same source works unchanged.
//
// Touch your own copy only where you cannot be moved to another hart meanwhile (interrupts masked, or a thread that
// is bound to its hart), and take no pointer to it across a point where you can.
#pragma once

#include <arch/smp.h>

#define PER_HART _Thread_local

// The start of a hart's block of per-hart data, as its thread pointer sees it; supplied by the port.
char *arch_hart_block(unsigned index);

// Another hart's copy of a per-hart variable; the caller answers for the races.
#define per_hart_of(variable, index) \
    ((__typeof__(variable) *)(arch_hart_block(index) + ((char *)&(variable) - arch_hart_block(arch_hart_index()))))
