// The object model test's operations.
// SPDX-License-Identifier: BSD-2-Clause
#include "object_model_run.h"

#include <base/format.h>
#include <debug/klog.h>
#include <mm/page_lists.h>

#define SMALL_ENOUGH_TO_EMPTY 500  // objects that are freed for their cache to be destroyed
#define COUNTS_EVERY 2048          // operations of a phase between two looks at all counts
#define LARGE_ZEROED_BYTES KB(64)  // zeroing more would be most of the work

// Requests, with their shares of 64.
static const struct {
    const char *name;
    gfp_t gfp;
    unsigned share;
    bool is_by_front;              // as a caller of an unchecked kernel has it
} requests[OBJECT_REQUEST_KINDS] = {
    { "kernel", GFP_KERNEL, 24, false },
    { "kernel, by the front", GFP_KERNEL, 16, true },
    { "kernel, no retry", GFP_KERNEL | __GFP_NORETRY, 4, false },
    { "atomic", GFP_ATOMIC, 8, false },
    { "nowait", GFP_NOWAIT, 4, false },
    { "kernel, zero", GFP_KERNEL | __GFP_ZERO, 6, false },
    { "atomic, zero", GFP_ATOMIC | __GFP_ZERO, 2, false },
};

struct request {
    gfp_t gfp;
    bool is_by_front;
};

static struct object_source *const kmalloc_source = &object_model.source[KMALLOC_SOURCE];

static bool is_kmalloc(const struct object_source *source) { return source == kmalloc_source; }

static unsigned index_of(const struct object_source *source) { return (unsigned)(source - object_model.source); }

static struct request pick_request(struct object_run *run)
{
    uint64_t lot = random_below(&run->random, 64);
    unsigned kind = 0;

    while (lot >= requests[kind].share)
        lot -= requests[kind++].share;
    run->counts.requested[kind]++;
    return (struct request){ requests[kind].gfp | __GFP_NOWARN, requests[kind].is_by_front };
}

// --- Caches

// Between 1 and 2^bits, each power of two as likely as the next.
static uint64_t pick_size(struct object_run *run, unsigned bits)
{
    return 1 + random_below(&run->random, 1UL << random_below(&run->random, bits + 1));
}

static enum construction pick_construction(struct object_run *run, unsigned slot)
{
    static const enum construction of_lot[] = { CONSTRUCTED, CONSTRUCTED, CONSTRUCTED_ONLY, DESTRUCTED_ONLY };

    if (slot >= CONSTRUCTED_SLOTS)
        return NOT_CONSTRUCTED;
    return slot == NESTED_SLOT ? CONSTRUCTED : of_lot[random_below(&run->random, array_count(of_lot))];
}

static unsigned pick_flags(struct object_run *run)
{
    uint64_t lot = random_next(&run->random);

    return (lot % 4 == 0 ? SLAB_NO_MAGAZINES : 0U) | ((lot >> 8) % 4 == 0 ? SLAB_HWCACHE_ALIGN : 0U) |
           ((lot >> 16) % 8 == 0 ? SLAB_RECLAIM_ACCOUNT : 0U) | ((lot >> 24) % 16 == 0 ? SLAB_DMA : 0U);
}

static void create_cache(struct object_run *run, unsigned slot)
{
    struct object_source *source = &object_model.source[slot];
    char name[SLAB_NAME_BYTES];
    uint64_t bytes = random_below(&run->random, 64) == 0 ? 1 + random_below(&run->random, 100000)
                                                         : pick_size(run, 14);

    // Room for a pattern, and behind it the pointer of the one that nests.
    if (slot < CONSTRUCTED_SLOTS)
        bytes = max_of(bytes, slot == NESTED_SLOT ? 16UL : 8UL);
    source->bytes = (uint32_t)bytes;
    source->align_bytes = random_below(&run->random, 4) == 0 ? 1U << random_below(&run->random, 13) : 0;
    source->construction = pick_construction(run, slot);
    source->constructed = source->destructed = 0;
    format_text(name, sizeof(name), "model-%u", slot);
    source->cache = kmem_cache_create(name, bytes, source->align_bytes, pick_flags(run), object_model_constructor(slot),
                                      object_model_destructor(slot));
    run->counts.operation[OP_CREATE] += source->cache != NULL;
}

static void free_some(struct object_run *run, struct object_source *source, enum victim victim, uint64_t most);

static void destroy_cache(struct object_run *run, struct object_source *source)
{
    while (source->count > 0)
        free_some(run, source, YOUNGEST, OBJECT_BULK_MOST);
    if (kmem_cache_destroy(source->cache) != 0)
        model_fail("%s cannot be destroyed", source->cache->name);
    if (source->construction == CONSTRUCTED && source->constructed != source->destructed)
        model_fail("slot %u: %lu objects constructed, %lu destructed", index_of(source), source->constructed,
                   source->destructed);
    source->cache = NULL;
    run->counts.operation[OP_DESTROY]++;
}

