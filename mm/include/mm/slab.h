// Slab caches: objects of one type, kept constructed. (Bonwick: "The Slab Allocator", USENIX Summer 1994.)
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// A cache holds slabs; a slab is a block of pages cut into objects of one size. What is free is a bitmap
// outside the objects, so that a freed object keeps the state its constructor gave it, and nothing in freed
// memory is trusted. With at most 64 objects the bitmap is the `map` of the slab's struct page; larger slabs
// keep the words at their end, and a bit of `map` says whether the word behind it (at the smallest sizes: the
// two words) has a bit set. So finding a free object is two searches for the lowest bit, at any size.
//
//      struct page (head): cache, objects in use, map        one slab of 2^order pages
//      +------+------+------+-- -- --+------+--------------+------------------+
//      | obj0 | obj1 | obj2 |        | objN | left over    | free bitmap      |
//      +------+------+------+-- -- --+------+--------------+------------------+
//                                                            only if N > 64
//
// A slab is the smallest block that wastes at most 1/16 of itself, looked for up to 32 KB or 8 objects,
// whichever is more; if there is none, the block among these that wastes the smallest part.
//
// The constructor runs on every object when its slab is made, the destructor when the slab goes back; neither
// runs between. The destructor runs in the context of whoever freed the last object or ran short of memory.
// Partial slabs are used before empty ones; one empty slab is kept per cache, the rest go back at once, that
// one too when memory is short.
//
// What a slab has left over moves its objects: in neighbouring slabs they start on different cache lines, as many as
// fit (colouring), so that the first fields of all objects do not meet in a few sets of the cache. The colour is the
// slab's own number, so nothing stores it.
//
// In front of the slabs every hart keeps magazines of objects (<mm/magazine.h>), so that a slab is seldom gone to. A
// cache may do without (SLAB_NO_MAGAZINES), and all may (objects=none).
//
// Every free is checked in every build: the pointer must lie in a slab of this cache, and its object must not be free.
// A second free, a foreign or stale pointer and a wrong cache are reported with cache, address and what was found,
// counted in slab_misuse_count(), and ignored. The middle of an object is found out when it comes to its slab, and at
// once without magazines or where the cache looks at each free (slab_check=cheap, kmem_cache_check_frees): that is one
// multiplication (slab_lay_out).
//
// The older literature's "offset" argument is today's alignment.
#pragma once

#include <base/list.h>
#include <mm/gfp.h>
#include <mm/page.h>
#include <sync/spinlock.h>

#define SLAB_NAME_BYTES 32
#define SLAB_MAX_ALIGN PAGE_SIZE

enum slab_flags {
    SLAB_DMA = 1 << 0,              // slabs come from the DMA zone
    SLAB_HWCACHE_ALIGN = 1 << 1,    // objects start on cache lines (smaller ones on a power of two)
    SLAB_PANIC = 1 << 2,            // failing to create the cache is fatal
    SLAB_RECLAIM_ACCOUNT = 1 << 3,  // slabs are of reclaimable kind
    SLAB_KMALLOC = 1 << 4,          // kfree takes its objects: for kmalloc's own caches
    SLAB_NO_MAGAZINES = 1 << 5,     // objects come from and go to the slabs at once
    SLAB_CONSISTENCY = 1 << 6,      // these five look for errors (<mm/slab_debug.h>)
    SLAB_RED_ZONE = 1 << 7,
    SLAB_POISON = 1 << 8,
    SLAB_STORE_USER = 1 << 9,
    SLAB_GUARD = 1 << 10,
    SLAB_KEEPS_CONTENTS = 1 << 11,  // what a freed object held may still be read: nothing clears or poisons it
    SLAB_FLAGS_ALL = (1 << 12) - 1,
};
#define SLAB_RECORD_FLAGS ((uint32_t)(SLAB_CONSISTENCY | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER))
#define SLAB_DEBUG_FLAGS (SLAB_RECORD_FLAGS | (uint32_t)SLAB_GUARD)

