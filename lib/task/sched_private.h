// Between the files of lib/task: how threads come onto the run queues and leave them for good.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <task/sched.h>

// A new thread's first queue; its hart is chosen as for a wake.
void sched_add(struct thread *thread);

// The first thing a new thread does: finishes the switch to it, and unmasks interrupts.
void sched_begin_thread(void);

// The current thread leaves its hart for ever. Interrupts are masked by this.
_Noreturn void sched_exit(void);

// Takes a thread off its queue, whose lock is held, if it waits there for its turn; and gives it one again, on a hart
// that it may use, without the lock.
bool sched_take_off_locked(struct thread *thread);
void sched_put_back(struct thread *thread);

// Locks the run queue that the thread belongs to, and masks interrupts.
irqflags_t sched_lock_queue_of(struct thread *thread, struct spinlock **queue_lock);

// A detached thread is dead, and off its stack: frees it, from any context.
void thread_bury(struct thread *thread);

void thread_list_add(struct thread *thread);

// Ticks that the current thread has run, all its turns together. Interrupts are masked.
uint64_t sched_run_time_of_current(void);
