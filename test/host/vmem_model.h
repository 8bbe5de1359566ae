// The model beside an arena of vmem: which quanta are handed out, as which ranges, and what must be true.
// SPDX-License-Identifier: BSD-2-Clause
//
// The model knows a bit and a length for every quantum, and nothing of how vmem works. A range that is handed out costs
// a pass over its bits; a request that is refused, over all of them.
//
// A check that fails prints what it found and ends the program.
#pragma once

#include "model_walk.h"

#include <mm/vmem.h>

// An arena of `quanta` times `quantum` from `base` on, which may end at 2^64.
struct vmem_shape {
    const char *name;
    uint64_t base, quantum;
    uint32_t quanta;
    unsigned share;                // of the phases
};

struct vmem_request {
    uint64_t size, alignment, phase;
};

struct vmem_model {
    const struct vmem_shape *shape;
    struct vmem arena;
    uint64_t *used;                // a bit for each quantum
    uint32_t *length;              // in quanta, of the range that starts at that one; 0: none does
    uint32_t held_quanta;
    uint32_t *ring;                // first quanta of the ranges held, oldest first
    uint64_t first, count, mask;
};

// The arena is there, and empty.
void vmem_model_init(struct vmem_model *model, const struct vmem_shape *shape);

// Takes the arena away, which is empty, and makes it anew.
void vmem_model_renew(struct vmem_model *model);

// The request was answered with that start: it must be as asked for, in the arena, and nobody else's.
void vmem_model_take(struct vmem_model *model, const struct vmem_request *request, uint64_t start);

// The request was refused: nothing free may fit.
void vmem_model_refused(const struct vmem_model *model, const struct vmem_request *request);

// The start of the range at a place in the ring, 0 for the oldest.
uint64_t vmem_model_held(const struct vmem_model *model, uint64_t place);

// Frees the range at that place: it must have been as large as the model says.
void vmem_model_free(struct vmem_model *model, uint64_t place);

// A look-up at an address anywhere, and a free where no range starts, answer what the model says.
void vmem_model_look_up(struct vmem_model *model, uint64_t address);
void vmem_model_free_nothing(struct vmem_model *model, uint64_t address);

// vmem's own validator, and its count of free bytes against the model's.
void vmem_model_check(struct vmem_model *model);
