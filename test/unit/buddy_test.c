// mm/phys/buddy.c: splitting, merging, and a long random run against a set of frames.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/buddy.h>

#include "../../mm/phys/phys_private.h"
#include "page_chain.h"

#include <mm/check.h>
#include <mm/ledger.h>
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

static void copy_counts(const struct zone *zone, uint64_t counts[MAX_ORDER + 1])
{
    for (unsigned order = 0; order <= MAX_ORDER; order++)
        counts[order] = zone->free_area[order].block_count;
}

// A block is cut from the smallest one that holds it, the halves stay free, and freeing it puts all of them
// together.
KTEST(buddy, splits_the_smallest_and_merges_back)
{
    struct zone *zone = roomy_zone();
    uint64_t before[MAX_ORDER + 1], after[MAX_ORDER + 1];

    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        unsigned from = order;
        struct page *page;

        copy_counts(zone, before);
        while (from <= MAX_ORDER && before[from] == 0)
            from++;
        page = buddy_alloc(zone, order, 0);
        REQUIRE(page);
        copy_counts(zone, after);
        for (unsigned k = 0; k <= MAX_ORDER; k++)
            EXPECT_EQ(after[k] - before[k], k == from ? UINT64_MAX : k >= order && k < from);
        EXPECT_EQ(page->type, PAGE_RAW);
        EXPECT_EQ(page->order, order);
        EXPECT_EQ(page->refcount, 1);
        EXPECT(page_zone(page) == zone);
        EXPECT(is_aligned(page_to_pfn(page).value, 1UL << order));
        buddy_free(page, order);
        copy_counts(zone, after);
        for (unsigned k = 0; k <= MAX_ORDER; k++)
            EXPECT_EQ(after[k], before[k]);
    }
}

// The pages of a largest block, freed one by one in any order, are one block again.
KTEST(buddy, merges_from_single_pages_to_the_top)
{
    struct zone *zone = roomy_zone();
    uint64_t before = zone->free_area[MAX_ORDER].block_count, pages = 1UL << MAX_ORDER;
    struct page *block = buddy_alloc(zone, MAX_ORDER, 0);

    REQUIRE(block);
    split_page(block, MAX_ORDER);
    // An odd step visits every index of a power of two once.
    uint64_t step = ktest_random() | 1, at = ktest_random();
    for (uint64_t i = 0; i < pages; i++, at += step) {
        EXPECT_EQ(zone->free_area[MAX_ORDER].block_count, before - 1);
        __free_page(block + at % pages);
    }
    EXPECT_EQ(zone->free_area[MAX_ORDER].block_count, before);
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
    split_page(block, 2);
    __free_page(block + 1);
    __free_page(block + 2);
    EXPECT_EQ(block[1].type, PAGE_FREE);
    EXPECT_EQ(block[1].order, 0);
    EXPECT_EQ(block[2].type, PAGE_FREE);
    EXPECT_EQ(block[2].order, 0);
    EXPECT_EQ(check_zones(), 0);
    __free_page(block);
    EXPECT_EQ(block[0].order, 1);
    EXPECT_EQ(block[1].type, PAGE_TAIL);
    EXPECT_EQ(check_zones(), 0);
    __free_page(block + 3);
    EXPECT_EQ(block[2].type, PAGE_TAIL);
}

// A request that would leave fewer pages than are to be kept gets nothing.
KTEST(buddy, keeps_what_it_is_told_to)
{
    struct zone *zone = roomy_zone();
    uint64_t free = zone->free_pages;

    EXPECT_NULL(buddy_alloc(zone, 0, free));
    EXPECT_NULL(buddy_alloc(zone, 1, free - 1));
    EXPECT_NULL(buddy_alloc(zone, 0, UINT64_MAX / 2));
    EXPECT_EQ(zone->free_pages, free);
    struct page *page = buddy_alloc(zone, 1, free - 2);
    EXPECT_NOT_NULL(page);
    EXPECT_EQ(zone->free_pages, free - 2);
    if (page != NULL)
        buddy_free(page, 1);
    EXPECT_EQ(zone->free_pages, free);
}

// Takes a block out of its zone, as if it had been reserved from the start: blocks of PAGE_RESERVED in its
// place.
static void reserve_block(struct page *head, unsigned order)
{
    struct zone *zone = page_zone(head);
    pfn_t start = page_to_pfn(head);

    *head = (struct page){ .type = PAGE_TAIL };
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
            buddy_add_range(pfn(base.value + ranges[i][k].start), pfn(base.value + ranges[i][k].end));
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
    uint64_t free = zones_free_pages();
    pfn_t base = page_to_pfn(head);

    REQUIRE(head);
    reserve_block(head, 5);
    memmap_erase(pfn(base.value + 20), pfn(base.value + 32));
    buddy_add_range(pfn(base.value + 16), pfn(base.value + 20));
    EXPECT_EQ(zones_free_pages(), free + 4);
    buddy_add_range(pfn(base.value + 20), pfn(base.value + 32));
    buddy_add_range(base, pfn(base.value + 16));
    EXPECT_EQ(zones_free_pages(), free + 32);
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
    free_at_start = zones_free_pages();
    for (uint64_t i = 0; i < operations; i++) {
        uint64_t takes_of_four = i / (operations / 8) % 2 == 0 ? 3 : 1;
        bool takes = ktest_random_below(4) < takes_of_four;

        if (model.count == 0 || (takes && model.count < MODEL_BLOCKS))
            model_take(random_order());
        else
            model_give_back(ktest_random_below(model.count));
        if (i % (operations / 64) == 0 && (!EXPECT_EQ(zones_free_pages() + model.pages, free_at_start) ||
                                           !EXPECT_EQ(check_zones(), 0)))
            break;
    }
    while (model.count > 0)
        model_give_back(model.count - 1);
    EXPECT_EQ(zones_free_pages(), free_at_start);
    frame_set_close(&model.frames);
    ktest_note("%lu operations, %lu requests refused", operations, model.refused);
}
