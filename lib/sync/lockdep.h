// Lock discipline, checked at every step in checked builds (CONFIG_CHECKED); elsewhere every call is nothing.
// SPDX-License-Identifier: BSD-2-Clause
//
// What is held against <sync/lock_order.h>, at the moment it is done and whether or not it would have gone wrong:
//
//   inversion      taking a lock whose class does not stand below those of all locks that are held
//   context        an IRQ lock with interrupts enabled; a PROCESS lock in an interrupt, in a bottom half or inside an
//                  IRQ lock (an interrupt could want the IRQ lock while the PROCESS lock's holder is interrupted)
//   sleep          might_sleep, blocking, or a sleeping lock, where in_atomic; blocking with a spin lock held
//   unlock         giving back what is not held; a thread that ends, or an interrupt that returns, with a lock
//   class          a lock that has no class
//   per-hart data  this_hart where the thread could be moved to another hart
//
// Spin locks are held by a hart, sleeping locks by a thread. Each finding is a violation (<debug/violation.h>).
#pragma once

#include <base/compiler.h>
#include <sync/lock_order.h>

struct spinlock;

#if CONFIG_CHECKED

#define HELD_LOCKS_MAX 16

struct held_lock {
    const void *lock;
    const void *taken_by;          // code address
    enum lock_class class;
};

struct held_locks {
    unsigned count;
    struct held_lock lock[HELD_LOCKS_MAX];
};

void lockdep_acquire_spinlock(const struct spinlock *lock);
void lockdep_release_spinlock(const struct spinlock *lock);

// A sleeping lock, before it is waited for. `may_wait` is false for a try, which can break no order.
void lockdep_acquire_sleeping(const void *lock, enum lock_class class, bool may_wait);
void lockdep_release_sleeping(const void *lock);

// The current thread is about to leave its hart and holds the run queue's lock alone; to end, and holds no sleeping
// lock either.
void lockdep_check_block(void);
void lockdep_check_exit(void);

// Spin locks held on this hart: an interrupt's handlers must leave as many as they found.
unsigned lockdep_held_count(void);
void lockdep_check_interrupt_end(unsigned held_before);

#else

static always_inline void lockdep_acquire_spinlock(const struct spinlock *lock unused_arg) { }
static always_inline void lockdep_release_spinlock(const struct spinlock *lock unused_arg) { }
static always_inline void lockdep_acquire_sleeping(const void *lock unused_arg, enum lock_class class unused_arg,
                                                   bool may_wait unused_arg)
{
}
static always_inline void lockdep_release_sleeping(const void *lock unused_arg) { }
static always_inline void lockdep_check_block(void) { }
static always_inline void lockdep_check_exit(void) { }
static always_inline unsigned lockdep_held_count(void) { return 0; }
static always_inline void lockdep_check_interrupt_end(unsigned held_before unused_arg) { }

#endif
