// The replay of a checked trace.
// SPDX-License-Identifier: BSD-2-Clause

#include "replay.h"
#include "account.h"
#include "measure.h"
#include "object_floor.h"
#include "page_bound.h"
#include <arch/smp.h>
#include <base/assert.h>
#include <base/format.h>
#include <base/string.h>
#include <mm/kmalloc.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <task/thread.h>

#define NOT_STARTED UINT32_MAX
#define NAME_PREFIX "t:"

_Static_assert(sizeof NAME_PREFIX - 1 + QTRACE_CACHE_NAME_MAX < SLAB_NAME_BYTES, "a cache's name fits");

static const struct qtrace *trace;
static struct replay_slot *slots;
static struct kmem_cache **caches;
static struct thread *threads[MAX_HARTS];      // by hart; NULL where there is none
static struct replay_counts counts;
static bool objects_alone;

static uint32_t position aligned_to(CACHE_LINE_BYTES);     // (A) index of the next event

// What this kernel knows of the traced flags. That memory is missing is counted, not logged.
static gfp_t gfp_of(uint8_t traced)
{
    gfp_t gfp = __GFP_NOWARN;

    gfp |= traced & QTRACE_GFP_WAIT ? GFP_KERNEL : traced & QTRACE_GFP_HIGH ? GFP_ATOMIC : GFP_NOWAIT;
    gfp |= traced & QTRACE_GFP_ZERO ? __GFP_ZERO : 0;
    gfp |= traced & QTRACE_GFP_DMA ? __GFP_DMA : 0;
    gfp |= traced & QTRACE_GFP_DMA32 ? __GFP_DMA32 : 0;
    return gfp;
}

// Kinds of pages are for page requests; a cache has its kind from its flags.
static gfp_t page_gfp_of(uint8_t traced)
{
    gfp_t gfp = gfp_of(traced);

    gfp |= traced & QTRACE_GFP_MOVABLE ? __GFP_MOVABLE : 0;
    gfp |= traced & QTRACE_GFP_RECLAIMABLE ? __GFP_RECLAIMABLE : 0;
    return gfp;
}

// The cache of the slot's object; NULL for a kmalloc beyond the slab classes.
static struct kmem_cache *cache_of(const struct replay_slot *slot)
{
    if (slot->op == QTRACE_CACHE_ALLOC)
        return caches[slot->argument];
    if (slot->argument > KMALLOC_MAX_CACHE_BYTES)
        return NULL;
    return kmalloc_cache_for(slot->argument, GFP_KERNEL);
}

// What an object of the slot takes in a slab; 0 where it lies in none.
static uint32_t stride_of(const struct replay_slot *slot)
{
    const struct kmem_cache *cache = cache_of(slot);

    return cache != NULL ? cache->stride_bytes : 0;
}

static uint32_t object_bytes_of(const struct replay_slot *slot)
{
    return slot->op == QTRACE_CACHE_ALLOC ? trace->caches[slot->argument].object_bytes : slot->argument;
}

static void *cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
    uint64_t before = arch_instructions();
    void *object = kmem_cache_alloc(cache, gfp);
    uint64_t after = arch_instructions();

    measure_add(MEASURE_OBJECT_ALLOC, before, after, !object);
    return object;
}

static void *variable_alloc(uint32_t bytes, gfp_t gfp)
{
    uint64_t before = arch_instructions();
    void *object = kmalloc(bytes, gfp);
    uint64_t after = arch_instructions();

    measure_add(MEASURE_OBJECT_ALLOC, before, after, !object);
    return object;
}

static void *area_alloc(uint32_t bytes)
{
    uint64_t before = arch_instructions();
    void *area = vmalloc(bytes);
    uint64_t after = arch_instructions();

    measure_add(MEASURE_AREA_ALLOC, before, after, !area);
    return area;
}

static void object_free(const struct replay_slot *slot)
{
    uint64_t before, after;

    if (slot->op == QTRACE_CACHE_ALLOC) {
        struct kmem_cache *cache = caches[slot->argument];
        before = arch_instructions();
        kmem_cache_free(cache, slot->memory);
        after = arch_instructions();
    } else {
        before = arch_instructions();
        kfree(slot->memory);
        after = arch_instructions();
    }
    measure_add(MEASURE_OBJECT_FREE, before, after, false);
}

static void area_free(void *area)
{
    uint64_t before = arch_instructions();
    vfree(area);
    uint64_t after = arch_instructions();

    measure_add(MEASURE_AREA_FREE, before, after, false);
}

static void do_alloc(const struct qtrace_event *event, unsigned hart)
{
    struct replay_slot *slot = &slots[event->slot];
    uint32_t argument = event->argument;
    void *memory;

    if (event->op == QTRACE_CACHE_ALLOC)
        memory = cache_alloc(caches[argument], gfp_of(event->gfp));
    else if (event->op == QTRACE_KMALLOC)
        memory = variable_alloc(argument, gfp_of(event->gfp));
    else if (event->op == QTRACE_PAGE_ALLOC)
        memory = page_bound_alloc(argument, page_gfp_of(event->gfp), hart);
    else
        memory = area_alloc(argument);

    *slot = (struct replay_slot){ memory, argument, event->op };
    if (!memory)
        return;
    if (event->op == QTRACE_PAGE_ALLOC)
        account_add(ACCOUNT_PAGE, argument, 0);
    else if (event->op == QTRACE_AREA_ALLOC)
        account_add(ACCOUNT_AREA, argument, 0);
    else {
        account_add(ACCOUNT_OBJECT, object_bytes_of(slot), stride_of(slot));
        object_floor_add(cache_of(slot), slot->argument);
    }
}

