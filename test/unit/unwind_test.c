// Tests of names and stack walks, on hand-made tables; test/checks has those on the compiler's.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/debug_tables.h>
#include <debug/symbols.h>
#include <debug/unwind.h>
#include <ktest/ktest.h>

#define BASE 0x40000000UL
#define ALPHA (BASE + 0x100)       // 32 bytes: makes a frame of 32 bytes at +2, and drops it at +30
#define ALPINE (BASE + 0x120)      // 300 bytes: addressed by s0 from +20 on
#define HOLE (BASE + 0x24c)        // 4 bytes between functions
#define FIRST (BASE + 0x250)       // 16 bytes: has no caller

#define LAST(character) ((character) | 0x80)
#define ROW(distance, state) ((state) << DEBUG_TABLES_DISTANCE_BITS | (distance) / 2)

static const struct {
    struct debug_tables_header header;
    struct debug_tables_block blocks[1];
    struct debug_tables_state states[5];
    uint8_t stream[40];
} image = {
    .header = { DEBUG_TABLES_MAGIC, 1, 5, 40 },
    .blocks = { { 0x100, 0 } },
    .states = {
        { 0, 0, 0 },
        { 4 << 1, 1, 2 },                                // CFA = sp + 32, ra at CFA - 8, s0 at CFA - 16
        { 0 << 1 | DEBUG_STATE_CFA_FROM_S0, 1, 2 },      // CFA = s0
        { 0, DEBUG_STATE_RA_NONE, 0 },
        { DEBUG_STATE_CFA_UNKNOWN, 0, 0 },
    },
    .stream = {
        16, 0, 'a', 'l', 'p', 'h', LAST('a'), 2, ROW(2, 1), ROW(0, 0), 14,
        0x80 | 22, 1, 3, 'i', 'n', LAST('e'), 1, ROW(0, 2), 10,
        2, 0, LAST('\0'), 1, ROW(0, 4), 0,
        8, 0, 'f', 'i', 'r', 's', LAST('t'), 1, ROW(0, 3), 0,
    },
};

static const struct debug_tables tables = {
    .image = &image,
    .image_bytes = sizeof(image),
    .base = BASE,
    .trap_return_start = FIRST + 8,
    .trap_return_end = FIRST + 16,
};

#define STACK_WORDS 16
static uint64_t aligned_to(16) stack[STACK_WORDS];

static struct unwind_frame frame_at(uintptr_t pc, uintptr_t ra, bool ra_is_valid)
{
    return (struct unwind_frame){
        .pc = pc, .ra = ra, .ra_is_valid = ra_is_valid,
        .sp = (uintptr_t)&stack[0], .s0 = (uintptr_t)&stack[8],
        .stack_low = (uintptr_t)&stack[0], .stack_high = (uintptr_t)&stack[STACK_WORDS],
    };
}

static void expect_symbol(uintptr_t pc, const char *name, size_t offset, size_t size)
{
    struct symbol symbol;

    REQUIRE(symbol_lookup_in(&tables, pc, &symbol));
    EXPECT_STREQ(symbol.name, name);
    EXPECT_EQ(symbol.offset_bytes, offset);
    EXPECT_EQ(symbol.size_bytes, size);
}

// A name shares its first characters with the one before; what lies between and around functions has none.
KTEST(symbols, are_found_by_any_address_in_them)
{
    struct symbol symbol;
    static const uintptr_t nameless[] = { 0, BASE, ALPHA - 1, HOLE, HOLE + 3, FIRST + 16, BASE - 1, ~0UL };

    expect_symbol(ALPHA, "alpha", 0, 32);
    expect_symbol(ALPHA + 31, "alpha", 31, 32);
    expect_symbol(ALPINE, "alpine", 0, 300);
    expect_symbol(HOLE - 1, "alpine", 299, 300);
    expect_symbol(FIRST + 15, "first", 15, 16);
    for (unsigned i = 0; i < array_count(nameless); i++)
        EXPECT(!symbol_lookup_in(&tables, nameless[i], &symbol));
}

