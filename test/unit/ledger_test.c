// mm/check: the ledger adds up, and every validator sees the damage that it is there for.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/ledger.h>

#include <mm/buddy.h>
#include "page_chain.h"

#include <debug/klog.h>
#include <check/check.h>
#include <mm/granule.h>
#include <mm/memblock.h>
#include <mm/page_lists.h>
#include <mm/zone.h>

// Every page of RAM has one owner, and RAM is what memblock was told, whole pages.
KTEST(ledger, covers_all_of_ram)
{
    struct ledger ledger = ledger_take();
    uint64_t sum = 0;

    for (unsigned type = 0; type < PAGE_TYPE_COUNT; type++)
        sum += ledger.pages[type];
    EXPECT_EQ(sum, ledger.total);
    EXPECT_EQ(ledger.orphans, 0);
    EXPECT_EQ(ledger.pages[PAGE_TAIL], 0);
    EXPECT_LE(ledger.total, memblock_ram_bytes() >> PAGE_SHIFT);
    EXPECT_LE((memblock_ram_bytes() >> PAGE_SHIFT) - ledger.total, 2UL * memblock_ram.count);
    EXPECT_EQ(ledger.pages[PAGE_FREE], free_pages_now());
    EXPECT_GE(ledger.pages[PAGE_MEMMAP], 1);
    EXPECT_GE(ledger.pages[PAGE_IMAGE], 1);
    EXPECT_GE(ledger.pages[PAGE_TABLE], 1);
}

// A block moves from one account to another with its owner, all of its pages at once.
KTEST(ledger, follows_a_block)
{
    (void)free_pages_now();
    struct ledger before = ledger_take(), during, after;
    struct page *page = alloc_pages(GFP_KERNEL, 3);

    REQUIRE(page);
    (void)free_pages_now();
    during = ledger_take();
    EXPECT_EQ(during.pages[PAGE_RAW], before.pages[PAGE_RAW] + 8);
    EXPECT_EQ(during.pages[PAGE_FREE], before.pages[PAGE_FREE] - 8);
    EXPECT(!ledger_equal(&before, &during));
    page_set_type(page, PAGE_VMALLOC);
    during = ledger_take();
    EXPECT_EQ(during.pages[PAGE_RAW], before.pages[PAGE_RAW]);
    EXPECT_EQ(during.pages[PAGE_VMALLOC], before.pages[PAGE_VMALLOC] + 8);
    EXPECT(!ledger_equal(&before, &during));
    page_set_type(page, PAGE_RAW);
    __free_pages(page, 3);
    after = ledger_take();
    EXPECT(ledger_equal(&before, &after));
}

// Only page tables may have grown, and only at the cost of free memory.
KTEST(ledger, equality_lets_tables_grow)
{
    struct ledger before = ledger_take(), after = before;

    after.pages[PAGE_TABLE] += 2;
    EXPECT(!ledger_equal(&before, &after));
    after.pages[PAGE_FREE] -= 2;
    EXPECT(ledger_equal(&before, &after));
    EXPECT(!ledger_equal(&after, &before));
    after.pages[PAGE_SLAB]++;
    EXPECT(!ledger_equal(&before, &after));
    after = before;
    after.pages[PAGE_RAW]++;
    after.pages[PAGE_FREE]--;
    EXPECT(!ledger_equal(&before, &after));
    after = before;
    after.orphans++;
    EXPECT(!ledger_equal(&before, &after));
}

// --- Damage on purpose. Each piece is undone before the next. ---

