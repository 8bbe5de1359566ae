// Between the files of the stress mode: who acts, what they make and hand to each other, and what is counted.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <base/compiler.h>
#include <base/random.h>
#include <mm/gfp.h>

// Where an operation runs: what it may take follows from that (lib/task/README.md).
enum stress_context { STRESS_THREAD, STRESS_ATOMIC, STRESS_BOTTOM_HALF, STRESS_INTERRUPT };

// Whoever operates, one at a time: a thread, a timer, a call, a tasklet, a work item. Its own.
struct actor {
    struct random random;
    uint64_t number;
    uint64_t operations;
    uint64_t checksum;             // of the tags that it took from the slots, in order
};

// All of them (A), relaxed.
struct stress_counts {
    uint64_t operations;
    uint64_t failed_pages, failed_objects, failed_vmalloc, failed_threads;
    uint64_t killed;
    uint64_t calls;                // functions called on another hart, in interrupts there
    uint64_t damaged;
    uint64_t digest;               // a sum over actors that have ended, so their order does not matter
};
extern struct stress_counts stress_counts;

#define STRESS_COUNT(field) ((void)__atomic_fetch_add(&stress_counts.field, 1, __ATOMIC_RELAXED))

static inline gfp_t stress_gfp(enum stress_context context)
{
    return (context == STRESS_THREAD ? GFP_KERNEL : GFP_ATOMIC) | __GFP_NOWARN;
}

// What an object may be where sleeping is forbidden: so large that filling it takes a moment, not a slice.
#define STRESS_ATOMIC_BYTES max_of(KB(32), 2 * PAGE_SIZE)

// --- stress.c

// True from the moment on that everybody is to end.
bool stress_is_stopping(void);

// Notes why the run has failed; the first reason is the one that is told.
void stress_fail(const char *format, ...) printf_like(1, 2);

// A number for an actor, and a generator drawn from the seed and that number; its part of the digest when it ends.
void actor_init(struct actor *actor, uint64_t number);
void actor_retire(const struct actor *actor);
uint64_t stress_mix(uint64_t a, uint64_t b);

static inline uint64_t draw(struct actor *actor, uint64_t bound) { return random_below(&actor->random, bound); }

// --- object.c: filled memory of every allocator

enum object_kind { OBJECT_NONE, OBJECT_PAGES, OBJECT_KMALLOC, OBJECT_CACHE, OBJECT_VMALLOC };

struct object {
    void *address;
    uint64_t bytes;                // that hold the pattern; behind the constructed head for a cache's object
    uint64_t tag;                  // where the pattern starts
    uint8_t kind, order, cache, flags;
};

// How much the slots may hold, and the caches; false without memory. The caches go, and must be empty, in the end.
bool objects_init(uint64_t budget_bytes);
void objects_finish(void);

// A filled object of a kind and size drawn by lot; false without memory (counted), or when enough is held already.
bool object_make(struct actor *actor, enum stress_context context, struct object *object);
void object_fill(struct object *object, uint64_t tag);

// Every word of the pattern, and the constructed state; a difference is told once and counted.
void object_verify(const struct object *object);
void object_free(struct object *object);

// Whether that context may verify and free it.
bool object_suits(const struct object *object, enum stress_context context);

// Another size for a kmalloc object, whose contents must come along; anything else stays as it is.
void object_resize(struct actor *actor, enum stress_context context, struct object *object);

// A handful of a cache's objects at once; and a cache that lives for a moment (threads only).
void objects_in_bulk(struct actor *actor, enum stress_context context);
void objects_of_passing_cache(struct actor *actor);

// --- pattern.c: what filled memory holds, and how damage is told

void pattern_fill(void *address, uint64_t bytes, uint64_t tag);
void pattern_verify(const char *what, const void *address, uint64_t bytes, uint64_t tag);
void pattern_verify_zero(const char *what, const void *address, uint64_t bytes);
void pattern_damage(const char *what, const void *address, uint64_t offset, uint64_t found, uint64_t expected);

// --- slots.c: the table through which the contexts hand objects to each other

void slots_init(void);
void slots_free_all(void);

// One operation, drawn by lot, in any context.
void stress_operate(struct actor *actor, enum stress_context context);

// --- threads.c, children.c, waits.c: what threads do

bool threads_start(unsigned per_hart);
void threads_stop(void);
void waits_init(void);
void wait_for_something(struct actor *actor);      // mutex, semaphore, wait queue, completion
void waits_note_event(void);                       // any context: wakes who waits for one
void child_make(struct actor *actor);              // a thread that is joined, killed or left to itself
uint64_t children_alone(void);                     // those left to themselves that have not ended

// --- rain.c: what interrupts, bottom halves and work items do

bool rain_start(void);
void rain_stop(void);
void rain_more(struct actor *actor);               // any context: posts a call, a tasklet or a work item
