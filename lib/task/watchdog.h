// The watchdog: finds harts that take no interrupts, and threads that never let go.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Each hart has a timer that fires a few times within the limit. It counts a heartbeat; looks at the next hart, whose
// heartbeat must have moved within the limit; and looks at its own thread, which must have slept or yielded within the
// limit of its own running time. What it finds ends in a panic, with every hart's backtrace.
//
//     deaf hart       interrupts masked for too long           found by the hart before it, so needs a second hart
//     endless thread  runs without sleeping or yielding        found by its own hart's timer
//     endless wait    for a spin lock                          found by the one who waits (<sync/spinlock.h>)
//
// A machine on which every hart is idle needs no watching, and has no timer: a hart whose timer finds all of them idle
// pauses, and the first that is busy again calls back all who have paused. The two cannot miss each other: the one
// says that it pauses before it looks whether all are idle, the other is busy before it looks who pauses, and both
// have a fence between (RVWMO, RISC-V unprivileged specification 20191213, section 14.1: fence rw,rw).
//
// A long computation that is meant says so: watchdog_touch().
#pragma once

#include <base/compiler.h>

// Harts whose watch has paused, a bit each.
extern uint64_t watchdog_paused;

// Starts watching the harts that run now, with that limit; 0 is no watch. Start-up.
void watchdog_init(uint64_t limit_seconds);

// The current thread is at work, not lost. Process context.
void watchdog_touch(void);

// For IPI_WATCH: goes on with this hart's part after a pause. In interrupt context.
void watchdog_interrupt(void);

// Calls back the harts that have paused. Any context.
void watchdog_resume(void);

// A hart has left its idle loop; its run queue says so already.
static inline void watchdog_note_busy(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (unlikely(__atomic_load_n(&watchdog_paused, __ATOMIC_RELAXED) != 0))
        watchdog_resume();
}