static void do_free(struct replay_slot *slot)
{
    if (slot->op == QTRACE_PAGE_ALLOC) {
        account_remove(ACCOUNT_PAGE, slot->argument, 0);
        page_bound_free(slot->memory, slot->argument);
    } else if (slot->op == QTRACE_AREA_ALLOC) {
        account_remove(ACCOUNT_AREA, slot->argument, 0);
        area_free(slot->memory);
    } else {
        account_remove(ACCOUNT_OBJECT, object_bytes_of(slot), stride_of(slot));
        object_floor_remove(cache_of(slot), slot->argument);
        object_free(slot);
    }
    slot->memory = NULL;
}

static void do_event(const struct qtrace_event *event, unsigned hart)
{
    struct replay_slot *slot = &slots[event->slot];

    if (!qtrace_is_free((enum qtrace_op)event->op))
        do_alloc(event, hart);
    else if (slot->memory)
        do_free(slot);
    else
        counts.failed_frees++;
}

static bool is_of_object(const struct qtrace_event *event)
{
    return event->op == QTRACE_CACHE_ALLOC || event->op == QTRACE_KMALLOC || event->op == QTRACE_OBJECT_FREE;
}

// The events from `at` on that belong to the hart; returns the first that does not.
static uint32_t do_events(uint32_t at, unsigned hart)
{
    do {
        const struct qtrace_event *event = &trace->events[at++];
        if (objects_alone && !is_of_object(event))
            continue;
        do_event(event, hart);
        counts.events++;
        if (objects_alone)
            object_floor_event(at);
        else
            account_event(at);
    } while (at < trace->header->event_count && trace->events[at].hart == hart);
    return at;
}

static void wake_all(void)
{
    for (unsigned hart = 0; hart < trace->header->hart_count; hart++)
        if (threads[hart] && threads[hart] != thread_current())
            thread_wake(threads[hart]);
}

static void hand_over(uint32_t at)
{
    __atomic_store_n(&position, at, __ATOMIC_RELEASE);
    if (at == trace->header->event_count) {
        wake_all();
    } else {
        counts.handovers++;
        thread_wake(threads[trace->events[at].hart]);
    }
}

static void follow(unsigned hart)
{
    ASSERT(arch_hart_index() == hart);
    for (;;) {
        uint32_t at = __atomic_load_n(&position, __ATOMIC_ACQUIRE);

        if (at == trace->header->event_count)
            return;
        if (at != NOT_STARTED && trace->events[at].hart == hart)
            hand_over(do_events(at, hart));
        else
            thread_block();
    }
}

static void follow_thread(void *hart)
{
    follow((unsigned)(uintptr_t)hart);
}

static bool create_caches(void)
{
    uint32_t count = trace->header->cache_count;

    caches = kzalloc(max_of(count, 1U) * sizeof caches[0], GFP_KERNEL);
    if (!caches)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct qtrace_cache *traced = &trace->caches[i];
        unsigned flags = traced->flags & QTRACE_CACHE_RECLAIMABLE ? SLAB_RECLAIM_ACCOUNT : 0;
        char name[SLAB_NAME_BYTES];

        format_text(name, sizeof name, NAME_PREFIX "%s", traced->name);
        caches[i] = kmem_cache_create(name, traced->object_bytes, traced->align_bytes, flags, NULL, NULL);
        if (!caches[i])
            return false;
    }
    return true;
}

static void destroy_caches(void)
{
    for (uint32_t i = 0; caches && i < trace->header->cache_count; i++)
        if (kmem_cache_destroy(caches[i]) != 0)
            panic("study: cache %s still has objects", trace->caches[i].name);
    kfree(caches);
    caches = NULL;
}

// Ends the threads, also those that wait for a replay that never began.
static void join_threads(void)
{
    __atomic_store_n(&position, trace->header->event_count, __ATOMIC_RELEASE);
    wake_all();
    for (unsigned hart = 1; hart < trace->header->hart_count; hart++) {
        if (threads[hart])
            thread_join(threads[hart]);
        threads[hart] = NULL;
    }
}

static bool create_threads(void)
{
    threads[0] = thread_current();
    for (unsigned hart = 1; hart < trace->header->hart_count; hart++) {
        threads[hart] = thread_create_on(hart, "replay", follow_thread, (void *)(uintptr_t)hart);
        if (!threads[hart])
            return false;
    }
    return true;
}

bool replay_prepare(const struct qtrace *checked_trace, struct replay_slot *slot_table)
{
    trace = checked_trace;
    slots = slot_table;
    memset(slots, 0, trace->header->slot_count * sizeof slots[0]);
    counts = (struct replay_counts){ 0 };
    position = NOT_STARTED;
    if (create_caches() && create_threads())
        return true;
    replay_clean_up();
    return false;
}

struct replay_counts replay_run(bool of_objects_alone)
{
    objects_alone = of_objects_alone;
    if (objects_alone)
        object_floor_begin();
    else
        account_begin(trace->header->event_count);
    __atomic_store_n(&position, 0, __ATOMIC_RELEASE);
    thread_wake(threads[trace->events[0].hart]);
    follow(0);
    return counts;
}

void replay_clean_up(void)
{
    join_threads();
    for (uint32_t i = 0; i < trace->header->slot_count; i++)
        if (slots[i].memory)
            do_free(&slots[i]);
    destroy_caches();
}
