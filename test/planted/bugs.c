// The planted bugs, class by class.
// SPDX-License-Identifier: BSD-2-Clause

#include "bugs.h"

#include <arch/smp.h>
#include <arch/uaccess.h>
#include <base/bits.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/slab_debug.h>
#include <mm/vmalloc.h>

#define take(cache) ((char *)take_inside(cache))

// Hidden from the compiler, which would see what is wrong.
static void *hide(void *pointer)
{
    __asm__("" : "+r"(pointer));
    return pointer;
}

// --- Written past the end

static void overrun_by_one(void)
{
    char *object = take(planted.a);
    plant(object + 40, 1);
    kmem_cache_free(planted.a, object);
}

static void overrun_by_a_word(void)
{
    char *object = take(planted.large);
    for (unsigned i = 0; i < 8; i++)
        plant(object + 200 + i, 0x77);
    kmem_cache_free(planted.large, object);
}

static void overrun_of_the_second(void)
{
    char *first = take(planted.a), *second = take(planted.a);
    plant(second + 40 + 3, 1);
    kmem_cache_free(planted.a, first);
    kmem_cache_free(planted.a, second);
}

static void overrun_of_a_kmalloc(void)
{
    char *object = kmalloc_inside(64);
    plant(object + 64, 1);
    kfree(object);
}

static void overrun_into_the_rounding(void)
{
    char *object = kmalloc_inside(18);
    plant(object + 18, 1);
    kfree(object);
}

static void overrun_after_krealloc(void)
{
    char *object = krealloc(kmalloc_inside(48), 40, GFP_KERNEL);
    plant(object + 40, 1);
    kfree(object);
}

// --- Written below the start

static void underrun_by_one(void)
{
    char *object = take(planted.a);
    plant(object - 1, 1);
    kmem_cache_free(planted.a, object);
}

static void underrun_by_a_word(void)
{
    char *object = take(planted.large);
    for (unsigned i = 1; i <= 8; i++)
        plant(object - i, 0x77);
    kmem_cache_free(planted.large, object);
}

static void underrun_of_a_kmalloc(void)
{
    char *object = kmalloc_inside(128);
    plant(object - 1, 1);
    kfree(object);
}

static void underrun_of_an_odd_kmalloc(void)
{
    char *object = kmalloc_inside(100);
    plant(object - 8, 1);
    kfree(object);
}

static void underrun_of_the_second(void)
{
    char *first = take(planted.a), *second = take(planted.a);
    plant(second - 4, 1);
    kmem_cache_free(planted.a, second);
    kmem_cache_free(planted.a, first);
}

// --- Used after it was freed: written, then read

static void write_first_byte_after_free(void)
{
    char *object = take(planted.large);
    kmem_cache_free(planted.large, object);
    plant(object, 1);
    settle();
}

static void write_fiftieth_byte_after_free(void)
{
    char *object = take(planted.large);
    kmem_cache_free(planted.large, object);
    plant(object + 50, 1);
    settle();
}

static void write_last_byte_after_kfree(void)
{
    char *object = kmalloc(512, GFP_KERNEL);
    kfree(object);
    plant(object + 511, 1);
    settle();
}

static void write_found_by_the_next(void)
{
    char *object = take(planted.a), *next;
    kmem_cache_free(planted.a, object);
    plant(object + 20, 1);
    next = take(planted.a);
    kmem_cache_free(planted.a, next);
    settle();
}

static void write_of_constructed_after_free(void)
{
    char *object = take(planted.constructed);
    kmem_cache_free(planted.constructed, object);
    plant(object + offsetof(struct planted_state, scratch), 1);
    settle();
}

static void read_after_free(void)
{
    void *volatile *object = (void *)take(planted.a);
    object[2] = &planted;
    kmem_cache_free(planted.a, (void *)(uintptr_t)object);
    follow(object[2]);
}

static void read_of_a_kmalloc_after_free(void)
{
    void *volatile *object = kmalloc(256, GFP_KERNEL);
    object[9] = &planted;
    kfree((void *)(uintptr_t)object);
    follow(object[9]);
}

static void read_of_a_freed_list(void)
{
    struct node { uint64_t value; struct node *volatile next; };
    struct node *first = (void *)take(planted.a), *second = (void *)take(planted.a);
    first->next = second;
    second->next = NULL;
    kmem_cache_free(planted.a, second);
    follow(first->next->next);
    kmem_cache_free(planted.a, first);
}

