// Kernel threads: cooperative, each bound to one hart, with a run queue and an idle loop per hart.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A thread runs until it yields, blocks or exits; interrupts come in between and may wake others. Each hart has a queue
// of runnable threads in order of arrival. With nothing to run it is in its idle loop, waiting for an interrupt; a wake
// from another hart sends one (IPI_WAKE).
//
//     thread_create_on --> READY --> RUNNING --> BLOCKED (thread_block) --> READY (thread_wake)
//                            ^          |
//                            +--yield---+--exit--> DEAD --> freed by thread_join
//
// A thread that exits still stands on its stack while it switches away, so only the thread that runs next on that hart
// declares it dead, and the joiner frees it.
#pragma once

#include <arch/context.h>
#include <base/list.h>

#define THREAD_NAME_BYTES 24

enum thread_state { THREAD_READY, THREAD_RUNNING, THREAD_BLOCKED, THREAD_EXITING, THREAD_DEAD };

// (Q) the hart's run_queue lock, (C) constant, (O) the thread itself
struct thread {
    struct arch_context context;
    char name[THREAD_NAME_BYTES];          // (C)
    unsigned hart;                         // (C)
    enum thread_state state;               // (Q)
    bool wake_pending;                     // (Q) woken before it blocked
    void *stack;                           // (C) lowest byte; NULL for the idle thread of the boot hart at first
    void (*function)(void *argument);      // (C)
    void *argument;                        // (C)
    struct thread *joiner;                 // (Q)
    struct list in_queue;                  // (Q)
    struct list all;                       // thread_list_lock
};

// Makes the caller the idle thread of this hart, on the given stack. Once for every hart.
void thread_init_hart(void *stack);

// Turns the caller into this hart's idle loop; never returns.
_Noreturn void thread_idle(void);

// A thread on that hart, ready to run; NULL when there is no memory. May sleep. Must be joined by somebody, once.
must_check struct thread *thread_create_on(unsigned hart, const char *name, void (*function)(void *), void *argument);

// Waits until the thread has ended and frees it.
void thread_join(struct thread *thread);

struct thread *thread_current(void);
void thread_yield(void);
_Noreturn void thread_exit(void);

// Sleeps until thread_wake; returns at once if that came since the last return. The condition that the caller waits
// for is checked by the caller, in a loop.
void thread_block(void);

// From any context, interrupt handlers included; the thread has not been joined.
void thread_wake(struct thread *thread);

// "idle", "init", ... of what a hart runs: for reports.
const char *thread_name_on(unsigned hart);

// The stack that `sp` lies on or has overrun, for backtraces; false when no thread owns it.
bool thread_find_stack(uintptr_t sp, uintptr_t *low, uintptr_t *high);
