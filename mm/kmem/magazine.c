// Magazines and depots: objects on their way between harts and slabs. Theory: <mm/magazine.h>.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/magazine.h>

#include "slab_internal.h"

#include <arch/smp.h>
#include <base/errno.h>
#include <base/format.h>
#include <mm/page_lists.h>
#include <sync/preempt.h>

// The sizes of magazines. One has room for a bulk call of 64; with its header it fits six times in 4 KB.
#define SIZES 4
#define HEADER_BYTES sizeof(struct magazine)
static const uint16_t rounds_of_size[SIZES] = { 17, 31, 125, 253 };

// Larger objects get smaller magazines: what waits in one of the first size is at most this, or one object.
#define MAGAZINE_BYTES KB(4)

// Meetings in an interval between two trims that make the next size worth its memory: of harts at a depot's lock, or by
// a magazine that one left and another took.
#define MEETINGS_TO_GROW 64

// Objects from and to the slabs with interrupts masked.
#define SLAB_BATCH 16

struct magazine {
    struct magazine *next;         // in a depot
    uint32_t rounds;               // (C) that fit
    uint32_t count;                // of one that is not loaded
    uint32_t left_by;              // the hart, of one in a depot
    void *bottom;                  // (C) NULL: where a loaded one is empty
    void *round[];
};

PER_HART struct hart_stack object_stacks[OBJECT_STACKS] __attribute__((section(".tdata.stacks"))) = { { NULL, NULL } };

// (H) with interrupts masked
static PER_HART struct front {
    struct magazine *loaded, *previous;
    uint64_t swaps;                // the previous one was of use again
    void **seen_top;               // of the stack, when it was last looked at whether it is used
} fronts[OBJECT_STACKS];

static struct kmem_cache *owners[OBJECT_STACKS];       // (C) once opened; the list's lock
static unsigned opened;                                // (A) places below are or were in use
static struct kmem_cache *magazine_caches[SIZES];      // (C)
static bool is_enabled;                                // (C)
static uint32_t drains;                                // (A) under way: they hold pointers to caches
static void *nothing;                                  // the bottom of a stack without a magazine

void magazines_init_hart(void)
{
    for (unsigned i = 0; i < OBJECT_STACKS; i++)
        arch_this_hart(object_stacks)[i] = (struct hart_stack){ &nothing, &nothing };
}

static bool may_load(void)
{
    return is_enabled && page_lists_may_hold();
}

// --- This hart's front of a cache; interrupts are masked

static struct hart_stack *stack_of(const struct kmem_cache *cache) { return hart_stack_of(cache->stack_offset); }

static struct front *front_of(const struct kmem_cache *cache)
{
    return &arch_this_hart(fronts)[cache->stack_index];
}

static void load(const struct kmem_cache *cache, struct magazine *magazine)
{
    struct hart_stack *stack = stack_of(cache);

    front_of(cache)->loaded = magazine;
    if (magazine == NULL) {
        *stack = (struct hart_stack){ &nothing, &nothing };
        return;
    }
    stack->top = &magazine->bottom + magazine->count;
    stack->limit = &magazine->bottom + magazine->rounds;
}

// The loaded magazine, its count true, no longer loaded; NULL when there is none.
static struct magazine *unload(const struct kmem_cache *cache)
{
    struct hart_stack *stack = stack_of(cache);
    struct magazine *magazine = front_of(cache)->loaded;

    if (magazine != NULL)
        magazine->count = (uint32_t)(stack->top - &magazine->bottom);
    load(cache, NULL);
    return magazine;
}

// Loads a magazine; the one that was, if any, its count true, is the previous one now.
static always_inline void load_instead(const struct kmem_cache *cache, struct magazine *magazine)
{
    struct hart_stack *stack = stack_of(cache);
    struct front *front = front_of(cache);
    struct magazine *last = front->loaded;

    if (last != NULL)
        last->count = (uint32_t)(stack->top - &last->bottom);
    front->previous = last;
    front->loaded = magazine;
    stack->top = &magazine->bottom + magazine->count;
    stack->limit = &magazine->bottom + magazine->rounds;
}

static void *pop_loaded(const struct kmem_cache *cache)
{
    struct hart_stack *stack = stack_of(cache);
    void *object = *stack->top;

    if (object != NULL)
        stack->top--;
    return object;
}

static bool push_loaded(const struct kmem_cache *cache, void *object)
{
    struct hart_stack *stack = stack_of(cache);

    if (stack->top == stack->limit)
        return false;
    *++stack->top = object;
    return true;
}

