// The flattened format's numbers, shared by the check and the readers. (Devicetree Specification v0.4, 5.2 to
// 5.4.)
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <platform/fdt.h>

#define FDT_MAGIC 0xd00dfeedU
#define FDT_VERSION 17U
#define FDT_HEADER_BYTES 40U
#define FDT_CELL_BYTES 4U
#define FDT_RESERVATION_BYTES 16U

enum fdt_header_field {
    FDT_AT_MAGIC = 0,
    FDT_AT_TOTALSIZE = 4,
    FDT_AT_OFF_STRUCT = 8,
    FDT_AT_OFF_STRINGS = 12,
    FDT_AT_OFF_RESERVATIONS = 16,
    FDT_AT_VERSION = 20,
    FDT_AT_LAST_COMPATIBLE_VERSION = 24,
    FDT_AT_SIZE_STRINGS = 32,
    FDT_AT_SIZE_STRUCT = 36,
};

enum fdt_token {
    FDT_BEGIN_NODE = 1,
    FDT_END_NODE = 2,
    FDT_PROP = 3,
    FDT_NOP = 4,
    FDT_END = 9,
};

static inline uint32_t fdt_read_u32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static inline uint64_t fdt_read_u64(const uint8_t *bytes)
{
    return (uint64_t)fdt_read_u32(bytes) << 32 | fdt_read_u32(bytes + FDT_CELL_BYTES);
}

// The nodes from the root down to and including `node`; how many there are. 0 for no node.
unsigned fdt_lineage(const struct fdt *fdt, struct fdt_node node, struct fdt_node lineage[FDT_MAX_DEPTH]);
