// The model beside the object layer: which bytes are handed out, in what state they are, and what must be true.
// SPDX-License-Identifier: BSD-2-Clause
//
// The model has two bits for every 8 bytes of RAM: whether somebody has them, and whether a constructed object starts
// there. It knows nothing of slabs, so that objects of two caches, of a cache and of kmalloc, or of a slab that went
// back too early cannot overlap unseen. Each object held has a tag that its words tell until it is freed.
//
// In a cache with a constructor every word of an object tells its own address. It does when the object is handed out,
// when it is given back, and when it is destructed, which nobody's object is, and none twice.
//
// The sources of objects are the slots of caches, which come and go, and kmalloc. A check that fails prints what it
// found and ends the program.
#pragma once

#include "model_machine.h"
#include "model_walk.h"

#include <mm/kmalloc.h>
#include <mm/slab.h>

#define CONSTRUCTED_SLOTS 8        // the first ones: their caches have constructors, or destructors, or both
#define CACHE_SLOTS 24
#define KMALLOC_SOURCE CACHE_SLOTS
#define SOURCES (CACHE_SLOTS + 1)
#define NESTED_SLOT 0              // its constructor allocates, its destructor frees
#define NESTED_BYTES 40

enum construction { NOT_CONSTRUCTED, CONSTRUCTED, CONSTRUCTED_ONLY, DESTRUCTED_ONLY };

struct held_object {
    char *address;
    uint64_t tag;
    uint32_t bytes;                // as asked for
    uint8_t class;                 // of kmalloc; KMALLOC_CLASSES: a block of 2^order pages
    uint8_t order;
    bool is_dma;
    bool is_zeroed;                // of kmalloc: each of its requests had __GFP_ZERO
};

struct object_source {
    struct kmem_cache *cache;      // NULL: none in this slot now
    uint32_t bytes, align_bytes;
    enum construction construction;
    uint64_t constructed, destructed;      // (A) calls

    // The objects held, oldest first: a ring that grows.
    struct held_object *ring;
    uint64_t first, count, mask;
};

struct object_model {
    struct model_ram piece[MODEL_PIECES];
    uint64_t *is_held, *is_constructed;    // (A) the second: a bit for each 8 bytes of RAM
    struct object_source source[SOURCES];
    uint64_t held_of_class[2][KMALLOC_CLASSES];
    uint64_t nested;                       // (A) objects that a constructor allocated
    struct kmalloc_large_stats large;
    uint64_t next_tag;
    uint64_t free_pages;                   // at the start
};

// One for the program: constructors have no argument for it.
extern struct object_model object_model;

// RAM is as told; nothing but the model allocates from now on.
void object_model_start(void);

// The functions for a cache in that slot; NULL where there is none.
void (*object_model_constructor(unsigned slot))(void *);
void (*object_model_destructor(unsigned slot))(void *);

// An object was handed out: it must be new, aligned, in RAM of the zone, and zero or constructed as its source says.
// `held` says what was asked for; its tag is given and written here.
void object_model_take(struct object_source *source, struct held_object held, bool is_zero);

// Before it is freed: the object still says what was written to it, and is as constructed again. Takes it out of the
// ring and returns it.
struct held_object object_model_drop(struct object_source *source, uint64_t place);

// krealloc gave `address` for the object that object_model_drop returned.
void object_model_moved(const struct held_object *before, struct held_object after);

// A request was refused: the cache must have had no object, and for who may wait the zones no page.
void object_model_refused(const struct kmem_cache *cache, gfp_t gfp, bool is_dma);

// The counts of all caches against the model; and everything, validators and ledger included.
void object_model_check_counts(void);
void object_model_check_all(void);