// --- The depot

// Harts share the depot: larger magazines have them come less often.
static noinline void meet(struct depot *depot)
{
    if (__atomic_add_fetch(&depot->meetings, 1, __ATOMIC_RELAXED) < MEETINGS_TO_GROW)
        return;
    uint32_t size = __atomic_load_n(&depot->size, __ATOMIC_RELAXED);
    __atomic_store_n(&depot->meetings, 0, __ATOMIC_RELAXED);
    if (size + 1 < SIZES)
        __atomic_store_n(&depot->size, size + 1, __ATOMIC_RELAXED);
}

static always_inline void depot_lock(struct kmem_cache *cache)
{
    if (unlikely(spin_is_locked(&cache->depot.lock)))
        meet(&cache->depot);
    spin_acquire(&cache->depot.lock);
    store_relaxed(&cache->depot.visits, cache->depot.visits + 1);
}

// Onto the list of the full ones, or of the others, and off it, where there is one. The lock is held.
static always_inline void depot_push(struct depot *depot, struct magazine *magazine, bool is_full)
{
    struct magazine **list = is_full ? &depot->full : &depot->empty;

    magazine->next = *list;
    magazine->left_by = arch_hart_index();
    store_relaxed(list, magazine);
    depot->full_count += is_full;
    depot->left += is_full;
}

static always_inline struct magazine *depot_pop(struct depot *depot, bool is_full)
{
    struct magazine **list = is_full ? &depot->full : &depot->empty, *magazine = *list;

    if (magazine != NULL) {
        store_relaxed(list, magazine->next);
        depot->full_count -= is_full;
    }
    return magazine;
}

// A magazine that is full, or else an empty one, for one of the contrary; NULL, and nothing done, when there is none.
// Interrupts are masked.
static always_inline struct magazine *exchange(struct kmem_cache *cache, bool wants_full, struct magazine *given)
{
    struct depot *depot = &cache->depot;

    if (__atomic_load_n(wants_full ? &depot->full : &depot->empty, __ATOMIC_RELAXED) == NULL)
        return NULL;
    depot_lock(cache);
    struct magazine *got = depot_pop(depot, wants_full);
    if (got != NULL) {
        if (depot->full_count < depot->full_least)
            depot->full_least = depot->full_count;
        if (wants_full) {
            depot->taken++;
            if (got->left_by != arch_hart_index()) {
                depot->remote += got->count;
                meet(depot);
            }
        }
        if (given != NULL)
            depot_push(depot, given, !wants_full);
    }
    spin_release(&depot->lock);
    return got;
}

static void leave(struct kmem_cache *cache, struct magazine *magazine)
{
    irqflags_t flags = arch_irq_save();

    depot_lock(cache);
    depot_push(&cache->depot, magazine, magazine->count == magazine->rounds);
    spin_release(&cache->depot.lock);
    arch_irq_restore(flags);
}

static struct magazine *take_magazine(struct kmem_cache *cache, bool is_full, bool only_spare)
{
    struct depot *depot = &cache->depot;
    irqflags_t flags = arch_irq_save();

    depot_lock(cache);
    struct magazine *magazine = only_spare && depot->full_least == 0 ? NULL : depot_pop(depot, is_full);
    if (magazine != NULL)
        depot->full_least -= only_spare;
    spin_release(&depot->lock);
    arch_irq_restore(flags);
    return magazine;
}

// --- Magazines themselves

static unsigned rounds_for(const struct kmem_cache *cache, unsigned size)
{
    unsigned rounds = ((unsigned)MAGAZINE_BYTES << size) / cache->stride_bytes;

    return min_of((unsigned)rounds_of_size[size], max_of(rounds, 1U));
}

// Full magazines are not left to others where an object is about as dear as the page that it goes back as.
static bool has_depot(const struct kmem_cache *cache) { return cache->stride_bytes <= MAGAZINE_BYTES / 2; }

void magazines_expect(struct kmem_cache *cache, size_t count)
{
    unsigned size = __atomic_load_n(&cache->depot.size, __ATOMIC_RELAXED);

    if (likely(count <= rounds_of_size[size]))
        return;
    while (size + 1 < SIZES && rounds_of_size[size] < count)
        size++;
    __atomic_store_n(&cache->depot.size, size, __ATOMIC_RELAXED);
}

static struct magazine *new_magazine(struct kmem_cache *cache)
{
    unsigned size = __atomic_load_n(&cache->depot.size, __ATOMIC_RELAXED);
    struct magazine *magazine = kmem_cache_alloc_any(magazine_caches[size], GFP_NOWAIT | __GFP_NOWARN);

