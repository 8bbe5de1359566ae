// Whether memory can be reached, by trying.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <arch/uaccess.h>

// A write stores what was there.
static inline bool access_faults(const volatile void *address, bool write)
{
    uint8_t value;

    return !arch_probe_read(address, &value) ||
           (write && !arch_probe_write((volatile void *)(uintptr_t)address, value));
}
