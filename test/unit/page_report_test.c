// mm/phys/page_report.c: what a failed request says: its cause, who asked, the zones, and who holds the memory.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_report.h>

#include "capture.h"
#include "page_chain.h"

#include <arch/time.h>
#include <base/parse.h>
#include <base/string.h>
#include <mm/granule.h>
#include <mm/kmalloc.h>
#include <mm/page_lists.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

// From the lowest zone alone, so that its numbers are all that counts.
#define LOW (GFP_KERNEL | GFP_DMA)

static struct page_chain chain;

// The text of a request that fails.
static noinline char *ask_in_vain(gfp_t gfp, unsigned order)
{
    page_report_rearm();
    capture_start();
    struct page *page = alloc_pages(gfp, order);
    char *text = capture_stop();

    EXPECT_NULL(page);
    EXPECT_NOT_NULL(text);
    return text != NULL ? text : "";
}

static void expect_in(const char *text, const char *part)
{
    if (!EXPECT(strstr(text, part) != NULL))
        ktest_note("  \"%s\" is not in: %s", part, text);
}

// The number that stands behind the name.
static uint64_t number_after(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    uint64_t value = 0;

    if (!EXPECT(at != NULL))
        return 0;
    for (at += strlen(name); *at == ' '; at++) {
    }
    for (; *at >= '0' && *at <= '9'; at++)
        value = 10 * value + (uint64_t)(*at - '0');
    return value;
}

// What is said with so many pages left: a reserve of which a small zone has no share is no cause.
static const char *cause_with(uint64_t left, const char *cause)
{
    return left > 0 ? cause : "cause: zone empty\n";
}

// The cause is the one that it is.
KTEST(page_report, names_the_cause)
{
    struct zone *zone = gfp_zone(LOW);
    uint64_t kept = zone->watermark_min, kept_from_atomic = kept / 2;

    chain_fill(&chain, LOW, 0, UINT64_MAX);
    expect_in(ask_in_vain(LOW, 0), cause_with(kept, "cause: below min watermark: "));
    chain_fill(&chain, GFP_ATOMIC | GFP_DMA, 0, UINT64_MAX);
    expect_in(ask_in_vain(GFP_ATOMIC | GFP_DMA, 0), cause_with(kept_from_atomic, "cause: below min watermark: "));
    expect_in(ask_in_vain(GFP_ATOMIC | GFP_DMA, MAX_ORDER), cause_with(kept_from_atomic, "cause: too few pages: "));
    chain_fill(&chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
    expect_in(ask_in_vain(LOW | __GFP_MEMALLOC, 0), "cause: zone empty\n");
    chain_free(&chain);

    // Every second page, so that no two lie together.
    struct page_chain odd = { 0 };
    chain_fill(&chain, LOW | __GFP_MEMALLOC, 0, UINT64_MAX);
    for (struct page *page, **link = &chain.first; (page = *link) != NULL;) {
        if (page_to_pfn(page).value % 2 == 0) {
            link = (struct page **)&page->owner;
            continue;
        }
        *link = page->owner;
        chain_push(&odd, page);
    }
    chain.blocks = chain.pages = 0;
    chain_free(&odd);
    page_lists_drain();
    char *text = ask_in_vain(LOW, 5);
    expect_in(text, "cause: no block of order 5 although ");
    expect_in(text, " pages are free (fragmented)\n");
    EXPECT_EQ(number_after(text, "although "), zone->free_pages);
    expect_in(text, "largest order 0, ");
    chain_free(&chain);
}

// It says who asked, for what, and with which flags.
KTEST(page_report, names_the_caller_and_the_flags)
{
    chain_fill(&chain, LOW, 0, UINT64_MAX);
    char *text = ask_in_vain(LOW | __GFP_ZERO, 1);
    expect_in(text, "page allocation failed: order 1, GFP_KERNEL|GFP_DMA|__GFP_ZERO, asked by ");
#ifndef QUIRE_HOST
    expect_in(text, "asked by ask_in_vain");
#endif
    chain_free(&chain);
}

static void add_cache_pages(struct kmem_cache *cache, void *sum)
{
    *(uint64_t *)sum += cache->slab_count << cache->slab_order;
}

// The zone's numbers are the zone's, those of the holders are what they count, and together they are all of RAM.
KTEST(page_report, accounts_for_all_memory)
{
    static const char *const holders[] = {
        "page tables ", "stacks ", "slab ", "large kmalloc ", "vmalloc ", "harts' lists ", "memmap and firmware ",
        ", free ", ", other ",
    };
    void *area = vmalloc(5 * PAGE_SIZE), *block = kmalloc(2 * KMALLOC_MAX_CACHE_BYTES, GFP_KERNEL);
    uint64_t present = 0, sum = 0, in_caches = 0;

    REQUIRE(area && block);
    chain_fill(&chain, LOW, 0, UINT64_MAX);
    char *text = ask_in_vain(LOW, 0);
    struct zone *zone = gfp_zone(LOW);
    expect_in(text, zone->name);
    text = strstr(text, "  zone ");
    REQUIRE(text);
    EXPECT_EQ(number_after(text, "min "), zone->watermark_min);
    EXPECT_EQ(number_after(text, "low "), zone->watermark_low);
    EXPECT_EQ(number_after(text, "high "), zone->watermark_high);

    char *pages = strstr(text, "  pages: ");
    REQUIRE(pages);
    kmem_cache_for_each(add_cache_pages, &in_caches);
    EXPECT_EQ(number_after(pages, "slab "), in_caches);
    EXPECT_EQ(number_after(pages, "vmalloc "), vmalloc_stats().pages);
    EXPECT_GE(number_after(pages, "vmalloc "), 5);
    EXPECT_EQ(number_after(pages, "large kmalloc "), kmalloc_large_stats().pages);
    EXPECT_EQ(number_after(pages, "stacks "), granule_stacks.page_count);
    EXPECT_EQ(number_after(pages, "page tables "), granule_tables.page_count);
    EXPECT_EQ(number_after(pages, ", free "), zones_free_pages());
    EXPECT_GE(number_after(pages, ", other "), chain.pages);
    for (unsigned i = 0; i < array_count(holders); i++)
        sum += number_after(pages, holders[i]);
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        present += zones[id].present_pages;
    EXPECT_EQ(sum, present);
    chain_free(&chain);
    kfree(block);
    vfree(area);
}

// One report a second; with __GFP_NOWARN none.
KTEST(page_report, once_a_second)
{
    chain_fill(&chain, LOW, 0, UINT64_MAX);
    EXPECT_STREQ(ask_in_vain(LOW | __GFP_NOWARN, 0), "");
    page_report_rearm();
    capture_start();
    uint64_t start = arch_time();
    for (unsigned i = 0; i < 3; i++)
        EXPECT_NULL(alloc_page(GFP_NOWAIT | GFP_DMA));
    bool is_quick = arch_time() - start < arch_timer_hz();
    char *text = capture_stop();
    REQUIRE(text);
    char *first = strstr(text, "page allocation failed");
    EXPECT_NOT_NULL(first);
    if (is_quick && first != NULL)
        EXPECT_NULL(strstr(first + 1, "page allocation failed"));
    chain_free(&chain);
}
