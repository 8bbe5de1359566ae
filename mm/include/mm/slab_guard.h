// Objects in pages of their own, so that the access itself that goes wrong is caught.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// With the flag G of slab_debug= every n-th object of a cache comes from a small pool instead of a slab (the idea is
// that of KFENCE, Linux 5.12: sampled, it costs next to nothing, and finds in many machines what a test finds in one).
//
//     | guard | page of slot 0 | guard | page of slot 1 | guard | ... | guard |
//                      object->|       |<-object
//
// Guards are never mapped, a page only while an object in it is in use. Objects lie by turns at the end of their page,
// where reading or writing past it faults, and at its start, where reading or writing below it does. What is left of
// the page is filled with a pattern that is looked at when the object is freed: it finds what the alignment hides. A
// freed object's page goes out of sight on all harts; the slot that was freed first is the next to be used, so a late
// use is found for as long as can be.
//
// A fault there is reported (what kind of access, which object, how far off, who allocated and freed it) and counted in
// slab_misuse_count(); then the page is shown, for the access to go on: in the guard's place one that all guards share.
//
// Such an object has no address in the direct map: virt_to_phys knows nothing of it. Caches for DMA have none.
//
// Where the pages and their addresses come from is the business of mm/vmap, which registers them.
#pragma once

#include <mm/slab.h>

#define SLAB_GUARD_SLOTS 64
#define SLAB_GUARD_INTERVAL_MAX 1000000

// The window: 2 * SLAB_GUARD_SLOTS + 1 pages of addresses, of which the odd ones are the slots'. show and hide work in
// any context; when hide returns no hart reaches the page.
#define SLAB_GUARD_PAGES (2 * SLAB_GUARD_SLOTS + 1)
struct slab_guard_memory {
    char *base;
    void (*show)(unsigned page);
    void (*hide)(unsigned page);
};
void slab_guard_register(const struct slab_guard_memory *memory);

// Every so many objects of a cache with SLAB_GUARD one is guarded; 0: there are no such caches.
void slab_guard_set_interval(uint64_t interval);
uint64_t slab_guard_interval(void);

// An object for `size` bytes when it is its turn and a slot is free; else NULL. Any context.
void *slab_guard_alloc(struct kmem_cache *cache, size_t size, const void *caller);

// Whether an address lies in the window, and what was asked for the object that starts there (0: none does).
bool slab_guard_holds(const void *address);
size_t slab_guard_size(const void *object);

// krealloc made the object smaller.
void slab_guard_shrink(const void *object, size_t size);

// Frees such an object or reports why not; `cache` NULL: any of kmalloc's.
void slab_guard_free(const char *operation, struct kmem_cache *cache, const void *object, const void *caller);

// Objects of a cache that are in use here.
uint64_t slab_guard_live(const struct kmem_cache *cache);

// For whoever gets faults: reports one in the window and lets it go on; false when it lies elsewhere. Any context.
bool slab_guard_fault(const void *address, const char *access);

// Whether a page of the window is mapped now: for the validators.
bool slab_guard_shows(const void *address);
