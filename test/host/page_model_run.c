// The model test's operations: phases of a seeded generator that fill memory, empty it, and churn it between.
// SPDX-License-Identifier: BSD-2-Clause
#include "page_model_run.h"

#include <debug/klog.h>
#include <mm/page_lists.h>

#define BULK_MOST 64
#define EXACT_MOST_PAGES 24

// Requests, with their shares of 64. All are answered without waiting but GFP_KERNEL's own.
static const struct {
    const char *name;
    gfp_t gfp;
    unsigned share;
} requests[REQUEST_KINDS] = {
    { "kernel", GFP_KERNEL, 18 },
    { "kernel, no retry", GFP_KERNEL | __GFP_NORETRY, 6 },
    { "atomic", GFP_ATOMIC, 10 },
    { "nowait", GFP_NOWAIT, 4 },
    { "dma", GFP_NOWAIT | GFP_DMA, 2 },
    { "dma32", GFP_NOWAIT | GFP_DMA32, 4 },
    { "highuser movable", GFP_HIGHUSER_MOVABLE, 8 },
    { "reclaimable", GFP_NOWAIT | __GFP_RECLAIMABLE, 4 },
    { "zero", GFP_NOWAIT | __GFP_ZERO, 2 },
    { "compound", GFP_NOWAIT | __GFP_COMP, 4 },
    { "compound, zero", GFP_ATOMIC | __GFP_COMP | __GFP_ZERO, 1 },
    { "memalloc", GFP_NOWAIT | __GFP_HIGH | __GFP_MEMALLOC, 1 },
};

// Each order half as often as the one below it; now and then any.
static unsigned pick_order(struct run *run)
{
    uint64_t lot = random_next(&run->random);

    if (lot >> 59 == 0)
        return (unsigned)(lot % (MAX_ORDER + 1));
    return min_of((unsigned)__builtin_ctzll(lot | 1UL << 58), (unsigned)MAX_ORDER);
}

static unsigned pick_request(struct run *run)
{
    uint64_t lot = random_below(&run->random, 64);
    unsigned kind = 0;

    while (lot >= requests[kind].share)
        lot -= requests[kind++].share;
    return kind;
}

static uint64_t pick_victim(struct run *run, enum victim victim)
{
    return model_pick_victim(victim, &run->random, run->model.count);
}

static void refuse(struct run *run, gfp_t gfp, unsigned order)
{
    run->counts.refused[order]++;
    model_refused(&run->model, gfp, order);
}

// Zeroing large blocks would be most of the work: they are seldom asked for.
static unsigned tame_order(struct run *run, gfp_t gfp, unsigned order)
{
    return (gfp & __GFP_ZERO) && order > 2 && random_below(&run->random, 16) != 0 ? order % 3 : order;
}

static bool allocate(struct run *run, gfp_t extra, bool is_single_page)
{
    unsigned kind = pick_request(run);
    gfp_t gfp = requests[kind].gfp | extra | __GFP_NOWARN;
    unsigned order = is_single_page ? 0 : tame_order(run, gfp, pick_order(run));
    struct page *page;

    model_note_lists(&run->model);
    page = alloc_pages(gfp, order);
    run->counts.requested[kind]++;
    run->counts.asked[order]++;
    if (page == NULL) {
        refuse(run, gfp, order);
        return false;
    }
    model_take(&run->model, page, gfp, order, 1UL << order, false);
    return true;
}

static void allocate_bulk(struct run *run)
{
    gfp_t gfp = requests[pick_request(run)].gfp & ~(__GFP_ZERO | __GFP_COMP);
    struct page *pages[BULK_MOST];
    unsigned wanted = 1 + (unsigned)random_below(&run->random, BULK_MOST);
    unsigned got;

    model_note_lists(&run->model);
    got = alloc_pages_bulk(gfp | __GFP_NOWARN, wanted, pages);
    run->counts.asked[0]++;
    if (got > wanted)
        model_fail("%u pages in bulk, asked were %u", got, wanted);
    if (got == 0)
        refuse(run, gfp, 0);
    for (unsigned i = 0; i < got; i++)
        model_take(&run->model, pages[i], gfp, 0, 1, false);
    run->counts.kind[OP_BULK]++;
    run->counts.bulk_pages += got;
}

static void allocate_exact(struct run *run)
{
    uint64_t pages = 1 + random_below(&run->random, EXACT_MOST_PAGES);
    size_t bytes = pages * PAGE_SIZE - random_below(&run->random, PAGE_SIZE);
    unsigned order = get_order(bytes);
    void *address;

    model_note_lists(&run->model);
    address = alloc_pages_exact(bytes, GFP_KERNEL | __GFP_NOWARN);
    run->counts.kind[OP_EXACT]++;
    run->counts.asked[order]++;
    if (address == NULL)
        refuse(run, GFP_KERNEL, order);
    else
        model_take(&run->model, virt_to_page(address), GFP_KERNEL, order, pages, true);
}

