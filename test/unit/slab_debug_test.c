// mm/kmem: what caches that look for errors say, how often, and that it is put right.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/slab_debug.h>

#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <stdarg.h>

#define ALL_FLAGS (SLAB_CONSISTENCY | SLAB_RED_ZONE | SLAB_POISON | SLAB_STORE_USER)

// Bytes of an object, the distance to what is recorded of it included.
static uint8_t byte_of(const void *object, long at) { return ((const uint8_t *)object)[at]; }

// Damage is told once, with whatever finds it first, and is put right with it.
KTEST(slab_debug, damage_is_told_once_and_put_right)
{
    struct kmem_cache *cache = kmem_cache_create("test", 52, 0, ALL_FLAGS, NULL, NULL);
    REQUIRE(cache);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL), *other = kmem_cache_alloc(cache, GFP_KERNEL);
    REQUIRE(object && other);

    EXPECT_EQ(kmem_cache_validate(cache), 0);
    object[52] = 1;
    EXPECT_MISUSE(1, EXPECT_EQ(kmem_cache_validate(cache), 1));
    EXPECT_EQ(byte_of(object, 52), 0xcc);
    EXPECT_MISUSE(0, EXPECT_EQ(kmem_cache_validate(cache), 0));
    object[-1] = 1;
    object[55] = 1;
    EXPECT_MISUSE(2, kmem_cache_free(cache, object));
    EXPECT_MISUSE(0, EXPECT_EQ(kmem_cache_validate(cache), 0));

    // The free object: its bytes and the zones around it.
    object[0] = object[50] = 1;
    EXPECT_MISUSE(1, EXPECT_EQ(kmem_cache_validate(cache), 1));
    EXPECT_EQ(byte_of(object, 50), 0x6b);
    object[-8] = 1;
    EXPECT_MISUSE(1, EXPECT_EQ(kmem_cache_validate(cache), 1));
    EXPECT_EQ(byte_of(object, -8), 0xbb);
    object[53] = 1;
    EXPECT_MISUSE(1, object = kmem_cache_alloc(cache, GFP_KERNEL));
    REQUIRE(object);
    EXPECT_EQ(byte_of(object, 0), slab_clears_on_alloc ? 0 : 0x5a);
    EXPECT_EQ(byte_of(object, 51), slab_clears_on_alloc ? 0 : 0x5a);
    EXPECT_EQ(byte_of(object, 53), 0xcc);

    kmem_cache_free(cache, object);
    kmem_cache_free(cache, other);
    object[7] = 1;
    EXPECT_MISUSE(1, kmem_cache_shrink(cache));
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

static void construct(void *object) { memset(object, 'c', 16); }

// What a constructor wrote has to be there when the object comes back and while it is free; the rest is the user's.
KTEST(slab_debug, constructed_state_is_compared)
{
    struct kmem_cache *cache = kmem_cache_create("test", 40, 0, SLAB_POISON, construct, NULL);
    REQUIRE(cache);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL);
    REQUIRE(object);

    EXPECT_EQ(object[0], 'c');
    memset(object + 16, 'u', 24);
    EXPECT_MISUSE(0, kmem_cache_free(cache, object));
    EXPECT_MISUSE(0, object = kmem_cache_alloc(cache, GFP_KERNEL));
    object[15] = 'x';
    EXPECT_MISUSE(1, kmem_cache_free(cache, object));
    EXPECT_EQ(object[15], 'c');
    object[3] = 'x';
    EXPECT_MISUSE(1, EXPECT_EQ(kmem_cache_validate(cache), 1));
    object[20] = 'x';
    EXPECT_MISUSE(1, EXPECT_EQ(kmem_cache_validate(cache), 1));
    EXPECT_MISUSE(0, EXPECT_EQ(kmem_cache_validate(cache), 0));
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Every size and alignment has its zones, records and poison where nothing else is.
KTEST(slab_debug, layouts_of_all_sizes)
{
    for (size_t size = 1; size <= PAGE_SIZE * 2; size = size * 5 / 4 + 1)
        for (size_t align = 0; align <= 256; align = align * 16 + 16) {
            struct kmem_cache *cache = kmem_cache_create("test", size, align, ALL_FLAGS, NULL, NULL);
            void *objects[5];
            REQUIRE(cache);
            for (unsigned i = 0; i < array_count(objects); i++) {
                objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
                REQUIRE(objects[i]);
                EXPECT_EQ((uintptr_t)objects[i] % max_of(align, sizeof(uint64_t)), 0);
                memset(objects[i], 'd', size);
            }
            EXPECT_EQ(kmem_cache_validate(cache), 0);
            for (unsigned i = 0; i < array_count(objects); i++)
                kmem_cache_free(cache, objects[i]);
            EXPECT_EQ(kmem_cache_validate(cache), 0);
            EXPECT_EQ(kmem_cache_destroy(cache), 0);
        }
}

static unsigned lines_printed;
static bool names_allocation, names_free;

static void collect(const char *format, ...) printf_like(1, 2);

static void collect(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    lines_printed++;
    if (strncmp(format, "  %s on hart", 12) == 0) {
        const char *did = va_arg(args, const char *);
        names_allocation |= strcmp(did, "allocated") == 0;
        names_free |= strcmp(did, "freed") == 0;
    }
    va_end(args);
}

