// The vmem model test's operations: phases of a seeded generator that fill arenas, empty them, and churn them between.
// SPDX-License-Identifier: BSD-2-Clause
#include "vmem_model_run.h"

#include <base/bits.h>
#include <base/errno.h>
#include <debug/klog.h>
#include <mm/page_alloc.h>
#include <mm/slab.h>

#define PHASE_SHARES 16
#define CHECK_EVERY 8192           // operations between two runs of an arena's validator

// One that starts at no multiple of an alignment, one that ends at 2^64, one in which each number is a range, one that
// has room for a single range, and one of nearly all numbers, in which alignments wrap.
static const struct vmem_shape shapes[VMEM_ARENAS] = {
    { "pages", 5 * PAGE_SIZE, PAGE_SIZE, 4096, 5 },
    { "end", -2048UL * PAGE_SIZE, PAGE_SIZE, 2048, 4 },
    { "numbers", 3, 1, 1000, 3 },
    { "single", 7 * PAGE_SIZE, PAGE_SIZE, 1, 1 },
    { "all", 1UL << 52, 1UL << 52, 4095, 3 },
};

// What a phase's state says; 0: not begun.
enum { BEGUN = 1, REFUSED };

// --- Failures on purpose

static struct random fault_random;
static unsigned failed_sites;

static bool fail_at_times(enum fault_site site, gfp_t gfp unused_arg)
{
    bool fails = random_below(&fault_random, 8) == 0;

    failed_sites |= (unsigned)fails << site;
    return fails;
}

static void set_failing(bool fails)
{
    if (fails != (mm_fault_hook != NULL))
        mm_set_fault_hook(fails ? fail_at_times : NULL);
}

// --- Requests

static uint64_t pick_quanta(struct run *run)
{
    uint64_t quanta = run->current->shape->quanta, lot = random_below(&run->random, 16);
    uint64_t most = lot < 8 ? 4 : lot < 12 ? 16 : lot < 15 ? 64 : quanta;

    return 1 + random_below(&run->random, min_of(most, quanta));
}

static struct vmem_request pick_request(struct run *run, uint64_t quanta)
{
    uint64_t quantum = run->current->shape->quantum, lot = random_next(&run->random);
    struct vmem_request request = { .size = quanta * quantum, .alignment = lot & 1 ? 1 : quantum };

    if ((lot & 2) != 0)
        request.size -= random_below(&run->random, quantum);
    if (lot >> 61 < 3) {
        unsigned most = lot >> 40 & 15 ? highest_bit(run->current->shape->quanta) + 1 : 63;
        request.alignment = 1UL << min_of(highest_bit(quantum) + random_below(&run->random, most + 1), 63UL);
        if ((lot & 4) != 0)
            request.phase = random_below(&run->random, request.alignment) & -quantum;
    }
    return request;
}

// True when the request could not be satisfied, and no failure was injected.
static bool allocate(struct run *run, const struct vmem_request *asked)
{
    struct vmem_model *model = run->current;
    struct vmem_request request = *asked;
    ptrdiff_t index = model - run->model;
    uint64_t start;

    failed_sites = 0;
    int result = vmem_alloc(&model->arena, request.size, request.alignment, request.phase, GFP_KERNEL | __GFP_NOWARN,
                            &start);
    run->counts.asked[index]++;
    // At least the quantum is used.
    request.alignment = max_of(request.alignment, model->shape->quantum);
    if (result == 0) {
        vmem_model_take(model, &request, start);
    } else if (result == -ENOMEM && failed_sites & (1U << FAULT_SLAB | 1U << FAULT_PAGE)) {
        run->counts.failed_bookkeeping++;
    } else if (result == -ENOSPC && failed_sites & 1U << FAULT_VMEM) {
        run->counts.failed_ranges++;
    } else if (result == -ENOSPC) {
        run->counts.refused[index]++;
        vmem_model_refused(model, &request);
        return true;
    } else {
        model_fail("%s: %#lx bytes at multiples of %#lx + %#lx: %d", model->shape->name, request.size,
                   request.alignment, request.phase, result);
    }
    return false;
}

static void ask_for_nonsense(struct run *run)
{
    struct vmem_model *model = run->current;
    uint64_t quantum = model->shape->quantum, start;
    const struct vmem_request requests[] = {
        { 0, quantum, 0 },
        { quantum > 1 ? UINT64_MAX : 0, quantum, 0 },
        { quantum, 0, 0 },
        { quantum, 3 * quantum, 0 },
        { quantum, 2 * quantum, 2 * quantum },
        { quantum, 4 * quantum, quantum > 1 ? quantum / 2 : 4 },
    };
    const struct vmem_request *request = &requests[random_below(&run->random, array_count(requests))];
    int result = vmem_alloc(&model->arena, request->size, request->alignment, request->phase, GFP_KERNEL, &start);

    if (result != -EINVAL)
        model_fail("%s: %#lx bytes at multiples of %#lx + %#lx: %d, not -EINVAL", model->shape->name, request->size,
                   request->alignment, request->phase, result);
    run->counts.bad++;
}

// Where a range starts or perhaps just behind, within the arena, or anywhere.
static uint64_t pick_address(struct run *run)
{
    struct vmem_model *model = run->current;
    const struct vmem_shape *shape = model->shape;
    uint64_t lot = random_below(&run->random, 16), behind = lot % 2 * random_below(&run->random, shape->quantum);

    if (lot < 8 && model->count > 0)
        return vmem_model_held(model, random_below(&run->random, model->count)) + behind;
    if (lot < 15)
        return shape->base + random_below(&run->random, shape->quanta) * shape->quantum + behind;
    return random_next(&run->random);
}

