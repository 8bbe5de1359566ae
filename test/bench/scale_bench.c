// Rows of all harts at once: what an operation costs while every hart does the same, beside what it costs alone.
// SPDX-License-Identifier: BSD-2-Clause
//
// The instruction counter is one for all harts, and runs harts in turn. So all of them work, none waits: a round begins
// when the last hart is there and ends when the last one has done its share, until when the others go on. What the
// counter has moved by meanwhile is the cost of all operations done by all harts, and of three things to be taken off:
//
//   the loop around the operations     measured on one hart with interrupts masked
//   the timer's ticks                  as many as there were, at the price of those in rounds of empty operations
//   handing things over                as often as it was done, at the price of handing over what is nothing
//   turns in vain                      of a hart that has nothing to free or no room to put: as many as there were, at
//                                      the price of such turns on one hart
//
// Ticks come at uneven times (slice_us=, jitter_us=; 20 and 20 where none are given), and with them harts take turns in
// the middle of everything: without them each would run for 100 million instructions, and no two would ever meet.

#include "bench.h"
#include <arch/irq.h>
#include <arch/smp.h>
#include <base/bits.h>
#include <base/compiler.h>
#include <init/bootargs.h>
#include <mm/kmalloc.h>
#include <mm/page_alloc.h>
#include <mm/vmalloc.h>
#include <task/sched.h>
#include <task/thread.h>
#include <task/timer.h>

#define SHARE 10000                // operations of each hart in a round
#define ROUNDS 8
#define WARM_UP_ROUNDS 24
#define WORKING_SET 64
#define RING_SLOTS 256
#define OBJECT_BYTES 256
#define DEFAULT_US 20              // slice and jitter

// What a hart hands to another: written by one hart each.
struct ring {
    uint64_t put_count aligned_to(CACHE_LINE_BYTES);      // (A)
    uint64_t taken_count aligned_to(CACHE_LINE_BYTES);    // (A)
    void *slot[RING_SLOTS];                               // (A) by the two counts
};

enum side { PUT, FREE, SIDES };

enum subject { PAGES, OBJECTS, AREAS, SUBJECTS };

struct worker {
    uint64_t operations aligned_to(CACHE_LINE_BYTES);     // (A) written by its hart, as is all else
    uint64_t turns;                                       // (A) of the loop, in vain or not
    uint64_t vain[SIDES];                                 // (A) of them
    uint64_t random;
    unsigned side, flip_done, flip_vain;                  // what to do now; whether it changes with success and without
    struct { void *thing; unsigned order; } held[WORKING_SET];
    struct ring *inbound, *outbound;
    struct ring ring;                                     // its inbound one
};

// One turn: whether an operation was done.
typedef bool (*turn_t)(struct worker *worker);

static struct {
    struct worker *workers;
    unsigned count;
    turn_t turn;
    enum subject subject;
    void *(*take)(void);           // what is handed over
    void (*give)(void *thing);
    uint32_t arrived, finished;    // (A)
    bool has_begun, is_over;       // (A)
    bool has_failed;               // (A) memory ran out
} all;

// Counters of the whole machine at one moment.
struct reading {
    uint64_t instructions, operations, turns, vain[SIDES], ticks, locks;
};

// A hold of a cache's lock moves one object or more, so objects that were moved are holds at the most.
static void add_locks(struct kmem_cache *cache, void *locks)
{
    *(uint64_t *)locks += __atomic_load_n(&cache->alloc_count, __ATOMIC_RELAXED) +
                          __atomic_load_n(&cache->free_count, __ATOMIC_RELAXED) +
                          __atomic_load_n(&cache->depot.visits, __ATOMIC_RELAXED);
}

static struct reading read_all(void)
{
    struct page_alloc_stats stats = page_alloc_stats();
    struct reading now = { .locks = stats.engine_calls + stats.depot_calls };

    if (all.subject != PAGES)
        kmem_cache_for_each(add_locks, &now.locks);
    for (unsigned i = 0; i < all.count; i++) {
        now.operations += __atomic_load_n(&all.workers[i].operations, __ATOMIC_RELAXED);
        now.turns += __atomic_load_n(&all.workers[i].turns, __ATOMIC_RELAXED);
        for (unsigned side = 0; side < SIDES; side++)
            now.vain[side] += __atomic_load_n(&all.workers[i].vain[side], __ATOMIC_RELAXED);
        now.ticks += timer_fired_count(i);
    }
    now.instructions = arch_instructions();
    return now;
}

static struct reading begin, end;

