// Spin locks: fair, four bytes, with forms that mask interrupts.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// One word says all: bit 0 is set while the lock is held, the upper half names the last hart of the queue that waits
// for it. A lock that is free and has no queue is taken by one atomic OR. Everybody else stands in line, in order of
// arrival, each spinning on a node of its own (Mellor-Crummey and Scott: "Algorithms for Scalable Synchronization on
// Shared-Memory Multiprocessors", ACM TOCS 9(1), 1991); only the first of the line looks at the word.
//
//      word: [ tail: hart + 1, nesting ][ held ]
//
//      held by A    B node --next--> C node --next--> D node      tail names D
//                   |                |
//                   spins on word    spins on its node
//
// Whoever's OR finds the lock free but a queue before it has taken a place that was not his, and gives it back before
// he joins the queue: so the order is that of arrival, but for one store. A waiter's turn comes after at most one
// critical section of each hart that came before.
//
// A hart's nodes are four, for the contexts that can interrupt each other while they wait: process, bottom half,
// interrupt, and one in reserve. A node is only needed while waiting.
//
// Ordering (RVWMO, RISC-V unprivileged specification 20191213, chapter 14): taking the lock is an acquire, the AMO's aq
// bit (preserved program order rule 5), so nothing of the critical section is done before it; releasing is a fence
// rw,w before the store (rule 4), so all of it is done before. What one holder wrote, the next one sees.
//
// spin_lock keeps the holder on its hart and lets interrupts in; a lock that an interrupt handler or a bottom half may
// want is only ever taken by the _irqsave forms. No holder sleeps. The order in which locks nest is in
// <sync/lock_order.h>.
#pragma once

#include <arch/irq.h>
#include <sync/lockdep.h>
#include <sync/preempt.h>

struct spinlock {
    union {
        uint32_t word;             // (A)
        uint8_t is_held;           // (A) its low byte: bit 0
    };
#if CONFIG_CHECKED
    uint32_t class;                // (C) enum lock_class
#endif
};

#define SPINLOCK_HELD 1U

#if CONFIG_CHECKED
#define SPINLOCK_INIT(lock_class) { .word = 0, .class = LOCK_CLASS_##lock_class }
#else
#define SPINLOCK_INIT(lock_class) { .word = 0 }
#endif

// Makes a lock free, of a class on the page of lock orders.
#define spin_lock_init(lock, lock_class) (*(lock) = (struct spinlock)SPINLOCK_INIT(lock_class))

// The rest of taking a lock whose word had been `seen`. Preemption is off.
void spin_lock_slow(struct spinlock *lock, uint32_t seen);

// How long a hart may wait for one lock, in ticks of arch_time(), before the kernel panics and tells who waits where.
// UINT64_MAX, for ever, until the watchdog sets it.
extern uint64_t spin_lock_limit;

static always_inline bool spin_is_locked(const struct spinlock *lock)
{
    return (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & SPINLOCK_HELD) != 0;
}

// The word alone, for callers that have seen to preemption and to lockdep.
static always_inline void spin_acquire(struct spinlock *lock)
{
    uint32_t seen = __atomic_fetch_or(&lock->word, SPINLOCK_HELD, __ATOMIC_ACQUIRE);

    if (unlikely(seen != 0))
        spin_lock_slow(lock, seen);
}

static always_inline void spin_release(struct spinlock *lock)
{
    __atomic_store_n(&lock->is_held, 0, __ATOMIC_RELEASE);
}

static always_inline void spin_lock(struct spinlock *lock)
{
    preempt_disable();
    lockdep_acquire_spinlock(lock);
    spin_acquire(lock);
}

static always_inline void spin_unlock(struct spinlock *lock)
{
    lockdep_release_spinlock(lock);
    spin_release(lock);
    preempt_enable();
}

// False when somebody holds it or waits for it.
static always_inline must_check bool spin_trylock(struct spinlock *lock)
{
    preempt_disable();
    uint32_t seen = __atomic_fetch_or(&lock->word, SPINLOCK_HELD, __ATOMIC_ACQUIRE);
    if (likely(seen == 0)) {
        lockdep_acquire_spinlock(lock);
        return true;
    }
    if (!(seen & SPINLOCK_HELD))
        spin_release(lock);
    preempt_enable();
    return false;
}

static always_inline irqflags_t spin_lock_irqsave(struct spinlock *lock)
{
    irqflags_t flags = arch_irq_save();

    lockdep_acquire_spinlock(lock);
    spin_acquire(lock);
    return flags;
}

static always_inline void spin_unlock_irqrestore(struct spinlock *lock, irqflags_t flags)
{
    lockdep_release_spinlock(lock);
    spin_release(lock);
    arch_irq_restore(flags);
}
