// The walk of the model tests.
// SPDX-License-Identifier: BSD-2-Clause
#include "model_walk.h"

#include "host_debug.h"

#include <arch/smp.h>
#include <base/format.h>
#include <debug/klog.h>
#include <fake_arch.h>
#include <stdlib.h>

static uint64_t operations_done;
static const char *case_name = "start";

void model_fail(const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    format_text_va(text, sizeof(text), format, args);
    va_end(args);
    console_print("# operation %lu: %s\nnot ok 1 - %s\n", operations_done, text, case_name);
    exit(HOST_EXIT_FAILED);
}

static struct phase next_phase(struct random *random, enum direction before)
{
    struct phase phase = {
        .victim = (enum victim)random_below(random, VICTIMS),
        .lot = random_next(random),
        .operations_left = 256 + random_below(random, 8192),
    };
    uint64_t lot = random_below(random, 16);

    if (before == FILLING)
        phase.direction = lot < 8 ? EMPTYING : SHRINKING;
    else
        phase.direction = lot < 2 ? FILLING : lot < 3 ? EMPTYING : lot < 7 ? GROWING : lot < 11 ? SHRINKING : STEADY;
    if (phase.direction == FILLING || phase.direction == EMPTYING)
        phase.operations_left = UINT64_MAX;
    return phase;
}

bool model_wants_more(const struct phase *phase, struct random *random)
{
    static const uint8_t allocations_of_32[DIRECTIONS] = { [STEADY] = 16, [GROWING] = 20, [SHRINKING] = 12 };

    return random_below(random, 32) < allocations_of_32[phase->direction];
}

uint64_t model_pick_victim(enum victim victim, struct random *random, uint64_t count)
{
    switch (victim) {
    case YOUNGEST:
        return count - 1;
    case OLDEST:
        return 0;
    default:
        return random_below(random, count);
    }
}

struct turn {
    struct model_walk *walk;
    uint64_t operations;
    struct phase phase;
    unsigned hart;
};

static void take_turn(unsigned index, void *argument)
{
    struct turn *turn = argument;
    struct model_walk *walk = turn->walk;
    bool is_over = false;

    if (index != turn->hart)
        return;
    while (!is_over && operations_done < turn->operations) {
        operations_done++;
        is_over = walk->step(walk->run, &turn->phase) || --turn->phase.operations_left == 0;
        if (operations_done % MODEL_CHECK_EVERY == 0)
            walk->check_all(walk->run);
    }
    walk->phases += is_over;
}

void model_walk(struct model_walk *walk, uint64_t operations)
{
    struct turn turn = { .walk = walk, .operations = operations, .phase = { .direction = STEADY } };

    case_name = walk->name;
    while (operations_done < operations) {
        turn.phase = next_phase(walk->random, turn.phase.direction);
        turn.hart = (unsigned)random_below(walk->random, arch_hart_count());
        fake_harts_run(turn.hart + 1, take_turn, &turn);
    }
    walk->check_all(walk->run);
}
