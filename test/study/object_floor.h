// What objects hold beside the floor that their sizes set, during a replay of objects alone.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
//     floor         every live object at the size it is rounded to, nothing else: a kmalloc at the bytes of its class,
//                   above the largest class at whole pages, a power of two of them; an object of a cache at its size
//                   rounded up to the cache's alignment
//     floor_pages   the floor where no page holds objects of two classes: class by class in whole pages
//     held          pages of all slabs and of large kmallocs, which is all that is taken from the page allocator on
//                   account of objects
//
// All grow from the baseline, and what lies between is put down to
//
//     held = floor + in_slabs + in_magazines + tails + own
//
//     in_slabs      free objects of partial and of empty slabs
//     in_magazines  free objects that wait on a hart or in a depot
//     tails         what is left over in slabs behind the last object, bitmaps included
//     own           slabs of what the allocators need for themselves: magazines
//
// Nothing is drained to count, so that magazines are as full as they would be. One hart at a time.
#pragma once

#include <mm/slab.h>

struct object_breakdown {
    int64_t floor, floor_pages, held;                  // bytes, all of them
    int64_t in_slabs, in_magazines, tails, own;
};

struct object_peaks {
    int64_t floor, floor_pages, held;                  // the highest, each at a time of its own
    uint64_t floor_event, held_event;                  // operations carried out when they were that first
    struct object_breakdown at_held;
};

// The baseline is now.
void object_floor_begin(void);

// An object came to life or ended: of a cache, or (NULL) a block of pages of that many bytes.
void object_floor_add(const struct kmem_cache *cache, uint64_t bytes);
void object_floor_remove(const struct kmem_cache *cache, uint64_t bytes);

// After each event, of which `done` were before; what is now; the peaks so far.
void object_floor_event(uint32_t done);
struct object_breakdown object_floor_now(void);
const struct object_peaks *object_floor_peaks(void);
