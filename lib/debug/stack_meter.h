// The meter of kernel stacks: how deep threads were, and how much each way into the kernel needs of any stack.
// SPDX-License-Identifier: BSD-2-Clause
//
// A word of every so many bytes is marked before a stack is used, and what lies deeper than the deepest mark that was
// overwritten was not used. A frame may lie over a mark and not write it, so a depth can be too small, by the largest
// frame and the distance of marks at most; it is never more than that distance too large.
//
// Handlers run on the stack of the thread that they interrupt. With stack_meter=on all that is below the stack pointer
// is marked anew when one begins, and again when it ends, so its depth is its own: that of handlers that came in
// between is theirs. How deep the thread was is kept in the mark of the stack's last word.
//
//     base                                      top of the visit            top of the stack
//     | depth so far | marks ....... used by the handler | used by the thread |
//
// A visit costs some 700 instructions for a stack of 16 KB; with stack_meter=off it costs the look at the switch.
// Context: any, with interrupts masked or not; the visits of a hart nest.
#pragma once

#include <arch/per_hart.h>
#include <base/compiler.h>

#define STACK_MARK_BYTES 256       // between the marks of a thread
#define STACK_VISIT_MARK_BYTES 64  // and below a visit

// Marks a stack, at any time but while it is in use. Bytes that were used at most: 0, nothing; a stack that was never
// marked is as deep as it is large. Asking takes no lock.
void stack_mark(void *stack);
size_t stack_depth(const void *stack);

// The ways into the kernel.
#define STACK_PATHS(PATH) \
    PATH(IPI, "interrupt from a hart") PATH(TIMER, "timer interrupt") PATH(EXTERNAL, "device interrupt") \
    PATH(BOTTOM_HALF, "bottom half") PATH(FAULT, "fault")

enum stack_path {
#define STACK_PATH_ENTRY(name, text) STACK_PATH_##name,
    STACK_PATHS(STACK_PATH_ENTRY)
#undef STACK_PATH_ENTRY
    STACK_PATH_COUNT,
};

const char *stack_path_name(enum stack_path path);

// Bytes that a visit by that way used at most, on any hart, since the last reset; 0: there was none.
size_t stack_path_depth(enum stack_path path);
void stack_path_reset(void);

// The boot argument; tests change it, too.
extern bool stack_meter_is_on;     // (A)

struct stack_visit {
    uintptr_t top;                 // 0: it is not measured
    uintptr_t lowest;              // used so far, by this visit alone
    struct stack_visit *outer;
};

void stack_visit_measure(struct stack_visit *visit, uintptr_t top);
void stack_visit_record(struct stack_visit *visit, enum stack_path path);

// Begins below `top`, on the stack that the caller runs on; ends on the same hart.
static always_inline void stack_visit_begin(struct stack_visit *visit, uintptr_t top)
{
    visit->top = 0;
    if (unlikely(__atomic_load_n(&stack_meter_is_on, __ATOMIC_RELAXED)))
        stack_visit_measure(visit, top);
}

static always_inline void stack_visit_end(struct stack_visit *visit, enum stack_path path)
{
    if (unlikely(visit->top != 0))
        stack_visit_record(visit, path);
}
