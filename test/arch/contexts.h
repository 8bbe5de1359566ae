// Running a function in each context that there is, for tests.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

enum where {
    IN_THREAD,                 // this one
    IN_WORK_ITEM,
    // Process context that may not sleep.
    IN_PREEMPT_OFF,
    IN_SPIN_LOCK,              // of class TEST_OUTER
    IN_IRQ_SPIN_LOCK,          // of class TEST_IRQ_OUTER
    IN_MASKED,
    IN_BOTTOM_HALVES_OFF,
    // Interrupt handlers.
    IN_TIMER,
    IN_CALL_HERE,
    IN_CALL_ELSEWHERE,         // on the last hart
    // Bottom halves.
    IN_TASKLET,
    IN_TASKLET_OF_INTERRUPT,   // scheduled by an interrupt handler
    WHERE_COUNT,
};

#define WHERE_BIT(where) (1U << (where))
#define WHERE_MAY_SLEEP (WHERE_BIT(IN_THREAD) | WHERE_BIT(IN_WORK_ITEM))
#define WHERE_PROCESS_ATOMIC \
    (WHERE_BIT(IN_PREEMPT_OFF) | WHERE_BIT(IN_SPIN_LOCK) | WHERE_BIT(IN_IRQ_SPIN_LOCK) | WHERE_BIT(IN_MASKED) | \
     WHERE_BIT(IN_BOTTOM_HALVES_OFF))
#define WHERE_INTERRUPT (WHERE_BIT(IN_TIMER) | WHERE_BIT(IN_CALL_HERE) | WHERE_BIT(IN_CALL_ELSEWHERE))
#define WHERE_BOTTOM_HALF (WHERE_BIT(IN_TASKLET) | WHERE_BIT(IN_TASKLET_OF_INTERRUPT))

const char *where_name(enum where where);

// Calls run(argument) there and returns when it is done. From a thread that may sleep.
void run_where(enum where where, void (*run)(void *argument), void *argument);

// The same for every context of the set, in order.
void run_wherever(unsigned set, void (*run)(void *argument), void *argument);

// The context that run_where is in.
extern enum where where_now;
