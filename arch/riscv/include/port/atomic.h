// Compare and store by a pair of LR and SC. The contract is <arch/atomic.h>.
// SPDX-License-Identifier: BSD-2-Clause
//
// The compiler's form compares once more behind the loop to know how it ended; here each end has its own way out. The
// loop is a constrained one, which every hart finishes (RISC-V unprivileged specification 20191213, section 8.3).
#pragma once

#include <base/compiler.h>

static always_inline bool arch_replace(uint64_t *word, uint64_t expected, uint64_t desired)
{
    __asm__ goto("1:\tlr.d t0, (%0)\n\t"
                 "bne t0, %1, %l[differs]\n\t"
                 "sc.d t0, %2, (%0)\n\t"
                 "bnez t0, 1b"
                 : : "r"(word), "r"(expected), "r"(desired) : "t0", "memory" : differs);
    return true;
differs:
    return false;
}