static void read_of_a_bulk_after_free(void)
{
    void *objects[4];
    if (kmem_cache_alloc_bulk(planted.large, GFP_KERNEL, 4, objects) != 4)
        return;
    ((void **)objects[3])[5] = &planted;
    kmem_cache_free_bulk(planted.large, 4, objects);
    follow(((void *volatile *)objects[3])[5]);
}

static void read_through_krealloc(void)
{
    void *volatile *object = kmalloc(64, GFP_KERNEL);
    object[3] = &planted;
    void *moved = krealloc((void *)(uintptr_t)object, 600, GFP_KERNEL);
    follow(object[3]);
    kfree(moved);
}

// --- Freed twice

static void double_free_at_once(void)
{
    char *object = take(planted.a);
    kmem_cache_free(planted.a, object);
    kmem_cache_free(planted.a, object);
}

static void double_free_with_another_between(void)
{
    char *object = take(planted.a), *other = take(planted.a);
    kmem_cache_free(planted.a, object);
    kmem_cache_free(planted.a, other);
    kmem_cache_free(planted.a, object);
}

static void double_kfree(void)
{
    char *object = kmalloc(96, GFP_KERNEL);
    kfree(object);
    kfree(hide(object));
}

static void double_free_of_constructed(void)
{
    char *object = take(planted.constructed);
    kmem_cache_free(planted.constructed, object);
    kmem_cache_free(planted.constructed, object);
}

static void double_free_in_a_bulk(void)
{
    char *object = take(planted.large), *other = take(planted.large);
    void *objects[] = { object, other, object };
    kmem_cache_free_bulk(planted.large, array_count(objects), objects);
}

// The hart that comes last frees it first, so that where there are several it is mostly another one.
static struct { void *object; unsigned arrived; } handed_over;

static void free_on_the_last_hart(unsigned index unused_arg, void *argument unused_arg)
{
    if (__atomic_add_fetch(&handed_over.arrived, 1, __ATOMIC_ACQ_REL) == arch_hart_count())
        kmem_cache_free(planted.a, handed_over.object);
}

static void double_free_on_two_harts(void)
{
    handed_over.object = take(planted.a);
    handed_over.arrived = 0;
    ktest_run_on_harts(free_on_the_last_hart, NULL);
    kmem_cache_free(planted.a, handed_over.object);
}

// --- Freed, but no object of a cache

static void free_of_the_stack(void)
{
    char local[64];
    kmem_cache_free(planted.a, hide(local));
}

static void kfree_of_the_image(void) { kfree(hide(&planted)); }

static void kfree_of_a_vmalloc(void)
{
    char *area = vmalloc(PAGE_SIZE);
    kfree(hide(area));
    vfree(area);
}

static void free_of_a_page(void)
{
    void *page = __get_free_page(GFP_KERNEL);
    kmem_cache_free(planted.a, page);
    free_page(page);
}

static void kfree_of_a_page(void)
{
    void *page = __get_free_page(GFP_KERNEL);
    kfree(hide(page));
    free_page(page);
}

static void free_where_there_is_no_ram(void)
{
    kmem_cache_free(planted.a, phys_to_virt(paddr(ARCH_PHYS_LIMIT - 64)));
}

// --- Freed in its middle

static void free_of_the_middle(void)
{
    char *object = take(planted.large);
    kmem_cache_free(planted.large, object + 64);
    settle();
    kmem_cache_free(planted.large, object);
}

static void free_of_the_second_byte(void)
{
    char *object = take(planted.large);
    kmem_cache_free(planted.large, object + 1);
    settle();
    kmem_cache_free(planted.large, object);
}

static void kfree_of_the_middle(void)
{
    char *object = kmalloc(512, GFP_KERNEL);
    kfree(hide(object + 256));
    settle();
    kfree(object);
}

static void kfree_of_the_middle_of_pages(void)
{
    char *object = kmalloc(KMALLOC_MAX_CACHE_BYTES * 2, GFP_KERNEL);
    kfree(hide(object + PAGE_SIZE));
    kfree(object);
}

static void free_of_the_middle_in_a_bulk(void)
{
    char *object = take(planted.large), *other = take(planted.large);
    void *objects[] = { object + 96, other };
    kmem_cache_free_bulk(planted.large, array_count(objects), objects);
    settle();
    kmem_cache_free(planted.large, object);
}

// --- Freed when its slab was gone

static void free_after_shrink(void)
{
    char *object = take(planted.a);
    kmem_cache_free(planted.a, object);
    kmem_cache_shrink(planted.a);
    kmem_cache_free(planted.a, object);
}

