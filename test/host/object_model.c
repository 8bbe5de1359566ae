// The model of the object layer: two bits for each 8 bytes, rings of what is held, and the checks.
// SPDX-License-Identifier: BSD-2-Clause
#include "object_model.h"

#include <arch/smp.h>
#include <check/check.h>
#include <mm/ledger.h>
#include <mm/magazine.h>
#include <mm/page_lists.h>
#include <stdlib.h>
#include <string.h>

#define WORD sizeof(uint64_t)
#define PATTERN 0x9e3779b97f4a7c15

// Objects of at most so many words are looked at, and written to, as a whole; of longer ones this many words and one
// more are looked at, and three written to.
#define WHOLE_WORDS 8
#define CONSTRUCTED_WORDS_CHECKED 48

struct object_model object_model;

static struct ledger ledger_at_start;
static uint64_t live_at_start[2][KMALLOC_CLASSES];
static struct kmalloc_large_stats large_at_start;

// --- Bits

// The index of 8 bytes of RAM; other addresses are a failure.
static uint64_t word_index(const void *address)
{
    uint64_t at = virt_to_phys(address).value, before = 0;

    for (unsigned i = 0; i < MODEL_PIECES; before += object_model.piece[i++].pages << PAGE_SHIFT) {
        uint64_t offset = at - (object_model.piece[i].start_pfn << PAGE_SHIFT);
        if (offset < object_model.piece[i].pages << PAGE_SHIFT)
            return (before + offset) / WORD;
    }
    model_fail("%p is no RAM", address);
}

// Another hart may change its neighbours: constructors and destructors run there, too.
static void mark_held(const void *address, uint64_t bytes, bool is_held)
{
    uint64_t first = word_index(address), left = (bytes + WORD - 1) / WORD;

    while (left > 0) {
        uint64_t *bits = &object_model.is_held[first / 64], count = min_of(left, 64 - first % 64);
        uint64_t mask = (count < 64 ? (1UL << count) - 1 : ~0UL) << first % 64;
        uint64_t before = is_held ? __atomic_fetch_or(bits, mask, __ATOMIC_RELAXED)
                                  : __atomic_fetch_and(bits, ~mask, __ATOMIC_RELAXED);
        if ((before & mask) != (is_held ? 0 : mask))
            model_fail("%p, %lu bytes: %s", address, bytes, is_held ? "handed out already" : "nobody's");
        first += count;
        left -= count;
    }
}

static bool is_set(const uint64_t *bits, uint64_t index)
{
    return (__atomic_load_n(&bits[index / 64], __ATOMIC_RELAXED) >> index % 64 & 1) != 0;
}

static uint64_t held_bytes(const struct object_source *source, const struct held_object *held)
{
    if (source->cache != NULL)
        return held->bytes;
    return held->class < KMALLOC_CLASSES ? kmalloc_class_bytes(held->class) : PAGE_SIZE << held->order;
}

// --- Constructed state

static unsigned slot_of(const struct object_source *source) { return (unsigned)(source - object_model.source); }

static bool is_constructed_source(const struct object_source *source)
{
    return source->construction == CONSTRUCTED || source->construction == CONSTRUCTED_ONLY;
}

// Words with a pattern: the last one of a nested object is a pointer.
static uint64_t patterned_words(const struct object_source *source)
{
    return source->bytes / WORD - (slot_of(source) == NESTED_SLOT);
}

static uint64_t pattern_at(const uint64_t *word) { return (uintptr_t)word * PATTERN; }

static void check_constructed(const struct object_source *source, const uint64_t *words)
{
    uint64_t count = patterned_words(source), checked = min_of(count, (uint64_t)CONSTRUCTED_WORDS_CHECKED), stray = 0;

    for (uint64_t i = 0; i < checked; i++)
        stray |= words[i] ^ pattern_at(&words[i]);
    stray |= words[count - 1] ^ pattern_at(&words[count - 1]);
    if (stray != 0)
        model_fail("%p of %s: not as it was constructed", (const void *)words, source->cache->name);
}

