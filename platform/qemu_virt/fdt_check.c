// The one walk over an untrusted device tree that lets every later look-up do without bounds tests.
// SPDX-License-Identifier: BSD-2-Clause

#include "fdt_format.h"

#include <base/errno.h>

// The specification allows 31; real trees exceed it. A bound keeps the check linear in the size of the blob.
#define MAX_NAME 127U

static int refuse(struct fdt_error *error, const char *what, uint64_t offset, uint64_t value)
{
    *error = (struct fdt_error){ what, (uint32_t)offset, value };
    return -EINVAL;
}

static bool block_fits(uint32_t start, uint32_t size_bytes, uint32_t total)
{
    return start >= FDT_HEADER_BYTES && start <= total && size_bytes <= total - start;
}

static int check_header(const uint8_t *blob, size_t max_bytes, struct fdt *out, struct fdt_error *error)
{
    if (max_bytes < FDT_HEADER_BYTES)
        return refuse(error, "memory ends within the header", 0, max_bytes);
    if (fdt_read_u32(blob + FDT_AT_MAGIC) != FDT_MAGIC)
        return refuse(error, "magic is not 0xd00dfeed", FDT_AT_MAGIC, fdt_read_u32(blob + FDT_AT_MAGIC));

    uint32_t total = fdt_read_u32(blob + FDT_AT_TOTALSIZE);
    if (total > max_bytes)
        return refuse(error, "total size is more than the memory that holds it", FDT_AT_TOTALSIZE, total);
    if (total < FDT_HEADER_BYTES)
        return refuse(error, "total size is less than the header", FDT_AT_TOTALSIZE, total);

    uint32_t version = fdt_read_u32(blob + FDT_AT_VERSION);
    uint32_t last_compatible = fdt_read_u32(blob + FDT_AT_LAST_COMPATIBLE_VERSION);
    if (version < FDT_VERSION)
        return refuse(error, "version is older than 17", FDT_AT_VERSION, version);
    if (last_compatible > FDT_VERSION)
        return refuse(error, "oldest compatible version is newer than 17", FDT_AT_LAST_COMPATIBLE_VERSION,
                      last_compatible);

    uint32_t structure = fdt_read_u32(blob + FDT_AT_OFF_STRUCT);
    uint32_t structure_bytes = fdt_read_u32(blob + FDT_AT_SIZE_STRUCT);
    uint32_t strings = fdt_read_u32(blob + FDT_AT_OFF_STRINGS);
    uint32_t strings_bytes = fdt_read_u32(blob + FDT_AT_SIZE_STRINGS);
    uint32_t reservations = fdt_read_u32(blob + FDT_AT_OFF_RESERVATIONS);
    if (!is_aligned(structure, FDT_CELL_BYTES))
        return refuse(error, "structure block is not at a multiple of 4", FDT_AT_OFF_STRUCT, structure);
    if (!block_fits(structure, structure_bytes, total))
        return refuse(error, "structure block lies outside", FDT_AT_OFF_STRUCT, structure);
    if (!block_fits(strings, strings_bytes, total))
        return refuse(error, "strings block lies outside", FDT_AT_OFF_STRINGS, strings);
    if (!is_aligned(reservations, 8U))
        return refuse(error, "reservation block is not at a multiple of 8", FDT_AT_OFF_RESERVATIONS,
                      reservations);
    if (!block_fits(reservations, 0, total))
        return refuse(error, "reservation block lies outside", FDT_AT_OFF_RESERVATIONS, reservations);

    *out = (struct fdt){
        .blob = blob,
        .size_bytes = total,
        .structure = structure,
        .structure_end = structure + structure_bytes,
        .strings = strings,
        .strings_end = strings + strings_bytes,
        .reservations = reservations,
    };
    return 0;
}

// Entries until one of two zeros.
static int check_reservations(struct fdt *fdt, struct fdt_error *error)
{
    for (uint32_t at = fdt->reservations; fdt->size_bytes - at >= FDT_RESERVATION_BYTES;
         at += FDT_RESERVATION_BYTES) {
        if (fdt_read_u64(fdt->blob + at) == 0 && fdt_read_u64(fdt->blob + at + 8) == 0)
            return 0;
        fdt->reservation_count++;
    }
    return refuse(error, "reservation block has no end", fdt->reservations, fdt->reservation_count);
}

// A name of printable characters that ends before `end`, its length in *length.
static int check_name(const struct fdt *fdt, uint32_t start, uint32_t end, uint32_t *length,
                      struct fdt_error *error)
{
    for (uint32_t at = start; at < end; at++) {
        uint8_t character = fdt->blob[at];
        if (character == '\0') {
            *length = at - start;
            return 0;
        }
        if (character <= ' ' || character > '~' || character == '/')
            return refuse(error, "character that no name may have", at, character);
        if (at - start >= MAX_NAME)
            return refuse(error, "name is longer than 127 characters", start, at - start + 1);
    }
    return refuse(error, "name does not end within its block", start, end - start);
}