// Xorshift (Marsaglia, Journal of Statistical Software 8(14), 2003): short, and the same for every turn.
static always_inline uint64_t draw(struct worker *worker)
{
    uint64_t x = worker->random;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return worker->random = x;
}

static bool fail(void)
{
    __atomic_store_n(&all.has_failed, true, __ATOMIC_RELAXED);
    return true;
}

static bool no_turn(struct worker *worker)
{
    (void)worker;
    return true;
}

static bool pair_turn(struct worker *worker)
{
    (void)worker;
    struct page *page = alloc_page(GFP_KERNEL);

    if (unlikely(!page))
        return fail();
    __free_page(page);
    return true;
}

// A block of the working set goes, and one of another order comes in its place.
static bool churn_turn(struct worker *worker)
{
    unsigned place = (unsigned)(worker->random >> 32) % WORKING_SET, order = (unsigned)(worker->random >> 48) % 4;

    if (worker->held[place].thing)
        __free_pages(worker->held[place].thing, worker->held[place].order);
    worker->held[place].thing = alloc_pages(GFP_KERNEL, order);
    worker->held[place].order = order;
    return worker->held[place].thing ? true : fail();
}

static bool object_pair_turn(struct worker *worker)
{
    (void)worker;
    void *object = kmalloc(OBJECT_BYTES, GFP_KERNEL);

    if (unlikely(!object))
        return fail();
    kfree(object);
    return true;
}

// The same of objects: 64 to 512 bytes.
static bool object_churn_turn(struct worker *worker)
{
    unsigned place = (unsigned)(worker->random >> 32) % WORKING_SET, order = (unsigned)(worker->random >> 48) % 4;

    kfree(worker->held[place].thing);
    worker->held[place].thing = kmalloc(64UL << order, GFP_KERNEL);
    return worker->held[place].thing ? true : fail();
}

// The same of areas of 1 to 8 pages.
static bool area_churn_turn(struct worker *worker)
{
    unsigned place = (unsigned)(worker->random >> 32) % WORKING_SET, order = (unsigned)(worker->random >> 48) % 4;

    vfree(worker->held[place].thing);
    worker->held[place].thing = vmalloc(PAGE_SIZE << order);
    return worker->held[place].thing ? true : fail();
}

static void *take_page(void) { return alloc_page(GFP_KERNEL); }
static void give_page(void *page) { __free_page(page); }
static void *take_object(void) { return kmalloc(OBJECT_BYTES, GFP_KERNEL); }
static void give_object(void *object) { kfree(object); }

// What handing over costs by itself is measured with these.
static void *take_nothing(void) { return MEMMAP; }
static void give_nothing(void *thing unused_arg) { }

static bool put_in(struct ring *ring)
{
    uint64_t put = ring->put_count;

    if (put - __atomic_load_n(&ring->taken_count, __ATOMIC_ACQUIRE) == RING_SLOTS)
        return false;
    void *thing = all.take();
    if (unlikely(!thing))
        return fail();
    ring->slot[put % RING_SLOTS] = thing;
    __atomic_store_n(&ring->put_count, put + 1, __ATOMIC_RELEASE);
    return true;
}

static bool free_from(struct ring *ring)
{
    uint64_t taken = ring->taken_count;

    if (taken == __atomic_load_n(&ring->put_count, __ATOMIC_ACQUIRE))
        return false;
    void *thing = ring->slot[taken % RING_SLOTS];
    __atomic_store_n(&ring->taken_count, taken + 1, __ATOMIC_RELEASE);
    all.give(thing);
    return true;
}

// Puts a page or an object for another hart, or frees one that another hart has put.
static bool exchange_turn(struct worker *worker)
{
    unsigned side = worker->side;
    bool is_done = side == PUT ? put_in(worker->outbound) : free_from(worker->inbound);

    worker->side = side ^ (is_done ? worker->flip_done : worker->flip_vain);
    store_relaxed(&worker->vain[side], worker->vain[side] + !is_done);
    return is_done;
}

// So many turns, but no longer than until `share` operations are done or the round is over.
static noinline void work(struct worker *worker, uint64_t share, uint64_t turns)
{
    turn_t turn = all.turn;
    uint64_t limit = worker->operations + share, last = worker->turns + turns;

    while (worker->operations < limit && worker->turns < last && !__atomic_load_n(&all.is_over, __ATOMIC_RELAXED)) {
        (void)draw(worker);
        bool is_done = turn(worker);
        store_relaxed(&worker->turns, worker->turns + 1);
        store_relaxed(&worker->operations, worker->operations + is_done);
    }
}