static void do_something_else(struct run *run)
{
    uint64_t lot = random_below(&run->random, 16);

    if (lot < 8) {
        vmem_model_look_up(run->current, pick_address(run));
        run->counts.looked_up++;
    } else if (lot < 15) {
        vmem_model_free_nothing(run->current, pick_address(run));
        run->counts.freed_nothing++;
    } else {
        ask_for_nonsense(run);
    }
}

// Over when the arena is full.
static bool fill_on(struct run *run, struct phase *phase)
{
    // Once a request was refused, the smallest ones find what is left.
    bool was_refused = phase->state == REFUSED;
    struct vmem_request request = { .size = 1, .alignment = 1 };

    if (!was_refused)
        request = pick_request(run, pick_quanta(run));
    if (!allocate(run, &request))
        return false;
    phase->state = REFUSED;
    if (was_refused && run->current->held_quanta < run->current->shape->quanta)
        model_fail("%s: full with %u quanta held", run->current->shape->name, run->current->held_quanta);
    run->counts.exhaustions += was_refused;
    return was_refused;
}

static void free_one(struct run *run, enum victim victim)
{
    vmem_model_free(run->current, model_pick_victim(victim, &run->random, run->current->count));
    run->counts.freed[victim]++;
}

static bool empty_on(struct run *run, const struct phase *phase)
{
    if (run->current->count > 0) {
        free_one(run, phase->victim);
        return false;
    }
    vmem_model_renew(run->current);
    run->counts.renewals++;
    return true;
}

static void begin_phase(struct run *run, struct phase *phase)
{
    uint64_t share = phase->lot % PHASE_SHARES;
    unsigned index = 0;

    while (share >= shapes[index].share)
        share -= shapes[index++].share;
    run->current = &run->model[index];
    set_failing(phase->lot >> 62 == 0);
    phase->state = BEGUN;
}

static bool step(void *context, struct phase *phase)
{
    struct run *run = context;

    if (phase->state == 0)
        begin_phase(run, phase);
    if (random_below(&run->random, CHECK_EVERY) == 0)
        vmem_model_check(run->current);
    if (random_below(&run->random, 16) == 0)
        do_something_else(run);
    else if (phase->direction == FILLING)
        return fill_on(run, phase);
    else if (phase->direction == EMPTYING)
        return empty_on(run, phase);
    else if (run->current->count == 0 || model_wants_more(phase, &run->random)) {
        struct vmem_request request = pick_request(run, pick_quanta(run));
        (void)allocate(run, &request);
    } else {
        free_one(run, phase->victim);
    }
    return false;
}

static void check_all_of(void *context)
{
    struct run *run = context;

    for (unsigned i = 0; i < VMEM_ARENAS; i++)
        vmem_model_check(&run->model[i]);
}

// --- From start to end

// What the magazines themselves are made of comes and goes.
static void add_live(struct kmem_cache *cache, void *sum)
{
    if (!(cache->flags & SLAB_NO_MAGAZINES))
        *(uint64_t *)sum += kmem_cache_live_objects(cache);
}

static uint64_t live_objects(void)
{
    uint64_t sum = 0;

    kmem_cache_for_each(add_live, &sum);
    return sum;
}

void vmem_model_start(struct run *run)
{
    fault_random = random_seeded(random_next(&run->random));
    run->live_at_start = live_objects();
    for (unsigned i = 0; i < VMEM_ARENAS; i++)
        vmem_model_init(&run->model[i], &shapes[i]);
}

// What is held forbids it; then nothing does.
static void destroy(struct run *run, struct vmem_model *model)
{
    run->current = model;
    while (model->count > 0) {
        if (vmem_destroy(&model->arena) != -EBUSY)
            model_fail("%s: destroyed with %lu ranges held", model->shape->name, model->count);
        free_one(run, YOUNGEST);
    }
    vmem_model_check(model);
    if (vmem_destroy(&model->arena) != 0)
        model_fail("%s: empty, and not destroyed", model->shape->name);
}

void vmem_model_run(struct run *run, uint64_t operations)
{
    struct model_walk walk = {
        .name = "vmem_model", .run = run, .random = &run->random, .step = step, .check_all = check_all_of,
    };

    model_walk(&walk, operations);
    run->counts.phases = walk.phases;
    set_failing(false);
    for (unsigned i = 0; i < VMEM_ARENAS; i++)
        destroy(run, &run->model[i]);
    if (live_objects() != run->live_at_start)
        model_fail("%lu objects at the end, %lu at the start", live_objects(), run->live_at_start);
}

void vmem_model_report(const struct run *run)
{
    const struct counts *counts = &run->counts;

    for (unsigned i = 0; i < VMEM_ARENAS; i++)
        console_print("# %-8s asked %10lu, refused %10lu\n", shapes[i].name, counts->asked[i], counts->refused[i]);
    console_print("# freed random %lu, youngest %lu, oldest %lu\n", counts->freed[RANDOM_ONE], counts->freed[YOUNGEST],
                  counts->freed[OLDEST]);
    console_print("# looked up %lu, freed nothing %lu, bad requests %lu\n", counts->looked_up, counts->freed_nothing,
                  counts->bad);
    console_print("# made to fail: ranges %lu, bookkeeping %lu\n", counts->failed_ranges, counts->failed_bookkeeping);
    console_print("# phases %lu, times full %lu, made anew %lu\n", counts->phases, counts->exhaustions,
                  counts->renewals);
}