// What the walk knows. `at` is the offset of the token in hand: a multiple of 4, as structure_end is, so that
// a name or value that ends within the block does so with its padding too.
struct walk {
    const struct fdt *fdt;
    struct fdt_error *error;
    uint32_t at;
    uint32_t depth;                // nodes open
    bool saw_root;
    bool behind_child;             // the last node token was an END: no property may follow
};

static uint32_t bytes_left(const struct walk *walk)
{
    return walk->fdt->structure_end - walk->at;
}

static int check_begin(struct walk *walk)
{
    uint32_t name = walk->at + FDT_CELL_BYTES;
    uint32_t length = 0;

    if (walk->depth == 0 && walk->saw_root)
        return refuse(walk->error, "second root node", walk->at, FDT_BEGIN_NODE);
    if (walk->depth == FDT_MAX_DEPTH)
        return refuse(walk->error, "nodes nest too deep", walk->at, walk->depth + 1);
    int result = check_name(walk->fdt, name, walk->fdt->structure_end, &length, walk->error);
    if (result != 0)
        return result;
    if ((walk->depth == 0) != (length == 0))
        return refuse(walk->error, walk->depth == 0 ? "root node has a name" : "node without a name", name,
                      length);

    walk->depth++;
    walk->saw_root = true;
    walk->behind_child = false;
    walk->at = name + align_up(length + 1, FDT_CELL_BYTES);
    return 0;
}

static int check_end_node(struct walk *walk)
{
    if (walk->depth == 0)
        return refuse(walk->error, "end of a node that did not begin", walk->at, FDT_END_NODE);
    walk->depth--;
    walk->behind_child = true;
    walk->at += FDT_CELL_BYTES;
    return 0;
}

static int check_property(struct walk *walk)
{
    const struct fdt *fdt = walk->fdt;
    uint32_t header = walk->at + FDT_CELL_BYTES;

    if (walk->depth == 0)
        return refuse(walk->error, "property outside of any node", walk->at, FDT_PROP);
    if (walk->behind_child)
        return refuse(walk->error, "property behind a child node", walk->at, FDT_PROP);
    if (bytes_left(walk) < 3 * FDT_CELL_BYTES)
        return refuse(walk->error, "structure block ends within a property", walk->at, bytes_left(walk));

    uint32_t size_bytes = fdt_read_u32(fdt->blob + header);
    uint32_t name_offset = fdt_read_u32(fdt->blob + header + FDT_CELL_BYTES);
    uint32_t value = header + 2 * FDT_CELL_BYTES;
    if (size_bytes > fdt->structure_end - value)
        return refuse(walk->error, "property is longer than the structure block", header, size_bytes);
    if (name_offset >= fdt->strings_end - fdt->strings)
        return refuse(walk->error, "property's name lies outside of the strings block",
                      header + FDT_CELL_BYTES, name_offset);

    uint32_t length = 0;
    int result = check_name(fdt, fdt->strings + name_offset, fdt->strings_end, &length, walk->error);
    if (result == 0 && length == 0)
        result = refuse(walk->error, "property without a name", header + FDT_CELL_BYTES, name_offset);
    walk->at = value + align_up(size_bytes, FDT_CELL_BYTES);
    return result;
}

static int check_end(const struct walk *walk)
{
    if (walk->depth != 0)
        return refuse(walk->error, "structure block ends within open nodes", walk->at, walk->depth);
    if (!walk->saw_root)
        return refuse(walk->error, "no root node", walk->at, FDT_END);
    if (bytes_left(walk) != FDT_CELL_BYTES)
        return refuse(walk->error, "structure block goes on behind its end", walk->at, bytes_left(walk));
    return 0;
}

static int check_structure(const struct fdt *fdt, struct fdt_error *error)
{
    struct walk walk = { .fdt = fdt, .error = error, .at = fdt->structure };
    int result = 0;

    if (!is_aligned(fdt->structure_end, FDT_CELL_BYTES))
        return refuse(error, "size of the structure block is not a multiple of 4", FDT_AT_SIZE_STRUCT,
                      fdt->structure_end - fdt->structure);
    while (result == 0) {
        if (bytes_left(&walk) == 0)
            return refuse(error, "structure block has no end", walk.at, 0);
        uint32_t token = fdt_read_u32(fdt->blob + walk.at);
        switch (token) {
        case FDT_BEGIN_NODE: result = check_begin(&walk); break;
        case FDT_END_NODE: result = check_end_node(&walk); break;
        case FDT_PROP: result = check_property(&walk); break;
        case FDT_NOP: walk.at += FDT_CELL_BYTES; break;
        case FDT_END: return check_end(&walk);
        default: return refuse(error, "unknown token", walk.at, token);
        }
    }
    return result;
}

int fdt_check(const void *blob, size_t max_bytes, struct fdt *out, struct fdt_error *error)
{
    int result = check_header(blob, max_bytes, out, error);
    if (result == 0)
        result = check_reservations(out, error);
    if (result == 0)
        result = check_structure(out, error);
    return result;
}