// One of the ways to drop a reference; which one must not matter.
static void drop_reference(struct run *run, const struct held_block *block, struct page *head)
{
    unsigned way = (unsigned)random_below(&run->random, 4);

    if (way == 0)
        put_page(block->is_compound ? head + random_below(&run->random, block->pages) : head);
    else if (way == 1)
        free_pages(page_to_virt(head), block->order);
    else
        __free_pages(head, block->order);
}

static void free_one(struct run *run, enum victim victim)
{
    uint64_t place = pick_victim(run, victim);
    struct held_block *held = model_block(&run->model, place), block;
    struct page *head = model_page(&run->model, held);

    if (held->references > 0) {
        held->references--;
        run->counts.kind[OP_PUT]++;
        drop_reference(run, held, head);
        if (page_type(head) != PAGE_RAW || head->order != held->order)
            model_fail("frame %#lx: gone with %u references left", page_to_pfn(head).value,
                       held->references + 1);
        return;
    }
    block = model_drop(&run->model, place);
    run->counts.freed[victim]++;
    if (block.is_exact)
        free_pages_exact(page_to_virt(head), block.pages * PAGE_SIZE);
    else
        drop_reference(run, &block, head);
}

static bool can_split(const struct held_block *block)
{
    return !block->is_compound && !block->is_exact && block->references == 0 && block->order > 0;
}

static void split_one(struct run *run)
{
    uint64_t place = pick_victim(run, RANDOM_ONE);
    const struct held_block *block = model_block(&run->model, place);

    // Most blocks are single pages.
    for (unsigned tries = 0; tries < 8 && !can_split(block); tries++) {
        place = pick_victim(run, RANDOM_ONE);
        block = model_block(&run->model, place);
    }
    if (!can_split(block))
        return;
    run->counts.kind[OP_SPLIT]++;
    split_page(model_page(&run->model, block), block->order);
    model_split(&run->model, place);
}

static void refer_to_one(struct run *run)
{
    struct held_block *block = model_block(&run->model, pick_victim(run, RANDOM_ONE));

    if (block->is_exact)
        return;
    page_get(model_page(&run->model, block));
    block->references++;
    run->counts.kind[OP_GET]++;
}

// What there is besides allocating and freeing; one in 16 operations.
static void do_something_else(struct run *run)
{
    uint64_t lot = random_below(&run->random, 64);

    if (lot < 16)
        allocate_bulk(run);
    else if (lot < 32)
        allocate_exact(run);
    else if (run->model.count > 0 && lot < 40)
        split_one(run);
    else if (run->model.count > 0 && lot < 63)
        refer_to_one(run);
    else {
        page_lists_drain();
        run->counts.kind[OP_DRAIN]++;
    }
}

// Takes the last pages too; over when none is left, in other harts' lists either: who fails asks for those.
static bool fill_on(struct run *run, const struct phase *phase)
{
    if (allocate(run, __GFP_DIRECT_RECLAIM | __GFP_HIGH | __GFP_MEMALLOC, phase->lot % 2 == 0) ||
        run->model.held_pages < run->model.capacity_pages)
        return false;
    run->counts.exhaustions++;
    return true;
}

static bool step(void *context, struct phase *phase)
{
    struct run *run = context;

    if (phase->direction == FILLING)
        return fill_on(run, phase);
    if (phase->direction == EMPTYING) {
        if (run->model.count == 0)
            return true;
        free_one(run, phase->victim);
        return false;
    }
    if (random_below(&run->random, 16) == 0)
        do_something_else(run);
    else if (run->model.count == 0 || model_wants_more(phase, &run->random))
        allocate(run, 0, false);
    else
        free_one(run, phase->victim);
    return false;
}

static void check_all_of(void *context)
{
    const struct run *run = context;

    model_check_all(&run->model);
}

void page_model_run(struct run *run, uint64_t operations)
{
    struct page_model *model = &run->model;
    struct model_walk walk = {
        .name = "page_model", .run = run, .random = &run->random, .step = step, .check_all = check_all_of,
    };

    model_walk(&walk, operations);
    run->counts.phases = walk.phases;
    while (model->count > 0)
        free_one(run, YOUNGEST);
    model_check_all(model);
    page_lists_drain_all();
    if (zones_free_pages() != model->capacity_pages)
        model_fail("%lu pages free at the end, %lu at the start", zones_free_pages(), model->capacity_pages);
}

void page_model_report(const struct run *run)
{
    static const char *const kind_name[OP_KINDS] = { "bulk", "exact", "split", "get", "put", "drain" };
    const struct counts *counts = &run->counts;

    for (unsigned i = 0; i < REQUEST_KINDS; i++)
        console_print("# alloc %-18s %10lu\n", requests[i].name, counts->requested[i]);
    console_print("# free  random %lu, youngest %lu, oldest %lu\n", counts->freed[RANDOM_ONE], counts->freed[YOUNGEST],
                  counts->freed[OLDEST]);
    for (unsigned i = 0; i < OP_KINDS; i++)
        console_print("# %-24s %10lu\n", kind_name[i], counts->kind[i]);
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        console_print("# order %-2u asked %10lu, refused %10lu\n", order, counts->asked[order], counts->refused[order]);
    console_print("# pages in bulk %lu, phases %lu, times exhausted %lu\n", counts->bulk_pages, counts->phases,
                  counts->exhaustions);
}