static void make_nested(uint64_t **place)
{
    uint64_t *nested = kmalloc_sized(NESTED_BYTES, GFP_NOWAIT | __GFP_NOWARN);

    *place = nested;
    if (nested == NULL)
        return;
    mark_held(nested, kmalloc_class_bytes(kmalloc_class(NESTED_BYTES)), true);
    *nested = pattern_at(nested);
    __atomic_fetch_add(&object_model.nested, 1, __ATOMIC_RELAXED);
}

static void free_nested(const uint64_t *nested)
{
    if (nested == NULL)
        return;
    if (*nested != pattern_at(nested))
        model_fail("%p, nested: written to by another", (const void *)nested);
    mark_held(nested, kmalloc_class_bytes(kmalloc_class(NESTED_BYTES)), false);
    __atomic_fetch_sub(&object_model.nested, 1, __ATOMIC_RELAXED);
    kfree(nested);
}

static void construct(unsigned slot, uint64_t *object)
{
    struct object_source *source = &object_model.source[slot];
    uint64_t index = word_index(object);

    __atomic_fetch_add(&source->constructed, 1, __ATOMIC_RELAXED);
    if (is_set(object_model.is_held, index))
        model_fail("%p: constructed though somebody has it", (void *)object);
    for (uint64_t i = 0; i < patterned_words(source); i++)
        object[i] = pattern_at(&object[i]);
    if (source->construction == CONSTRUCTED_ONLY)
        return;
    uint64_t bit = 1UL << index % 64;
    if (__atomic_fetch_or(&object_model.is_constructed[index / 64], bit, __ATOMIC_RELAXED) & bit)
        model_fail("%p: constructed twice", (void *)object);
    if (slot == NESTED_SLOT)
        make_nested((uint64_t **)(void *)&object[source->bytes / WORD - 1]);
}

static void destruct(unsigned slot, uint64_t *object)
{
    struct object_source *source = &object_model.source[slot];
    uint64_t index = word_index(object), bit = 1UL << index % 64;

    __atomic_fetch_add(&source->destructed, 1, __ATOMIC_RELAXED);
    if (is_set(object_model.is_held, index))
        model_fail("%p: destructed though somebody has it", (void *)object);
    if (source->construction == DESTRUCTED_ONLY)
        return;
    if (!(__atomic_fetch_and(&object_model.is_constructed[index / 64], ~bit, __ATOMIC_RELAXED) & bit))
        model_fail("%p: destructed, but not constructed", (void *)object);
    check_constructed(source, object);
    if (slot == NESTED_SLOT)
        free_nested((const uint64_t *)object[source->bytes / WORD - 1]);
}

#define FUNCTIONS_OF(slot) \
    static void construct_##slot(void *object) { construct(slot, object); } \
    static void destruct_##slot(void *object) { destruct(slot, object); }
FUNCTIONS_OF(0)
FUNCTIONS_OF(1)
FUNCTIONS_OF(2)
FUNCTIONS_OF(3)
FUNCTIONS_OF(4)
FUNCTIONS_OF(5)
FUNCTIONS_OF(6)
FUNCTIONS_OF(7)

void (*object_model_constructor(unsigned slot))(void *)
{
    static void (*const functions[CONSTRUCTED_SLOTS])(void *) = {
        construct_0, construct_1, construct_2, construct_3, construct_4, construct_5, construct_6, construct_7,
    };

    return is_constructed_source(&object_model.source[slot]) ? functions[slot] : NULL;
}

void (*object_model_destructor(unsigned slot))(void *)
{
    static void (*const functions[CONSTRUCTED_SLOTS])(void *) = {
        destruct_0, destruct_1, destruct_2, destruct_3, destruct_4, destruct_5, destruct_6, destruct_7,
    };
    enum construction construction = object_model.source[slot].construction;

    return construction == CONSTRUCTED || construction == DESTRUCTED_ONLY ? functions[slot] : NULL;
}

