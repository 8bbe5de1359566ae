// What sleeping locks and memory management need of whoever schedules threads: the contract of lib/task towards lower
// ranks. On the host a hart is a POSIX thread, and the fake port supplies it.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A thread has one token. thread_wake leaves the token with it; thread_block takes the token, and sleeps until there
// is one. So a wake between looking at a condition and sleeping is not lost, and a wake too many makes thread_block
// return early: every caller looks at its condition again, in a loop, and does not sleep between the look and
// thread_block, which would take a token that was meant for the latter.
//
//     waiter:  for (;;) { look at the condition; if it holds, leave; thread_block(); }
//     waker:   make it hold; thread_wake(waiter);
//
// thread_wake is a release and the return from thread_block an acquire: what the waker wrote before is seen (RVWMO,
// RISC-V unprivileged specification 20191213, chapter 14, preserved program order rules 5 to 7).
#pragma once

#include <arch/per_hart.h>

struct thread;

#define NO_DEADLINE UINT64_MAX

// NULL before the first thread runs.
static always_inline struct thread *thread_current(void) { return hart_local_read(current); }

// Sleeps until woken. Process context that may sleep.
void thread_block(void);

// The same, but no longer than to a moment of arch_time(); false when that was the reason to return. NO_DEADLINE is
// never.
bool thread_block_until(uint64_t deadline);

// Wakes the thread, or has its next thread_block return at once. Any context; the thread exists. False when it was
// not asleep.
bool thread_wake(struct thread *thread);

// Lets others of at least this priority run first. Process context that may sleep.
void thread_yield(void);

// Whether somebody has asked the current thread to end (thread_kill): killable waits are over then.
bool thread_is_killed(void);

// Whether threads are scheduled: false during start-up, when there is nobody to sleep for.
bool sched_is_running(void);

// Whether the current thread may run on this hart alone.
bool thread_is_bound(void);

#if CONFIG_CHECKED
// The sleeping locks that the current thread holds, for <sync/lockdep.h>.
struct held_locks;
struct held_locks *thread_held_locks(void);
#endif