// --- Allocation

static void refuse(struct object_run *run, const struct object_source *source, const struct held_object *held,
                   gfp_t gfp)
{
    const struct kmem_cache *cache = source->cache;

    if (is_kmalloc(source) && held->class < KMALLOC_CLASSES)
        cache = kmalloc_caches[held->is_dma][held->class];
    run->counts.refused[index_of(source)]++;
    object_model_refused(cache, gfp, held->is_dma);
}

static gfp_t tame(const struct object_source *source, gfp_t gfp)
{
    bool is_constructed = source->construction == CONSTRUCTED || source->construction == CONSTRUCTED_ONLY;

    return is_constructed ? gfp & ~__GFP_ZERO : gfp;
}

static bool allocate_from_cache(struct object_run *run, struct object_source *source, struct request request)
{
    gfp_t gfp = tame(source, request.gfp);
    struct held_object held = { .bytes = source->bytes };

    held.address = request.is_by_front ? source->cache->alloc(source->cache, gfp)
                                       : kmem_cache_alloc(source->cache, gfp);
    if (held.address == NULL) {
        refuse(run, source, &held, gfp);
        return false;
    }
    object_model_take(source, held, (gfp & __GFP_ZERO) != 0);
    run->counts.taken[index_of(source)]++;
    return true;
}

// As a caller with a constant size has it.
static void *kmalloc_by_class(unsigned class, gfp_t gfp)
{
    switch (class) {
#define CALLED(class) case class: return kmalloc_whole_##class(gfp);
#if KMALLOC_MAX_CACHE_SHIFT > 13
    CALLED(13) CALLED(14)
#endif
    CALLED(0) CALLED(1) CALLED(2) CALLED(3) CALLED(4) CALLED(5) CALLED(6) CALLED(7) CALLED(8) CALLED(9) CALLED(10)
    CALLED(11) CALLED(12)
#undef CALLED
    }
    model_fail("there is no class %u", class);
}

// As a new block of that size has them.
static void set_class(struct held_object *held)
{
    bool is_large = held->bytes > KMALLOC_MAX_CACHE_BYTES;

    held->class = (uint8_t)(is_large ? KMALLOC_CLASSES : kmalloc_class(held->bytes));
    held->order = (uint8_t)(is_large ? get_order(held->bytes) : 0);
}

static bool allocate_by_kmalloc(struct object_run *run, uint64_t bytes, struct request request)
{
    gfp_t gfp = bytes > LARGE_ZEROED_BYTES ? request.gfp & ~__GFP_ZERO : request.gfp;
    bool is_large = bytes > KMALLOC_MAX_CACHE_BYTES;
    struct held_object held = {
        .bytes = (uint32_t)bytes,
        .is_dma = !request.is_by_front && random_below(&run->random, 32) == 0,
        .is_zeroed = (gfp & __GFP_ZERO) != 0,
    };

    set_class(&held);
    if (held.is_dma)
        gfp |= GFP_DMA;
    if (!request.is_by_front)
        held.address = kmalloc_sized(bytes, gfp);
    else if (is_large || bytes % 2 == 0)
        held.address = kmalloc_plain(bytes, gfp);
    else
        held.address = kmalloc_by_class(held.class, gfp);
    run->counts.large += is_large;
    if (held.address == NULL) {
        refuse(run, kmalloc_source, &held, gfp);
        return false;
    }
    object_model_take(kmalloc_source, held, held.is_zeroed);
    run->counts.taken[KMALLOC_SOURCE]++;
    return true;
}

// Most are small; one in 256 is above the classes, and one in 16 of those of any size there is.
static uint64_t pick_kmalloc_size(struct object_run *run)
{
    uint64_t lot = random_below(&run->random, 4096);

    if (lot >= 16)
        return pick_size(run, KMALLOC_MAX_CACHE_SHIFT);
    return KMALLOC_MAX_CACHE_BYTES + 1 +
           random_below(&run->random, lot == 0 ? (PAGE_SIZE << MAX_ORDER) - KMALLOC_MAX_CACHE_BYTES : KB(64));
}

// One in which there is a cache, made if need be.
static struct object_source *pick_source(struct object_run *run)
{
    unsigned slot = (unsigned)random_below(&run->random, CACHE_SLOTS);

    if (random_below(&run->random, 8) < 3)
        return kmalloc_source;
    if (object_model.source[slot].cache == NULL)
        create_cache(run, slot);
    return object_model.source[slot].cache != NULL ? &object_model.source[slot] : kmalloc_source;
}