// --- Contents

// Words of an object that are its user's; and the place of the k-th of those that have a tag.
static uint64_t words_of(const struct object_source *source, const struct held_object *held)
{
    return is_constructed_source(source) ? patterned_words(source) : held->bytes / WORD;
}

static uint64_t tagged_count(uint64_t words) { return words <= WHOLE_WORDS ? words : 3; }

static uint64_t tagged_place(const struct held_object *held, uint64_t words, uint64_t k)
{
    return words <= WHOLE_WORDS ? k : k == 0 ? 0 : k == 1 ? words - 1 : (held->tag >> 17) % words;
}

// Bytes behind the last whole word, which a constructor does not know.
static uint64_t rest_of(const struct object_source *source, const struct held_object *held)
{
    return is_constructed_source(source) ? 0 : held->bytes % WORD;
}

static void write_tag(const struct object_source *source, struct held_object *held)
{
    uint64_t *object = (uint64_t *)(void *)held->address, words = words_of(source, held);

    held->tag = object_model.next_tag += PATTERN;
    for (uint64_t k = 0; k < tagged_count(words); k++)
        object[tagged_place(held, words, k)] = held->tag + tagged_place(held, words, k);
    memcpy(held->address + words * WORD, &held->tag, rest_of(source, held));
}

// Of the first `bytes` of what is at `address` now.
static bool has_tag(const struct object_source *source, const struct held_object *held, const char *address,
                    uint64_t bytes)
{
    const uint64_t *object = (const uint64_t *)(const void *)address;
    uint64_t words = words_of(source, held), stray = 0;

    for (uint64_t k = 0; k < tagged_count(words); k++) {
        uint64_t place = tagged_place(held, words, k);
        if ((place + 1) * WORD <= bytes)
            stray |= object[place] ^ (held->tag + place);
    }
    return stray == 0 && (bytes < held->bytes ||
                          memcmp(address + words * WORD, &held->tag, rest_of(source, held)) == 0);
}

static void check_zero(const char *address, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        if (address[i] != 0)
            model_fail("%p: byte %lu of %lu is not zero", (const void *)address, i, to);
}

// --- What is held

static struct held_object *held_at(const struct object_source *source, uint64_t place)
{
    return &source->ring[(source->first + place) & source->mask];
}

static void grow_ring(struct object_source *source)
{
    uint64_t size = source->ring != NULL ? 2 * (source->mask + 1) : 1024;
    struct held_object *ring = calloc(size, sizeof(*ring));

    if (ring == NULL)
        model_fail("no memory for a ring of %lu", size);
    for (uint64_t i = 0; i < source->count; i++)
        ring[i] = *held_at(source, i);
    free(source->ring);
    source->ring = ring;
    source->first = 0;
    source->mask = size - 1;
}

static void push(struct object_source *source, struct held_object held)
{
    if (source->ring == NULL || source->count > source->mask)
        grow_ring(source);
    *held_at(source, source->count++) = held;
}

// The youngest takes the place, unless it is at an end.
static struct held_object pull(struct object_source *source, uint64_t place)
{
    struct held_object held = *held_at(source, place);

    source->count--;
    if (place == 0)
        source->first++;
    else
        *held_at(source, place) = *held_at(source, source->count);
    return held;
}

// One more, or one less.
static void count_kmalloc(const struct held_object *held, uint64_t one)
{
    if (held->class < KMALLOC_CLASSES) {
        object_model.held_of_class[held->is_dma][held->class] += one;
        return;
    }
    object_model.large.count += one;
    object_model.large.bytes_requested += one * held->bytes;
    object_model.large.pages += one << held->order;
}

