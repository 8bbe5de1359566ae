// Bottom halves: what an interrupt handler puts off until interrupts are enabled again, as tasklets.
// SPDX-License-Identifier: BSD-2-Clause
//
// A tasklet runs on the hart that scheduled it, soon after the interrupt (or at once, from process context), with
// interrupts enabled and bottom halves off: it may be interrupted, may not sleep, and takes GFP_ATOMIC memory. It never
// runs on two harts at a time, and a schedule while it is queued adds nothing; one while it runs makes it run again.
//
// Ordering: what was written before a tasklet was scheduled is seen by its function, and what the function wrote, after
// tasklet_wait: its state is changed by AMOs with release and read with acquire (RVWMO, RISC-V unprivileged
// specification 20191213, chapter 14, preserved program order rules 5 and 6).
//
// After BOTTOM_HALF_ROUNDS rounds of ever new tasklets the rest is left to the hart's thread "bottom/N", so that they
// cannot keep threads from running for ever.
#pragma once

#include <base/compiler.h>

#define BOTTOM_HALF_ROUNDS 10

struct tasklet {
    struct tasklet *next;                          // of this hart's list
    void (*function)(struct tasklet *tasklet);     // (C)
    uint32_t state;                                // (A) TASKLET_ bits
};

#define TASKLET_QUEUED (1U << 0)
#define TASKLET_RUNS (1U << 1)

#define TASKLET_INIT(tasklet_function) { .function = (tasklet_function) }

// Any context. False when it was queued already.
bool tasklet_schedule(struct tasklet *tasklet);

// Waits until it is neither queued nor running; the caller sees to it that nobody schedules it any more. Process
// context that may sleep.
void tasklet_wait(struct tasklet *tasklet);

// The threads "bottom/N", one for each hart that runs. Start-up; panics without memory.
void bottom_half_init(void);

// Runs of tasklets on that hart, and those by its thread.
struct bottom_half_stats {
    uint64_t run_count, thread_run_count;
};
struct bottom_half_stats bottom_half_stats_of(unsigned hart);
