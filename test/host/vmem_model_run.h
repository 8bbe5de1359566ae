// The vmem model test: a seeded generator of operations on several arenas, and what it did.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each phase is spent on one arena. Of the requests half are for 1 to 4 quanta, a quarter for up to 16, the others for
// up to the whole arena, seldom a multiple of the quantum; three of eight have an alignment, up to the largest there
// is, and half of those a phase. One operation in 16 is another one: look-ups, frees of what nobody holds, requests
// that no arena takes. In one phase of four one in eight allocations of bookkeeping and of ranges is made to fail; an
// arena that was emptied is destroyed and made anew.
#pragma once

#include "vmem_model.h"

#define VMEM_ARENAS 5

struct run {
    struct vmem_model model[VMEM_ARENAS];
    struct vmem_model *current;    // the phase's
    struct random random;
    uint64_t live_at_start;        // objects of all caches
    struct counts {
        uint64_t asked[VMEM_ARENAS], refused[VMEM_ARENAS], freed[VICTIMS];
        uint64_t looked_up, freed_nothing, bad, failed_ranges, failed_bookkeeping, exhaustions, renewals, phases;
    } counts;
};

// mm/ is started, on hart 0.
void vmem_model_start(struct run *run);

// Runs that many operations, each phase of them on the next hart, frees what is left, and checks that all bookkeeping
// is back; returns when all is well. On hart 0.
void vmem_model_run(struct run *run, uint64_t operations);

// Prints the mix as comments.
void vmem_model_report(const struct run *run);
