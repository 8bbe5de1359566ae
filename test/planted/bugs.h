// Errors planted on purpose, and who must find them.
// SPDX-License-Identifier: BSD-2-Clause
//
// Each bug is a function that uses objects wrongly in one way and gives back what it took. It is to be reported exactly
// `reports` times when the mode that the caches are in (slab_debug=, slab_check=) is one of `found_by`; what other
// modes make of it is printed, not judged. What a bug writes where it should not, it writes with plant(), which keeps
// what was there: the damage that nobody found is undone afterwards.
#pragma once

#include <base/compiler.h>
#include <mm/slab.h>

// Modes: what a bug may be found by. MODE_ALWAYS is in every mode.
enum planted_mode {
    MODE_ALWAYS = 1 << 0,
    MODE_RED_ZONE = 1 << 1,
    MODE_POISON = 1 << 2,
    MODE_GUARD = 1 << 3,           // of every object
};

enum bug_class {
    BUG_OVERRUN, BUG_UNDERRUN, BUG_USE_AFTER_FREE, BUG_DOUBLE_FREE, BUG_FOREIGN_FREE, BUG_INTERIOR_FREE, BUG_STALE_FREE,
    BUG_WRONG_CACHE, BUG_LEAK, BUG_UNINITIALISED, BUG_STATE_LOST, BUG_CLASSES,
};

struct planted_bug {
    enum bug_class class;
    const char *name;
    unsigned found_by;             // MODE_
    unsigned reports;
    void (*run)(void);
};

extern const struct planted_bug planted_bugs[];
extern const unsigned planted_bug_count;

// The caches that bugs use, made anew for each: two of 40 bytes, one of 200, one whose constructor sets state.
#define PLANTED_MAGIC 0x51157a7eUL
struct planted_state { struct planted_state *self; uint64_t magic; char scratch[24]; };
extern struct planted_caches { struct kmem_cache *a, *b, *large, *constructed; } planted;

// Objects that have others of their slab on both sides.
void *take_inside(struct kmem_cache *cache);
void *kmalloc_inside(size_t size);

// Writes a byte where it does not belong.
void plant(void *address, uint8_t value);

// Follows a pointer that was read where it should not have been. The fault that poison would cause is not taken here;
// it counts as a report, since that of the panic names it.
void follow(const void *pointer);

// Lets what waits in magazines come to its slabs, and looks at every object.
void settle(void);
