// Between the files of mm/kmem: slabs below, caches above.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <arch/smp.h>
#include <arch/time.h>
#include <debug/panic.h>
#include <debug/symbols.h>
#include <mm/slab.h>
#include <mm/slab_debug.h>
#include <mm/slab_guard.h>

// Derives slab_order, objects_per_slab, map_shift and what divides by the stride from stride_bytes. False when the
// largest block holds no object.
bool slab_lay_out(struct kmem_cache *cache);

// Who used an object, and from where: the caller first.
#define SLAB_USER_FRAMES 8
struct slab_user {
    uint64_t when;                 // arch_time()
    uint32_t hart, depth;          // depth 0: nobody yet
    uintptr_t frame[SLAB_USER_FRAMES];
};
void slab_user_note(struct slab_user *user, const void *caller);
void slab_user_print(const struct slab_user *user, const char *did, void (*print)(const char *format, ...));

// What fills memory that nobody has written yet.
#define SLAB_POISON_NEW 0x5a

// What slab_debug= says of a cache: SLAB_ flags. And the life of an object in a cache with such flags: lays out
// (returns the stride), constructed with its slab, given out for `size` bytes, given back, gone with its slab. No lock
// is held.
uint32_t slab_debug_flags(const char *cache_name);
size_t slab_debug_lay_out(struct kmem_cache *cache, size_t align);
void slab_debug_construct(struct kmem_cache *cache, void *object);
void slab_debug_alloc(struct kmem_cache *cache, void *object, size_t size, const void *caller);
void slab_debug_free(struct kmem_cache *cache, void *object, const void *caller);
void slab_debug_leave(struct kmem_cache *cache, void *object);

// The bytes that an object in use was asked for, and its new ones.
size_t slab_debug_requested(const struct kmem_cache *cache, const void *object);
void slab_debug_resize(const struct kmem_cache *cache, void *object, size_t size);

uint64_t *slab_debug_mark(const struct kmem_cache *cache, const void *object);

static always_inline bool has_magazines(const struct kmem_cache *cache)
{
    return (cache->flags & SLAB_NO_MAGAZINES) == 0;
}

// Whether something is recorded around each object (slab_debug.c).
static always_inline bool is_debugged(const struct kmem_cache *cache) { return cache->record_offset != 0; }

// Whether a free object is marked, wherever it is.
static always_inline bool has_marks(const struct kmem_cache *cache)
{
    return has_magazines(cache) || is_debugged(cache);
}

// What says that an object is free, and where: in its first word, or before it where that is constructed, or in what is
// recorded of it. The address of its own struct page: nobody else stores that there, and who looks for it has it at
// hand.
static always_inline uint64_t object_tag(const void *object) { return (uintptr_t)virt_to_page(object); }

static always_inline uint64_t *object_mark(const struct kmem_cache *cache, const void *object)
{
    return unlikely(is_debugged(cache)) ? slab_debug_mark(cache, object)
                                        : (uint64_t *)(uintptr_t)object - (cache->constructor != NULL);
}

// How far a slab's objects are moved for the sake of its colour, from any address in it.
static always_inline uint64_t slab_colour(const struct kmem_cache *cache, const void *address)
{
    return (uintptr_t)address >> cache->colour_shift & cache->colour_mask;
}

// A slab of constructed, free objects, on no list; NULL without memory. No lock is held: constructors run
// here.
struct page *slab_create(struct kmem_cache *cache, gfp_t gfp);

// Writes into the slab's pages whose they are, and whether kfree takes their objects.
void slab_set_owner(const struct kmem_cache *cache, struct page *slab);

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

// Up to `count` objects of slabs that there are, their marks on; returns how many. And back, all of them; `may_leave`:
// slabs that become empty may go back to the page allocator, their destructors run. Both for magazines.
unsigned slab_take_some(struct kmem_cache *cache, unsigned count, void **objects);
void slab_give(struct kmem_cache *cache, unsigned count, void **objects, bool may_leave);

// Takes empty slabs off a cache's list until they are that many pages, or all, and puts them in front of *leaving;
// returns the pages. And gives slabs that were taken off back, which may be of several caches; returns their pages. No
// lock is held.
uint64_t slab_detach_empty(struct kmem_cache *cache, uint64_t pages_wanted, struct page **leaving);
uint64_t slab_destroy_leaving(struct page *leaving);

// Before a cache grows: where all slabs would be more than lately, free objects of magazines go to their slabs, and, if
// the caller is not in_atomic, empty slabs to the page allocator. True: that happened, and the caller looks once more;
// never so where interrupts are masked or served. No lock of a cache is held. The other: slabs were given back, and
// what is now is the measure.
bool slab_recall(void);
uint64_t slab_reap_empty(uint64_t pages_wanted);
void slab_growth_trim(void);

// The fronts: magazines, for plain and for constructed objects, those that look whether an object starts there, and
// none. Where the magazines' free finds something wrong or no room it goes on in slab_free.
void *magazine_alloc(struct kmem_cache *cache, gfp_t gfp);
void magazine_free(struct kmem_cache *cache, void *object);
void *magazine_alloc_constructed(struct kmem_cache *cache, gfp_t gfp);
void magazine_free_constructed(struct kmem_cache *cache, void *object);
void magazine_free_checked(struct kmem_cache *cache, void *object);
void magazine_free_constructed_checked(struct kmem_cache *cache, void *object);
void slab_free_direct(struct kmem_cache *cache, void *object);

// Chooses among those that free, by the cache's flags and constructor. The cache is locked or nobody's yet.
void object_set_free(struct kmem_cache *cache, bool checks_frees);

// kmem_cache_create with a place of its own among the magazines' stacks.
struct kmem_cache *kmem_cache_create_at(unsigned place, const char *name, size_t size, size_t align, unsigned flags,
                                        void (*constructor)(void *), void (*destructor)(void *));

// The rest of a bulk call, of which `done` are done; objects go one by one.
size_t kmem_cache_alloc_rest(struct kmem_cache *cache, gfp_t gfp, size_t done, size_t count, void **objects);
void kmem_cache_free_rest(struct kmem_cache *cache, size_t done, size_t count, void **objects);

// Objects of a bulk call with interrupts masked.
#define BULK_AT_ONCE 64

// Puts an object that bears its mark where there is room: on this hart or in its slab. `owner`: as its page says.
void slab_free_marked(void *object, uintptr_t owner);

// Of the loaded magazine, as many as it has, or has room for, until one is no object in use; returns how many.
size_t magazines_pop_some(struct kmem_cache *cache, size_t count, void **objects);
size_t magazines_push_some(struct kmem_cache *cache, size_t count, void **objects);

// An object for `size` bytes of it, in the name of who asked.
void *slab_alloc(struct kmem_cache *cache, gfp_t gfp, size_t size, const void *caller);

// Frees an object or reports why not, in the name of the public call (`operation`) and of who made it.
void slab_free(const char *operation, struct kmem_cache *cache, const void *object, const void *caller);

// Reports and counts a pointer that was refused by a cache; one that no kmalloc cache takes; a call refused
// for another reason. No lock is held.
void slab_report_misuse(const char *operation, const struct kmem_cache *cache, const void *object,
                        enum slab_verdict verdict, const void *caller);
void slab_report_stranger(const char *operation, const void *object, const void *caller);
void slab_report_bad_call(const char *operation, const char *name, const char *why);
void slab_count_misuse(void);
