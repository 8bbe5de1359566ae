// Between the files of lib/task: how threads come onto the run queues and leave them for good.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <task/sched.h>

// A new thread's first queue; its hart is chosen as for a wake.
void sched_add(struct thread *thread);

// Confines the thread to these harts. True when it runs on another: that hart has been told; if it is the caller, he
// has to yield.
bool sched_set_affinity(struct thread *thread, hart_mask_t affinity);

// The first thing a new thread does: finishes the switch to it, and unmasks interrupts.
void sched_begin_thread(void);

// The current thread leaves its hart for ever. Interrupts are masked by this.
_Noreturn void sched_exit(void);

// Locks the run queue that the thread belongs to, and masks interrupts.
irqflags_t sched_lock_queue_of(struct thread *thread, struct spinlock **queue_lock);

// A detached thread is dead, and off its stack: frees it, from any context.
void thread_bury(struct thread *thread);

void thread_list_add(struct thread *thread);

// Ticks that the current thread has run, all its turns together. Interrupts are masked.
uint64_t sched_run_time_of_current(void);