// (L) the cache's lock, (C) constant, (A) atomic
struct kmem_cache {
    int32_t stack_offset;                  // (C) of its struct hart_stack (<mm/magazine.h>) in a hart's block
    uint32_t stack_index;                  // (C) OBJECT_STACKS where there is none
    void *(*alloc)(struct kmem_cache *cache, gfp_t gfp);           // (C) the front: plain requests
    void (*free)(struct kmem_cache *cache, void *object);          // (C)
    struct spinlock lock;
    char name[SLAB_NAME_BYTES];            // (C)
    uint32_t object_bytes;                 // (C) as asked for
    uint32_t stride_bytes;                 // (C) from one object to the next
    uint32_t align_bytes;                  // (C)
    uint32_t flags;                        // (C) SLAB_
    uint32_t slab_order;                   // (C)
    uint32_t objects_per_slab;             // (C) 0 when the cache was destroyed
    uint32_t first_offset;                 // (C) of the first object in its slab
    uint32_t map_shift;                    // (C) a bit of a slab's map stands for 2^map_shift objects
    uint32_t colour_mask, colour_shift;    // (C) a slab's objects start (its address >> shift & mask) bytes further on
    uint32_t record_offset;                // (C) from an object to what is recorded of it; 0: nothing is
    uint64_t stride_reciprocal;            // (C) turns the division by the stride into a multiplication
    uint64_t slab_mask;                    // (C) of an address: where in its slab it lies
    uint64_t start_factor, start_limit;    // (C) tell whether an object starts there (slab_lay_out)
    bool checks_frees;                     // (A) each free looks at once whether an object starts there
    void (*constructor)(void *object);     // (C) may be NULL
    void (*destructor)(void *object);      // (C) may be NULL
    uint32_t partial, full, empty;         // (L) pfn of the first slab of each list, 0 if none
    uint32_t leaving;                      // (A) slabs off the lists whose pages are not free yet
    uint64_t slab_count, empty_count;      // (L) on the lists
    uint64_t active_objects;               // (L)
    uint64_t alloc_count, free_count;      // (L)
    uint64_t failed_count, grown_count;    // (L) requests; slabs that were made
    uint64_t asked_count, asked_bytes;     // (A) of requests that came this far, as many as magazines let through
    struct depot {
        struct spinlock lock;
        struct magazine *full, *empty;     // (D) the depot's lock
        uint32_t full_count, full_least;   // (D) now, and at the least since the last trim
        uint32_t meetings;                 // (A) harts that found the lock held, since then
        uint64_t visits;                   // (D) exchanges of magazines, and looks in vain
        uint32_t size;                     // (A) of new magazines
        uint64_t taken, left;              // (D) full magazines that harts took and left
        uint64_t remote;                   // (D) objects of those taken that another hart had left
    } depot;
    uint64_t swaps_before;                 // (C) of other caches at its place among the magazines
    struct list all;                       // cache_list_lock
};

// Makes the allocator usable; zones_init has run. `checks_frees` (slab_check=cheap): all caches look at each free at
// once whether an object starts there.
void slab_init(bool checks_frees);

// A new cache, or NULL: no memory, or a bad argument, which is reported: name NULL, empty, too long or taken;
// size 0 or above the largest block; align neither 0 nor a power of two up to SLAB_MAX_ALIGN; unknown flags.
// Align 0 means 8. Constructor and destructor are called without any lock held and may allocate from other
// caches; a destructor may not sleep. May sleep.
must_check struct kmem_cache *kmem_cache_create(const char *name, size_t size, size_t align, unsigned flags,
                                                void (*constructor)(void *), void (*destructor)(void *));

// Frees the cache and its slabs. Objects still in use are reported (how many, the first few addresses), and
// the cache stays: returns -EBUSY. What is no cache (or none any more) is reported: -EINVAL. NULL is ignored.
// May sleep; nobody else uses the cache any more.
int kmem_cache_destroy(struct kmem_cache *cache);

