// The unwind tests' bare-metal image: goes through all shapes, and ends in a function that never returns.
// SPDX-License-Identifier: BSD-2-Clause
#include "shapes.h"

volatile long target_result;

extern const char target_end[];

static volatile long trap_count;

static __attribute__((noinline)) long count_trap(long step)
{
    trap_count += step;
    return trap_count;
}

// Called by entry.S, which goes on behind the ecall.
void target_trap(void);
void target_trap(void)
{
    target_result += count_trap(1);
}

static __attribute__((noinline, noreturn)) void leave(long result)
{
    target_result = result;
    __asm__ volatile("j target_end");
    __builtin_unreachable();
}

// The call is the last instruction: its return address belongs to whatever comes next.
static __attribute__((noinline, noreturn)) void never_returns(long result)
{
    count_trap(result);
    leave(result);
}

void target_main(void);
void target_main(void)
{
    never_returns(shapes_O2(5) + shapes_O0(6));
}