static void free_in_what_is_a_page_now(void)
{
    char *object = take(planted.large);
    kmem_cache_free(planted.large, object);
    kmem_cache_shrink(planted.large);
    struct page *page = alloc_pages(GFP_KERNEL, planted.large->slab_order);
    kmem_cache_free(planted.large, object);
    __free_pages(page, planted.large->slab_order);
}

static void free_to_a_cache_that_is_gone(void)
{
    struct kmem_cache *cache = kmem_cache_create("planted-gone", 40, 0, 0, NULL, NULL);
    char *object = take(cache);
    kmem_cache_free(cache, object);
    if (kmem_cache_destroy(cache) == 0)
        kmem_cache_free(cache, object);
}

static void kfree_of_freed_pages(void)
{
    char *object = kmalloc(KMALLOC_MAX_CACHE_BYTES * 2, GFP_KERNEL);
    kfree(object);
    kfree(hide(object));
}

static void free_of_constructed_after_shrink(void)
{
    char *object = take(planted.constructed);
    kmem_cache_free(planted.constructed, object);
    kmem_cache_shrink(planted.constructed);
    kmem_cache_free(planted.constructed, object);
}

// --- Freed to another cache

static void free_to_a_cache_of_its_size(void)
{
    char *object = take(planted.a);
    kmem_cache_free(planted.b, object);
    kmem_cache_free(planted.a, object);
}

static void free_to_a_cache_of_another_size(void)
{
    char *object = take(planted.large);
    kmem_cache_free(planted.a, object);
    kmem_cache_free(planted.large, object);
}

static void kfree_of_a_caches_object(void)
{
    char *object = take(planted.a);
    kfree(hide(object));
    kmem_cache_free(planted.a, object);
}

static void free_of_a_kmalloc_to_a_cache(void)
{
    char *object = kmalloc(40, GFP_KERNEL);
    kmem_cache_free(planted.a, object);
    kfree(object);
}

static void free_of_constructed_to_a_plain_cache(void)
{
    char *object = take(planted.constructed);
    kmem_cache_free(planted.a, object);
    kmem_cache_free(planted.constructed, object);
}

static void free_to_another_cache_in_a_bulk(void)
{
    char *object = take(planted.a), *other = take(planted.b);
    void *objects[] = { object, other };
    kmem_cache_free_bulk(planted.a, array_count(objects), objects);
    kmem_cache_free(planted.b, other);
}

// --- Never freed: found when the cache is to go

static void leak_from(size_t size, unsigned count, void (*constructor)(void *), bool in_bulk)
{
    struct kmem_cache *cache = kmem_cache_create("planted-leak", size, 0, 0, constructor, NULL);
    void *objects[16];

    if (in_bulk && kmem_cache_alloc_bulk(cache, GFP_KERNEL, count, objects) != count)
        return;
    for (unsigned i = 0; i < count && !in_bulk; i++)
        objects[i] = take(cache);
    if (kmem_cache_destroy(cache) == 0)
        return;
    kmem_cache_free_bulk(cache, count, objects);
    EXPECT_EQ(kmem_cache_destroy(cache), 0);
}

static void construct_byte(void *object) { *(char *)object = 1; }

static void leak_of_one(void) { leak_from(40, 1, NULL, false); }
static void leak_of_many(void) { leak_from(40, 16, NULL, false); }
static void leak_of_large_ones(void) { leak_from(PAGE_SIZE, 2, NULL, false); }
static void leak_of_a_bulk(void) { leak_from(200, 8, NULL, true); }
static void leak_of_constructed(void) { leak_from(64, 3, construct_byte, false); }

// --- Read before it was written

static void read_of_a_new_object(void)
{
    void *volatile *object = (void *)take(planted.a);
    follow(object[1]);
    kmem_cache_free(planted.a, (void *)(uintptr_t)object);
}

static void read_of_the_end_of_a_new_object(void)
{
    void *volatile *object = (void *)take(planted.large);
    follow(object[24]);
    kmem_cache_free(planted.large, (void *)(uintptr_t)object);
}

static void read_of_a_new_kmalloc(void)
{
    void *volatile *object = kmalloc(96, GFP_KERNEL);
    follow(object[5]);
    kfree((void *)(uintptr_t)object);
}

static void read_of_a_new_kmalloc_of_any_size(void)
{
    void *volatile *object = kmalloc((size_t)(uintptr_t)hide((void *)1000), GFP_KERNEL);
    follow(object[100]);
    kfree((void *)(uintptr_t)object);
}

static void read_of_a_new_bulk(void)
{
    void *objects[4];
    if (kmem_cache_alloc_bulk(planted.large, GFP_KERNEL, 4, objects) != 4)
        return;
    follow(((void *volatile *)objects[2])[7]);
    kmem_cache_free_bulk(planted.large, 4, objects);
}