// Sets a variable to another value, and expects that the validator sees it, and sees nothing once it is
// undone.
#define EXPECT_DEFECT(validator, variable, damage) \
    do { \
        __typeof__(variable) *damaged_ = &(variable); \
        __typeof__(variable) kept_ = *damaged_; \
        *damaged_ = (__typeof__(variable))(damage); \
        EXPECT_RELATION(validator(), >, 0, #validator " sees " #variable " = " #damage); \
        *damaged_ = kept_; \
        EXPECT_RELATION(validator(), ==, 0, #validator " sees nothing after " #variable " = " #damage); \
    } while (0)

static void open_damage(void)
{
    ktest_note("damage on purpose: the defects reported below are expected");
}

// A free page whose neighbours are taken, in a group with others like it, made for the case.
static struct page *make_listed_page(struct page **holder)
{
    struct page *block = alloc_pages(GFP_KERNEL, 5);

    *holder = block;
    if (block == NULL)
        return NULL;
    split_page(block, 5);
    __free_page(block);
    __free_page(block + 2);
    __free_page(block + 4);
    page_lists_drain_all();
    return block + 2;
}

static void undo_listed_page(struct page *holder)
{
    for (unsigned i = 1; i < 32; i++)
        if (i != 2 && i != 4)
            __free_page(holder + i);
}

// A bit-field's value exchanged for another.
#define EXPECT_FIELD_DEFECT(validator, field, damage) \
    do { \
        uint32_t kept_ = field, damaged_ = damage; \
        field = damaged_ & 0xff; \
        EXPECT_RELATION(validator(), >, 0, #validator " sees " #field " = " #damage); \
        field = kept_ & 0xff; \
        EXPECT_RELATION(validator(), ==, 0, #validator " sees nothing after " #field " = " #damage); \
    } while (0)

// A group with a bit too many or too few, of another rank or mobility, with a link astray; a list that misses it.
KTEST(check, sees_damaged_groups)
{
    struct page *holder, *page = make_listed_page(&holder);

    REQUIRE(page);
    open_damage();
    pfn_t frame = page_to_pfn(page);
    struct page_group *group = pfn_to_group(frame);
    struct buddy *buddy = buddy_of(page_zone(page));
    uint64_t bit = 1UL << frame.value % GROUP_PAGES;
    unsigned rank = group->rank, mobility = group->mobility;
    EXPECT_DEFECT(check_zones, group->free, group->free & ~bit);
    EXPECT_DEFECT(check_zones, group->free, group->free | bit << 1);
    EXPECT_DEFECT(check_zones, group->free, 0);
    EXPECT_DEFECT(check_zones, group->free, ~0UL);
    EXPECT_FIELD_DEFECT(check_buddy, group->rank, 0);
    EXPECT_FIELD_DEFECT(check_buddy, group->rank, rank + 1);
    EXPECT_FIELD_DEFECT(check_buddy, group->mobility, mobility + 1);
    EXPECT_FIELD_DEFECT(check_buddy, group->mobility, MOBILITY_COUNT);
    EXPECT_DEFECT(check_buddy, buddy->groups[mobility][rank - 1], 0);
    undo_listed_page(holder);
}

// A large free block off its list, with a link astray, of an order that it cannot have, beside a free buddy.
KTEST(check, sees_damaged_large_blocks)
{
    struct page *pair = alloc_pages(GFP_KERNEL, MAX_ORDER);

    REQUIRE(pair);
    __free_pages(pair, MAX_ORDER);
    open_damage();
    EXPECT_DEFECT(check_zones, pair->prev, 77);
    EXPECT_DEFECT(check_zones, pair->type, PAGE_TAIL);
    EXPECT_DEFECT(check_zones, pair->type, PAGE_RAW);
    EXPECT_DEFECT(check_zones, pair->refcount, 1);
    EXPECT_DEFECT(check_zones, pair->flags, PAGE_FLAG_COMPOUND);
    EXPECT_DEFECT(check_zones, pair->order, MAX_ORDER + 1);
    EXPECT_DEFECT(check_zones, pair->order, GROUP_ORDER - 1);
    EXPECT_DEFECT(check_zones, pair[1].type, PAGE_RAW);
    EXPECT_DEFECT(check_zones, pfn_to_group(page_to_pfn(pair))->free, 1);
    EXPECT_DEFECT(check_buddy, page_zone(pair)->reserved_pages, 1);
}

// Counters that are off by one, in either direction.
KTEST(check, sees_wrong_counters)
{
    struct page *holder, *page = make_listed_page(&holder);
    struct zone *zone;

    REQUIRE(page);
    open_damage();
    zone = page_zone(page);
    EXPECT_DEFECT(check_zones, zone->free_pages, zone->free_pages + 1);
    EXPECT_DEFECT(check_zones, zone->free_pages, zone->free_pages - 1);
    EXPECT_DEFECT(check_zones, zone->managed_pages, zone->managed_pages - 1);
    EXPECT_DEFECT(check_zones, zone->present_pages, zone->present_pages + 1);
    EXPECT_DEFECT(check_ledger, zone->free_pages, zone->free_pages + 1);
    EXPECT_DEFECT(check_ledger, granule_tables.page_count, 0);
    EXPECT_DEFECT(check_ledger, granule_stacks.page_count, 7);
    undo_listed_page(holder);
}

// Struct pages that say what cannot be: a free page with an owner, an owner's page that is free or inside nothing, a
// head inside a block, a block in a hart's list that is in none.
KTEST(check, sees_impossible_pages)
{
    struct page *holder, *page = make_listed_page(&holder);

    REQUIRE(page);
    open_damage();
    EXPECT_DEFECT(check_zones, page->type, PAGE_RAW);
    EXPECT_DEFECT(check_zones, page->type, PAGE_FREE);
    EXPECT_DEFECT(check_zones, page->type, 255);
    EXPECT_DEFECT(check_zones, page->order, 1);
    EXPECT_DEFECT(check_zones, page->refcount, 1);
    EXPECT_DEFECT(check_zones, holder[1].type, PAGE_FREE);
    EXPECT_DEFECT(check_zones, holder[1].type, PAGE_TAIL);
    EXPECT_DEFECT(check_zones, holder[1].type, PAGE_HART);
    EXPECT_DEFECT(check_zones, holder[1].order, 1);
    EXPECT_DEFECT(check_zones, holder[1].home, PAGE_LIST_HOMES);
    EXPECT_DEFECT(check_ledger, holder[1].type, PAGE_TAIL);
    EXPECT_DEFECT(check_ledger, holder[1].type, PAGE_SLAB);
    EXPECT_DEFECT(check_ledger, holder[1].type, PAGE_KMALLOC);
    EXPECT_DEFECT(check_ledger, holder[1].type, PAGE_VMALLOC);
    undo_listed_page(holder);

    struct page *whole = alloc_pages(GFP_KERNEL, 3);
    REQUIRE(whole);
    EXPECT_DEFECT(check_zones, whole[5].type, PAGE_RAW);
    EXPECT_DEFECT(check_zones, whole[5].refcount, 1);
    __free_pages(whole, 3);
}

// Granule pages whose map, count, type or link is wrong, and pools that count wrong.
KTEST(check, sees_damaged_granule_pools)
{
    struct granule_pool *pool = &granule_stacks;
    void *granule = granule_alloc(pool, GFP_KERNEL);
    struct page *page = virt_to_page(granule);

    REQUIRE(granule);
    open_damage();
    EXPECT_DEFECT(check_granules, pool->page_count, pool->page_count + 1);
    EXPECT_DEFECT(check_granules, pool->used_count, pool->used_count - 1);
    EXPECT_DEFECT(check_granules, page->refcount, 0);
    EXPECT_DEFECT(check_granules, page->refcount, page->refcount + 1);
    EXPECT_DEFECT(check_granules, page->map, page->map ^ 1);
    EXPECT_DEFECT(check_granules, page->map, 1UL << 63);
    EXPECT_DEFECT(check_granules, page->type, PAGE_TABLE);
    EXPECT_DEFECT(check_granules, page->order, 1);
    EXPECT_DEFECT(check_granules, pool->first_partial, 1);
    if (GRANULES_PER_PAGE > 1) {
        EXPECT_DEFECT(check_granules, pool->first_partial, 0);
        EXPECT_DEFECT(check_granules, page->prev, 1);
        EXPECT_DEFECT(check_granules, page->next, page_to_pfn(page).value);
    }
    granule_free(pool, granule);
}
