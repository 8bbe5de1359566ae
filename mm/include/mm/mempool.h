// Mempools: elements kept in reserve, for those who have to go on when there is no memory.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Who frees memory may need some first: the request that writes a page out, the entry that a page table needs. If he
// can fail, memory runs short for ever. The page allocator's emergency pool does not help him: it is everybody's, and
// empty when all want it. A pool is his alone, and full before it is needed.
//
//      alloc ----> 1. the underlying allocator, at once and lightly
//                  2. the reserve                      [ e e e e . . ]  at most `min_count`
//                  3. reclaim, one round
//                  4. a wait for the next free  <------ first come, first served
//      free  ----> a waiter; else the reserve, while it is not full; else the underlying allocator
//
// Step 1 comes first so that the reserve is whole when it counts: elements of it are for the time in which there are no
// others. It neither reclaims, retries, warns nor takes from the emergency pool, whatever the caller may: that would
// use up, for somebody who has a reserve, what those without one depend on.
//
// A free refills the reserve before anything goes back, since what goes back is anybody's: `min_count` elements
// belong to the pool's users together, in the reserve or in their hands.
//
// Waiting ends: whoever waits finds the reserve empty, so at least min_count elements are out, and each will be freed,
// as long as who has one needs nothing that waits for this pool: no second element of it, and no lock that somebody
// holds who waits here. (Two elements at once are two pools.) A freed element goes to who has waited longest, and
// cannot be taken from under him by one who came later, so every waiter has his turn after as many frees as there are
// before him. Memory may also come back by other ways, of which the pool hears nothing: so a waiter asks the
// underlying allocator again from time to time, and keeps his place.
//
// The idea is Linux's, where I. Molnar wrote it for the block layer (2001).
//
// What an element's state is when it is handed out, is what it was when it was freed, or as the underlying allocator
// gives it. So __GFP_ZERO cannot be promised: it is reported and ignored.
//
// Elements are freed once. A second free is found by the underlying allocator when it comes there, and by the pool when
// the element lies among the last MEMPOOL_LOOKED_AT that came into the reserve: reported and ignored.
#pragma once

#include <mm/slab.h>

// Elements of a reserve at most: their addresses are copied under a lock.
#define MEMPOOL_MAX_COUNT 1024
#define MEMPOOL_LOOKED_AT 32

struct mempool;

// The underlying allocator. `context` is the pool's. alloc gives NULL when it has none, and does what gfp says; free is
// called in the context of mempool_free. No lock is held.
typedef void *(*mempool_alloc_fn)(gfp_t gfp, void *context);
typedef void (*mempool_free_fn)(void *element, void *context);

// A pool with min_count elements in reserve, or NULL: no memory; or, reported, a function that is NULL, or a min_count
// that is 0 or above MEMPOOL_MAX_COUNT. May sleep.
must_check struct mempool *mempool_create(unsigned min_count, mempool_alloc_fn alloc, mempool_free_fn free,
                                          void *context);

// Pools of a cache's objects (NULL is reported); of kmalloc's blocks (size 0 and what kmalloc refuses are reported); of
// blocks of 2^order pages, whose elements are their struct page.
must_check struct mempool *mempool_create_slab_pool(unsigned min_count, struct kmem_cache *cache);
must_check struct mempool *mempool_create_kmalloc_pool(unsigned min_count, size_t size);
must_check struct mempool *mempool_create_page_pool(unsigned min_count, unsigned order);

// An element. Never NULL where gfp may sleep; where it may not, only when the underlying allocator has none and the
// reserve is empty. Of gfp counts whether it may sleep; the rest goes to the underlying allocator, as said above.
// A reserve is of the zone that its elements were made in: zone flags cannot be promised. Context: as gfp says.
must_check void *mempool_alloc(struct mempool *pool, gfp_t gfp);

// NULL is ignored. Any context in which the underlying allocator frees.
void mempool_free(void *element, struct mempool *pool);

// Another min_count: 0; -ENOMEM, and all is as it was; -EINVAL, reported, for one that is refused. Elements above it
// go back to the underlying allocator, now and when they are freed. Others may use the pool meanwhile, but not resize
// or destroy it. May sleep.
int mempool_resize(struct mempool *pool, unsigned min_count);

// Gives everything back. With elements still out it is reported how many, and the pool stays: -EBUSY. NULL is ignored.
// Nobody uses the pool any more. May sleep.
int mempool_destroy(struct mempool *pool);

// For tests and reports; exact while nobody uses the pool.
struct mempool_stats { unsigned min_count, reserve_count, waiter_count; uint64_t out_count; };
struct mempool_stats mempool_stats(struct mempool *pool);
