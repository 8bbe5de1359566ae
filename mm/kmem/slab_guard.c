// Guarded objects: slots, and what a fault among them means. Theory: <mm/slab_guard.h>.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/slab_guard.h>

#include "slab_internal.h"

#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>

#define PATTERN 0xaa

enum slot_state { SLOT_EMPTY, SLOT_IN_USE, SLOT_FREED };

// (L) the lock, (C) constant; a slot that is neither in the queue nor in use is its user's alone
struct slot {
    struct kmem_cache *cache;      // (L)
    char *object;                  // (L)
    size_t size;                   // (L) bytes asked for
    enum slot_state state;         // (L)
    struct slab_user allocated, freed;
};

static struct {
    struct spinlock lock;
    struct slab_guard_memory memory;       // (C)
    uint64_t interval;                     // (C)
    uint64_t turns;                        // (A)
    struct slot slot[SLAB_GUARD_SLOTS];
    uint8_t queue[SLAB_GUARD_SLOTS];       // (L) slots that are not in use, the longest first
    unsigned first, queued;                // (L)
    bool shown[SLAB_GUARD_PAGES];          // (L) of the window's pages
} pool = { .lock = SPINLOCK_INIT(SLAB_GUARD) };

void slab_guard_set_interval(uint64_t interval) { pool.interval = interval; }
uint64_t slab_guard_interval(void) { return pool.interval; }

void slab_guard_register(const struct slab_guard_memory *memory)
{
    pool.memory = *memory;
    for (unsigned i = 0; i < SLAB_GUARD_SLOTS; i++)
        pool.queue[i] = (uint8_t)i;
    pool.queued = SLAB_GUARD_SLOTS;
}

static unsigned page_of_slot(unsigned index) { return 2 * index + 1; }

static unsigned page_at(const void *address)
{
    return (unsigned)(((uintptr_t)address - (uintptr_t)pool.memory.base) >> PAGE_SHIFT);
}

static char *slot_start(unsigned index) { return pool.memory.base + ((size_t)page_of_slot(index) << PAGE_SHIFT); }

bool slab_guard_holds(const void *address)
{
    return (uintptr_t)address - (uintptr_t)pool.memory.base < (size_t)SLAB_GUARD_PAGES << PAGE_SHIFT &&
           pool.memory.base != NULL;
}

bool slab_guard_shows(const void *address) { return pool.shown[page_at(address)]; }

// The slot whose page holds the address, NULL in a guard.
static struct slot *slot_at(const void *address)
{
    unsigned page = page_at(address);

    return page % 2 == 1 ? &pool.slot[page / 2] : NULL;
}

static void show_locked(unsigned page)
{
    if (!pool.shown[page])
        pool.memory.show(page);
    pool.shown[page] = true;
}

static void hide_locked(unsigned page)
{
    if (pool.shown[page])
        pool.memory.hide(page);
    pool.shown[page] = false;
}

// A slot's page, in sight, with nothing in sight around it; SLAB_GUARD_SLOTS when all are in use.
static unsigned take_slot(void)
{
    unsigned index = SLAB_GUARD_SLOTS;
    irqflags_t flags = spin_lock_irqsave(&pool.lock);

    if (pool.queued > 0) {
        index = pool.queue[pool.first];
        pool.first = (pool.first + 1) % SLAB_GUARD_SLOTS;
        pool.queued--;
        pool.slot[index].state = SLOT_EMPTY;
        hide_locked(page_of_slot(index) - 1);
        hide_locked(page_of_slot(index) + 1);
        show_locked(page_of_slot(index));
    }
    spin_unlock_irqrestore(&pool.lock, flags);
    return index;
}

static void give_slot(unsigned index)
{
    irqflags_t flags = spin_lock_irqsave(&pool.lock);

    hide_locked(page_of_slot(index));
    pool.queue[(pool.first + pool.queued++) % SLAB_GUARD_SLOTS] = (uint8_t)index;
    spin_unlock_irqrestore(&pool.lock, flags);
}

void *slab_guard_alloc(struct kmem_cache *cache, size_t size, const void *caller)
{
    if (pool.memory.base == NULL || pool.interval == 0 || size > PAGE_SIZE || (cache->flags & SLAB_DMA) != 0)
        return NULL;
    uint64_t turn = __atomic_fetch_add(&pool.turns, 1, __ATOMIC_RELAXED);
    if (turn % pool.interval != 0)
        return NULL;
    unsigned index = take_slot();
    if (index == SLAB_GUARD_SLOTS)
        return NULL;

    struct slot *slot = &pool.slot[index];
    bool is_at_end = turn / pool.interval % 2 == 0;
    char *start = slot_start(index);
    char *object = start + (is_at_end ? align_down(PAGE_SIZE - size, (size_t)cache->align_bytes) : 0);
    memset(start, PATTERN, PAGE_SIZE);
    if (cache->constructor != NULL)
        cache->constructor(object);
    else
        memset(object, SLAB_POISON_NEW, size);
    slab_user_note(&slot->allocated, caller);
    slot->freed.depth = 0;

    irqflags_t flags = spin_lock_irqsave(&pool.lock);
    slot->cache = cache;
    slot->object = object;
    slot->size = size;
    slot->state = SLOT_IN_USE;
    spin_unlock_irqrestore(&pool.lock, flags);
    return object;
}