static void allocate_one(struct object_run *run)
{
    struct object_source *source = pick_source(run);
    struct request request = pick_request(run);

    if (is_kmalloc(source))
        allocate_by_kmalloc(run, pick_kmalloc_size(run), request);
    else
        allocate_from_cache(run, source, request);
}

static void allocate_bulk(struct object_run *run)
{
    void *objects[OBJECT_BULK_MOST];
    struct object_source *source = pick_source(run);
    size_t wanted = random_below(&run->random, OBJECT_BULK_MOST + 1), got;
    struct held_object held = { .bytes = source->bytes };

    if (is_kmalloc(source))
        return;
    gfp_t gfp = tame(source, pick_request(run).gfp);
    got = kmem_cache_alloc_bulk(source->cache, gfp, wanted, objects);
    run->counts.operation[OP_ALLOC_BULK]++;
    run->counts.bulk_objects += got;
    if (got != 0 && got != wanted)
        model_fail("%lu objects in bulk, asked were %lu", got, wanted);
    for (size_t i = 0; i < got; i++) {
        held.address = objects[i];
        object_model_take(source, held, (gfp & __GFP_ZERO) != 0);
    }
}

// --- Freeing

static void free_some(struct object_run *run, struct object_source *source, enum victim victim, uint64_t most)
{
    void *objects[OBJECT_BULK_MOST];
    uint64_t count = min_of(most, source->count);

    for (uint64_t i = 0; i < count; i++) {
        uint64_t place = model_pick_victim(victim, &run->random, source->count);
        objects[i] = object_model_drop(source, place).address;
    }
    run->counts.freed[victim] += count;
    if (is_kmalloc(source))
        for (uint64_t i = 0; i < count; i++)
            kfree(objects[i]);
    else if (count == 1)
        kmem_cache_free(source->cache, objects[0]);
    else
        kmem_cache_free_bulk(source->cache, count, objects);
}

// One that has objects, or NULL.
static struct object_source *pick_held_source(struct object_run *run)
{
    unsigned first = (unsigned)random_below(&run->random, SOURCES);

    for (unsigned i = 0; i < SOURCES; i++)
        if (object_model.source[(first + i) % SOURCES].count > 0)
            return &object_model.source[(first + i) % SOURCES];
    return NULL;
}

// False when there was none.
static bool free_from_any(struct object_run *run, enum victim victim, uint64_t most)
{
    struct object_source *source = pick_held_source(run);

    if (source != NULL)
        free_some(run, source, victim, most);
    return source != NULL;
}

// --- The others

static void reallocate(struct object_run *run)
{
    if (kmalloc_source->count == 0)
        return;
    uint64_t bytes = pick_kmalloc_size(run);
    bool wants_zero = bytes <= LARGE_ZEROED_BYTES && random_below(&run->random, 2) == 0;
    struct held_object before = object_model_drop(kmalloc_source, random_below(&run->random, kmalloc_source->count)),
                       after = before;

    if (ksize(before.address) < before.bytes)
        model_fail("%p: %lu bytes, asked were %u", (void *)before.address, ksize(before.address), before.bytes);
    wants_zero = wants_zero || (before.is_zeroed && bytes <= LARGE_ZEROED_BYTES);
    after.address = krealloc(before.address, bytes, GFP_KERNEL | __GFP_NOWARN | (wants_zero ? __GFP_ZERO : 0));
    run->counts.operation[OP_KREALLOC]++;
    if (after.address == NULL) {
        object_model_moved(&before, before);
        return;
    }
    after.bytes = (uint32_t)bytes;
    after.is_zeroed = before.is_zeroed && wants_zero;
    if (after.address != before.address) {
        set_class(&after);
        after.is_dma = false;
    }
    object_model_moved(&before, after);
}

static void change_cache(struct object_run *run)
{
    unsigned slot = (unsigned)random_below(&run->random, CACHE_SLOTS);
    struct object_source *source = &object_model.source[slot];

    if (source->cache == NULL)
        create_cache(run, slot);
    else if (source->count < SMALL_ENOUGH_TO_EMPTY)
        destroy_cache(run, source);
}

static void give_back(struct object_run *run)
{
    struct object_source *source = &object_model.source[random_below(&run->random, CACHE_SLOTS)];

    switch (random_below(&run->random, 4)) {
    case 0:
        if (source->cache != NULL)
            kmem_cache_shrink(source->cache);
        run->counts.operation[OP_SHRINK]++;
        return;
    case 1:
        kmem_cache_reap(1 + random_below(&run->random, 256));
        run->counts.operation[OP_REAP]++;
        return;
    case 2:
        page_lists_drain_all();
        break;
    default:
        page_lists_drain();
        break;
    }
    run->counts.operation[OP_DRAIN]++;
}