// --- Given back, but not in the state that its constructor made

// Freed as it is; and made right again, if nobody else did and it can be reached.
static void state_left(struct planted_state *state)
{
    uint8_t byte;

    kmem_cache_free(planted.constructed, state);
    if (arch_probe_read(state, &byte)) {
        state->self = state;
        state->magic = PLANTED_MAGIC;
    }
}

static void state_number_changed(void)
{
    struct planted_state *state = (void *)take(planted.constructed);
    state->magic++;
    state_left(state);
}

static void state_pointer_changed(void)
{
    struct planted_state *state = (void *)take(planted.constructed);
    state->self = NULL;
    state_left(state);
}

static void state_cleared(void)
{
    struct planted_state *state = (void *)take(planted.constructed);
    memset(state, 0, sizeof(*state));
    state_left(state);
}

static void state_of_another(void)
{
    struct planted_state *state = (void *)take(planted.constructed), *other = (void *)take(planted.constructed);
    *state = *other;
    state_left(state);
    kmem_cache_free(planted.constructed, other);
}

static void state_lost_after_free(void)
{
    struct planted_state *state = (void *)take(planted.constructed);
    kmem_cache_free(planted.constructed, state);
    plant((char *)&state->magic + 1, 0xee);
    settle();
}

#define ZONES (MODE_RED_ZONE | MODE_GUARD)
#define FREED (MODE_POISON | MODE_GUARD)
#define NEW (MODE_POISON | MODE_GUARD)