#define FOR_EVER (UINT64_MAX / 2)

static void run_worker(void *argument)
{
    struct worker *worker = argument;

    if (__atomic_add_fetch(&all.arrived, 1, __ATOMIC_ACQ_REL) == all.count) {
        begin = read_all();
        __atomic_store_n(&all.has_begun, true, __ATOMIC_RELEASE);
    }
    for (unsigned round = 0; !__atomic_load_n(&all.has_begun, __ATOMIC_ACQUIRE); round++)
        arch_relax(round);
    work(worker, SHARE, FOR_EVER);
    if (__atomic_add_fetch(&all.finished, 1, __ATOMIC_ACQ_REL) == all.count) {
        end = read_all();
        __atomic_store_n(&all.is_over, true, __ATOMIC_RELEASE);
    }
    work(worker, FOR_EVER, FOR_EVER);
}

// One round on all harts; what it took, in *taken.
static bool run_round(struct reading *taken)
{
    struct thread *threads[MAX_HARTS];
    unsigned made = 0;

    all.arrived = all.finished = 0;
    all.has_begun = all.is_over = all.has_failed = false;
    for (; made < all.count; made++) {
        threads[made] = thread_create_on(made, "scales", run_worker, &all.workers[made]);
        if (!threads[made])
            break;
    }
    if (made < all.count) {
        all.is_over = true;
        __atomic_store_n(&all.has_begun, true, __ATOMIC_RELEASE);
    }
    for (unsigned i = 0; i < made; i++)
        thread_join(threads[i]);
    *taken = (struct reading){
        .instructions = end.instructions - begin.instructions, .operations = end.operations - begin.operations,
        .turns = end.turns - begin.turns, .ticks = end.ticks - begin.ticks, .locks = end.locks - begin.locks,
        .vain = { end.vain[PUT] - begin.vain[PUT], end.vain[FREE] - begin.vain[FREE] },
    };
    return made == all.count && !all.has_failed;
}

// Instructions of a thousand turns of one hart.
static uint64_t measure_turns(turn_t turn)
{
    struct worker *worker = &all.workers[0];

    all.turn = turn;
    all.is_over = false;
    work(worker, FOR_EVER, 100);
    irqflags_t flags = arch_irq_save();
    uint64_t before = arch_instructions();
    work(worker, FOR_EVER, 1000);
    uint64_t cost = arch_instructions() - before - bench_timing_cost;
    arch_irq_restore(flags);
    return cost;
}

// What is to be taken off, per thousand: turns, and what these cost more, when they hand something over and in vain.
struct prices {
    uint64_t turn, handover, vain[SIDES];
};

static struct prices measure_prices(void)
{
    struct worker *worker = &all.workers[0];
    struct prices prices = { .turn = measure_turns(no_turn) };

    all.take = take_nothing;
    all.give = give_nothing;
    worker->inbound = worker->outbound = &worker->ring;
    worker->side = PUT;
    worker->flip_done = worker->flip_vain = 1;
    prices.handover = measure_turns(exchange_turn) - prices.turn;
    while (free_from(worker->inbound)) {
    }
    worker->flip_vain = 0;
    worker->side = FREE;
    prices.vain[FREE] = measure_turns(exchange_turn) - prices.turn;
    while (put_in(worker->outbound)) {
    }
    worker->side = PUT;
    prices.vain[PUT] = measure_turns(exchange_turn) - prices.turn;
    while (free_from(worker->inbound)) {
    }
    all.take = all.subject == OBJECTS ? take_object : take_page;
    all.give = all.subject == OBJECTS ? give_object : give_page;
    return prices;
}

static uint64_t price_of(const struct prices *prices, const struct reading *taken)
{
    uint64_t handed_over = all.turn == exchange_turn ? taken->operations : 0;

    return (taken->turns * prices->turn + handed_over * prices->handover + taken->vain[PUT] * prices->vain[PUT] +
            taken->vain[FREE] * prices->vain[FREE]) / 1000;
}

static void give_back(void)
{
    for (unsigned i = 0; i < all.count; i++) {
        while (free_from(&all.workers[i].ring)) {
        }
        for (unsigned k = 0; k < WORKING_SET; k++)
            if (all.subject == OBJECTS)
                kfree(all.workers[i].held[k].thing);
            else if (all.subject == AREAS)
                vfree(all.workers[i].held[k].thing);
            else if (all.workers[i].held[k].thing)
                __free_pages(all.workers[i].held[k].thing, all.workers[i].held[k].order);
    }
}

