// The scheduler: a run queue for each hart, round robin within two priorities, idle harts that pull work.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Each hart has a queue of ready threads for each priority, and its idle thread. The thread that runs is on no list. A
// hart switches when its thread blocks, yields or ends; when a thread of higher priority becomes ready on it; and when
// its thread has had its slice while others of that priority wait. The slice is watched by a timer, which runs only
// while somebody waits: a hart with one thread, or none, has no tick.
//
// Where a woken thread goes: to the hart where it ran last, if that is idle or is the only one allowed; else to an idle
// hart that it may use; else to the hart where it ran last. A hart that runs out of threads looks for a ready one on
// the other harts before it waits for an interrupt.
//
// Locking: a run queue's lock is taken with interrupts masked, and only one at a time. It is held over the switch: the
// thread that leaves takes it, the one that comes gives it back, so nobody can take a thread from a queue while it
// still stands on its stack. Who changes a thread's state holds the lock of the queue of thread->hart; since that may
// change until the lock is held, it is looked at again.
//
// Schedules under -icount are deterministic. With jitter=0 they are plain; with more, each hart's ticks come after the
// slice and a random part of the jitter, also on a hart with a single thread, and every choice above (which idle hart,
// which end of the queue) is drawn by lot, each hart from its own generator, seeded by seed=. So one seed is one
// interleaving, and another seed is another.
#pragma once

#include <task/thread.h>

// Makes the caller the idle thread of this hart, on the given stack. Once for every hart.
void sched_init_hart(void *stack);

// Whether the hart has done so, and threads may be made for it.
bool sched_hart_is_there(unsigned hart);

// What harts do when there is nothing to run: called again for as long as it returns true and nothing has come, in the
// idle thread, with interrupts enabled. Start-up, once; `work` takes a few thousand instructions at most.
void sched_set_idle_work(bool (*work)(void));

// Turns the caller into this hart's idle loop; never returns.
_Noreturn void sched_idle(void);

// The slice and its jitter in microseconds, and the seed of all choices. Start-up and tests; harts that are busy take
// them over at their next tick.
void sched_configure(uint64_t slice_us, uint64_t jitter_us, uint64_t seed);

// Threads run from now on, and whoever may not sleep is told so in checked builds.
void sched_start(void);

// For IPI_WAKE: looks at the run queue. In interrupt context.
void sched_interrupt(void);

// What a hart has done since the start.
struct sched_stats {
    uint64_t switch_count;         // to another thread
    uint64_t preempt_count;        // times a slice ended or a higher priority came, also with nobody to switch to
    uint64_t pull_count;           // threads taken from other harts
    uint64_t tick_count;           // slice timer
    uint64_t idle_time;            // ticks of arch_time(), up to now
};
struct sched_stats sched_stats_of(unsigned hart);

// Threads that wait on the hart, besides the one that runs.
unsigned sched_ready_count(unsigned hart);

bool sched_hart_is_idle(unsigned hart);
