// A load that may fault, of the fake port: what lies in no window does. The contract is <arch/uaccess.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>
#include <port/layout.h>

static always_inline must_check bool arch_try_load(const uint64_t *address, uint64_t *value)
{
    uintptr_t at = (uintptr_t)address;

    if (at - ARCH_MEMMAP_BASE >= ARCH_PHYS_LIMIT / 128 && at - ARCH_DIRECT_BASE >= ARCH_PHYS_LIMIT)
        return false;
    *value = *address;
    return true;
}
