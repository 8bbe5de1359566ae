// vmem: ranges out of an arena of integers. (Bonwick and Adams: "Magazines and Vmem", USENIX 2001.)
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// The arena is a list of segments in address order, each free or allocated: the boundary tags of the paper,
// kept beside the space they describe, since nobody can write into addresses that are not mapped. Free
// segments hang on lists by power of two of their size; an allocation takes the first segment of a list whose
// members are all large enough (instant fit: constant time), and only if there is none searches the lists
// below it whose members may be. An arena may ask for the best fit instead: of the first list that has a segment large
// enough, the smallest such, which costs a search and keeps large ones whole. Allocated segments are found by their
// start in a hash table. A freed segment merges with free neighbours at once.
//
//      list k: segments of 2^k .. 2^(k+1) - 1       need = size + what alignment may cost
//
//      ... [fits perhaps: searched last] | [k = log2(need), rounded up: all fit] [k + 1] ...
//
// An allocation splits one segment into at most three, so two spare ones are put by before the lock is taken
// for it. Freed ones become spares again.
//
// The paper's quantum caches, which keep ranges of the commonest sizes per processor, are object caches here too, but
// of what the ranges are for: an object keeps its range while it is free, so one step takes both
// (mm/vmap/area_cache.c).
//
// Context: any, as gfp says; a lock of its own.
#pragma once

#include <base/list.h>
#include <mm/gfp.h>
#include <sync/spinlock.h>

#define VMEM_SIZE_LISTS 64

enum vmem_fit { VMEM_INSTANT_FIT, VMEM_BEST_FIT };

struct vmem_segment {
    uint64_t start, size;
    bool is_free;
    struct list in_order;          // all segments by address
    union {
        struct list in_list;                       // free list by size, or spares
        struct vmem_segment *next_in_bucket;       // when allocated
    };
};

struct vmem {
    struct spinlock lock;
    const char *name;                              // (C)
    uint64_t base, size, quantum;                  // (C)
    unsigned quantum_shift;                        // (C)
    enum vmem_fit fit;                             // (C) instant, unless who made the arena says otherwise at once
    uint64_t bucket_mask;                          // (C)
    struct vmem_segment **bucket;                  // (L) of allocated segments, by start
    uint64_t free_bytes;                           // (L)
    uint64_t segment_count;                        // (L)
    struct list segments;                          // (L)
    struct list free_list[VMEM_SIZE_LISTS];        // (L) [k] holds sizes 2^k .. 2^(k+1) - 1
    uint64_t free_lists_used;                      // (L) bit k: free_list[k] is not empty
    struct list spare;                             // (L) segments that stand for nothing
    unsigned spare_count;                          // (L)
};

// Base and size are multiples of quantum (a power of two), size is not 0, and base + size may be 2^64 at
// most. -ENOMEM when its bookkeeping cannot be had.
int vmem_init(struct vmem *arena, const char *name, uint64_t base, uint64_t size, uint64_t quantum);

// Gives the bookkeeping back. 0, or -EBUSY (and the arena stays) while ranges are allocated.
int vmem_destroy(struct vmem *arena);

// A range of that size (rounded up to the quantum) that starts at a multiple of `alignment` plus `phase`.
// Alignment is a power of two, at least the quantum is used; phase is a multiple of the quantum below the
// alignment. 0; -ENOSPC when no range fits; -ENOMEM when bookkeeping cannot be had; -EINVAL for size 0, a
// size that wraps, an alignment that is no power of two, or a bad phase.
int vmem_alloc(struct vmem *arena, uint64_t size, uint64_t alignment, uint64_t phase, gfp_t gfp,
               uint64_t *start);

// Gives back a range by its start; returns its size, or 0 when no range starts there (the caller reports).
uint64_t vmem_free(struct vmem *arena, uint64_t start);

// The size of the allocated range that starts there, or 0.
uint64_t vmem_lookup(struct vmem *arena, uint64_t start);

// True when the segments tile the arena, no two free ones touch, and lists, hash and counters agree; else
// *why says.
bool vmem_is_consistent(struct vmem *arena, const char **why);