// By the class: krealloc may leave a power of two where it is, in an object of 96 or 192 bytes.
static uint64_t align_of(const struct object_source *source, const struct held_object *held)
{
    uint64_t bytes = held_bytes(source, held);

    if (source->cache != NULL)
        return max_of(source->align_bytes, (uint32_t)WORD);
    return is_power_of_two(bytes) ? min_of(bytes, PAGE_SIZE) : WORD;
}

void object_model_take(struct object_source *source, struct held_object held, bool is_zero)
{
    bool is_dma = held.is_dma || (source->cache != NULL && (source->cache->flags & SLAB_DMA) != 0);

    if (!is_aligned((uintptr_t)held.address, align_of(source, &held)))
        model_fail("%p, %u bytes: not aligned to %lu", (void *)held.address, held.bytes, align_of(source, &held));
    mark_held(held.address, held_bytes(source, &held), true);
    if (is_dma && page_zone(virt_to_page(held.address)) != gfp_zone(GFP_DMA))
        model_fail("%p: not in the zone of DMA", (void *)held.address);
    if (is_constructed_source(source))
        check_constructed(source, (uint64_t *)(void *)held.address);
    if (source->construction == CONSTRUCTED && !is_set(object_model.is_constructed, word_index(held.address)))
        model_fail("%p of %s: never constructed", (void *)held.address, source->cache->name);
    if (is_zero)
        check_zero(held.address, 0, held.bytes);
    if (source->cache == NULL)
        count_kmalloc(&held, 1);
    write_tag(source, &held);
    push(source, held);
}

struct held_object object_model_drop(struct object_source *source, uint64_t place)
{
    struct held_object held = pull(source, place);
    uint64_t words = words_of(source, &held), *object = (uint64_t *)(void *)held.address;

    if (!has_tag(source, &held, held.address, held.bytes))
        model_fail("%p, %u bytes: written to by another", (void *)held.address, held.bytes);
    if (is_constructed_source(source))
        for (uint64_t k = 0; k < tagged_count(words); k++) {
            uint64_t *word = &object[tagged_place(&held, words, k)];
            *word = pattern_at(word);
        }
    mark_held(held.address, held_bytes(source, &held), false);
    if (source->cache == NULL)
        count_kmalloc(&held, -1UL);
    return held;
}

void object_model_moved(const struct held_object *before, struct held_object after)
{
    struct object_source *source = &object_model.source[KMALLOC_SOURCE];

    if (!has_tag(source, before, after.address, min_of(before->bytes, after.bytes)))
        model_fail("%p, %u bytes: not what it was with %u bytes", (void *)after.address, after.bytes, before->bytes);
    if (after.is_zeroed)
        check_zero(after.address, before->bytes, after.bytes);
    object_model_take(source, after, false);
}

// --- Refusals

void object_model_refused(const struct kmem_cache *cache, gfp_t gfp, bool is_dma)
{
    if (cache != NULL && cache->slab_count * cache->objects_per_slab != cache->active_objects)
        model_fail("%s has no object, but %lu slabs with %lu in use", cache->name, cache->slab_count,
                   cache->active_objects);
    if (cache != NULL && arch_hart_count() == 1 && magazines_objects(cache) != 0)
        model_fail("%s has no object, but %lu in magazines", cache->name, magazines_objects(cache));
    // Other harts' lists may come back only now.
    if (cache == NULL || cache->slab_order > 0 || !gfp_may_sleep(gfp) || arch_hart_count() > 1)
        return;
    is_dma |= (cache->flags & SLAB_DMA) != 0;
    for (unsigned piece = 0; piece < (is_dma ? 1 : MODEL_PIECES); piece++) {
        const struct zone *zone = zone_of(pfn(object_model.piece[piece].start_pfn));
        if (zone->free_pages > model_pages_kept(zone, gfp))
            model_fail("%s has no object, but %s %lu free pages and keeps %lu", cache->name, zone->name,
                       zone->free_pages, model_pages_kept(zone, gfp));
    }
}