size_t slab_guard_size(const void *object)
{
    const struct slot *slot = slot_at(object);

    return slot != NULL && slot->state == SLOT_IN_USE && slot->object == object ? slot->size : 0;
}

void slab_guard_shrink(const void *object, size_t size)
{
    struct slot *slot = slot_at(object);

    memset(slot->object + size, PATTERN, slot->size - size);
    slot->size = size;
}

uint64_t slab_guard_live(const struct kmem_cache *cache)
{
    uint64_t live = 0;

    for (unsigned i = 0; i < SLAB_GUARD_SLOTS && pool.interval != 0; i++)
        live += pool.slot[i].state == SLOT_IN_USE && pool.slot[i].cache == cache;
    return live;
}

static void report(const struct slot *slot, const char *what, const void *address, const void *caller)
{
    slab_count_misuse();
    klog_error("slab: %s: %s: guarded object %p of %zu bytes, at byte %ld, by %p\n", slot->cache->name, what,
               slot->object, slot->size, (long)((const char *)address - slot->object), caller);
    slab_user_print(&slot->allocated, "allocated", klog_print_error);
    slab_user_print(&slot->freed, "freed", klog_print_error);
}

// What the object's alignment or a constant distance hid from the guards.
static void check_pattern(const struct slot *slot, unsigned index, const void *caller)
{
    const char *start = slot_start(index), *end = start + PAGE_SIZE;

    for (const char *at = start; at < end; at++) {
        if (at == slot->object)
            at += slot->size;
        if (at < end && *at != (char)PATTERN) {
            report(slot, at < slot->object ? "written below its start" : "written past its end", at, caller);
            return;
        }
    }
}

void slab_guard_free(const char *operation, struct kmem_cache *cache, const void *object, const void *caller)
{
    struct slot *slot = slot_at(object);
    const char *fault = NULL;

    irqflags_t flags = spin_lock_irqsave(&pool.lock);
    if (slot == NULL || slot->cache == NULL)
        fault = "no guarded object was ever there";
    else if (slot->object != object)
        fault = "no object starts there";
    else if (slot->state != SLOT_IN_USE)
        fault = "it is free already";
    else if (cache != NULL ? slot->cache != cache : (slot->cache->flags & SLAB_KMALLOC) == 0)
        fault = "it belongs to another cache";
    else
        slot->state = SLOT_FREED;
    spin_unlock_irqrestore(&pool.lock, flags);
    if (fault != NULL) {
        if (slot != NULL && slot->cache != NULL)
            report(slot, fault, object, caller);
        else
            slab_report_bad_call(operation, cache != NULL ? cache->name : NULL, fault);
        return;
    }
    unsigned index = (unsigned)(slot - pool.slot);
    check_pattern(slot, index, caller);
    slab_user_note(&slot->freed, caller);
    if (slot->cache->destructor != NULL)
        slot->cache->destructor(slot->object);
    else if (slab_clears_on_free)
        memset(slot->object, 0, slot->size);
    give_slot(index);
}

bool slab_guard_fault(const void *address, const char *access)
{
    if (!slab_guard_holds(address))
        return false;
    unsigned page = page_at(address);
    struct slot *slot = slot_at(address), *below = page > 0 ? &pool.slot[(page - 1) / 2] : NULL;
    char what[64];

    // In a guard: of the object that ends before it, or else of the one that starts behind.
    bool is_past = slot == NULL && below != NULL && below->state == SLOT_IN_USE &&
                   below->object + below->size + PAGE_SIZE / 2 > (const char *)address;
    if (slot == NULL)
        slot = is_past || page / 2 >= SLAB_GUARD_SLOTS ? below : &pool.slot[page / 2];
    format_text(what, sizeof(what), "%s %s", access,
                page % 2 == 1 ? "after it was freed" : is_past ? "past its end" : "below its start");
    if (slot != NULL && slot->cache != NULL)
        report(slot, what, address, NULL);
    else
        slab_report_bad_call(access, NULL, "a guard beside no object");
    irqflags_t flags = spin_lock_irqsave(&pool.lock);
    show_locked(page);
    spin_unlock_irqrestore(&pool.lock, flags);
    return true;
}
