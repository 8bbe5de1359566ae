// mm/phys/buddy.c and buddy_mobility.c: splitting, merging, and a long random run against a set of frames.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_engine.h>

#include "../../mm/phys/phys_private.h"
#include "page_chain.h"

#include <base/errno.h>
#include <check/check.h>
#include <mm/ledger.h>
#include <mm/page_group.h>
#include <mm/page_lists.h>
#include <mm/zone.h>

// The zone with the most free memory: cases want room.
static struct zone *roomy_zone(void)
{
    struct zone *best = &zones[0];

    for (unsigned id = 0; id < ZONE_COUNT; id++)
        if (zones[id].free_pages > best->free_pages)
            best = &zones[id];
    return best;
}

static struct free_counts counts_of(struct zone *zone)
{
    struct free_counts counts;

    page_lists_drain_all();
    page_engine->count(zone, &counts);
    return counts;
}

static struct page_request request_for(const struct zone *zone, unsigned order, enum mobility mobility)
{
    return (struct page_request){
        .order = (uint8_t)order,
        .mobility = (uint8_t)mobility,
        .state = PAGE_STATE(PAGE_RAW, order, page_home(zone, mobility)),
    };
}

// As often as the engine wants to be asked: it ranks a few groups at a time.
static int ask(struct zone *zone, const struct page_request *request, unsigned count, struct page **blocks)
{
    int taken;

    do {
        taken = page_engine->take(zone, request, count, blocks);
    } while (taken == -EAGAIN);
    return taken;
}

static int take(struct zone *zone, unsigned order, enum mobility mobility, uint64_t keep_pages, unsigned count,
                struct page **blocks)
{
    struct page_request request = request_for(zone, order, mobility);

    request.keep_pages = keep_pages;
    return ask(zone, &request, count, blocks);
}

static struct page *take_one(struct zone *zone, unsigned order, uint64_t keep_pages)
{
    struct page *page = NULL;

    (void)take(zone, order, MOBILITY_UNMOVABLE, keep_pages, 1, &page);
    return page;
}

static void give_one(struct zone *zone, struct page *page, unsigned order)
{
    page_engine_give_all(zone, order, 1, &page);
}

// A block is cut from larger ones, of which the rest stays free; when it comes back, all of them are whole again.
KTEST(buddy, splits_and_merges_back)
{
    struct zone *zone = roomy_zone();

    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        struct free_counts before = counts_of(zone), after;
        struct page *page = take_one(zone, order, 0);

        REQUIRE(page);
        after = counts_of(zone);
        EXPECT_EQ(before.pages - after.pages, 1UL << order);
        uint64_t pages = 0;
        for (unsigned k = 0; k <= MAX_ORDER; k++)
            pages += after.blocks[k] << k;
        EXPECT_EQ(pages, after.pages);
        EXPECT_EQ(page->state, PAGE_STATE(PAGE_RAW, order, page_home(zone, MOBILITY_UNMOVABLE)));
        EXPECT(page_zone(page) == zone);
        EXPECT(is_aligned(page_to_pfn(page).value, 1UL << order));
        EXPECT_EQ(check_zones(), 0);
        give_one(zone, page, order);
        after = counts_of(zone);
        for (unsigned k = 0; k <= MAX_ORDER; k++)
            EXPECT_EQ(after.blocks[k], before.blocks[k]);
    }
}

// The pages of a largest block, freed one by one in any order, are one block again.
KTEST(buddy, merges_from_single_pages_to_the_top)
{
    struct zone *zone = roomy_zone();
    uint64_t pages = 1UL << MAX_ORDER;
    struct page *block = take_one(zone, MAX_ORDER, 0);
    struct free_counts before = counts_of(zone), now = before;

    REQUIRE(block);
    split_page(block, MAX_ORDER);
    // An odd step visits every index of a power of two once.
    uint64_t step = ktest_random() | 1, at = ktest_random();
    for (uint64_t i = 0; i < pages; i++, at += step) {
        EXPECT_EQ(block->type == PAGE_FREE && block->order == MAX_ORDER, false);
        give_one(zone, block + at % pages, 0);
    }
    now = counts_of(zone);
    EXPECT_EQ(now.blocks[MAX_ORDER], before.blocks[MAX_ORDER] + 1);
    EXPECT_EQ(block->type, PAGE_FREE);
    EXPECT_EQ(block->order, MAX_ORDER);
    for (uint64_t i = 1; i < pages; i++)
        EXPECT_EQ(block[i].type, PAGE_TAIL);
}