// The kernel's final link has tables, and they describe it; a host program has none.
KTEST(symbols, know_this_image)
{
    struct symbol symbol;

#ifdef QUIRE_HOST
    EXPECT(!symbol_lookup((uintptr_t)symbol_lookup, &symbol));
#else
    REQUIRE(symbol_lookup((uintptr_t)symbol_lookup, &symbol));
    EXPECT_STREQ(symbol.name, "symbol_lookup");
    EXPECT_EQ(symbol.offset_bytes, 0);
    EXPECT_LT(0, symbol.size_bytes);
#endif
}

// Before its frame is made a function's caller is in ra; after that, and for return addresses, on the stack.
KTEST(unwind, follows_the_row_of_the_pc)
{
    stack[3] = ALPINE + 40;
    stack[2] = 77;

    struct unwind_frame frame = frame_at(ALPHA, ALPINE + 6, true);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CALLER);
    EXPECT_EQ(frame.pc, ALPINE + 6);
    EXPECT_EQ(frame.sp, (uintptr_t)&stack[0]);
    EXPECT_EQ(frame.s0, (uintptr_t)&stack[8]);
    EXPECT(!frame.ra_is_valid);

    frame = frame_at(ALPHA + 2, 0, true);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CALLER);
    EXPECT_EQ(frame.pc, ALPINE + 40);
    EXPECT_EQ(frame.sp, (uintptr_t)&stack[4]);
    EXPECT_EQ(frame.s0, 77);

    // A call as the last instruction of the part with a frame: the row of its return address is another one.
    frame = frame_at(ALPHA + 30, 0, false);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CALLER);
    EXPECT_EQ(frame.pc, ALPINE + 40);

    stack[7] = FIRST + 4;
    frame = frame_at(ALPINE + 20, 0, true);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CALLER);
    EXPECT_EQ(frame.pc, FIRST + 4);
    EXPECT_EQ(frame.sp, (uintptr_t)&stack[8]);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_END);
    EXPECT_EQ(frame.depth, 1);
}

// A return to the trap entry stops the walk there; a call to nowhere is told from a return to nowhere.
KTEST(unwind, stops_where_the_tables_end)
{
    struct unwind_frame frame = frame_at(FIRST + 8, 0, false);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_TRAP);
    frame = frame_at(FIRST + 8, 0, true);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_END);
    frame = frame_at(HOLE + 2, 0, false);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_UNKNOWN);
    frame = frame_at(0, ALPHA + 6, true);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CALLER);
    EXPECT_EQ(frame.pc, ALPHA + 6);
}

// Nothing on the stack is believed: not where a frame ends, not where it returns to, and not for ever.
KTEST(unwind, refuses_a_corrupt_stack)
{
    stack[3] = 0x1234;
    struct unwind_frame frame = frame_at(ALPHA + 4, 0, true);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CORRUPT);
    EXPECT_EQ(frame.pc, ALPHA + 4);

    stack[3] = ALPINE + 6;
    frame = frame_at(ALPHA + 4, 0, true);
    frame.stack_high = (uintptr_t)&stack[3];
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CORRUPT);
    frame = frame_at(ALPHA + 4, 0, true);
    frame.sp += 8;
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CORRUPT);
    frame = frame_at(ALPHA, ALPINE + 6, false);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_UNKNOWN);
    frame = frame_at(ALPHA + 1, ALPINE + 6, false);
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CORRUPT);
    frame = frame_at(ALPINE + 30, 0, true);
    frame.s0 = frame.sp - 16;
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_CORRUPT);

    frame = frame_at(ALPHA + 4, 0, true);
    frame.depth = UNWIND_FRAMES_MAX - 1;
    EXPECT_EQ(unwind_step_in(&tables, &frame), UNWIND_TOO_DEEP);
}
