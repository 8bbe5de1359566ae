// One step from a frame to its caller's, by the row that the tables have for its pc.
// SPDX-License-Identifier: BSD-2-Clause
#include <debug/unwind.h>

#include "debug_tables.h"

#define WORD_BYTES sizeof(uintptr_t)
#define STACK_ALIGNMENT 16

// The state that holds at `pc`. False: the tables do not cover it, or say that nothing is known there.
static bool find_state(const struct debug_tables *tables, uintptr_t pc, struct debug_tables_state *out)
{
    struct debug_function function;

    if (!debug_tables_find(tables, pc, &function))
        return false;

    uint64_t wanted = pc - tables->base - function.address;
    uint64_t row_at = 0;
    uint32_t index = DEBUG_STATE_ENTRY;
    struct debug_cursor *cursor = &function.rows;
    uint32_t count = debug_cursor_number(cursor);
    for (uint32_t i = 0; i < count && !cursor->is_bad; i++) {
        struct debug_row row = debug_cursor_row(cursor);
        row_at += row.distance_bytes;
        if (row_at > wanted)
            break;
        index = row.state;
    }
    return !cursor->is_bad && debug_tables_state(tables, index, out) && out->cfa != DEBUG_STATE_CFA_UNKNOWN;
}

static bool is_trap_return(const struct debug_tables *tables, const struct unwind_frame *frame)
{
    return !frame->ra_is_valid &&
           frame->pc >= tables->trap_return_start && frame->pc < tables->trap_return_end;
}

static bool is_in_function(const struct debug_tables *tables, uintptr_t pc)
{
    struct debug_function function;
    return debug_tables_find(tables, pc, &function) && function.name[0] != '\0';
}

// Reads the word that lies `words` below the CFA.
static bool read_saved(const struct unwind_frame *frame, uintptr_t cfa, unsigned words, uintptr_t *out)
{
    uintptr_t at = cfa - words * WORD_BYTES;

    if (at < frame->stack_low || at > cfa)
        return false;
    *out = *(const uintptr_t *)at;
    return true;
}

enum unwind_result unwind_step_in(const struct debug_tables *tables, struct unwind_frame *frame)
{
    struct debug_tables_state state;

    if (is_trap_return(tables, frame))
        return UNWIND_TRAP;
    if (frame->depth + 1 >= UNWIND_FRAMES_MAX)
        return UNWIND_TOO_DEEP;
    if (!find_state(tables, unwind_lookup_pc(frame), &state)) {
        if (!frame->ra_is_valid)
            return UNWIND_UNKNOWN;
        state = (struct debug_tables_state){ 0 };
    }
    if (state.ra == DEBUG_STATE_RA_NONE)
        return UNWIND_END;

    // The CFA may lie below the stack: a frame that overflowed it, and a leaf called from there, save nothing
    // in it.
    uintptr_t from = state.cfa & DEBUG_STATE_CFA_FROM_S0 ? frame->s0 : frame->sp;
    uintptr_t cfa = from + (state.cfa >> 1) * WORD_BYTES;
    if (cfa % STACK_ALIGNMENT != 0 || cfa > frame->stack_high)
        return UNWIND_CORRUPT;
    if (cfa < frame->sp || (cfa == frame->sp && !frame->ra_is_valid))
        return UNWIND_CORRUPT;

    uintptr_t ra = frame->ra, s0 = frame->s0;
    if (state.ra == 0 && !frame->ra_is_valid)
        return UNWIND_CORRUPT;
    if (state.ra != 0 && !read_saved(frame, cfa, state.ra, &ra))
        return UNWIND_CORRUPT;
    if (state.s0 != 0 && !read_saved(frame, cfa, state.s0, &s0))
        return UNWIND_CORRUPT;
    if (!is_in_function(tables, ra - 1))
        return UNWIND_CORRUPT;

    frame->pc = ra;
    frame->sp = cfa;
    frame->s0 = s0;
    frame->ra = 0;
    frame->ra_is_valid = false;
    frame->depth++;
    return UNWIND_CALLER;
}

enum unwind_result unwind_step(struct unwind_frame *frame)
{
    struct debug_tables tables = symbol_kernel_tables();
    return unwind_step_in(&tables, frame);
}

const char *unwind_result_text(enum unwind_result result)
{
    switch (result) {
    case UNWIND_CALLER: return "more frames";
    case UNWIND_TRAP: return "a trap";
    case UNWIND_END: return "end of the stack";
    case UNWIND_UNKNOWN: return "code without unwind information";
    case UNWIND_CORRUPT: return "the stack is corrupt";
    case UNWIND_TOO_DEEP: return "more frames than are shown";
    }
    return "unknown";
}
