// The floor under objects, and what is held above it.
// SPDX-License-Identifier: BSD-2-Clause

#include "object_floor.h"
#include <base/string.h>
#include <mm/kmalloc.h>
#include <mm/magazine.h>

struct objects {
    uint64_t slab_bytes, large_bytes, own_bytes;
    uint64_t free_bytes, magazine_bytes, tail_bytes;
};

static struct objects baseline;
static uint64_t live_bytes[OBJECT_STACKS + 1];         // by the cache's place; the last: in no magazine
static uint64_t floor_bytes, floor_page_bytes;
static struct object_peaks peaks;

static uint64_t slab_bytes(void) { return slab_pages() * PAGE_SIZE; }
static uint64_t large_bytes(void) { return kmalloc_large_stats().pages * PAGE_SIZE; }

// Caches without magazines are those of the allocators themselves.
static void add_cache(struct kmem_cache *cache, void *context)
{
    struct objects *objects = context;
    uint64_t slab_bytes = PAGE_SIZE << cache->slab_order, stride = cache->stride_bytes;

    if (cache->flags & SLAB_NO_MAGAZINES) {
        objects->own_bytes += cache->slab_count * slab_bytes;
        return;
    }
    objects->free_bytes += (cache->slab_count * cache->objects_per_slab - cache->active_objects) * stride;
    objects->magazine_bytes += magazines_objects(cache) * stride;
    objects->tail_bytes += cache->slab_count * (slab_bytes - cache->objects_per_slab * stride);
}

static struct objects objects_now(void)
{
    struct objects objects = { .slab_bytes = slab_bytes(), .large_bytes = large_bytes() };

    kmem_cache_for_each(add_cache, &objects);
    return objects;
}

static int64_t held_now(void)
{
    return (int64_t)(slab_bytes() + large_bytes() - baseline.slab_bytes - baseline.large_bytes);
}

struct object_breakdown object_floor_now(void)
{
    struct objects now = objects_now();

    return (struct object_breakdown){
        .floor = (int64_t)floor_bytes,
        .floor_pages = (int64_t)floor_page_bytes,
        .held = held_now(),
        .in_slabs = (int64_t)(now.free_bytes - baseline.free_bytes),
        .in_magazines = (int64_t)(now.magazine_bytes - baseline.magazine_bytes),
        .tails = (int64_t)(now.tail_bytes - baseline.tail_bytes),
        .own = (int64_t)(now.own_bytes - baseline.own_bytes),
    };
}

void object_floor_begin(void)
{
    memset(live_bytes, 0, sizeof live_bytes);
    floor_bytes = floor_page_bytes = 0;
    peaks = (struct object_peaks){ 0 };
    baseline = objects_now();
}

// `bytes` may be negative in two's complement.
static void change(const struct kmem_cache *cache, uint64_t bytes)
{
    floor_bytes += bytes;
    if (cache == NULL) {
        floor_page_bytes += bytes;
        return;
    }
    uint64_t *live = &live_bytes[cache->stack_index];
    floor_page_bytes -= align_up(*live, PAGE_SIZE);
    *live += bytes;
    floor_page_bytes += align_up(*live, PAGE_SIZE);
}

static uint64_t rounded(const struct kmem_cache *cache, uint64_t bytes)
{
    return cache != NULL ? align_up((uint64_t)cache->object_bytes, (uint64_t)cache->align_bytes)
                         : PAGE_SIZE << get_order(bytes);
}

void object_floor_add(const struct kmem_cache *cache, uint64_t bytes) { change(cache, rounded(cache, bytes)); }
void object_floor_remove(const struct kmem_cache *cache, uint64_t bytes) { change(cache, -rounded(cache, bytes)); }

void object_floor_event(uint32_t done)
{
    int64_t held = held_now();

    if ((int64_t)floor_bytes > peaks.floor) {
        peaks.floor = (int64_t)floor_bytes;
        peaks.floor_event = done;
    }
    peaks.floor_pages = max_of(peaks.floor_pages, (int64_t)floor_page_bytes);
    if (held > peaks.held) {
        peaks.held = held;
        peaks.held_event = done;
        peaks.at_held = object_floor_now();
    }
}

const struct object_peaks *object_floor_peaks(void) { return &peaks; }
