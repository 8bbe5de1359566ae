// vmem: boundary tags, instant fit and a hash over an arena of integers.
// SPDX-License-Identifier: BSD-2-Clause

#include <base/bits.h>
#include <base/errno.h>
#include <base/string.h>
#include <debug/irq_meter.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>
#include <mm/vmem.h>

// An allocation needs 2. As many are there from the start as are kept, so that alternating calls need no slab
// cache, and an arena whose ranges are all free again holds what it held before.
#define NEEDED_SPARES 2
#define KEPT_SPARES 4

// A bucket for so many quanta, within bounds: chains stay short while a small part of the space is in use.
#define QUANTA_PER_BUCKET 4096
#define MIN_BUCKETS 16UL
#define MAX_BUCKETS 4096UL

static struct kmem_cache *segment_cache;

static struct vmem_segment **bucket_of(const struct vmem *arena, uint64_t start)
{
    // Multiplicative hashing (Knuth, TAOCP 3, 6.4) of the quantum number: the high bits depend on all of it.
    uint64_t hash = (start >> arena->quantum_shift) * 0x9e3779b97f4a7c15;

    return &arena->bucket[hash >> 32 & arena->bucket_mask];
}

// The link that points to the allocated segment that starts there, or to the end of its chain.
static struct vmem_segment **find_link(const struct vmem *arena, uint64_t start)
{
    struct vmem_segment **link = bucket_of(arena, start);

    while (*link != NULL && (*link)->start != start)
        link = &(*link)->next_in_bucket;
    return link;
}

static void free_list_add(struct vmem *arena, struct vmem_segment *segment)
{
    unsigned list = highest_bit(segment->size);

    segment->is_free = true;
    arena->free_bytes += segment->size;
    list_add_first(&arena->free_list[list], &segment->in_list);
    arena->free_lists_used |= 1UL << list;
}

static void free_list_remove(struct vmem *arena, struct vmem_segment *segment)
{
    unsigned list = highest_bit(segment->size);

    list_remove(&segment->in_list);
    arena->free_bytes -= segment->size;
    if (list_is_empty(&arena->free_list[list]))
        arena->free_lists_used &= ~(1UL << list);
}

static struct vmem_segment *spare_take(struct vmem *arena)
{
    struct vmem_segment *segment = list_first(&arena->spare, struct vmem_segment, in_list);

    list_remove(&segment->in_list);
    arena->spare_count--;
    arena->segment_count++;
    return segment;
}

// Takes a segment out of the order; it stands for nothing any more.
static void segment_retire(struct vmem *arena, struct vmem_segment *segment)
{
    list_remove(&segment->in_order);
    list_add_first(&arena->spare, &segment->in_list);
    arena->spare_count++;
    arena->segment_count--;
}

// A free segment of [start, start + size) behind `previous`.
static void insert_free(struct vmem *arena, struct list *previous, uint64_t start, uint64_t size)
{
    struct vmem_segment *segment = spare_take(arena);

    segment->start = start;
    segment->size = size;
    list_add_first(previous, &segment->in_order);
    free_list_add(arena, segment);
}

// Returns with the lock held and that many spares, or false and no lock.
static bool lock_with_spares(struct vmem *arena, unsigned count, gfp_t gfp, irqflags_t *flags)
{
    *flags = spin_lock_irqsave(&arena->lock);
    while (arena->spare_count < count) {
        spin_unlock_irqrestore(&arena->lock, *flags);
        struct vmem_segment *segment = kmem_cache_alloc(segment_cache, gfp);
        if (segment == NULL)
            return false;
        *flags = spin_lock_irqsave(&arena->lock);
        list_add_first(&arena->spare, &segment->in_list);
        arena->spare_count++;
    }
    return true;
}

// Nobody else uses the arena.
static void free_spares(struct vmem *arena)
{
    struct vmem_segment *segment, *following;

    list_for_each_removable(segment, following, &arena->spare, in_list)
        kmem_cache_free(segment_cache, segment);
}