// Two free neighbours that are not buddies stay two blocks.
KTEST(buddy, merges_buddies_only)
{
    struct page *block = alloc_pages(GFP_KERNEL, 2);

    REQUIRE(block);
    struct zone *zone = page_zone(block);
    split_page(block, 2);
    struct free_counts before = counts_of(zone), after;
    __free_page(block + 1);
    __free_page(block + 2);
    after = counts_of(zone);
    EXPECT_EQ(after.blocks[0], before.blocks[0] + 2);
    EXPECT_EQ(after.blocks[1], before.blocks[1]);
    EXPECT_EQ(check_zones(), 0);
    __free_page(block);
    after = counts_of(zone);
    EXPECT_EQ(after.blocks[0], before.blocks[0] + 1);
    EXPECT_EQ(after.blocks[1], before.blocks[1] + 1);
    EXPECT_EQ(check_zones(), 0);
    __free_page(block + 3);
}

// A request that would leave fewer pages than are to be kept gets nothing, one for several as many as may go.
KTEST(buddy, keeps_what_it_is_told_to)
{
    struct zone *zone = roomy_zone();
    struct page *pages[8];

    (void)free_pages_now();
    uint64_t free = zone->free_pages;
    EXPECT_NULL(take_one(zone, 0, free));
    EXPECT_NULL(take_one(zone, 1, free - 1));
    EXPECT_NULL(take_one(zone, 0, UINT64_MAX / 2));
    EXPECT_EQ(zone->free_pages, free);
    struct page *page = take_one(zone, 1, free - 2);
    EXPECT_NOT_NULL(page);
    EXPECT_EQ(zone->free_pages, free - 2);
    if (page != NULL)
        give_one(zone, page, 1);
    EXPECT_EQ(take(zone, 0, MOBILITY_UNMOVABLE, free - 5, 8, pages), 5);
    page_engine_give_all(zone, 0, 5, pages);
    EXPECT_EQ(zone->free_pages, free);
}

// Memory of one mobility comes from page blocks of its own, as long as there are free page blocks.
KTEST(buddy, keeps_mobilities_apart)
{
    struct zone *zone = roomy_zone();
    struct page *taken[3][8];

    for (unsigned mobility = 0; mobility < 3; mobility++) {
        EXPECT_EQ(take(zone, 0, (enum mobility)mobility, 0, 8, taken[mobility]), 8);
        for (unsigned i = 0; i < 8; i++)
            EXPECT_EQ(pfn_to_group(page_to_pfn(taken[mobility][i]))->mobility, mobility);
    }
    EXPECT_EQ(check_zones(), 0);
    for (unsigned mobility = 0; mobility < 3; mobility++)
        page_engine_give_all(zone, 0, 8, taken[mobility]);
}

// When no page block is left for a mobility, others' memory is taken rather than none, to the last page.
KTEST(buddy, falls_back_to_other_mobilities)
{
    struct zone *zone = roomy_zone();
    struct page_chain chain = { 0 };
    struct page *page;

    (void)free_pages_now();
    uint64_t free = zone->free_pages, movable = 0;
    for (unsigned order = MAX_ORDER + 1; order-- > 0;)
        while (take(zone, order, order % 2 == 0 ? MOBILITY_MOVABLE : MOBILITY_RECLAIMABLE, free / 2, 1, &page) == 1)
            chain_push(&chain, page);
    movable = chain.pages;
    for (unsigned order = MAX_ORDER + 1; order-- > 0;)
        while ((page = take_one(zone, order, 0)) != NULL)
            chain_push(&chain, page);
    EXPECT_EQ(zone->free_pages, 0);
    EXPECT_EQ(chain.pages, free);
    EXPECT_GE(movable, free / 2);
    EXPECT_EQ(check_zones(), 0);
    while ((page = chain_pop(&chain)) != NULL)
        give_one(zone, page, page->order);
    EXPECT_EQ(zone->free_pages, free);
}

