// Where a trapped run of instructions goes on: at its start after an interrupt, at its landing after a fault.
// SPDX-License-Identifier: BSD-2-Clause

#include "restart.h"

#include <base/assert.h>

struct span { uint64_t start, end; };
struct fault { uint64_t pc, landing; };

extern const struct span __restart_table_start[], __restart_table_end[];
extern const struct fault __fault_table_start[], __fault_table_end[];
extern const char __restart_start[], __restart_end[];

uint64_t riscv_restart(uint64_t pc)
{
    for (const struct span *span = __restart_table_start; span < __restart_table_end; span++)
        if (pc > span->start && pc < span->end)
            return span->start;
    return pc;
}

uint64_t riscv_fault_landing(uint64_t pc)
{
    for (const struct fault *fault = __fault_table_start; fault < __fault_table_end; fault++)
        if (fault->pc == pc)
            return fault->landing;
    return 0;
}

void riscv_restart_check(void)
{
    for (const struct span *span = __restart_table_start; span < __restart_table_end; span++)
        BUG_ON(span->start < (uintptr_t)__restart_start || span->end > (uintptr_t)__restart_end ||
               span->end <= span->start);
}