int vmem_init(struct vmem *arena, const char *name, uint64_t base, uint64_t size, uint64_t quantum)
{
    ASSERT(is_power_of_two(quantum) && is_aligned(base | size, quantum) && size != 0 &&
           base + (size - 1) >= base);
    if (segment_cache == NULL)
        segment_cache = kmem_cache_create("vmem_segment", sizeof(struct vmem_segment), 0, 0, NULL, NULL);
    uint64_t buckets = min_of(max_of(size / quantum / QUANTA_PER_BUCKET, MIN_BUCKETS), MAX_BUCKETS);
    buckets = 1UL << highest_bit(buckets);
    struct vmem_segment **bucket = kzalloc(buckets * sizeof(*bucket), GFP_KERNEL);
    if (segment_cache == NULL || bucket == NULL) {
        kfree(bucket);
        return -ENOMEM;
    }

    *arena = (struct vmem){
        .lock = SPINLOCK_INIT(VMEM), .name = name, .base = base, .size = size, .quantum = quantum,
        .quantum_shift = lowest_bit(quantum), .bucket = bucket, .bucket_mask = buckets - 1,
    };
    list_init(&arena->segments);
    list_init(&arena->spare);
    for (unsigned i = 0; i < VMEM_SIZE_LISTS; i++)
        list_init(&arena->free_list[i]);
    irqflags_t flags;
    if (!lock_with_spares(arena, KEPT_SPARES + 1, GFP_KERNEL, &flags)) {
        free_spares(arena);
        kfree(bucket);
        return -ENOMEM;
    }
    insert_free(arena, &arena->segments, base, size);
    spin_unlock_irqrestore(&arena->lock, flags);
    return 0;
}

int vmem_destroy(struct vmem *arena)
{
    struct vmem_segment *only = list_first(&arena->segments, struct vmem_segment, in_order);

    if (arena->free_bytes != arena->size)
        return -EBUSY;
    free_list_remove(arena, only);
    segment_retire(arena, only);
    free_spares(arena);
    kfree(arena->bucket);
    return 0;
}

// Where in the segment a range of that kind would start; false when it does not fit.
static bool fit(const struct vmem_segment *segment, uint64_t size, uint64_t alignment, uint64_t phase,
                uint64_t *start)
{
    uint64_t skipped = (phase - segment->start) & (alignment - 1);

    *start = segment->start + skipped;
    return skipped <= segment->size && segment->size - skipped >= size;
}

// The first segment that fits of the lists from `first` to the one before `end`; with best fit the smallest of the
// first list that has one.
static struct vmem_segment *search_lists(const struct vmem *arena, unsigned first, unsigned end, uint64_t size,
                                         uint64_t alignment, uint64_t phase, uint64_t *start)
{
    struct vmem_segment *segment, *best = NULL;
    uint64_t found;

    irq_meter_pause("an arena of addresses searches all ranges of a size");
    for (unsigned list = first; list < end && best == NULL; list++)
        list_for_each(segment, &arena->free_list[list], in_list) {
            if ((best != NULL && segment->size >= best->size) || !fit(segment, size, alignment, phase, &found))
                continue;
            best = segment;
            *start = found;
            if (arena->fit == VMEM_INSTANT_FIT)
                break;
        }
    irq_meter_resume();
    return best;
}

static struct vmem_segment *find_free(struct vmem *arena, uint64_t size, uint64_t alignment, uint64_t phase,
                                      uint64_t *start)
{
    uint64_t need = size + (alignment - arena->quantum);
    unsigned all_fit = need < size ? VMEM_SIZE_LISTS : need == 1 ? 0 : highest_bit(need - 1) + 1;
    uint64_t instant = arena->free_lists_used & ~low_bits(all_fit);
    struct vmem_segment *segment;

    if (arena->fit == VMEM_BEST_FIT)
        return search_lists(arena, highest_bit(size), VMEM_SIZE_LISTS, size, alignment, phase, start);
    if (instant == 0)
        return search_lists(arena, highest_bit(size), all_fit, size, alignment, phase, start);
    segment = list_first(&arena->free_list[lowest_bit(instant)], struct vmem_segment, in_list);
    return fit(segment, size, alignment, phase, start) ? segment : NULL;
}

int vmem_alloc(struct vmem *arena, uint64_t size, uint64_t alignment, uint64_t phase, gfp_t gfp,
               uint64_t *start)
{
    uint64_t rounded = align_up(size, arena->quantum);

    if (size == 0 || rounded < size || !is_power_of_two(alignment))
        return -EINVAL;
    alignment = max_of(alignment, arena->quantum);
    if (phase >= alignment || !is_aligned(phase, arena->quantum))
        return -EINVAL;
    if (mm_fault_hook != NULL && mm_fault_hook(FAULT_VMEM, gfp))
        return -ENOSPC;
    irqflags_t flags;
    if (!lock_with_spares(arena, NEEDED_SPARES, gfp, &flags))
        return -ENOMEM;

    struct vmem_segment *segment = find_free(arena, rounded, alignment, phase, start);
    if (segment != NULL) {
        uint64_t before = *start - segment->start, after = segment->size - before - rounded;
        free_list_remove(arena, segment);
        if (before != 0)
            insert_free(arena, segment->in_order.prev, segment->start, before);
        if (after != 0)
            insert_free(arena, &segment->in_order, *start + rounded, after);
        segment->start = *start;
        segment->size = rounded;
        segment->is_free = false;
        struct vmem_segment **bucket = bucket_of(arena, segment->start);
        segment->next_in_bucket = *bucket;
        *bucket = segment;
    }
    spin_unlock_irqrestore(&arena->lock, flags);
    return segment != NULL ? 0 : -ENOSPC;
}

