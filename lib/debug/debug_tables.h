// The format of the symbol and unwind tables that tools/mkdebug.py writes, and the cursor that reads them.
// SPDX-License-Identifier: BSD-2-Clause
//
//   header    magic, number of blocks, number of states, bytes of the stream
//   blocks    for every 16th function: its address, and where its record starts in the stream
//   states    ways to undo a frame; rows name them by index, the commonest first; state 0 is that of a
//             function's first instruction: CFA = sp, everything else in registers
//   stream    a record for each function, in the order of the addresses, without a hole: bytes, not words
//
// A record, where a number is 7 bits a byte, the lowest first, the top bit set on all bytes but the last:
//
//   number    size in units of 2 bytes; the next record's address follows from it
//   byte      how many characters the name shares with that of the record before (0 at a block's start)
//   bytes     the other characters; the top bit marks the last one. Code between functions is named "\0"
//   number    of rows; in front of the first one state 0 holds
//     number  lowest 3 bits: the distance in units of 2 bytes from the row before, or from the function's
//             start; above them: the state that holds from here on
//     number  only where those bits are 0: the distance
//
// Words are little-endian; addresses are offsets from the link base. The tables are part of the image, yet
// every read is checked against their end: a panic is where memory is in doubt.
#pragma once

#include <debug/symbols.h>

#define DEBUG_TABLES_MAGIC 0x31627551U
#define DEBUG_TABLES_BLOCK_FUNCTIONS 16
#define DEBUG_TABLES_DISTANCE_BITS 3

struct debug_tables_header {
    uint32_t magic, block_count, state_count, stream_bytes;
};

struct debug_tables_block {
    uint32_t address, stream_at;
};

// The canonical frame address (CFA) is sp's value at the call. Registers were saved whole words below it.
struct debug_tables_state {
    uint16_t cfa;    // bit 0: s0 and not sp is what the offset counts from; above it: the offset in words
    uint8_t ra;      // words below the CFA; 0: in the register; 255: there is no caller
    uint8_t s0;      // words below the CFA; 0: in the register
};

#define DEBUG_STATE_ENTRY 0U                       // index of state 0
#define DEBUG_STATE_CFA_UNKNOWN 0xffffU
#define DEBUG_STATE_CFA_FROM_S0 1U
#define DEBUG_STATE_RA_NONE 255U

// A place in the stream. Reading past the end gives zeros and makes the cursor bad for good.
struct debug_cursor {
    const uint8_t *next, *end;
    bool is_bad;
};

static inline uint8_t debug_cursor_byte(struct debug_cursor *cursor)
{
    if (cursor->next >= cursor->end) {
        cursor->is_bad = true;
        return 0;
    }
    return *cursor->next++;
}

static inline uint32_t debug_cursor_number(struct debug_cursor *cursor)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 32; shift += 7) {
        uint8_t byte = debug_cursor_byte(cursor);
        value |= (uint32_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return value;
    }
    cursor->is_bad = true;
    return 0;
}

struct debug_row {
    uint32_t distance_bytes, state;
};

static inline struct debug_row debug_cursor_row(struct debug_cursor *cursor)
{
    uint32_t packed = debug_cursor_number(cursor);
    uint32_t distance = packed % (1U << DEBUG_TABLES_DISTANCE_BITS);

    if (distance == 0)
        distance = debug_cursor_number(cursor);
    return (struct debug_row){
        .distance_bytes = 2 * distance,
        .state = packed >> DEBUG_TABLES_DISTANCE_BITS,
    };
}

// A function's record: what symbols.c finds and unwind.c reads on from.
struct debug_function {
    uint32_t address, size_bytes;
    char name[SYMBOL_NAME_BYTES];
    struct debug_cursor rows;    // at the number of rows
};

// Finds the record that `pc` lies in (also of code between functions). False: no tables, or they do not cover
// it.
bool debug_tables_find(const struct debug_tables *tables, uintptr_t pc, struct debug_function *out);

// The state of that index; false when there is none.
bool debug_tables_state(const struct debug_tables *tables, uint32_t index, struct debug_tables_state *out);
