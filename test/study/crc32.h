// CRC-32 as zlib, PNG and Ethernet have it: polynomial 0x04c11db7, bits reflected (ISO 3309).
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

// The CRC of what `crc` is the CRC of, followed by these bytes. Start with 0. Any context.
uint32_t crc32_of(uint32_t crc, const void *bytes, size_t size);
