// Contract: data of which every hart has its own copy, and the few of them that every port keeps at hand.
// SPDX-License-Identifier: BSD-2-Clause
//
// The port defines
//   PER_HART                          storage class of such a variable, which stands at file level (its declaration
//                                     in a header is extern _Thread_local)
//   arch_this_hart(variable)          this hart's copy, as an lvalue; callers write this_hart(variable)
//   per_hart_of(variable, index)      a pointer to that hart's copy; the caller answers for the races
//   hart_local_read(field), hart_local_write(field, value)
//                                     a field of this hart's struct hart_local: one load, one store
//
// A thread moves between harts wherever it can be preempted, so a copy is touched, and a pointer to it kept, only
// while that is ruled out (preempt_disable, masked interrupts, a thread bound to its hart). The address is formed anew
// at each use, and never kept by the compiler from one use to the next. The hart_local_ forms go further: each is a
// single instruction relative to the hart, so even a move between a load and its store is harmless where the value is
// the same on both harts (the preemption count of a thread that can be moved is 0).
#pragma once

#include <base/compiler.h>

struct thread;

struct hart_local {
    // Read together as one 64-bit word: 0 means "preempt now".
    struct {
        uint32_t count;            // <sync/preempt.h>: what forbids to leave this hart
        uint32_t is_unwanted;      // 1: nobody asks for this hart; 0: the scheduler is to be called
    } preempt;
    struct thread *current;        // the thread that runs here; NULL before the first
    void *run_queue;               // the scheduler's
    void *page_lists;              // the page allocator's lists of free blocks
    uint32_t index;                // arch_hart_index()
    uint32_t bottom_halves;        // not 0: bottom halves wait for the end of the interrupt
};

#define HART_LOCAL_INITIAL { .preempt = { .count = 0, .is_unwanted = 1 } }

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the count is the low half of the word");

// The start of a hart's block of per-hart data, in memory that outlives it.
char *arch_hart_block(unsigned index);

#include <port/per_hart.h>

// This hart's copy, as an lvalue. Checked builds report a caller that could be moved to another hart meanwhile.
#if CONFIG_CHECKED
void this_hart_check(void);        // lib/sync/lockdep.c
#define this_hart(variable) (*({ this_hart_check(); &arch_this_hart(variable); }))
#else
#define this_hart(variable) arch_this_hart(variable)
#endif

// The dense index of this hart (see <arch/smp.h>). Where the caller can be preempted it is a hint.
static always_inline unsigned arch_hart_index(void)
{
    return hart_local_read(index);
}

static always_inline uint64_t hart_local_preempt_word(void)
{
    return hart_local_read64(preempt);
}