// The page block of a block that GFP_ATOMIC got is set aside.
KTEST(buddy, sets_the_page_block_of_an_atomic_request_aside)
{
    page_lists_block();
    struct page *page = alloc_pages(GFP_ATOMIC, 4);

    REQUIRE(page);
    struct zone *zone = page_zone(page);
    EXPECT_EQ(zone->reserved_pages, 1UL << MAX_ORDER);
    EXPECT_EQ(pfn_to_group(page_to_pfn(page))->mobility, MOBILITY_ATOMIC);
    EXPECT_EQ(check_zones(), 0);
    __free_pages(page, 4);
    page_lists_unblock();
    EXPECT(page_engine->unreserve(zone));
    EXPECT(!page_engine->unreserve(zone));
    EXPECT_EQ(zone->reserved_pages, 0);
    EXPECT_EQ(check_zones(), 0);
}

// From a page block that is set aside, atomic requests for more than a page are served first, and others not at all.
KTEST(buddy, keeps_what_is_set_aside_for_atomic_requests)
{
    struct zone *zone = roomy_zone();
    struct page_request request = request_for(zone, 4, MOBILITY_UNMOVABLE);
    struct page *whole = take_one(zone, MAX_ORDER, 0), *atomic = NULL;

    REQUIRE(whole);
    page_engine->reserve(zone, whole);
    give_one(zone, whole, MAX_ORDER);
    uint64_t page_block = page_to_pfn(whole).value >> MAX_ORDER;
    request.may_use_reserve = true;
    EXPECT_EQ(ask(zone, &request, 1, &atomic), 1);
    struct page *plain = take_one(zone, 4, 0);
    REQUIRE(atomic && plain);
    EXPECT_EQ(page_to_pfn(atomic).value >> MAX_ORDER, page_block);
    EXPECT_NE(page_to_pfn(plain).value >> MAX_ORDER, page_block);
    EXPECT_EQ(check_zones(), 0);
    give_one(zone, plain, 4);
    give_one(zone, atomic, 4);
    EXPECT(page_engine->unreserve(zone));
    EXPECT_EQ(zone->reserved_pages, 0);
}

// Takes a block out of its zone, as if it had been reserved from the start: blocks of PAGE_RESERVED in its
// place.
static void reserve_block(struct page *head, unsigned order)
{
    struct zone *zone = page_zone(head);
    pfn_t start = page_to_pfn(head);

    head->state = PAGE_STATE(PAGE_TAIL, 0, 0);
    memmap_mark(start, pfn(start.value + 5), PAGE_RESERVED);
    memmap_mark(pfn(start.value + 5), pfn(start.value + (1UL << order)), PAGE_RESERVED);
    zone->managed_pages -= 1UL << order;
}

// Reserved memory goes to the buddy in ranges of any bounds; what remains reserved around them stays whole
// blocks, and when all of it has come, it is one block again.
KTEST(buddy, takes_over_reserved_memory)
{
    static const struct { uint64_t start, end; } ranges[][4] = {
        { { 0, 32 } },
        { { 3, 13 }, { 13, 32 }, { 0, 3 } },
        { { 16, 31 }, { 0, 1 }, { 31, 32 }, { 1, 16 } },
        { { 17, 18 }, { 1, 17 }, { 18, 32 }, { 0, 1 } },
    };
    const unsigned order = 5;

    for (size_t i = 0; i < array_count(ranges); i++) {
        struct page *head = alloc_pages(GFP_KERNEL, order);
        struct ledger whole = ledger_take(), now;
        uint64_t given = 0;
        pfn_t base = page_to_pfn(head);

        REQUIRE(head);
        reserve_block(head, order);
        EXPECT_EQ(check_zones(), 0);
        for (size_t k = 0; k < array_count(ranges[i]) && ranges[i][k].end > 0; k++) {
            zones_add_range(pfn(base.value + ranges[i][k].start), pfn(base.value + ranges[i][k].end));
            given += ranges[i][k].end - ranges[i][k].start;
            now = ledger_take();
            EXPECT_EQ(now.pages[PAGE_FREE], whole.pages[PAGE_FREE] + given);
            EXPECT_EQ(now.pages[PAGE_RESERVED], whole.pages[PAGE_RESERVED] + 32 - given);
            EXPECT_EQ(check_zones(), 0);
        }
        EXPECT_EQ(given, 32);
    }
}

