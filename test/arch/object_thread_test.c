// The object layer between threads that are preempted anywhere: objects, the last memory, and caches that come and go.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/kmalloc.h>

#include "../unit/memory_left.h"

#include <arch/smp.h>
#include <base/format.h>
#include <mm/slab.h>
#include <task/thread.h>

#define MOST_THREADS 8

// Runs so many threads on all harts until they end; false when one could not be made.
static bool run_threads(unsigned count, void (*function)(void *argument), char *arguments, size_t argument_bytes)
{
    struct thread *threads[MOST_THREADS];
    bool is_complete = true;

    for (unsigned i = 0; i < count; i++)
        threads[i] = thread_create("objects", function, arguments + i * argument_bytes);
    for (unsigned i = 0; i < count; i++) {
        is_complete &= threads[i] != NULL;
        if (threads[i] != NULL)
            thread_join(threads[i]);
    }
    return is_complete;
}

// --- Objects of six threads

#define CROWD 1024
#define CROWD_BYTES 512

struct crowd {
    struct crowd_object { uint64_t words, *object; } held[CROWD];
    uint64_t seed;
    unsigned rounds;
    uint64_t damaged, missing;
};

static void fill(const struct crowd_object *held, uint64_t tag)
{
    for (uint64_t i = 0; i < held->words; i++)
        held->object[i] = tag + i;
}

static bool is_intact(const struct crowd_object *held, uint64_t tag)
{
    for (uint64_t i = 0; i < held->words; i++)
        if (held->object[i] != tag + i)
            return false;
    return true;
}

static void own_crowd(void *argument)
{
    struct crowd *crowd = argument;
    struct random random = random_seeded(crowd->seed);

    for (unsigned round = 0; round < crowd->rounds; round++) {
        for (unsigned i = 0; i < CROWD; i++) {
            struct crowd_object *held = &crowd->held[i];
            held->words = 1 + random_below(&random, CROWD_BYTES / sizeof(uint64_t));
            held->object = kmalloc(held->words * sizeof(uint64_t), GFP_KERNEL);
            if (held->object != NULL)
                fill(held, crowd->seed + i);
            else
                crowd->missing++;
        }
        for (unsigned i = 0; i < CROWD; i++) {
            if (crowd->held[i].object != NULL)
                crowd->damaged += !is_intact(&crowd->held[i], crowd->seed + i);
            kfree(crowd->held[i].object);
        }
    }
}

// Six threads, ten times each, hold 1024 objects of all sizes filled with what only they write, and find all of it.
KTEST(object_scenario, threads_keep_their_objects)
{
    enum { THREADS = 6 };
    struct crowd *crowds = kcalloc(THREADS, sizeof(*crowds), GFP_KERNEL);

    REQUIRE(crowds);
    for (unsigned i = 0; i < THREADS; i++) {
        crowds[i].seed = ktest_random();
        crowds[i].rounds = ktest_rounds(10, 3);
    }
    EXPECT(run_threads(THREADS, own_crowd, (char *)crowds, sizeof(*crowds)));
    for (unsigned i = 0; i < THREADS; i++) {
        EXPECT_EQ(crowds[i].damaged, 0);
        EXPECT_EQ(crowds[i].missing, 0);
    }
    kfree(crowds);
}

// --- The last memory

static struct {
    unsigned arrived;                  // (A)
    unsigned threads;
} gate;

struct greedy {
    uint64_t index, taken, damaged;
};

static void meet(unsigned times)
{
    __atomic_fetch_add(&gate.arrived, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&gate.arrived, __ATOMIC_ACQUIRE) < gate.threads * times)
        thread_sleep_us(100);
}

// Every object names the one before it and its owner.
static void take_all(void *argument)
{
    static const size_t sizes[] = { 128, 2048, 8192 };
    struct greedy *greedy = argument;
    uint64_t **chain = NULL, **object;

    meet(1);
    for (unsigned i = 0; i < array_count(sizes); i++)
        // Each of the three is the first for some.
        while ((object = kmalloc(sizes[(greedy->index + i) % array_count(sizes)], GFP_KERNEL | __GFP_NOWARN)) != NULL) {
            object[0] = (uint64_t *)chain;
            object[1] = (uint64_t *)(uintptr_t)greedy;
            chain = object;
            greedy->taken++;
        }
    meet(2);
    while ((object = chain) != NULL) {
        chain = (uint64_t **)object[0];
        greedy->damaged += object[1] != (uint64_t *)(uintptr_t)greedy;
        kfree(object);
    }
}

// Eight threads, more than there are harts in most runs, use up memory in objects of 128, 2048 and 8192 bytes, twice:
// nobody hangs, nobody's objects are another's, and after each time all of it is back.
KTEST(object_scenario, threads_exhaust_memory_twice)
{
    struct greedy greedy[MOST_THREADS];
    struct page_chain chain = { 0 };

    leave_memory(&chain, ktest_rounds(MB(64), MB(8)));
    for (unsigned round = 0; round < 2; round++) {
        uint64_t taken = 0;
        (void)free_pages_now();
        kmem_cache_reap(UINT64_MAX);
        uint64_t left = free_pages_now();

        gate.arrived = 0;
        gate.threads = MOST_THREADS;
        for (unsigned i = 0; i < MOST_THREADS; i++)
            greedy[i] = (struct greedy){ .index = i };
        EXPECT(run_threads(MOST_THREADS, take_all, (char *)greedy, sizeof(*greedy)));
        for (unsigned i = 0; i < MOST_THREADS; i++) {
            taken += greedy[i].taken;
            EXPECT_EQ(greedy[i].damaged, 0);
        }
        EXPECT_LE((left - reserved_pages()) * PAGE_SIZE / 2, taken * 8192);
        (void)free_pages_now();
        kmem_cache_reap(UINT64_MAX);
        EXPECT_LE(left, free_pages_now() + MOST_THREADS * 4);
    }
    chain_free(&chain);
}