// An object in constructed state (undefined contents without a constructor), or NULL. __GFP_ZERO is only for
// caches without a constructor (reported and ignored otherwise); the zone is the cache's affair, whatever gfp
// says. Context: as the gfp flags say.
must_check void *kmem_cache_alloc_any(struct kmem_cache *cache, gfp_t gfp);
must_check void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp);

static always_inline must_check void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
    return GFP_IS_PLAIN(gfp) ? cache->alloc(cache, gfp) : kmem_cache_alloc_any(cache, gfp);
}

// NULL is ignored; any context.
static always_inline void kmem_cache_free(struct kmem_cache *cache, void *object)
{
    cache->free(cache, object);
}

// `count` objects or none: returns count or 0. Frees take any mix of objects of the cache.
must_check size_t kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t count, void **objects);
void kmem_cache_free_bulk(struct kmem_cache *cache, size_t count, void **objects);

// From now on each free into the cache looks whether an object starts there, or does not: one cache can be watched and
// the others be fast. kfree looks for kmalloc's caches, but perhaps not at objects of a slab that another hart is just
// making. Without magazines every free is looked at anyway. Goes over all slabs with interrupts masked: not for every
// day. Any context.
void kmem_cache_check_frees(struct kmem_cache *cache, bool is_on);

// Gives empty slabs back; returns pages freed. kmem_cache_reap does it for all caches in turn until that many
// pages are free, and kmem_cache_empty_pages says how many there are: the two are the shrinker. Any context but
// interrupt.
uint64_t kmem_cache_shrink(struct kmem_cache *cache);
uint64_t kmem_cache_reap(uint64_t pages_wanted);
uint64_t kmem_cache_empty_pages(void);

// Gives back what magazines of all caches did not need since the last call. For whoever has nothing else to do; may not
// sleep.
void kmem_cache_trim_all(void);

// The one place where slabs' pages come from and go to, and how many there are. slab_pages: any context.
struct page *kmem_getpages(struct kmem_cache *cache, gfp_t gfp);
void kmem_freepages(struct kmem_cache *cache, struct page *slab);
uint64_t slab_pages(void);

// Objects that somebody has: neither in a slab nor in a magazine; exact while nobody allocates.
uint64_t kmem_cache_live_objects(const struct kmem_cache *cache);

// What the lowest bits of the owner in a slab's pages say: kfree takes the objects, as they come or after a look.
#define SLAB_OWNER_KFREE 1UL
#define SLAB_OWNER_KFREE_CHECKED 2UL
#define SLAB_OWNER_BITS 3UL

// The cache of a slab's page.
static always_inline struct kmem_cache *slab_cache(const struct page *slab)
{
    return (struct kmem_cache *)((uintptr_t)slab->owner & ~SLAB_OWNER_BITS);
}

// The slab's head, or NULL when the pointer lies in no slab.
struct page *virt_to_slab(const void *object);

// The slab's index'th object.
void *slab_object_at(const struct kmem_cache *cache, const struct page *slab, unsigned index);

// The object's index in its slab, or -1 when the pointer is not the start of an object.
int slab_object_index(const struct kmem_cache *cache, const struct page *slab, const void *object);

// Whether that object is free; index below objects_per_slab. Caller holds the cache's lock.
bool slab_object_is_free(const struct kmem_cache *cache, const struct page *slab, unsigned index);

// True when the slab's fields agree with its bitmap and with the cache; else *why says. Caller holds the
// cache's lock.
bool slab_is_consistent(const struct kmem_cache *cache, const struct page *slab, const char **why);

// Refused calls of slab and kmalloc since boot, each of which was reported.
uint64_t slab_misuse_count(void);

// Walks all caches in order of creation under the list's lock; the callback must not allocate, nor create or
// destroy caches.
void kmem_cache_for_each(void (*visit)(struct kmem_cache *cache, void *context), void *context);
