// The gate before the areas of the vmalloc space: harts pass it without meeting; whoever closes it is alone.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// Making and freeing an area changes entries of page tables that nobody else uses, and a list of this hart's own: for
// that harts need not wait for each other. Two things need all of them outside: taking the lists of what was freed, on
// every hart, and taking emptied tables out of the tree, in which a hart might just be about to find an entry. So the
// lock is one that readers take on a cache line of their own and a writer takes on all. (Who fills an area that comes
// with a known entry need not even pass: what remembers the area keeps the table.)
//
//      hart                                        who closes
//      is_inside = 1                               is_closed = 1
//      fence                                       fence
//      is_closed? then out again, and wait         each hart's is_inside? then wait
//
// Of two that come at once at least one sees the other, since the fences order each one's store before its load
// (Dekker's algorithm), and it is never the writer who turns back. Nobody sleeps or waits inside, so the writer waits
// as long as one change takes.
#pragma once

#include <arch/irq.h>
#include <arch/per_hart.h>
#include <mm/vmalloc.h>
#include <sync/spinlock.h>

// A hart's own.
struct vmap_front {
    int64_t area_count, page_count;        // (A) areas made here less freed; pages that went to areas less those back
    uint32_t is_inside;                    // (A)
    struct vmalloc_area *waiting;          // freed on this hart, unmapped, but perhaps remembered by TLBs; last first
    uint64_t waiting_owned, waiting_shown; // pages that they own, or that others of them showed
    uint64_t waiting_bytes;                // of those whose addresses come and go with them, perhaps their tables, too
    struct vmalloc_area *forgotten;        // what waited here before the last flush, for this hart to give back
    uint64_t forgotten_owned;
    uint64_t forgotten_at;                 // once so many flushes are done
    struct vmalloc_area *ram_free, *ram_waiting;   // of vm_map_ram: to be used again, now and after the next flush
    uint64_t ram_waiting_count;
    uint64_t table_index;                  // which table of level 0 was looked into last: one for each pt_level_size(1)
    pte_t *table;                          // and where it is
} aligned_to(CACHE_LINE_BYTES);

extern _Thread_local struct vmap_front vmap_front;
extern struct vmap_gate { struct spinlock lock; uint32_t is_closed; } vmap_gate;     // is_closed: (A)

// The rest of entering a closed gate; through an open one it leads, too.
void vmap_gate_wait(struct vmap_front *front);

// Whether the gate is open; if not, vmap_gate_wait comes next.
static always_inline bool vmap_gate_knock(struct vmap_front **front)
{
    preempt_disable();
    lockdep_acquire_spinlock(&vmap_gate.lock);
    *front = &this_hart(vmap_front);
    store_relaxed(&(*front)->is_inside, 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return likely(!__atomic_load_n(&vmap_gate.is_closed, __ATOMIC_RELAXED));
}

// Keeps the caller on its hart. Not nested; what runs inside takes no lock but that of page tables and neither sleeps
// nor allocates.
static always_inline struct vmap_front *vmap_gate_enter(void)
{
    struct vmap_front *front;

    if (!vmap_gate_knock(&front))
        vmap_gate_wait(front);
    return front;
}

static always_inline void vmap_gate_pass_out(struct vmap_front *front)
{
    lockdep_release_spinlock(&vmap_gate.lock);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    store_relaxed(&front->is_inside, 0);
}

static always_inline void vmap_gate_leave(struct vmap_front *front)
{
    vmap_gate_pass_out(front);
    preempt_enable();
}

// The same as the last step of who returns that result.
void *vmap_gate_preempted(void *result);
static always_inline void *vmap_gate_leave_with(struct vmap_front *front, void *result)
{
    vmap_gate_pass_out(front);
    return preempt_enable_is_due() ? vmap_gate_preempted(result) : result;
}

// Returns when every other hart is outside; until vmap_gate_open nobody comes in.
void vmap_gate_close(void);
void vmap_gate_open(void);