const struct planted_bug planted_bugs[] = {
    { BUG_OVERRUN, "by one byte", ZONES, 1, overrun_by_one },
    { BUG_OVERRUN, "by a word", ZONES, 1, overrun_by_a_word },
    { BUG_OVERRUN, "of the second of two", ZONES, 1, overrun_of_the_second },
    { BUG_OVERRUN, "of a kmalloc", ZONES, 1, overrun_of_a_kmalloc },
    { BUG_OVERRUN, "of 18 bytes in an object of 32", ZONES, 1, overrun_into_the_rounding },
    { BUG_OVERRUN, "after krealloc made it smaller", ZONES, 1, overrun_after_krealloc },
    { BUG_UNDERRUN, "by one byte", ZONES, 1, underrun_by_one },
    { BUG_UNDERRUN, "by a word", ZONES, 1, underrun_by_a_word },
    { BUG_UNDERRUN, "of a kmalloc", ZONES, 1, underrun_of_a_kmalloc },
    { BUG_UNDERRUN, "of a kmalloc of 100 bytes", ZONES, 1, underrun_of_an_odd_kmalloc },
    { BUG_UNDERRUN, "of the second of two", ZONES, 1, underrun_of_the_second },
    { BUG_USE_AFTER_FREE, "first byte written", FREED, 1, write_first_byte_after_free },
    { BUG_USE_AFTER_FREE, "50th byte written", FREED, 1, write_fiftieth_byte_after_free },
    { BUG_USE_AFTER_FREE, "last byte of a kmalloc written", FREED, 1, write_last_byte_after_kfree },
    { BUG_USE_AFTER_FREE, "written, found by the next", FREED, 1, write_found_by_the_next },
    { BUG_USE_AFTER_FREE, "constructed object written", FREED, 1, write_of_constructed_after_free },
    { BUG_USE_AFTER_FREE, "read", FREED, 1, read_after_free },
    { BUG_USE_AFTER_FREE, "kmalloc read", FREED, 1, read_of_a_kmalloc_after_free },
    { BUG_USE_AFTER_FREE, "element of a list read", FREED, 1, read_of_a_freed_list },
    { BUG_USE_AFTER_FREE, "one of a bulk read", FREED, 1, read_of_a_bulk_after_free },
    { BUG_USE_AFTER_FREE, "old place read after krealloc", FREED, 1, read_through_krealloc },
    { BUG_DOUBLE_FREE, "at once", MODE_ALWAYS, 1, double_free_at_once },
    { BUG_DOUBLE_FREE, "with another between", MODE_ALWAYS, 1, double_free_with_another_between },
    { BUG_DOUBLE_FREE, "kfree", MODE_ALWAYS, 1, double_kfree },
    { BUG_DOUBLE_FREE, "of a constructed object", MODE_ALWAYS, 1, double_free_of_constructed },
    { BUG_DOUBLE_FREE, "within a bulk", MODE_ALWAYS, 1, double_free_in_a_bulk },
    { BUG_DOUBLE_FREE, "on two harts", MODE_ALWAYS, 1, double_free_on_two_harts },
    { BUG_FOREIGN_FREE, "of the stack", MODE_ALWAYS, 1, free_of_the_stack },
    { BUG_FOREIGN_FREE, "kfree of the image", MODE_ALWAYS, 1, kfree_of_the_image },
    { BUG_FOREIGN_FREE, "kfree of a vmalloc area", MODE_ALWAYS, 1, kfree_of_a_vmalloc },
    { BUG_FOREIGN_FREE, "of a page", MODE_ALWAYS, 1, free_of_a_page },
    { BUG_FOREIGN_FREE, "kfree of a page", MODE_ALWAYS, 1, kfree_of_a_page },
    { BUG_FOREIGN_FREE, "where there is no RAM", MODE_ALWAYS, 1, free_where_there_is_no_ram },
    { BUG_INTERIOR_FREE, "of the middle", MODE_ALWAYS, 1, free_of_the_middle },
    { BUG_INTERIOR_FREE, "of the second byte", MODE_ALWAYS, 1, free_of_the_second_byte },
    { BUG_INTERIOR_FREE, "kfree of the middle", MODE_ALWAYS, 1, kfree_of_the_middle },
    { BUG_INTERIOR_FREE, "kfree of the middle of pages", MODE_ALWAYS, 1, kfree_of_the_middle_of_pages },
    { BUG_INTERIOR_FREE, "within a bulk", MODE_ALWAYS, 1, free_of_the_middle_in_a_bulk },
    { BUG_STALE_FREE, "slab gone", MODE_ALWAYS, 1, free_after_shrink },
    { BUG_STALE_FREE, "a page by now", MODE_ALWAYS, 1, free_in_what_is_a_page_now },
    { BUG_STALE_FREE, "cache gone", MODE_ALWAYS, 1, free_to_a_cache_that_is_gone },
    { BUG_STALE_FREE, "kmalloc of pages gone", MODE_ALWAYS, 1, kfree_of_freed_pages },
    { BUG_STALE_FREE, "constructed, slab gone", MODE_ALWAYS, 1, free_of_constructed_after_shrink },
    { BUG_WRONG_CACHE, "of the same size", MODE_ALWAYS, 1, free_to_a_cache_of_its_size },
    { BUG_WRONG_CACHE, "of another size", MODE_ALWAYS, 1, free_to_a_cache_of_another_size },
    { BUG_WRONG_CACHE, "kfree of a cache's object", MODE_ALWAYS, 1, kfree_of_a_caches_object },
    { BUG_WRONG_CACHE, "kmalloc to a cache", MODE_ALWAYS, 1, free_of_a_kmalloc_to_a_cache },
    { BUG_WRONG_CACHE, "constructed to a plain one", MODE_ALWAYS, 1, free_of_constructed_to_a_plain_cache },
    { BUG_WRONG_CACHE, "within a bulk", MODE_ALWAYS, 1, free_to_another_cache_in_a_bulk },
    { BUG_LEAK, "of one", MODE_ALWAYS, 1, leak_of_one },
    { BUG_LEAK, "of many", MODE_ALWAYS, 1, leak_of_many },
    { BUG_LEAK, "of large ones", MODE_ALWAYS, 1, leak_of_large_ones },
    { BUG_LEAK, "of a bulk", MODE_ALWAYS, 1, leak_of_a_bulk },
    { BUG_LEAK, "of constructed ones", MODE_ALWAYS, 1, leak_of_constructed },
    { BUG_UNINITIALISED, "new object read", NEW, 1, read_of_a_new_object },
    { BUG_UNINITIALISED, "its end read", NEW, 1, read_of_the_end_of_a_new_object },
    { BUG_UNINITIALISED, "new kmalloc read", NEW, 1, read_of_a_new_kmalloc },
    { BUG_UNINITIALISED, "kmalloc of any size read", NEW, 1, read_of_a_new_kmalloc_of_any_size },
    { BUG_UNINITIALISED, "one of a bulk read", NEW, 1, read_of_a_new_bulk },
    { BUG_STATE_LOST, "number changed", MODE_POISON, 1, state_number_changed },
    { BUG_STATE_LOST, "pointer cleared", MODE_POISON, 1, state_pointer_changed },
    { BUG_STATE_LOST, "all cleared", MODE_POISON, 1, state_cleared },
    { BUG_STATE_LOST, "copied from another", MODE_POISON, 1, state_of_another },
    { BUG_STATE_LOST, "written after it was freed", MODE_POISON | MODE_GUARD, 1, state_lost_after_free },
};
const unsigned planted_bug_count = array_count(planted_bugs);
