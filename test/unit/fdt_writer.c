// The writer of device trees for tests. (Devicetree Specification v0.4, chapter 5.)
// SPDX-License-Identifier: BSD-2-Clause
#include "fdt_writer.h"

#include <base/assert.h>
#include <base/string.h>

enum { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, END = 9 };

#define HEADER_BYTES 40U
#define MAGIC 0xd00dfeedU
#define VERSION 17U
#define LAST_COMPATIBLE_VERSION 16U

void fdt_poke(uint8_t *blob, uint32_t offset, uint32_t cell)
{
    for (unsigned i = 0; i < 4; i++)
        blob[offset + i] = (uint8_t)(cell >> (24 - 8 * i));
}

uint32_t fdt_peek(const uint8_t *blob, uint32_t offset)
{
    uint32_t cell = 0;

    for (unsigned i = 0; i < 4; i++)
        cell = cell << 8 | blob[offset + i];
    return cell;
}

static void put(struct fdt_writer *writer, const void *bytes, uint32_t size_bytes)
{
    uint32_t padded = align_up(size_bytes, 4U);

    BUG_ON(writer->structure_bytes + padded > FDT_WRITER_STRUCTURE_BYTES);
    memset(writer->structure + writer->structure_bytes, 0, padded);
    if (size_bytes != 0)
        memcpy(writer->structure + writer->structure_bytes, bytes, size_bytes);
    writer->structure_bytes += padded;
}

static void put_cell(struct fdt_writer *writer, uint32_t cell)
{
    uint8_t bytes[4];

    fdt_poke(bytes, 0, cell);
    put(writer, bytes, sizeof(bytes));
}

// The offset of a property's name among the strings; equal names share one.
static uint32_t string_offset(struct fdt_writer *writer, const char *name)
{
    uint32_t size_bytes = (uint32_t)strlen(name) + 1;

    for (uint32_t at = 0; at < writer->strings_bytes; at += (uint32_t)strlen(writer->strings + at) + 1)
        if (strcmp(writer->strings + at, name) == 0)
            return at;
    BUG_ON(writer->strings_bytes + size_bytes > FDT_WRITER_STRINGS_BYTES);
    memcpy(writer->strings + writer->strings_bytes, name, size_bytes);
    writer->strings_bytes += size_bytes;
    return writer->strings_bytes - size_bytes;
}

void fdt_writer_start(struct fdt_writer *writer)
{
    writer->structure_bytes = writer->strings_bytes = writer->reservation_count = 0;
    fdt_writer_begin(writer, "");
}

void fdt_writer_begin(struct fdt_writer *writer, const char *name)
{
    put_cell(writer, BEGIN_NODE);
    put(writer, name, (uint32_t)strlen(name) + 1);
}

void fdt_writer_end(struct fdt_writer *writer)
{
    put_cell(writer, END_NODE);
}

void fdt_writer_reserve(struct fdt_writer *writer, uint64_t start, uint64_t size_bytes)
{
    BUG_ON(writer->reservation_count == FDT_WRITER_RESERVATIONS);
    writer->reservations[2 * writer->reservation_count] = start;
    writer->reservations[2 * writer->reservation_count + 1] = size_bytes;
    writer->reservation_count++;
}

void fdt_writer_bytes(struct fdt_writer *writer, const char *name, const void *value, uint32_t size_bytes)
{
    put_cell(writer, PROP);
    put_cell(writer, size_bytes);
    put_cell(writer, string_offset(writer, name));
    put(writer, value, size_bytes);
}

void fdt_writer_string(struct fdt_writer *writer, const char *name, const char *text)
{
    fdt_writer_bytes(writer, name, text, (uint32_t)strlen(text) + 1);
}

void fdt_writer_cell_array(struct fdt_writer *writer, const char *name, const uint32_t *cells, uint32_t count)
{
    put_cell(writer, PROP);
    put_cell(writer, count * 4);
    put_cell(writer, string_offset(writer, name));
    for (uint32_t i = 0; i < count; i++)
        put_cell(writer, cells[i]);
}

uint32_t fdt_writer_finish(struct fdt_writer *writer, uint8_t *blob, uint32_t room_bytes)
{
    fdt_writer_end(writer);
    put_cell(writer, END);

    uint32_t structure = HEADER_BYTES + 16 * (writer->reservation_count + 1);
    uint32_t strings = structure + writer->structure_bytes;
    uint32_t total = strings + writer->strings_bytes;
    const uint32_t header[] = {
        MAGIC, total, structure, strings, HEADER_BYTES, VERSION, LAST_COMPATIBLE_VERSION, 0,
        writer->strings_bytes, writer->structure_bytes,
    };

    BUG_ON(total > room_bytes);
    memset(blob, 0, structure);
    for (uint32_t i = 0; i < array_count(header); i++)
        fdt_poke(blob, 4 * i, header[i]);
    for (uint32_t i = 0; i < 2 * writer->reservation_count; i++) {
        fdt_poke(blob, HEADER_BYTES + 8 * i, (uint32_t)(writer->reservations[i] >> 32));
        fdt_poke(blob, HEADER_BYTES + 8 * i + 4, (uint32_t)writer->reservations[i]);
    }
    memcpy(blob + structure, writer->structure, writer->structure_bytes);
    memcpy(blob + strings, writer->strings, writer->strings_bytes);
    return total;
}