    if (magazine != NULL) {
        magazine->rounds = rounds_for(cache, size);
        magazine->count = 0;
        magazine->bottom = NULL;
    }
    return magazine;
}

static void drop_magazine(struct magazine *magazine)
{
    kmem_cache_free(slab_cache(virt_to_slab(magazine)), magazine);
}

// To the slabs, and the magazine back to where it came from.
static uint64_t empty_magazine(struct kmem_cache *cache, struct magazine *magazine, bool may_leave)
{
    uint64_t objects = magazine->count;

    while (magazine->count > 0) {
        unsigned count = min_of(magazine->count, (unsigned)SLAB_BATCH);
        magazine->count -= count;
        slab_give(cache, count, magazine->round + magazine->count, may_leave);
    }
    drop_magazine(magazine);
    return objects;
}

// --- The slow ways

// Installs a magazine of which the caller knows no place but here: where none is loaded, or in place of a full one,
// which goes to the depot. Interrupts are masked.
static void install(struct kmem_cache *cache, struct magazine *magazine)
{
    struct front *front = front_of(cache);

    if (front->loaded != NULL) {
        if (front->previous != NULL)
            leave(cache, front->previous);
        front->previous = unload(cache);
    }
    load(cache, magazine);
}

// From the loaded magazine, the previous one or the depot. Interrupts are masked.
static void *pop_anywhere(struct kmem_cache *cache)
{
    struct front *front = front_of(cache);
    void *object = pop_loaded(cache);

    if (object != NULL)
        return object;
    struct magazine *full = front->previous;
    if (full == NULL || full->count == 0) {
        if (full != NULL && full->rounds < rounds_for(cache, cache->depot.size)) {
            front->previous = NULL;
            drop_magazine(full);
        }
        full = exchange(cache, true, front->previous);
        if (full == NULL)
            return NULL;
    } else {
        front->swaps++;
    }
    load_instead(cache, full);
    return pop_loaded(cache);
}

static void *fill_and_pop(struct kmem_cache *cache)
{
    struct magazine *magazine = unload(cache);

    if (magazine == NULL)
        return NULL;
    if (magazine->count == 0)
        magazine->count = slab_take_some(cache, min_of(magazine->rounds, (unsigned)SLAB_BATCH), magazine->round);
    load(cache, magazine);
    return pop_loaded(cache);
}

// Interrupts are masked.
static always_inline void *pop_or_fill(struct kmem_cache *cache)
{
    void *object = pop_anywhere(cache);

    return object != NULL ? object : fill_and_pop(cache);
}

// Where there is no magazine to fill.
static noinline void *refill_new(struct kmem_cache *cache)
{
    struct magazine *magazine = new_magazine(cache);
    void *object = NULL;

    if (magazine == NULL)
        return NULL;
    irqflags_t flags = arch_irq_save();
    if (may_load()) {
        if (front_of(cache)->loaded == NULL) {
            install(cache, magazine);
            magazine = NULL;
        }
        object = pop_or_fill(cache);
    }
    arch_irq_restore(flags);
    if (magazine != NULL)
        drop_magazine(magazine);
    return object;
}

void *magazines_refill(struct kmem_cache *cache)
{
    irqflags_t flags = arch_irq_save();
    bool may = may_load();
    void *object = may ? pop_or_fill(cache) : NULL;
    bool needs_magazine = may && object == NULL && front_of(cache)->loaded == NULL;

    arch_irq_restore(flags);
    return needs_magazine ? refill_new(cache) : object;
}

// Into the loaded magazine, or the previous one when that is empty, or an empty one of the depot's. Interrupts are
// masked.
static bool push_anywhere(struct kmem_cache *cache, void *object)
{
    struct front *front = front_of(cache);

    if (push_loaded(cache, object))
        return true;
    struct magazine *empty = front->previous;
    if (empty == NULL || empty->count > 0) {
        empty = exchange(cache, false, front->previous);
        if (empty == NULL)
            return false;
    } else {
        front->swaps++;
    }
    load_instead(cache, empty);
    return push_loaded(cache, object);
}

// Where there is no empty magazine.
static noinline bool relieve_new(struct kmem_cache *cache, void *object)
{
    struct magazine *magazine = new_magazine(cache);
    bool is_done = false;

    if (magazine == NULL)
        return false;
    irqflags_t flags = arch_irq_save();
    if (may_load()) {
        is_done = push_anywhere(cache, object);
        if (!is_done) {
            install(cache, magazine);
            magazine = NULL;
            is_done = push_loaded(cache, object);
        }
    }
    arch_irq_restore(flags);
    if (magazine != NULL)
        drop_magazine(magazine);
    return is_done;
}

