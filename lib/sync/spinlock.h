// Ticket spin lock: fair, four bytes, interrupt-saving forms.
// SPDX-License-Identifier: BSD-2-Clause
//
// Ordering: spin_lock is an acquire and spin_unlock a release (RVWMO, RISC-V unprivileged specification
// 20191213, chapter 14, rules 5 and 6 of the preserved program order): what one holder wrote, the next one
// sees.
//
// A lock that an interrupt handler may want is only ever taken with interrupts masked: use the _irqsave
// forms. The order in which locks nest is in <sync/lock_order.h>. No holder sleeps.
#pragma once

#include <arch/irq.h>
#include <arch/smp.h>
#include <base/assert.h>

struct aligned_to(4) spinlock {
    uint16_t serving;      // (A) the ticket that holds the lock
    uint16_t next;         // (A) the ticket that the next arrival draws
};

#define SPINLOCK_INIT { 0, 0 }

_Static_assert(MAX_HARTS < 65536, "tickets are 16 bits");

static always_inline void spin_lock(struct spinlock *lock)
{
    uint16_t ticket = (uint16_t)(__atomic_fetch_add((uint32_t *)(void *)lock, 1U << 16, __ATOMIC_ACQUIRE) >> 16);

    for (unsigned round = 0; unlikely(__atomic_load_n(&lock->serving, __ATOMIC_ACQUIRE) != ticket); round++)
        arch_relax(round);
}

static always_inline void spin_unlock(struct spinlock *lock)
{
    uint16_t mine = __atomic_load_n(&lock->serving, __ATOMIC_RELAXED);

    __atomic_store_n(&lock->serving, (uint16_t)(mine + 1), __ATOMIC_RELEASE);
}

static always_inline bool spin_is_locked(const struct spinlock *lock)
{
    return __atomic_load_n(&lock->serving, __ATOMIC_RELAXED) != __atomic_load_n(&lock->next, __ATOMIC_RELAXED);
}

static always_inline irqflags_t spin_lock_irqsave(struct spinlock *lock)
{
    irqflags_t flags = arch_irq_save();
    spin_lock(lock);
    return flags;
}

static always_inline void spin_unlock_irqrestore(struct spinlock *lock, irqflags_t flags)
{
    spin_unlock(lock);
    arch_irq_restore(flags);
}
