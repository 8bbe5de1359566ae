// Writes small flattened device trees for tests, well-formed ones: a test breaks them afterwards.
// SPDX-License-Identifier: BSD-2-Clause
//
//     fdt_writer_start(&writer);                                the root is open
//     fdt_writer_cells(&writer, "#address-cells", 2);
//     fdt_writer_begin(&writer, "memory@80000000");
//     fdt_writer_string(&writer, "device_type", "memory");
//     fdt_writer_end(&writer);
//     size = fdt_writer_finish(&writer, blob, sizeof(blob));    the root is closed
#pragma once

#include <base/compiler.h>

#define FDT_WRITER_STRUCTURE_BYTES 12288
#define FDT_WRITER_STRINGS_BYTES 1024
#define FDT_WRITER_RESERVATIONS 80
#define FDT_WRITER_BLOB_BYTES (FDT_WRITER_STRUCTURE_BYTES + FDT_WRITER_STRINGS_BYTES + \
                               16 * (FDT_WRITER_RESERVATIONS + 1) + 64)

struct fdt_writer {
    uint8_t structure[FDT_WRITER_STRUCTURE_BYTES];
    char strings[FDT_WRITER_STRINGS_BYTES];
    uint64_t reservations[2 * FDT_WRITER_RESERVATIONS];
    uint32_t structure_bytes, strings_bytes, reservation_count;
};

void fdt_writer_start(struct fdt_writer *writer);
void fdt_writer_begin(struct fdt_writer *writer, const char *name);
void fdt_writer_end(struct fdt_writer *writer);
void fdt_writer_reserve(struct fdt_writer *writer, uint64_t start, uint64_t size_bytes);
void fdt_writer_bytes(struct fdt_writer *writer, const char *name, const void *value, uint32_t size_bytes);
void fdt_writer_string(struct fdt_writer *writer, const char *name, const char *text);
void fdt_writer_cell_array(struct fdt_writer *writer, const char *name, const uint32_t *cells,
                           uint32_t count);

#define fdt_writer_cells(writer, name, ...) \
    fdt_writer_cell_array(writer, name, (const uint32_t[]){ __VA_ARGS__ }, \
                          sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

// A 64-bit number as two cells.
#define FDT_CELLS(number) (uint32_t)((uint64_t)(number) >> 32), (uint32_t)(uint64_t)(number)

// Closes the root and puts the blob together; returns its size. It has room, and the writer had: else a bug,
// and panics.
uint32_t fdt_writer_finish(struct fdt_writer *writer, uint8_t *blob, uint32_t room_bytes);

// Overwrites one cell of a blob, in the format's byte order.
void fdt_poke(uint8_t *blob, uint32_t offset, uint32_t cell);
uint32_t fdt_peek(const uint8_t *blob, uint32_t offset);
