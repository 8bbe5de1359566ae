// Magazines: what makes an object cost a few instructions and no lock, on the hart that frees it as on another.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory (Bonwick and Adams: "Magazines and Vmem", USENIX 2001, section 3)
//
//     hart: stack --> loaded magazine   [ NULL | object | object | ... | top ]      pop and push: <arch/hart_stack.h>
//                     previous magazine  full or empty
//     depot of the cache:                full magazines <--> empty magazines        its lock
//     slabs:                             bitmaps of what is free                    the cache's lock
//
// A hart pops from and pushes on its loaded magazine. When that is empty, or full, the previous one takes its place if
// it is the contrary; else a magazine is exchanged with the depot; else a batch of objects comes from or goes to the
// slabs. So a hart goes to the depot at most once in as many operations as a magazine has rounds, however they
// alternate.
//
// Magazines start small. When harts meet often, at the depot's lock or by magazines that one leaves and another takes,
// new magazines of the cache are the next size larger, and smaller ones go when they are empty; when an interval
// between two trims had no such meeting, the next size smaller. When a bulk call asks for more objects than one has
// rounds, they are as large as that.
//
// Before slabs become more than they lately were, what waits in small magazines, or unused in larger ones, is recalled
// (mm/kmem/slab_growth.c), so that it does not make the peak higher.
//
// The depot notes how few full magazines it had in an interval: those were not needed, and magazines_trim, called now
// and then, gives them to the slabs. All of it goes when the page lists are drained (<mm/page_lists.h>), of which this
// is a part: on request, under pressure, and while they are blocked there is no magazine at all.
//
// Every free object carries a mark, wherever it waits: in its first word, or, where a constructor's state is kept, in
// the word before it. A free that finds the mark is a second one; popping an object takes the mark off.
//
// objects=none, or SLAB_NO_MAGAZINES for a cache: its objects go straight to the slabs. What stands here is the seam
// for other fronts: struct kmem_cache's alloc and free, and the functions below.
#pragma once

#include <arch/hart_stack.h>
#include <mm/slab.h>

#define OBJECT_STACKS 256

// The stacks of all caches; those of kmalloc's classes come first, so that their places are constants.
extern _Thread_local struct hart_stack object_stacks[OBJECT_STACKS];

// Start-up: this hart's stacks are empty and full at once, so that every call goes the slow way. `enabled` false:
// for ever.
void magazines_init_hart(void);        // each hart but the first
void magazines_init(bool enabled);     // the first, after slab_init

// The offset of a place's stack in a hart's block.
int32_t magazines_offset(unsigned place);

// A place for a cache's stacks, `place` or a later one, and back; -ENOMEM when all are taken. The list of caches is
// locked.
int magazines_open(struct kmem_cache *cache, unsigned place);
void magazines_close(struct kmem_cache *cache);

// Where the stack is empty, or full: an object from behind, or NULL; and whether the object found room.
void *magazines_refill(struct kmem_cache *cache);
bool magazines_relieve(struct kmem_cache *cache, void *object);

// The cache whose stack is at that offset in a hart's block.
struct kmem_cache *magazines_cache_at(int64_t offset);

// A bulk call of so many objects is made: new magazines have room for them.
void magazines_expect(struct kmem_cache *cache, size_t count);

// Objects in this hart's loaded magazine. Interrupts are masked.
size_t magazines_loaded(const struct kmem_cache *cache);

// Pages' worth of objects in the depot.
uint64_t magazines_depot_pages(const struct kmem_cache *cache);

// True when nobody is draining: who finds that after magazines_close knows that the cache is not looked at any more.
bool magazines_are_drained(void);

// Gives the objects of this hart's magazines and of all depots to the slabs. Any context.
void magazines_drain_hart(void);

// Gives what was not needed since the last call to the slabs, which stay; returns objects. Any context.
uint64_t magazines_trim(struct kmem_cache *cache);
void magazines_trim_depots(void);      // of all caches

// Whether any hart or the depot has a magazine of the cache, empty ones included. Nobody uses the cache meanwhile.
bool magazines_are_held(const struct kmem_cache *cache);

// How often a hart's previous magazine of the cache was of use again.
uint64_t magazines_swaps(const struct kmem_cache *cache);

// Objects that wait in magazines; exact while nobody allocates.
uint64_t magazines_objects(const struct kmem_cache *cache);
