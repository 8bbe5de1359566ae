// Whether all of an area can be reached, and shows what was written to it.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include "access.h"

#include <arch/mmu.h>

// How many of the granules in [start, start + bytes) fault.
static inline uint64_t faulting_granules(const volatile char *start, uint64_t bytes, bool write)
{
    uint64_t count = 0;

    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE)
        count += access_faults(start + offset, write);
    return count;
}

// A word in every granule that says where it is.
static inline void mark(char *area, uint64_t bytes, uint64_t tag)
{
    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE)
        *(uint64_t *)(void *)(area + offset) = tag ^ offset;
}

static inline bool is_marked(const char *area, uint64_t bytes, uint64_t tag)
{
    for (uint64_t offset = 0; offset < bytes; offset += MMU_PAGE_SIZE)
        if (*(const uint64_t *)(const void *)(area + offset) != (tag ^ offset))
            return false;
    return true;
}
