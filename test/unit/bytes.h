// Memory that holds the same byte all over.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

static inline bool is_all(const void *object, int byte, size_t size)
{
    const uint8_t *bytes = object;

    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte)
            return false;
    return true;
}