static void do_something_else(struct object_run *run, enum victim victim)
{
    uint64_t lot = random_below(&run->random, 64);

    if (lot < 16)
        allocate_bulk(run);
    else if (lot < 32) {
        free_from_any(run, victim, 1 + random_below(&run->random, OBJECT_BULK_MOST));
        run->counts.operation[OP_FREE_BULK]++;
    } else if (lot < 59)
        reallocate(run);
    else if (lot < 61)
        change_cache(run);
    else if (lot < 63) {
        kmem_cache_trim_all();
        run->counts.operation[OP_TRIM]++;
    } else
        give_back(run);
}

// Of the two of a phase, one at random; small objects would make it long, and come from kmalloc instead, in one size.
static bool fill_from(struct object_run *run, const struct phase *phase, bool is_second, gfp_t gfp)
{
    uint64_t lot = is_second ? phase->lot >> 16 : phase->lot;
    struct object_source *source = &object_model.source[lot % SOURCES];

    if (!is_kmalloc(source) && source->cache != NULL && (source->bytes >= 256 || phase->lot >> 60 == 0))
        return allocate_from_cache(run, source, (struct request){ gfp, false });
    return allocate_by_kmalloc(run, 256UL << (lot >> 8) % 6, (struct request){ gfp, false });
}

static bool fill(struct object_run *run, struct phase *phase)
{
    gfp_t last_pages = phase->lot >> 32 & 1 ? __GFP_HIGH | __GFP_MEMALLOC : 0;
    bool is_second = phase->state == 1 || (phase->state == 0 && random_below(&run->random, 2) == 0);

    if (fill_from(run, phase, is_second, GFP_KERNEL | __GFP_NOWARN | last_pages))
        return false;
    phase->state |= is_second ? 2 : 1;
    run->counts.exhaustions += phase->state == 3;
    return phase->state == 3;
}

static bool step(void *context, struct phase *phase)
{
    struct object_run *run = context;

    if (phase->direction == FILLING)
        return fill(run, phase);
    if (phase->direction == EMPTYING) {
        bool is_bulk = (phase->lot & 1) != 0;
        return !free_from_any(run, phase->victim, is_bulk ? 1 + random_below(&run->random, OBJECT_BULK_MOST) : 1);
    }
    if (phase->operations_left % COUNTS_EVERY == 0)
        object_model_check_counts();
    if (random_below(&run->random, 16) == 0)
        do_something_else(run, phase->victim);
    else if (model_wants_more(phase, &run->random))
        allocate_one(run);
    else
        free_from_any(run, phase->victim, 1);
    return false;
}

static void check_all_of(void *context unused_arg)
{
    object_model_check_all();
}

void object_model_run(struct object_run *run, uint64_t operations)
{
    struct model_walk walk = {
        .name = "object_model", .run = run, .random = &run->random, .step = step, .check_all = check_all_of,
    };

    model_walk(&walk, operations);
    run->counts.phases = walk.phases;
    while (free_from_any(run, YOUNGEST, OBJECT_BULK_MOST)) {
    }
    object_model_check_all();
    for (unsigned slot = 0; slot < CACHE_SLOTS; slot++)
        if (object_model.source[slot].cache != NULL)
            destroy_cache(run, &object_model.source[slot]);
    page_lists_drain_all();
    kmem_cache_reap(UINT64_MAX);
    page_lists_drain_all();
    object_model_check_all();
    if (zones_free_pages() != object_model.free_pages)
        model_fail("%lu pages free at the end, %lu at the start", zones_free_pages(), object_model.free_pages);
}

void object_model_report(const struct object_run *run)
{
    static const char *const operation_name[OBJECT_OPERATIONS] = {
        "bulk allocation", "bulk free", "krealloc", "cache created", "cache destroyed", "trim", "shrink", "reap",
        "drain",
    };
    const struct object_counts *counts = &run->counts;

    for (unsigned i = 0; i < OBJECT_REQUEST_KINDS; i++)
        console_print("# alloc %-22s %10lu\n", requests[i].name, counts->requested[i]);
    console_print("# free  random %lu, youngest %lu, oldest %lu\n", counts->freed[RANDOM_ONE], counts->freed[YOUNGEST],
                  counts->freed[OLDEST]);
    for (unsigned i = 0; i < OBJECT_OPERATIONS; i++)
        console_print("# %-28s %10lu\n", operation_name[i], counts->operation[i]);
    for (unsigned i = 0; i < SOURCES; i++)
        console_print("# source %-2u taken %10lu, refused %6lu\n", i, counts->taken[i], counts->refused[i]);
    console_print("# objects in bulk %lu, large %lu, phases %lu, times exhausted %lu\n", counts->bulk_objects,
                  counts->large, counts->phases, counts->exhaustions);
}
