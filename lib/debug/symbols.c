// Finds the function of an address in the tables that are part of the image.
// SPDX-License-Identifier: BSD-2-Clause
#include <base/string.h>
#include <debug/symbols.h>

#include "debug_tables.h"

// From the linker script and the port's trap entry. Weak, because a host program has none of them: its tables
// are then empty, and nothing is found. The tables are the image's last section.
extern char __kernel_start[] __attribute__((weak));
extern char __ksyms_start[] __attribute__((weak));
extern char __kernel_end[] __attribute__((weak));
extern char __trap_return_start[] __attribute__((weak));
extern char __trap_return_end[] __attribute__((weak));

struct debug_tables symbol_kernel_tables(void)
{
    return (struct debug_tables){
        .image = __ksyms_start,
        .image_bytes = (uintptr_t)__kernel_end - (uintptr_t)__ksyms_start,
        .base = (uintptr_t)__kernel_start,
        .trap_return_start = (uintptr_t)__trap_return_start,
        .trap_return_end = (uintptr_t)__trap_return_end,
    };
}

// The parts of an image whose header holds what its size allows.
struct parts {
    const struct debug_tables_block *blocks;
    const struct debug_tables_state *states;
    const uint8_t *stream;
    uint32_t block_count, state_count, stream_bytes;
};

static bool find_parts(const struct debug_tables *tables, struct parts *out)
{
    const struct debug_tables_header *header = tables->image;

    if (tables->image_bytes < sizeof(*header) || header->magic != DEBUG_TABLES_MAGIC)
        return false;

    uint64_t blocks_bytes = (uint64_t)header->block_count * sizeof(struct debug_tables_block);
    uint64_t states_bytes = (uint64_t)header->state_count * sizeof(struct debug_tables_state);
    if (sizeof(*header) + blocks_bytes + states_bytes + header->stream_bytes > tables->image_bytes)
        return false;

    const uint8_t *blocks = (const uint8_t *)(header + 1);
    *out = (struct parts){
        .blocks = (const void *)blocks,
        .states = (const void *)(blocks + blocks_bytes),
        .stream = blocks + blocks_bytes + states_bytes,
        .block_count = header->block_count,
        .state_count = header->state_count,
        .stream_bytes = header->stream_bytes,
    };
    return true;
}

// Reads the name over that of the record before, with which it shares its first characters.
static void read_name(struct debug_cursor *cursor, char name[SYMBOL_NAME_BYTES])
{
    size_t length = debug_cursor_byte(cursor);
    uint8_t character;

    do {
        character = debug_cursor_byte(cursor);
        if (length >= SYMBOL_NAME_BYTES - 1)
            cursor->is_bad = true;
        else
            name[length++] = (char)(character & 0x7f);
    } while (character < 0x80 && !cursor->is_bad);
    name[length < SYMBOL_NAME_BYTES ? length : SYMBOL_NAME_BYTES - 1] = '\0';
}

static void skip_rows(struct debug_cursor *cursor)
{
    uint32_t count = debug_cursor_number(cursor);

    for (uint32_t i = 0; i < count && !cursor->is_bad; i++)
        debug_cursor_row(cursor);
}

// The last block that starts at or below `address`; there is at least one.
static const struct debug_tables_block *find_block(const struct parts *parts, uint32_t address)
{
    uint32_t low = 0, high = parts->block_count;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (parts->blocks[middle].address <= address)
            low = middle;
        else
            high = middle;
    }
    return &parts->blocks[low];
}

bool debug_tables_find(const struct debug_tables *tables, uintptr_t pc, struct debug_function *out)
{
    struct parts parts;
    uintptr_t offset = pc - tables->base;

    if (!find_parts(tables, &parts) || parts.block_count == 0 || offset > UINT32_MAX)
        return false;

    uint32_t address = (uint32_t)offset;
    const struct debug_tables_block *block = find_block(&parts, address);
    if (address < block->address || block->stream_at > parts.stream_bytes)
        return false;

    struct debug_cursor cursor = {
        .next = parts.stream + block->stream_at,
        .end = parts.stream + parts.stream_bytes,
    };
    out->address = block->address;
    out->name[0] = '\0';
    for (unsigned i = 0; i < DEBUG_TABLES_BLOCK_FUNCTIONS; i++) {
        out->size_bytes = 2 * debug_cursor_number(&cursor);
        read_name(&cursor, out->name);
        out->rows = cursor;
        if (cursor.is_bad)
            return false;
        if (address - out->address < out->size_bytes)
            return true;
        out->address += out->size_bytes;
        skip_rows(&cursor);
    }
    return false;
}

bool debug_tables_state(const struct debug_tables *tables, uint32_t index, struct debug_tables_state *out)
{
    struct parts parts;

    if (!find_parts(tables, &parts) || index >= parts.state_count)
        return false;
    *out = parts.states[index];
    return true;
}

bool symbol_lookup_in(const struct debug_tables *tables, uintptr_t pc, struct symbol *out)
{
    struct debug_function function;

    if (!debug_tables_find(tables, pc, &function) || function.name[0] == '\0')
        return false;
    memcpy(out->name, function.name, sizeof(out->name));
    out->offset_bytes = pc - tables->base - function.address;
    out->size_bytes = function.size_bytes;
    return true;
}

bool symbol_lookup(uintptr_t pc, struct symbol *out)
{
    struct debug_tables tables = symbol_kernel_tables();
    return symbol_lookup_in(&tables, pc, out);
}
