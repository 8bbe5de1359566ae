// Calling a function on another hart, in an interrupt there.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct hart_call {
    struct hart_call *next;                // of the hart's list
    void (*function)(void *argument);      // (C)
    void *argument;                        // (C)
    uint32_t is_pending;                   // (A) 1: posted, and not yet done (a word, for the exchange)
};

#define HART_CALL_INIT(call_function, call_argument) { .function = (call_function), .argument = (call_argument) }

// Posts the call to the hart (also this one): the function runs there as an interrupt handler, calls of one sender in
// order. Any context. False when it is pending already, or under way: then nothing is said about what the caller has
// written; otherwise the function sees it (release and acquire on the hart's list: RVWMO, RISC-V unprivileged
// specification 20191213, chapter 14, preserved program order rules 5 and 6).
bool hart_call_post(unsigned hart, struct hart_call *call);

// Waits until a posted call is done; what the function has written is seen then. Context: interrupts enabled where the
// call was posted to this hart or to one that may be doing the same.
void hart_call_wait(const struct hart_call *call);

// Both at once. Process context with interrupts enabled.
void hart_call(unsigned hart, void (*function)(void *argument), void *argument);

// For IPI_CALL.
void hart_call_interrupt(void);
