// The queue of a spin lock.
// SPDX-License-Identifier: BSD-2-Clause

#include <sync/spinlock.h>

#include <arch/smp.h>
#include <arch/time.h>
#include <base/assert.h>

#define NESTING_BITS 2
#define NODES (1U << NESTING_BITS)
#define TAIL_SHIFT 16
#define TAIL_MASK 0xffff0000U

// Rounds between two looks at the clock: a look is cheap, and a wait of this many rounds is long already.
#define ROUNDS_PER_LOOK 1024

_Static_assert((MAX_HARTS + 1) << NESTING_BITS <= 65536, "a tail is 16 bits");

struct waiting_hart {
    struct waiting_hart *next;     // (A) who comes after
    bool is_first;                 // (A) the queue before is gone
} aligned_to(CACHE_LINE_BYTES);

static PER_HART struct waiting_hart nodes[NODES];
static PER_HART unsigned nesting;

uint64_t spin_lock_limit = UINT64_MAX;

static struct waiting_hart *node_of(uint32_t tail)
{
    uint32_t place = tail >> TAIL_SHIFT;

    return &(*per_hart_of(nodes, (place >> NESTING_BITS) - 1))[place & (NODES - 1)];
}

// One round of waiting. A holder that never lets go is found here also where no other hart could find it.
static void wait_round(const struct spinlock *lock, unsigned round, uint64_t started)
{
    arch_relax(round);
    if (round % ROUNDS_PER_LOOK == ROUNDS_PER_LOOK - 1 && arch_time() - started > spin_lock_limit)
        panic("hart %u waits for the spin lock %p and does not get it: word %#x", arch_hart_index(),
              (const void *)lock, lock->word);
}

static uint32_t join_queue(struct spinlock *lock, uint32_t tail)
{
    uint32_t seen = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

    // Release: the node is ready before anybody can find it. Acquire: so is the one before us.
    while (!__atomic_compare_exchange_n(&lock->word, &seen, (seen & SPINLOCK_HELD) | tail, true, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED)) {
    }
    return seen & TAIL_MASK;
}

// Takes the lock as first of the queue; true when the queue ended with that.
static bool take_as_first(struct spinlock *lock, uint32_t tail, uint64_t started)
{
    for (unsigned round = 0;; wait_round(lock, round++, started)) {
        uint32_t seen = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

        if (seen & SPINLOCK_HELD)
            continue;
        if (seen == tail) {
            // Fails also for a try that held the word for an instant: the queue may still end with us.
            if (__atomic_compare_exchange_n(&lock->word, &seen, SPINLOCK_HELD, false, __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED))
                return true;
        } else if (!(__atomic_fetch_or(&lock->word, SPINLOCK_HELD, __ATOMIC_ACQUIRE) & SPINLOCK_HELD)) {
            return false;
        }
    }
}

void spin_lock_slow(struct spinlock *lock, uint32_t seen)
{
    // Taken before those who wait: given back to them.
    if (!(seen & SPINLOCK_HELD))
        spin_release(lock);

    uint64_t started = arch_time();
    unsigned level = this_hart(nesting)++;
    BUG_ON(level >= NODES);
    struct waiting_hart *own = &this_hart(nodes)[level];
    uint32_t tail = ((arch_hart_index() + 1) << NESTING_BITS | level) << TAIL_SHIFT;

    store_relaxed(&own->next, NULL);
    store_relaxed(&own->is_first, false);
    uint32_t before = join_queue(lock, tail);
    if (before != 0) {
        __atomic_store_n(&node_of(before)->next, own, __ATOMIC_RELEASE);
        for (unsigned round = 0; !__atomic_load_n(&own->is_first, __ATOMIC_ACQUIRE); round++)
            wait_round(lock, round, started);
    }
    if (!take_as_first(lock, tail, started)) {
        struct waiting_hart *next;
        for (unsigned round = 0; !(next = __atomic_load_n(&own->next, __ATOMIC_ACQUIRE)); round++)
            wait_round(lock, round, started);
        __atomic_store_n(&next->is_first, true, __ATOMIC_RELEASE);
    }
    this_hart(nesting)--;
}
