// Shrinkers: whoever keeps memory that he could do without gives it back when it is short.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>

struct shrinker {
    const char *name;
    uint64_t (*shrink)(uint64_t pages_wanted);    // returns pages freed; may not allocate, may not sleep
    struct shrinker *next;                        // the registry's
};

// For ever: the shrinker is never taken out again. Start-up only.
void shrinker_register(struct shrinker *shrinker);

// Asks the shrinkers in turn until that many pages were freed or nobody is left; returns the pages freed.
uint64_t shrinkers_run(uint64_t pages_wanted);
