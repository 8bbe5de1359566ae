// Run queues: the threads that are ready on a hart, and how one comes to be there. Private to lib/task.
// SPDX-License-Identifier: BSD-2-Clause
//
// Who holds a queue's lock, and masks interrupts, calls the _locked functions.
#pragma once

#include "sched_private.h"

#include <arch/irq.h>
#include <arch/time.h>
#include <base/bits.h>
#include <base/random.h>
#include <sync/seqlock.h>
#include <task/timer.h>

struct run_queue {
    struct spinlock lock;
    unsigned hart;                         // (C)
    struct list ready[PRIORITY_COUNT];     // (L)
    unsigned ready_count;                  // (L) written; read without it as a hint
    struct thread *running;                // (L)
    struct thread *previous;               // (L) who has just left, for whoever comes
    uint64_t switched_at;                  // (L)
    struct timer slice;                    // armed while somebody waits, or by jitter
    bool is_slice_armed;                   // (L)
    struct random random;                  // (L)
    struct sched_stats stats;              // (L) but for idle_time
    struct seqcount idle_seq;              // for readers of the two below; writers have the lock
    uint64_t idle_time, idle_since;        // (L) up to then, and when it became idle; 0: it is not
    struct thread idle;
} aligned_to(CACHE_LINE_BYTES);

extern struct run_queue run_queues[MAX_HARTS];
extern hart_mask_t run_queue_idle_harts;   // (A) harts that have nothing to do and may wait for an interrupt
extern uint64_t run_queue_slice_ticks;     // (A)
extern uint64_t run_queue_jitter_ticks;    // (A)

// Of this hart; interrupts are masked, or the caller is bound to it.
static inline struct run_queue *run_queue_own(void) { return hart_local_read(run_queue); }

static inline hart_mask_t run_queue_harts(void) { return low_bits(arch_hart_count()); }

static inline void run_queue_lock_masked(struct run_queue *queue)
{
    lockdep_acquire_spinlock(&queue->lock);
    spin_acquire(&queue->lock);
}

static inline void run_queue_unlock_masked(struct run_queue *queue)
{
    lockdep_release_spinlock(&queue->lock);
    spin_release(&queue->lock);
}

// Has this hart switch as soon as it may.
static inline void run_queue_ask_for_switch(void)
{
    hart_local_write(preempt.is_unwanted, 0);
}

// Whether choices are drawn by lot, and not the first of several.
static inline bool run_queue_draws_lots(void)
{
    return __atomic_load_n(&run_queue_jitter_ticks, __ATOMIC_RELAXED) != 0;
}

// One hart of a set that is not empty.
unsigned run_queue_choose_hart(struct run_queue *queue, hart_mask_t harts);

uint64_t run_queue_slice_length(struct run_queue *queue);

// Sees to it that the thread that runs is not the last to have a turn.
void run_queue_arm_slice_locked(struct run_queue *queue);

static inline void run_queue_put_locked(struct run_queue *queue, struct thread *thread)
{
    struct list *ready = &queue->ready[thread->priority];

    thread->state = THREAD_READY;
    if (unlikely(run_queue_draws_lots()) && random_below(&queue->random, 2))
        list_add_first(ready, &thread->in_queue);
    else
        list_add_last(ready, &thread->in_queue);
    store_relaxed(&queue->ready_count, queue->ready_count + 1);
}

static inline void run_queue_take_locked(struct run_queue *queue, struct thread *thread)
{
    list_remove(&thread->in_queue);
    store_relaxed(&queue->ready_count, queue->ready_count - 1);
}

// Interrupts an idle hart of these, if there is one, to pull a thread that waits on another.
void run_queue_call_idle_hart(hart_mask_t affinity);

// Puts a thread that is on no queue and no hart onto its hart's queue; or onto another's, if it has lost the right to
// that hart meanwhile.
void run_queue_add(struct thread *thread);
