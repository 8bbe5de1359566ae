// Contract: stacks of pointers, one on each hart, pushed and popped without masking interrupts or disabling preemption.
// SPDX-License-Identifier: BSD-2-Clause
//
//     bottom[0] = NULL | pointer | pointer | ... | top: pointer | free slots ... | limit
//
// The NULL at the bottom is what a pop finds in an empty stack, so that it needs no count; a push compares with the
// limit.
//
// A push or pop is a short run of instructions that ends in the store of the new top. Whoever is interrupted before
// that store starts it all over when he goes on, perhaps on another hart: nothing that he did so far counts. So it is
// atomic towards all that runs on its hart, interrupts included, and costs neither a mask nor an atomic instruction
// (Bershad, Redell and Ellis: "Fast Mutual Exclusion for Uniprocessors", ASPLOS 1992; "restartable atomic sequences").
//
// Whoever changes a stack in another way (empties it, moves it, sets its limit) does so on its hart with interrupts
// masked.
//
// The port defines, inline, for `offset` = hart_stack_offset(variable) + n * sizeof(struct hart_stack)
//   hart_stack_offset(variable)                  of a PER_HART variable, the same on every hart
//   void *hart_stack_pop(int64_t offset)        NULL: empty
//   bool hart_stack_push(int64_t offset, void *pointer)            false: full
//   struct hart_stack *hart_stack_of(int64_t offset)               this hart's, while it cannot be left
// and for element `index`, a constant, of the PER_HART array `variable`
//   hart_stack_pop_of(variable, index)
// A function in which one of them is inlined is declared `restartable`.
#pragma once

#include <arch/per_hart.h>

struct hart_stack {
    void **top;                    // (H) the last one pushed, or the NULL at the bottom
    void **limit;                  // (H) no push when top is here
};

#include <port/hart_stack.h>