bool magazines_relieve(struct kmem_cache *cache, void *object)
{
    irqflags_t flags = arch_irq_save();
    bool may = may_load(), is_done = may && push_anywhere(cache, object);
    bool wants_another = may && !is_done && (has_depot(cache) || front_of(cache)->previous == NULL);
    arch_irq_restore(flags);
    return is_done || (wants_another && relieve_new(cache, object));
}

// --- Giving back

static void drain_depot(struct kmem_cache *cache, bool may_leave)
{
    struct magazine *magazine;

    if (__atomic_load_n(&cache->depot.full, __ATOMIC_RELAXED) == NULL &&
        __atomic_load_n(&cache->depot.empty, __ATOMIC_RELAXED) == NULL)
        return;
    while ((magazine = take_magazine(cache, true, false)) != NULL ||
           (magazine = take_magazine(cache, false, false)) != NULL)
        empty_magazine(cache, magazine, may_leave);
}

// The magazines of this hart at one place, which is a cache's, to the slabs.
static void drain_front(struct kmem_cache *cache, unsigned place, bool may_leave)
{
    struct front *front = &arch_this_hart(fronts)[place];
    struct magazine *magazine;

    do {
        irqflags_t flags = arch_irq_save();
        magazine = front->previous;
        front->previous = NULL;
        if (magazine == NULL && front->loaded != NULL)
            magazine = unload(cache);
        arch_irq_restore(flags);
        if (magazine != NULL)
            empty_magazine(cache, magazine, may_leave);
    } while (magazine != NULL);
}

static void drain_all_of(struct kmem_cache *cache, unsigned place, bool may_leave)
{
    drain_front(cache, place, may_leave);
    drain_depot(cache, may_leave);
}

// Magazines of the first size are filled again for little, and all that small caches have free may wait in them.
static bool is_small(const struct kmem_cache *cache)
{
    return __atomic_load_n(&cache->depot.size, __ATOMIC_RELAXED) == 0;
}

// Where the stack is as it was at the last look, nobody uses it, or as good as nobody.
static void drain_unused(struct kmem_cache *cache, unsigned place, bool may_leave)
{
    struct front *front = &arch_this_hart(fronts)[place];
    void **top = __atomic_load_n(&stack_of(cache)->top, __ATOMIC_RELAXED);

    if (front->loaded != NULL && (top == front->seen_top || is_small(cache)))
        drain_front(cache, place, may_leave);
    front->seen_top = top;
}

static void trim_depot(struct kmem_cache *cache, unsigned place unused_arg, bool may_leave)
{
    if (is_small(cache))
        drain_depot(cache, may_leave);
    else
        (void)magazines_trim(cache);
}

// On this hart, for all caches that have a place.
static void for_each_front(void (*act)(struct kmem_cache *cache, unsigned place, bool may_leave))
{
    unsigned count = __atomic_load_n(&opened, __ATOMIC_ACQUIRE);

    __atomic_fetch_add(&drains, 1, __ATOMIC_SEQ_CST);
    preempt_disable();
    for (unsigned i = 0; i < count; i++) {
        struct kmem_cache *cache = __atomic_load_n(&owners[i], __ATOMIC_SEQ_CST);
        if (cache != NULL)
            act(cache, i, cache->destructor == NULL || !in_interrupt());
    }
    preempt_enable();
    __atomic_fetch_sub(&drains, 1, __ATOMIC_RELEASE);
}

void magazines_drain_hart(void) { for_each_front(drain_all_of); }
static void magazines_trim_hart(void) { for_each_front(drain_unused); }
void magazines_trim_depots(void) { for_each_front(trim_depot); }

uint64_t magazines_trim(struct kmem_cache *cache)
{
    struct depot *depot = &cache->depot;
    struct magazine *magazine;
    uint64_t objects = 0;

    while ((magazine = take_magazine(cache, true, true)) != NULL)
        objects += empty_magazine(cache, magazine, false);
    irqflags_t flags = spin_lock_irqsave(&depot->lock);
    depot->full_least = depot->full_count;
    if (depot->meetings == 0 && depot->size > 0)
        __atomic_store_n(&depot->size, depot->size - 1, __ATOMIC_RELAXED);
    __atomic_store_n(&depot->meetings, 0, __ATOMIC_RELAXED);
    spin_unlock_irqrestore(&depot->lock, flags);
    return objects;
}

