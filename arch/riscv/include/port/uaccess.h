// A load that may fault stands in a table with where to go on then (trap/restart.c). The contract is <arch/uaccess.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

static always_inline must_check bool arch_try_load(const uint64_t *address, uint64_t *value)
{
    uint64_t loaded;

    __asm__ volatile goto("1:\tld %[loaded], %[word]\n\t"
                 ".pushsection .fault_table, \"a\"\n\t.quad 1b, %l[failed]\n\t.popsection"
                 : [loaded] "=&r"(loaded) : [word] "m"(*address) : "memory" : failed);
    *value = loaded;
    return true;
failed:
    return false;
}
