// What the tests of lib/sync share: waiting without the locks under test, queues seen from outside, and kills.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <arch/irq.h>
#include <arch/smp.h>
#include <ktest/ktest.h>
#include <sync/sched.h>
#include <sync/spinlock.h>
#include <sync/waitq.h>

#ifdef QUIRE_HOST
#include <fake_arch.h>
#else
#include <task/thread.h>
#endif

#define SPIN_UNTIL(condition) \
    do { \
        for (unsigned spin_round_ = 0; !(condition); spin_round_++) \
            arch_relax(spin_round_); \
    } while (0)

// Plain words that must not be kept in registers, and are not atomic on purpose.
#define PLAIN(variable) (*(volatile __typeof__(variable) *)&(variable))
#define LOAD(variable) __atomic_load_n(&(variable), __ATOMIC_ACQUIRE)
#define STORE(variable, value) __atomic_store_n(&(variable), value, __ATOMIC_RELEASE)
#define ADD(variable, value) __atomic_fetch_add(&(variable), value, __ATOMIC_ACQ_REL)

// Lets every other hart run, also on a simulator that runs them in turn.
static inline void let_others_run(void)
{
    for (unsigned round = 0; round < ktest_rounds(1, 8); round++)
        arch_relax(round);
}

static inline unsigned queue_length(struct spinlock *lock, const struct list *queue)
{
    irqflags_t flags = spin_lock_irqsave(lock);
    unsigned length = 0;

    for (const struct list *node = queue->next; node != queue; node = node->next)
        length++;
    spin_unlock_irqrestore(lock, flags);
    return length;
}

// A wake left over from before would end the first wait early.
static inline void drop_stale_wake(void)
{
    (void)!thread_block_until(0);
}

// Asks the thread of a case on that hart to end; `thread` is what thread_current() says there.
static inline void kill_on_hart(unsigned hart unused_arg, struct thread *thread unused_arg)
{
#ifdef QUIRE_HOST
    fake_thread_kill(hart, true);
#else
    thread_kill(thread);
#endif
}

// Takes that back: the thread is the framework's, and has more cases to run.
static inline void revive_current(void)
{
#ifdef QUIRE_HOST
    fake_thread_kill(arch_hart_index(), false);
#else
    __atomic_store_n(&thread_current()->is_killed, false, __ATOMIC_RELAXED);
#endif
    drop_stale_wake();
}

// The harts 1 .. n - 1 in a random order.
static inline unsigned shuffle_other_harts(unsigned *order)
{
    unsigned count = arch_hart_count() - 1;

    for (unsigned i = 0; i < count; i++) {
        unsigned k = (unsigned)ktest_random_below(i + 1);
        order[i] = order[k];
        order[k] = i + 1;
    }
    return count;
}
