// A model test's walk: phases of operations drawn from a seeded generator, each on the next hart, and checks between.
// SPDX-License-Identifier: BSD-2-Clause
//
// What is held grows, shrinks, stays about the same, fills memory to the last, or goes back altogether; so memory is
// used up, emptied, and churned between. What is freed is a random one, the youngest or the oldest, by the phase.
#pragma once

#include <base/random.h>

#define MODEL_CHECK_EVERY 1000000  // operations between two runs of all validators

enum direction { STEADY, GROWING, SHRINKING, FILLING, EMPTYING, DIRECTIONS };
enum victim { RANDOM_ONE, YOUNGEST, OLDEST, VICTIMS };

struct phase {
    enum direction direction;
    enum victim victim;
    uint64_t lot;                  // a random number, the same for the whole phase
    uint64_t state;                // 0 at first; the steps' own
    uint64_t operations_left;      // of phases that neither fill nor empty
};

struct model_walk {
    const char *name;              // of the case
    void *run;                     // handed to the functions below
    struct random *random;
    bool (*step)(void *run, struct phase *phase);      // one operation; true when filling or emptying is over
    void (*check_all)(void *run);
    uint64_t phases;               // that were over
};

// So many operations. Returns with something held, everything checked.
void model_walk(struct model_walk *walk, uint64_t operations);

// Whether to allocate, in a phase that does both.
bool model_wants_more(const struct phase *phase, struct random *random);

// The place among `count` held things, the oldest at 0.
uint64_t model_pick_victim(enum victim victim, struct random *random, uint64_t count);

// Prints the operation's number and the text, and ends the program with exit code 1.
_Noreturn void model_fail(const char *format, ...) printf_like(1, 2);
