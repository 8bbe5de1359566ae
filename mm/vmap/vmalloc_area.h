// Between the files of mm/vmap: the life of an area.
// SPDX-License-Identifier: BSD-2-Clause
#pragma once

#include <mm/vmalloc.h>

// A range of addresses with nothing mapped in it, not yet visible to others; NULL without memory or
// addresses. `start` is a multiple of `alignment` (a power of two, at least a granule). `guard_below` (a
// multiple of the granule below `alignment`) keeps that many bytes below it unmapped, beside the granule
// behind.
struct vmalloc_area *vmalloc_area_create(uint64_t size, uint64_t alignment, uint64_t guard_below,
                                         enum vmalloc_kind kind, const void *caller);

// Maps a part of it. As pgtable_map.
int vmalloc_area_map(struct vmalloc_area *area, uint64_t offset, paddr_t phys, uint64_t bytes, unsigned prot);

// The area is complete: makes it usable on this hart and visible to others.
void vmalloc_area_publish(struct vmalloc_area *area);

// The published area of that kind that starts there, now invisible and the caller's alone; NULL, reported in
// the name of `operation`, when there is none.
struct vmalloc_area *vmalloc_area_claim(const void *start, enum vmalloc_kind kind, const char *operation,
                                        const void *caller);

// Notes that the caller frees the area; under the lock of the areas.
void vmalloc_freed_add_locked(const struct vmalloc_area *area, const void *caller);

// Removes every mapping of the area, on all harts. When it returns nobody reaches its memory any more.
void vmalloc_area_unmap(struct vmalloc_area *area);

// Gives addresses and bookkeeping of an unmapped area back.
void vmalloc_area_release(struct vmalloc_area *area);

// vmalloc in the name of the public call (`operation`) and of who made it, of pages as gfp says: it may sleep.
void *vmalloc_for(const char *operation, size_t size, gfp_t gfp, const void *caller);

// The kind of the published area that holds the address, or VMALLOC_KIND_COUNT. Searches all areas.
enum vmalloc_kind vmalloc_kind_at(const void *address);

void vmalloc_report_misuse(const char *operation, const void *address, const char *why, const void *caller);