// --- Neighbours that come and go

#define NEIGHBOURS 3
#define HELD 200

static struct {
    struct kmem_cache *cache[NEIGHBOURS];
    bool is_over;                      // (A)
} street;

struct resident {
    uint64_t tag;
    unsigned rounds;                   // of who builds
    uint64_t passes, damaged, missing;
};

// Makes caches between the neighbours on the list and among the stacks, uses them on whatever hart it is, and destroys
// them while the others are at work: their refills, drains and the reaper come past it.
static void build_and_raze(void *argument)
{
    struct resident *resident = argument;
    void *objects[HELD];
    char name[SLAB_NAME_BYTES];

    for (unsigned round = 0; round < resident->rounds; round++) {
        format_text(name, sizeof(name), "passer-%lu", resident->tag);
        struct kmem_cache *cache = kmem_cache_create(name, 40 + round % 50 * 8, 0, 0, NULL, NULL);
        size_t taken = 0;

        if (cache == NULL) {
            resident->missing++;
            continue;
        }
        for (; taken < HELD && (objects[taken] = kmem_cache_alloc(cache, GFP_KERNEL)) != NULL; taken++)
            *(uint64_t *)objects[taken] = resident->tag + taken;
        resident->missing += taken < HELD;
        for (size_t i = 0; i < taken; i++) {
            resident->damaged += *(uint64_t *)objects[i] != resident->tag + i;
            kmem_cache_free(cache, objects[i]);
        }
        if (round % 4 == 0)
            kmem_cache_trim_all();
        if (round % 8 == 0)
            kmem_cache_reap(1);
        resident->missing += kmem_cache_destroy(cache) != 0;
        resident->passes++;
        // On one hart, too, the others are to have a turn.
        thread_sleep_us(20);
    }
    __atomic_store_n(&street.is_over, true, __ATOMIC_RELEASE);
}

static void live_next_door(void *argument)
{
    struct resident *resident = argument;
    struct random random = random_seeded(resident->tag);
    struct { uint64_t *object; struct kmem_cache *cache; } held[HELD] = { { NULL, NULL } };

    while (!__atomic_load_n(&street.is_over, __ATOMIC_ACQUIRE)) {
        uint64_t k = random_below(&random, HELD);
        if (held[k].object != NULL) {
            resident->damaged += held[k].object[0] != resident->tag + k || held[k].object[1] != ~(resident->tag + k);
            kmem_cache_free(held[k].cache, held[k].object);
        }
        held[k].cache = street.cache[random_below(&random, NEIGHBOURS)];
        held[k].object = kmem_cache_alloc(held[k].cache, GFP_KERNEL);
        if (held[k].object != NULL) {
            held[k].object[0] = resident->tag + k;
            held[k].object[1] = ~(resident->tag + k);
        } else
            resident->missing++;
        // Where harts are simulated in turn, everybody waits for a busy one.
        if (++resident->passes % 64 == 0)
            thread_sleep_us(5);
    }
    for (unsigned k = 0; k < HELD; k++)
        if (held[k].object != NULL)
            kmem_cache_free(held[k].cache, held[k].object);
}

// One thread makes and destroys caches while others, on all harts, live on their neighbours: those that were made
// before it, after it, and in the place that a cache left.
KTEST(object_scenario, caches_come_and_go_between_neighbours)
{
    enum { THREADS = 5 };
    struct resident residents[THREADS];
    struct thread *threads[THREADS];

    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        char name[SLAB_NAME_BYTES];
        format_text(name, sizeof(name), "neighbour-%u", i);
        struct kmem_cache *gap = kmem_cache_create("gap", 64, 0, 0, NULL, NULL);
        street.cache[i] = kmem_cache_create(name, 48 + 100 * i, 0, 0, NULL, NULL);
        REQUIRE(gap && street.cache[i]);
        EXPECT_EQ(kmem_cache_destroy(gap), 0);
    }
    street.is_over = false;
    for (unsigned i = 0; i < THREADS; i++) {
        residents[i] = (struct resident){ .tag = ktest_random(), .rounds = ktest_rounds(1000, 60) };
        threads[i] = thread_create("neighbour", i == THREADS - 1 ? build_and_raze : live_next_door,
                                   &residents[i]);
        REQUIRE(threads[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        thread_join(threads[i]);
        EXPECT_EQ(residents[i].damaged, 0);
        EXPECT_EQ(residents[i].missing, 0);
        EXPECT_LE(1, residents[i].passes);
    }
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        EXPECT_EQ(kmem_cache_destroy(street.cache[i]), 0);
}
