// Carrying out a trace: every operation on the hart of its CPU, in trace order, on the real allocators.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// There is one position in the trace and one hart that may move it: the hart of the event there. It carries
// out events until one belongs to another hart, publishes the position, wakes that hart's thread, and blocks:
//
//     events     0 0 0 1 1 0 2 2 2 2 0 ...        position, written by the hart whose turn it is,
//     hart 0     >>>>>     >         >            read by all; release and acquire make everything that one
//     hart 1           >>>                        hart did visible to the next
//     hart 2                 >>>>>>>
//
// So no two operations overlap, and the order of a run is the order of the trace. The other harts are idle
// and not spinning: where one count of instructions is that of all harts, a spinning hart would be counted in
// operations that it has no part in. Only the instructions from an operation's call to its return are
// counted.
//
// What is alive stands in a table of slots, taken before the baseline. An allocation that fails leaves its
// slot empty, and the free of that slot is left out.
#pragma once

#include "qtrace.h"

struct replay_slot {
    void *memory;              // object, area, or struct page of a page request; NULL: empty
    uint32_t argument;         // of the event that filled it
    uint16_t op;               // its enum qtrace_op
};

struct replay_counts {
    uint64_t events, failed_frees, handovers;
};

// Takes the slots, a cache for each of the trace's, and a thread for each hart but this one. `slots` has
// slot_count elements. False when there is no memory; nothing is left behind. The trace was checked; this
// hart is hart 0.
must_check bool replay_prepare(const struct qtrace *trace, struct replay_slot *slots);

// Carries out all events, or those of objects, with accounting begun just before and ended just after: of all memory
// (account.h), or of objects (object_floor.h).
struct replay_counts replay_run(bool of_objects_alone);

// Frees what is still alive, joins the threads and destroys the caches.
void replay_clean_up(void);