// Who allocated and who freed an object is known as long as nobody else has it.
KTEST(slab_debug, users_are_recorded)
{
    struct kmem_cache *cache = kmem_cache_create("test", 64, 0, SLAB_STORE_USER, NULL, NULL);
    REQUIRE(cache);
    void *object = kmem_cache_alloc(cache, GFP_KERNEL);
    REQUIRE(object);

    names_allocation = names_free = false;
    EXPECT(slab_print_users(object, collect));
    EXPECT(names_allocation && !names_free);
    EXPECT_GE(lines_printed, 2);
    kmem_cache_free(cache, object);
    EXPECT(slab_print_users(object, collect));
    EXPECT(names_free);
    EXPECT(!slab_print_users((char *)object + 8, collect));
    EXPECT(!slab_print_users(&cache, collect));
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

KTEST(slab_debug, settings_are_checked)
{
    static const char *const refused[] = {
        "", "X", "f", "FX", "F,", "F Z", ",kmalloc-8", "G", "G0", "G1000001", "G99999999999999999999999", "GF",
    };

    for (unsigned i = 0; i < array_count(refused); i++)
        EXPECT_NOT_NULL(slab_debug_init(refused[i]));
    EXPECT_NULL(slab_debug_init("none"));
}

KTEST(slab_debug, poison_is_known_by_sight)
{
    EXPECT_NOT_NULL(slab_poison_text(0x6b6b6b6b6b6b6b6bUL));
    EXPECT_NOT_NULL(slab_poison_text(0x6b6b6b6b6b6b6b6bUL + 4096));
    EXPECT_NOT_NULL(slab_poison_text(0x5a5a5a5a5a5a5a5aUL));
    EXPECT_NULL(slab_poison_text(0));
    EXPECT_NULL(slab_poison_text((uintptr_t)&lines_printed));
}

// Objects of caches made while it is asked for are clear when they are handed out, and when they were freed; those with
// a constructor keep its state.
KTEST(slab_debug, objects_are_cleared)
{
    bool was_on_alloc = slab_clears_on_alloc, was_on_free = slab_clears_on_free;
    slab_clear_init(true, true);
    struct kmem_cache *cache = kmem_cache_create("test", 120, 0, 0, NULL, NULL);
    struct kmem_cache *constructed = kmem_cache_create("constructed", 40, 0, 0, construct, NULL);
    REQUIRE(cache && constructed);
    for (unsigned round = 0; round < 3; round++) {
        char *object = kmem_cache_alloc(cache, GFP_KERNEL), *state = kmem_cache_alloc(constructed, GFP_KERNEL);
        char *block = kmalloc(KMALLOC_MAX_CACHE_BYTES * 2, GFP_KERNEL);
        void *many[20];
        REQUIRE(object && state && block);
        EXPECT_EQ(kmem_cache_alloc_bulk(cache, GFP_KERNEL, array_count(many), many), array_count(many));
        for (unsigned i = 0; i < 120; i++)
            EXPECT(object[i] == 0 && ((char *)many[19])[i] == 0);
        EXPECT_EQ(state[15], 'c');
        EXPECT(block[0] == 0 && block[KMALLOC_MAX_CACHE_BYTES * 2 - 1] == 0);
        memset(object, 0xff, 120);
        memset(many[19], 0xff, 120);
        memset(block, 0xff, KMALLOC_MAX_CACHE_BYTES * 2);
        kmem_cache_free(cache, object);
        for (unsigned i = 8; i < 120; i++)
            EXPECT_EQ(object[i], 0);
        kmem_cache_free_bulk(cache, array_count(many), many);
        for (unsigned i = 8; i < 120; i++)
            EXPECT_EQ(((char *)many[19])[i], 0);
        kmem_cache_free(constructed, state);
        kfree(block);
    }
    slab_clear_init(was_on_alloc, was_on_free);
    EXPECT_EQ(kmem_cache_destroy(constructed), 0);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

// Neighbouring slabs of a cache with room to spare start their objects on different lines, and all know where.
KTEST(slab_debug, slabs_are_coloured)
{
    const size_t size = align_down(PAGE_SIZE * 2 / 5, 64UL);
    struct kmem_cache *cache = kmem_cache_create("test", size, 64, SLAB_NO_MAGAZINES, NULL, NULL);
    uint64_t colours = 0;
    void *objects[64];
    REQUIRE(cache);

    EXPECT_GE(cache->colour_mask, 1);
    EXPECT_EQ(kmem_cache_alloc_bulk(cache, GFP_KERNEL, array_count(objects), objects), array_count(objects));
    for (unsigned i = 0; i < array_count(objects); i++) {
        const struct page *slab = virt_to_slab(objects[i]);
        colours |= 1UL << (((uintptr_t)slab_object_at(cache, slab, 0) - (uintptr_t)page_to_virt(slab)) / 64 & 63);
        EXPECT_GE(slab_object_index(cache, slab, objects[i]), 0);
        memset(objects[i], 0xff, cache->object_bytes);
    }
    EXPECT_NE(colours & (colours - 1), 0);
    kmem_cache_free_bulk(cache, array_count(objects), objects);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}
