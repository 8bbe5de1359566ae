// A load that may fault, of the fake port. The contract is <arch/uaccess.h>.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>
#include <port/layout.h>

bool fake_try_load(const uint64_t *address, uint64_t *value);

static always_inline must_check bool arch_try_load(const uint64_t *address, uint64_t *value)
{
    // All of the memmap's window can be read, and is what this is used on; a struct page has 32 bytes.
    if ((uintptr_t)address - ARCH_MEMMAP_BASE >= (ARCH_PHYS_LIMIT >> CONFIG_PAGE_SHIFT) * 32)
        return fake_try_load(address, value);
    *value = *address;
    return true;
}
