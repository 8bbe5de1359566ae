// Between the files of mm/kmem: slabs below, caches above.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/slab.h>

// Derives slab_order, objects_per_slab, map_shift and stride_reciprocal from stride_bytes. False when the
// largest block holds no object.
bool slab_lay_out(struct kmem_cache *cache);

// A slab of constructed, free objects, on no list; NULL without memory. No lock is held: constructors run
// here.
struct page *slab_create(struct kmem_cache *cache, gfp_t gfp);

// Destructs the objects of a slab that is on no list and gives the pages back. No lock is held.
void slab_destroy(struct kmem_cache *cache, struct page *slab);

// Takes a free object of a slab that has one; gives an object in use back. The slab's cache is locked, or the
// slab is on no list yet. Neither moves the slab between lists.
void *slab_take(struct kmem_cache *cache, struct page *slab);
void slab_put(struct kmem_cache *cache, struct page *slab, unsigned index);

// What a pointer is to a cache.
enum slab_verdict {
    SLAB_IN_USE,           // the start of an object in use: it may be freed
    SLAB_NOT_DIRECT,       // a stack, the image, vmalloc or user memory
    SLAB_NO_SLAB,
    SLAB_OTHER_CACHE,
    SLAB_INTERIOR,         // not the start of an object
    SLAB_FREE,             // free already
};

// The caller holds the cache's lock. When the verdict is SLAB_IN_USE, *slab and *index name the object.
enum slab_verdict slab_examine(const struct kmem_cache *cache, const void *object, struct page **slab,
                               unsigned *index);

// The same, taking the lock: true for as long as nobody frees the object.
enum slab_verdict slab_verdict_of(struct kmem_cache *cache, const void *object);

// Frees an object or reports why not, in the name of the public call (`operation`) and of who made it.
void slab_free(const char *operation, struct kmem_cache *cache, const void *object, const void *caller);

// Reports and counts a pointer that was refused by a cache; one that no kmalloc cache takes; a call refused
// for another reason. No lock is held.
void slab_report_misuse(const char *operation, const struct kmem_cache *cache, const void *object,
                        enum slab_verdict verdict, const void *caller);
void slab_report_stranger(const char *operation, const void *object, const void *caller);
void slab_report_bad_call(const char *operation, const char *name, const char *why);