// --- Everything at once

static void check_cache(const struct object_source *source)
{
    const struct kmem_cache *cache = source->cache;
    uint64_t whole = source->constructed - source->destructed, made = cache->slab_count * cache->objects_per_slab;

    if (kmem_cache_live_objects(cache) != source->count)
        model_fail("%s says that %lu objects live, the model %lu", cache->name, kmem_cache_live_objects(cache),
                   source->count);
    if (source->construction == CONSTRUCTED && whole != made)
        model_fail("%s has %lu objects, of which %lu are constructed", cache->name, made, whole);
}

static void check_classes(void)
{
    for (unsigned class = 0; class < KMALLOC_CLASSES; class++)
        for (unsigned dma = 0; dma < 2; dma++) {
            const struct kmem_cache *cache = kmalloc_caches[dma][class];
            uint64_t expected = live_at_start[dma][class] + object_model.held_of_class[dma][class];
            if (dma == 0 && class == kmalloc_class(NESTED_BYTES))
                expected += object_model.nested;
            if (kmem_cache_live_objects(cache) != expected)
                model_fail("%s says that %lu objects live, the model %lu", cache->name,
                           kmem_cache_live_objects(cache), expected);
        }
}

void object_model_check_counts(void)
{
    struct kmalloc_large_stats large = kmalloc_large_stats(), expected = object_model.large;

    // Other harts may be asked to empty their magazines, and be at it: it is waited for.
    if (arch_hart_count() > 1)
        page_lists_drain_all();
    for (unsigned slot = 0; slot < CACHE_SLOTS; slot++)
        if (object_model.source[slot].cache != NULL)
            check_cache(&object_model.source[slot]);
    check_classes();
    if (large.count - large_at_start.count != expected.count ||
        large.bytes_requested - large_at_start.bytes_requested != expected.bytes_requested ||
        large.pages - large_at_start.pages != expected.pages)
        model_fail("large blocks: %lu of %lu bytes in %lu pages, the model says %lu of %lu in %lu", large.count,
                   large.bytes_requested, large.pages, expected.count, expected.bytes_requested, expected.pages);
}

void object_model_check_all(void)
{
    object_model_check_counts();

    struct ledger ledger = ledger_take();
    unsigned defects = check_all();
    uint64_t large = ledger.pages[PAGE_KMALLOC] - ledger_at_start.pages[PAGE_KMALLOC];
    if (defects > 0)
        model_fail("the validators found %u defects", defects);
    if (slab_misuse_count() > 0)
        model_fail("%lu calls were reported as misuse", slab_misuse_count());
    if (large != object_model.large.pages || ledger.pages[PAGE_SLAB] != slab_pages() || ledger.orphans != 0 ||
        ledger.total != ledger_at_start.total)
        model_fail("the ledger has %lu pages of kmalloc and %lu of slabs, %lu of %lu without an owner", large,
                   ledger.pages[PAGE_SLAB], ledger.orphans, ledger.total);
}

void object_model_start(void)
{
    uint64_t words = (object_model.piece[0].pages + object_model.piece[1].pages) * (PAGE_SIZE / WORD);

    object_model.is_held = calloc(words / 64, sizeof(uint64_t));
    object_model.is_constructed = calloc(words / 64, sizeof(uint64_t));
    if (object_model.is_held == NULL || object_model.is_constructed == NULL)
        model_fail("no memory for a model of %lu words", words);
    ledger_at_start = ledger_take();
    large_at_start = kmalloc_large_stats();
    for (unsigned class = 0; class < KMALLOC_CLASSES; class++)
        for (unsigned dma = 0; dma < 2; dma++)
            live_at_start[dma][class] = kmem_cache_live_objects(kmalloc_caches[dma][class]);
    object_model.free_pages = zones_free_pages();
}
