// Memory accounting of a replay.
// SPDX-License-Identifier: BSD-2-Clause

#include "account.h"
#include "page_bound.h"
#include <ktest/free_pages.h>
#include <mm/granule.h>
#include <mm/kmalloc.h>
#include <mm/page_engine.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>

struct memory {
    uint64_t free_bytes;
    uint64_t slab_bytes, slab_object_bytes;        // of all slabs; of the objects in use in them
    uint64_t area_bytes;
    uint64_t large_rounding_bytes;                 // of kmallocs beyond the slab classes
    uint64_t table_bytes;
};

static struct memory baseline;
static uint32_t event_total;
static struct { uint64_t count, bytes; } live[ACCOUNT_KINDS];
static uint64_t live_stride_bytes, live_slab_bytes;   // of objects in slabs: their places, their requests
static struct account_result result;
static struct account_sample samples[ACCOUNT_SAMPLES + 1];
static unsigned sample_count;

static uint64_t free_bytes(void)
{
    return free_pages_now() * PAGE_SIZE;
}

static void add_cache(struct kmem_cache *cache, void *context)
{
    struct memory *memory = context;

    memory->slab_bytes += cache->slab_count * (PAGE_SIZE << cache->slab_order);
    memory->slab_object_bytes += kmem_cache_live_objects(cache) * cache->stride_bytes;
}

static struct memory memory_now(void)
{
    struct kmalloc_large_stats large = kmalloc_large_stats();
    struct memory memory = {
        .free_bytes = free_bytes(),
        .area_bytes = vmalloc_stats().pages * PAGE_SIZE,
        .large_rounding_bytes = large.pages * PAGE_SIZE - large.bytes_requested,
        .table_bytes = granule_tables.page_count * PAGE_SIZE,
    };

    kmem_cache_for_each(add_cache, &memory);
    return memory;
}

static int64_t requested_now(void)
{
    uint64_t bytes = 0;

    for (unsigned kind = 0; kind < ACCOUNT_KINDS; kind++)
        bytes += live[kind].bytes;
    return (int64_t)bytes;
}

static int64_t held_now(void)
{
    return (int64_t)(baseline.free_bytes - free_bytes());
}

struct account_breakdown account_now(void)
{
    struct memory now = memory_now();
    struct account_breakdown out = {
        .requested = requested_now(),
        .held = held_now(),
        .page_rounding = (int64_t)(page_bound_held_bytes() - live[ACCOUNT_PAGE].bytes +
                                   now.large_rounding_bytes - baseline.large_rounding_bytes +
                                   now.area_bytes - baseline.area_bytes - live[ACCOUNT_AREA].bytes),
        .slab_rounding = (int64_t)(live_stride_bytes - live_slab_bytes),
        .slab_free = (int64_t)(now.slab_bytes - baseline.slab_bytes - now.slab_object_bytes +
                               baseline.slab_object_bytes),
        .page_tables = (int64_t)(now.table_bytes - baseline.table_bytes),
        .live_objects = live[ACCOUNT_OBJECT].count,
        .live_pages = live[ACCOUNT_PAGE].count,
        .live_areas = live[ACCOUNT_AREA].count,
    };

    out.other = out.held - out.requested - out.page_rounding - out.slab_rounding - out.slab_free -
                out.page_tables;
    return out;
}

static void take_sample(uint32_t done)
{
    struct account_sample *sample = &samples[sample_count++];

    *sample = (struct account_sample){ .event = done, .requested = requested_now(), .held = held_now() };
    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        struct free_counts counts;
        page_engine->count(&zones[id], &counts);
        for (unsigned order = 0; order <= MAX_ORDER; order++)
            sample->free_blocks[order] += counts.blocks[order];
    }
}

void account_begin(uint32_t event_count)
{
    baseline = memory_now();
    event_total = event_count;
    result = (struct account_result){ .peak = account_now() };
    take_sample(0);
}

uint64_t account_baseline_free(void)
{
    return baseline.free_bytes;
}

void account_add(enum account_kind kind, uint32_t bytes, uint32_t stride_bytes)
{
    live[kind].count++;
    live[kind].bytes += bytes;
    if (stride_bytes) {
        live_stride_bytes += stride_bytes;
        live_slab_bytes += bytes;
    }
}

void account_remove(enum account_kind kind, uint32_t bytes, uint32_t stride_bytes)
{
    live[kind].count--;
    live[kind].bytes -= bytes;
    if (stride_bytes) {
        live_stride_bytes -= stride_bytes;
        live_slab_bytes -= bytes;
    }
}

void account_event(uint32_t done)
{
    uint64_t intervals = min_of((uint64_t)event_total, (uint64_t)ACCOUNT_SAMPLES);
    int64_t held = held_now();

    result.peak_requested = max_of(result.peak_requested, requested_now());
    if (held > result.peak_held) {
        result.peak_held = held;
        result.peak_event = done;
        result.peak = account_now();
    }
    if (done == sample_count * (uint64_t)event_total / intervals)
        take_sample(done);
}

const struct account_result *account_result(void)
{
    return &result;
}

const struct account_sample *account_samples(unsigned *count)
{
    *count = sample_count;
    return samples;
}

uint64_t account_unusable(const struct account_sample *sample, unsigned order)
{
    uint64_t total = 0, usable = 0;

    for (unsigned i = 0; i <= MAX_ORDER; i++) {
        total += sample->free_blocks[i] << i;
        if (i >= order)
            usable += sample->free_blocks[i] << i;
    }
    return total ? (total - usable) * 1000 / total : 0;
}