static void record_rounds(struct bench *bench, const struct prices *prices, turn_t turn, unsigned operations_each)
{
    uint64_t locks = 0, operations = 0;
    struct reading taken, idle;

    // The first round warms up; those of what is measured go on until magazines have grown to what harts hand over.
    all.turn = no_turn;
    bool is_good = run_round(&idle) && run_round(&idle);
    uint64_t ticks_cost = idle.instructions - min_of(idle.instructions, price_of(prices, &idle));
    all.turn = turn;
    for (unsigned round = 0; round < WARM_UP_ROUNDS && is_good; round++)
        is_good = run_round(&taken);
    for (unsigned round = 0; round < ROUNDS && is_good; round++) {
        is_good = run_round(&taken);
        uint64_t beside = price_of(prices, &taken) + ticks_cost * taken.ticks / max_of(idle.ticks, 1UL);
        bench_record_share(bench, (taken.instructions - min_of(taken.instructions, beside)) * operations_each,
                           taken.operations);
        locks += taken.locks * operations_each;
        operations += taken.operations;
    }
    bench->out_of_memory = !is_good;
    bench->has_shared_locks = true;
    bench->shared_locks = locks * 10000 / max_of(operations, 1UL);
}

enum kind { PAIR, CHURN, REMOTE, HANDOVER, KINDS };

// REMOTE: every hart puts things for the next one and frees what the one before has put, in turn. HANDOVER: of two
// harts one only puts and the other only frees. Alone, or left over, a hart does it all by itself: for REMOTE in turn,
// for HANDOVER until there is no room, and then until there is nothing. Two operations are a pair.
static void connect(enum kind kind)
{
    for (unsigned i = 0; i < all.count; i++) {
        struct worker *worker = &all.workers[i];
        unsigned to = kind != HANDOVER ? (i + 1) % all.count : (i ^ 1) < all.count ? i ^ 1 : i;

        worker->random = 0x2545f4914f6cdd1d + i;
        worker->inbound = &worker->ring;
        worker->outbound = &all.workers[to].ring;
        worker->side = kind == HANDOVER && to != i ? i % 2 : PUT;
        worker->flip_done = kind == REMOTE;
        worker->flip_vain = kind == REMOTE || to == i;
    }
}

static void scale_row(struct bench *bench, unsigned kind, unsigned subject)
{
    static const turn_t turns[SUBJECTS][KINDS] = {
        [PAGES] = { pair_turn, churn_turn, exchange_turn, exchange_turn },
        [OBJECTS] = { object_pair_turn, object_churn_turn, exchange_turn, exchange_turn },
        [AREAS] = { [CHURN] = area_churn_turn },
    };
    uint64_t slice_us = bootarg_u64("slice_us"), jitter_us = bootarg_u64("jitter_us"), seed = bootarg_u64("seed");

    all.subject = subject;
    all.count = arch_hart_count();
    all.workers = vzalloc(all.count * sizeof *all.workers);
    if (!all.workers) {
        bench->out_of_memory = true;
        return;
    }
    const struct prices prices = measure_prices();
    connect(kind);
    if (jitter_us == 0)
        sched_configure(DEFAULT_US, DEFAULT_US, seed);
    record_rounds(bench, &prices, turns[subject][kind], kind == REMOTE || kind == HANDOVER ? 2 : 1);
    sched_configure(slice_us, jitter_us, seed);
    give_back();
    vfree(all.workers);
}
BENCH_ROW(scale_pair, "scale.page.order0.pair", scale_row, PAIR, PAGES);
BENCH_ROW(scale_churn, "scale.page.churn03", scale_row, CHURN, PAGES);
BENCH_ROW(scale_remote, "scale.page.remote", scale_row, REMOTE, PAGES);
BENCH_ROW(scale_handover, "scale.page.handover", scale_row, HANDOVER, PAGES);
BENCH_ROW(scale_object_pair, "scale.kmalloc.256.pair", scale_row, PAIR, OBJECTS);
BENCH_ROW(scale_object_churn, "scale.kmalloc.churn64-512", scale_row, CHURN, OBJECTS);
BENCH_ROW(scale_object_remote, "scale.kmalloc.256.remote", scale_row, REMOTE, OBJECTS);
BENCH_ROW(scale_object_handover, "scale.kmalloc.256.handover", scale_row, HANDOVER, OBJECTS);
BENCH_ROW(scale_area_churn, "scale.vmalloc.churn", scale_row, CHURN, AREAS);
