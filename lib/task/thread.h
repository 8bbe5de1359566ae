// Kernel threads: made, ended, joined, killed; where each may run, and how urgently.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
//                      +------------- preempted, yield --------------+
//                      v                                             |
//     thread_create -> READY -- picked by a hart (sched.h) --> RUNNING -- thread_block --> BLOCKED
//                      ^                                        |   thread_exit              |
//                      +----------------- thread_wake ----------|----------------------------+
//                                                               v
//                                          EXITING --> DEAD --> freed by thread_join, or by itself when detached
//
// A thread that exits still stands on its stack while it switches away, so only the thread that runs next on that hart
// declares it dead.
//
// Nobody can end a thread from outside, since it may hold locks: thread_kill asks, and ends every killable wait; the
// thread sees thread_is_killed() and returns. A thread's function that returns ends its thread.
//
// Ordering: what its maker wrote is seen by a new thread, and what a thread wrote, by whoever has joined it: the run
// queue's lock is released and acquired in between (<sync/spinlock.h>).
//
// Stacks of ended threads are kept by the hart, and used again (<mm/kstack_cache.h>).
#pragma once

#include <arch/context.h>
#include <arch/smp.h>
#include <base/list.h>
#include <sync/sched.h>
#include <sync/spinlock.h>

#define THREAD_NAME_BYTES 24

enum thread_state { THREAD_READY, THREAD_RUNNING, THREAD_BLOCKED, THREAD_EXITING, THREAD_DEAD };

// A ready thread of higher priority always runs first; of equal ones each has its slice in turn.
enum thread_priority { PRIORITY_IDLE, PRIORITY_NORMAL, PRIORITY_HIGH, PRIORITY_COUNT };

// A set of harts: bit N is hart N.
typedef uint64_t hart_mask_t;
#define HART_MASK_ALL (~(hart_mask_t)0)

_Static_assert(MAX_HARTS <= 64, "a set of harts is one word");

static inline hart_mask_t hart_mask_of(unsigned hart) { return (hart_mask_t)1 << hart; }

// (Q) the lock of the run queue of its hart, (C) constant, (A) atomic, (O) the thread itself
struct thread {
    struct arch_context context;           // (Q)
    struct list in_queue;                  // (Q)
    unsigned hart;                         // (Q) where it runs, ran last, or is queued
    enum thread_state state;               // (Q)
    enum thread_priority priority;         // (C)
    bool has_token;                        // (Q) woken, and has not blocked since
    bool is_detached;                      // (Q)
    bool is_killed;                        // (A) asked to end
    hart_mask_t affinity;                  // (Q) harts it may run on
    uint64_t run_time;                     // (Q) ticks it has run, up to its last switch
    uint64_t voluntary_at;                 // (O) run_time when it last slept or yielded, for the watchdog
    uint64_t seen_voluntary_at;            // (O) the watchdog's: that, when it looked last,
    unsigned seen_count;                   // (O) and how often it found it so
    uint64_t switch_count;                 // (Q) times it was given a hart
    void *stack;                           // (C) lowest byte
    void (*function)(void *argument);      // (C)
    void *argument;                        // (C)
    struct thread *joiner;                 // (Q) cleared once it has been woken; next in the graveyard
    struct list all;                       // the list of all threads
    char name[THREAD_NAME_BYTES];          // (C)
#if CONFIG_CHECKED
    struct held_locks held_locks;          // (O) sleeping locks
#endif
};

// A new thread, ready to run on one of the harts in `affinity` (at least one that is there); NULL when there is no
// memory. Must be joined, or detached, once. May sleep.
must_check struct thread *thread_create_in(hart_mask_t affinity, enum thread_priority priority, const char *name,
                                           void (*function)(void *), void *argument);

// The same at normal priority: on any hart, and on one hart alone.
must_check struct thread *thread_create(const char *name, void (*function)(void *), void *argument);
must_check struct thread *thread_create_on(unsigned hart, const char *name, void (*function)(void *), void *argument);

// Waits until the thread has ended and frees it. May sleep.
void thread_join(struct thread *thread);

// Nobody will join it: it frees itself when it ends, and its pointer is good no longer. Process context.
void thread_detach(struct thread *thread);

// Ends the caller, as a return from its function does. Process context that may sleep, with no lock held.
_Noreturn void thread_exit(void);

// Asks the thread to end, and wakes it. Any context; the thread exists.
void thread_kill(struct thread *thread);

// Lets the thread run on these harts only (at least one that is there). A thread that runs elsewhere leaves when it is
// next switched; for the caller itself that is before this returns. Process context that may sleep.
void thread_set_affinity(struct thread *thread, hart_mask_t affinity);

// Sleeps for that long, or to a moment of arch_time(); a wake that comes earlier does not end it, but a kill does.
// False when killed.
bool thread_sleep_us(uint64_t microseconds);
bool thread_sleep_until(uint64_t deadline);

// "idle", "init", ... of what a hart runs: for reports.
const char *thread_name_on(unsigned hart);

// Bytes of its stack that a thread has used at most (stack_depth, whose error it has); of an idle thread also what
// interrupts used on it. The thread is not being freed.
size_t thread_stack_depth(const struct thread *thread);

// The stack that `sp` lies on or has overrun, for backtraces; false when no thread owns it. The stack of what a hart
// runs now, or NULL. Neither takes a lock: for panics.
bool thread_find_stack(uintptr_t sp, uintptr_t *low, uintptr_t *high);
void *thread_stack_on(unsigned hart);

// The thread whose stack starts there, or NULL. Takes no lock either.
const char *thread_name_of_stack(const void *stack);

// Threads alive, and made since the start.
uint64_t thread_count(void);
uint64_t thread_created_count(void);