// A range may end where no block is known, as at the end of RAM: the block before it is not touched.
KTEST(buddy, takes_over_memory_beside_nothing)
{
    struct page *head = alloc_pages(GFP_KERNEL, 5);
    uint64_t free = free_pages_now();
    pfn_t base = page_to_pfn(head);

    REQUIRE(head);
    reserve_block(head, 5);
    memmap_erase(pfn(base.value + 20), pfn(base.value + 32));
    zones_add_range(pfn(base.value + 16), pfn(base.value + 20));
    EXPECT_EQ(free_pages_now(), free + 4);
    zones_add_range(pfn(base.value + 20), pfn(base.value + 32));
    zones_add_range(base, pfn(base.value + 16));
    EXPECT_EQ(free_pages_now(), free + 32);
}

#define MODEL_BLOCKS 2048

// Every block starts and ends with its own frame number while it is alive.
static void write_tags(const struct page *head)
{
    uint64_t *words = page_to_virt(head), count = (PAGE_SIZE << head->order) / sizeof(*words);

    words[0] = words[count - 1] = page_to_pfn(head).value;
}

static bool tags_stand(const struct page *head)
{
    const uint64_t *words = page_to_virt(head), count = (PAGE_SIZE << head->order) / sizeof(*words);

    return words[0] == page_to_pfn(head).value && words[count - 1] == words[0];
}

// Small orders mostly, as in life (each half as often as the one below), and any order one time in eight.
static unsigned random_order(void)
{
    unsigned order = 0;

    if (ktest_random_below(8) == 0)
        return (unsigned)ktest_random_below(MAX_ORDER + 1);
    while (order < MAX_ORDER && ktest_random_below(2) == 0)
        order++;
    return order;
}

static struct {
    struct frame_set frames;
    struct page *block[MODEL_BLOCKS];
    uint64_t count, pages, refused;
} model;

static void model_take(unsigned order)
{
    struct page *page = alloc_pages(GFP_ATOMIC | __GFP_NOWARN, order);

    if (page == NULL) {
        model.refused++;
        return;
    }
    EXPECT_EQ(page->order, order);
    EXPECT(is_aligned(page_to_pfn(page).value, 1UL << order));
    EXPECT(frame_set_add(&model.frames, page));
    write_tags(page);
    model.block[model.count++] = page;
    model.pages += 1UL << order;
}

static void model_give_back(uint64_t index)
{
    struct page *page = model.block[index];

    EXPECT(tags_stand(page));
    frame_set_remove(&model.frames, page);
    model.pages -= 1UL << page->order;
    model.block[index] = model.block[--model.count];
    __free_pages(page, page->order);
}

// However blocks of all orders come and go, none overlaps another, nobody writes into it, and the free count
// is what it should be. Phases in which three of four operations allocate run into exhaustion, the phases
// between empty memory.
KTEST(buddy, agrees_with_a_model)
{
    uint64_t operations = ktest_rounds(1000000UL, 20000UL), free_at_start;

    model.frames = frame_set_open();
    REQUIRE(model.frames.block);
    model.refused = 0;
    free_at_start = free_pages_now();
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t takes_of_four = i / (operations / 8) % 2 == 0 ? 3 : 1;
        bool takes = ktest_random_below(4) < takes_of_four;

        if (model.count == 0 || (takes && model.count < MODEL_BLOCKS))
            model_take(random_order());
        else
            model_give_back(ktest_random_below(model.count));
        if (i % (operations / 64) == 0 && (!EXPECT_EQ(free_pages_now() + model.pages, free_at_start) ||
                                           !EXPECT_EQ(check_zones(), 0)))
            break;
    }
    while (model.count > 0)
        model_give_back(model.count - 1);
    EXPECT_EQ(free_pages_now(), free_at_start);
    frame_set_close(&model.frames);
    ktest_note("%lu operations, %lu requests refused", operations, model.refused);
}