// --- Places

int32_t magazines_offset(unsigned place)
{
    return (int32_t)(hart_stack_offset(object_stacks) + (int64_t)(place * sizeof(struct hart_stack)));
}

int magazines_open(struct kmem_cache *cache, unsigned place)
{
    cache->stack_index = OBJECT_STACKS;
    cache->stack_offset = magazines_offset(place);
    if (cache->flags & SLAB_NO_MAGAZINES)
        return 0;
    while (place < OBJECT_STACKS && owners[place] != NULL)
        place++;
    if (place == OBJECT_STACKS)
        return -ENOMEM;
    owners[place] = cache;
    if (place >= opened)
        __atomic_store_n(&opened, place + 1, __ATOMIC_RELEASE);
    cache->stack_index = place;
    cache->stack_offset = magazines_offset(place);
    cache->swaps_before = 0;
    cache->swaps_before = magazines_swaps(cache);
    return 0;
}

void magazines_close(struct kmem_cache *cache)
{
    if (cache->stack_index < OBJECT_STACKS)
        __atomic_store_n(&owners[cache->stack_index], NULL, __ATOMIC_SEQ_CST);
}

bool magazines_are_drained(void)
{
    return __atomic_load_n(&drains, __ATOMIC_SEQ_CST) == 0;
}

bool magazines_are_held(const struct kmem_cache *cache)
{
    bool any = cache->depot.full != NULL || cache->depot.empty != NULL;

    for (unsigned hart = 0; cache->stack_index < OBJECT_STACKS && hart < arch_hart_count(); hart++) {
        const struct front *front = &(*per_hart_of(fronts, hart))[cache->stack_index];
        any |= front->loaded != NULL || front->previous != NULL;
    }
    return any;
}

uint64_t magazines_swaps(const struct kmem_cache *cache)
{
    uint64_t swaps = -cache->swaps_before;

    for (unsigned hart = 0; cache->stack_index < OBJECT_STACKS && hart < arch_hart_count(); hart++)
        swaps += (*per_hart_of(fronts, hart))[cache->stack_index].swaps;
    return swaps;
}

uint64_t magazines_objects(const struct kmem_cache *cache)
{
    uint64_t objects = 0;

    if (cache->stack_index >= OBJECT_STACKS)
        return 0;
    for (unsigned hart = 0; hart < arch_hart_count(); hart++) {
        const struct front *front = &(*per_hart_of(fronts, hart))[cache->stack_index];
        const struct hart_stack *stack = &(*per_hart_of(object_stacks, hart))[cache->stack_index];
        if (front->loaded != NULL)
            objects += (uint64_t)(stack->top - &front->loaded->bottom);
        if (front->previous != NULL)
            objects += front->previous->count;
    }
    for (const struct magazine *full = cache->depot.full; full != NULL; full = full->next)
        objects += full->count;
    return objects;
}

struct kmem_cache *magazines_cache_at(int64_t offset)
{
    return owners[(uint64_t)(offset - hart_stack_offset(object_stacks)) / sizeof(struct hart_stack)];
}

size_t magazines_loaded(const struct kmem_cache *cache)
{
    const struct magazine *magazine = front_of(cache)->loaded;

    return magazine != NULL ? (size_t)(stack_of(cache)->top - &magazine->bottom) : 0;
}

uint64_t magazines_depot_pages(const struct kmem_cache *cache)
{
    unsigned rounds = rounds_for(cache, __atomic_load_n(&cache->depot.size, __ATOMIC_RELAXED));

    return (uint64_t)__atomic_load_n(&cache->depot.full_count, __ATOMIC_RELAXED) * rounds * cache->stride_bytes >>
           PAGE_SHIFT;
}

void magazines_init(bool enabled)
{
    char name[SLAB_NAME_BYTES];

    magazines_init_hart();
    for (unsigned size = 0; size < SIZES; size++) {
        format_text(name, sizeof(name), "magazine-%u", (unsigned)rounds_of_size[size]);
        magazine_caches[size] = kmem_cache_create(name, HEADER_BYTES + rounds_of_size[size] * sizeof(void *), 0,
                                                  SLAB_NO_MAGAZINES | SLAB_PANIC | SLAB_KEEPS_CONTENTS, NULL, NULL);
    }
    page_lists_set_upper(magazines_drain_hart, magazines_trim_hart);
    is_enabled = enabled;
}