// Lets a free segment take in its neighbour behind, if there is one and it is free.
static void merge_with_next(struct vmem *arena, struct vmem_segment *segment)
{
    struct vmem_segment *next = list_entry(segment->in_order.next, struct vmem_segment, in_order);

    if (&next->in_order == &arena->segments || !next->is_free)
        return;
    free_list_remove(arena, next);
    free_list_remove(arena, segment);
    segment->size += next->size;
    free_list_add(arena, segment);
    segment_retire(arena, next);
}

static struct vmem_segment *take_surplus_locked(struct vmem *arena)
{
    if (arena->spare_count <= KEPT_SPARES)
        return NULL;
    struct vmem_segment *surplus = list_first(&arena->spare, struct vmem_segment, in_list);
    list_remove(&surplus->in_list);
    arena->spare_count--;
    return surplus;
}

uint64_t vmem_free(struct vmem *arena, uint64_t start)
{
    struct vmem_segment *surplus[2] = { NULL, NULL };
    uint64_t size = 0;

    irqflags_t flags = spin_lock_irqsave(&arena->lock);
    struct vmem_segment **link = find_link(arena, start), *segment = *link;
    if (segment != NULL) {
        size = segment->size;
        *link = segment->next_in_bucket;
        free_list_add(arena, segment);
        merge_with_next(arena, segment);
        struct vmem_segment *previous = list_entry(segment->in_order.prev, struct vmem_segment, in_order);
        if (&previous->in_order != &arena->segments && previous->is_free)
            merge_with_next(arena, previous);
        surplus[0] = take_surplus_locked(arena);
        surplus[1] = take_surplus_locked(arena);
    }
    spin_unlock_irqrestore(&arena->lock, flags);
    if (surplus[0] != NULL)
        kmem_cache_free(segment_cache, surplus[0]);
    if (surplus[1] != NULL)
        kmem_cache_free(segment_cache, surplus[1]);
    return size;
}

uint64_t vmem_lookup(struct vmem *arena, uint64_t start)
{
    irqflags_t flags = spin_lock_irqsave(&arena->lock);
    const struct vmem_segment *segment = *find_link(arena, start);
    uint64_t size = segment != NULL ? segment->size : 0;
    spin_unlock_irqrestore(&arena->lock, flags);
    return size;
}

static const char *find_defect_locked(struct vmem *arena)
{
    uint64_t expected = arena->base, segments = 0, allocated = 0, free_bytes = 0, on_lists = 0, in_hash = 0;
    struct vmem_segment *segment;
    bool previous_is_free = false;

    list_for_each(segment, &arena->segments, in_order) {
        if (segment->start != expected || segment->size == 0 || !is_aligned(segment->size, arena->quantum))
            return "the segments do not tile the arena";
        if (segment->is_free && previous_is_free)
            return "two free segments touch";
        if (!segment->is_free && *find_link(arena, segment->start) != segment)
            return "an allocated segment is not in its hash bucket";
        segments++;
        allocated += !segment->is_free;
        free_bytes += segment->is_free ? segment->size : 0;
        previous_is_free = segment->is_free;
        expected += segment->size;
    }
    if (expected != arena->base + arena->size || segments != arena->segment_count)
        return "the segments do not fill the arena, or are not as many as counted";
    for (unsigned list = 0; list < VMEM_SIZE_LISTS; list++) {
        list_for_each(segment, &arena->free_list[list], in_list) {
            if (!segment->is_free || highest_bit(segment->size) != list)
                return "a segment is on the wrong free list";
            on_lists++;
        }
        if ((arena->free_lists_used >> list & 1) == list_is_empty(&arena->free_list[list]))
            return "the word of used lists is wrong";
    }
    for (uint64_t bucket = 0; bucket <= arena->bucket_mask; bucket++)
        for (segment = arena->bucket[bucket]; segment != NULL; segment = segment->next_in_bucket)
            in_hash++;
    if (on_lists != segments - allocated || in_hash != allocated)
        return "a segment is on a list or in the hash that is not in the order";
    return free_bytes == arena->free_bytes ? NULL : "the count of free bytes is wrong";
}

bool vmem_is_consistent(struct vmem *arena, const char **why)
{
    irqflags_t flags = spin_lock_irqsave(&arena->lock);
    irq_meter_pause("an arena of addresses is checked");
    *why = find_defect_locked(arena);
    irq_meter_resume();
    spin_unlock_irqrestore(&arena->lock, flags);
    return *why == NULL;
}
