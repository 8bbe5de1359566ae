// mm/phys/page_history.c: what is noted of a block is found again for every page in it.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_history.h>

#if CONFIG_CHECKED

#include "capture.h"

#include <base/format.h>
#include <base/string.h>
#include <debug/shell.h>
#include <ktest/ktest.h>
#include <mm/ledger.h>
#include <mm/memblock.h>
#include <mm/page_alloc.h>

#define ORDER 2

static const void *const here = (const void *)0x1234;

static const char *history_of(const struct page *page)
{
    capture_start();
    page_history_print(page_to_pfn(page));
    return capture_stop();
}

// How often `part` stands in `text`.
static unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;

    for (; text && *text; text++)
        count += strncmp(text, part, strlen(part)) == 0;
    return count;
}

static bool is_before(const char *text, const char *first, const char *second)
{
    while (*text && strncmp(text, first, strlen(first)) != 0)
        text++;
    return *text && count_of(text, second) > 0;
}

// The last four transitions are kept, the latest first; older ones are forgotten.
KTEST(page_history, keeps_the_last_four)
{
    struct page *page = alloc_page(GFP_KERNEL);

    REQUIRE(page);
    page_history_note(page_to_pfn(page), PAGE_SPLIT, 0, here);
    page_history_note(page_to_pfn(page), PAGE_ALLOCATED, 0, here);
    page_history_note(page_to_pfn(page), PAGE_NOW_TYPE, PAGE_SLAB, here);
    page_history_note(page_to_pfn(page), PAGE_NOW_TYPE, PAGE_RAW, here);
    page_history_note(page_to_pfn(page), PAGE_FREED, 0, here);
    const char *text = history_of(page);
    if (EXPECT_NOT_NULL(text)) {
        EXPECT_EQ(count_of(text, "\n"), 4);
        EXPECT_EQ(count_of(text, "split"), 0);
        EXPECT_EQ(count_of(text, "by 0x1234\n"), 4);
        EXPECT(is_before(text, "freed, order 0", "became raw"));
        EXPECT(is_before(text, "became raw", "became slab"));
        EXPECT(is_before(text, "became slab", "allocated, order 0"));
    }
    __free_page(page);
}

// What is noted at a block's head is told of its last page, too; of the page behind the block it is not, nor of a page
// that the block no longer reaches.
KTEST(page_history, covers_a_whole_block)
{
    struct page *block = alloc_pages(GFP_KERNEL, ORDER + 1);
    char frame[32];

    REQUIRE(block);
    // An earlier case may have had that page.
    unsigned earlier = count_of(history_of(block + 4), "kmalloc");
    format_text(frame, sizeof(frame), "frame %#lx became", page_to_pfn(block).value);
    page_history_note(page_to_pfn(block), PAGE_ALLOCATED, ORDER, here);
    page_history_note(page_to_pfn(block), PAGE_NOW_TYPE, PAGE_KMALLOC, here);
    EXPECT_EQ(count_of(history_of(block + 3), "allocated, order 2, by 0x1234"), 1);
    EXPECT_EQ(count_of(history_of(block + 3), frame), 1);
    EXPECT_EQ(count_of(history_of(block + 4), "order 2, by 0x1234"), 0);
    EXPECT_EQ(count_of(history_of(block + 4), "kmalloc"), earlier);

    page_history_note(page_to_pfn(block), PAGE_SPLIT, ORDER, here);
    page_history_note(page_to_pfn(block), PAGE_NOW_TYPE, PAGE_STACK, here);
    EXPECT_EQ(count_of(history_of(block + 1), "split, order 2"), 1);
    EXPECT_EQ(count_of(history_of(block + 1), "became stack"), 0);
    EXPECT_EQ(count_of(history_of(block), "became stack"), 1);
    __free_pages(block, ORDER + 1);
}

// The page allocator notes what it does, single pages, blocks and bulks alike, and so does page_set_type; and a report
// of misuse tells it, the latest first.
KTEST(page_history, reports_tell_it)
{
    struct page *block = alloc_pages(GFP_KERNEL, ORDER), *two[2];

    REQUIRE(block);
    page_set_type(block, PAGE_STACK);
    page_set_type(block, PAGE_RAW);
    __free_pages(block, ORDER);
    capture_start();
    EXPECT_MISUSE(1, __free_pages(block, ORDER));
    const char *text = capture_stop();
    if (EXPECT_NOT_NULL(text)) {
        EXPECT_EQ(count_of(text, "freed twice"), 1);
        EXPECT(is_before(text, "freed, order 2", "became raw"));
        EXPECT(is_before(text, "became raw", "became stack"));
        EXPECT(is_before(text, "became stack", "allocated, order 2"));
    }

    REQUIRE(alloc_pages_bulk(GFP_KERNEL, 2, two) == 2);
    for (unsigned i = 0; i < 2; i++) {
        EXPECT_GE(count_of(history_of(two[i]), "allocated, order 0"), 1);
        __free_page(two[i]);
        EXPECT_GE(count_of(history_of(two[i]), "freed, order 0"), 1);
    }
    block = alloc_pages(GFP_KERNEL, ORDER);
    REQUIRE(block);
    split_page(block, ORDER);
    EXPECT(is_before(history_of(block + 1), "split, order 2", "allocated, order 2"));
    for (unsigned i = 0; i < 1U << ORDER; i++)
        free_page(page_to_virt(block + i));
    EXPECT(is_before(history_of(block + 1), "freed, order 0", "split, order 2"));
}

// The console's command takes a frame number, a physical address and one in the direct map, and refuses the rest.
KTEST(page_history, command_takes_frames_and_addresses)
{
    struct page *page = alloc_page(GFP_KERNEL);
    char line[64];

    REQUIRE(page);
    const uint64_t frame = page_to_pfn(page).value;
    const uint64_t names[] = { frame, (frame << PAGE_SHIFT) + 8, (uintptr_t)page_to_virt(page) + PAGE_SIZE - 1 };
    page_history_note(page_to_pfn(page), PAGE_ALLOCATED, 0, here);
    for (unsigned i = 0; i < array_count(names); i++) {
        format_text(line, sizeof(line), "pagehistory %#lx", names[i]);
        capture_start();
        int result = shell_run_line(line);
        const char *text = capture_stop();
        EXPECT_EQ(result, 0);
        EXPECT_GE(count_of(text, "allocated, order 0, by 0x1234"), 1);
    }
    static const char *const bad[] = {
        "pagehistory", "pagehistory x", "pagehistory 0", "pagehistory 0xffffffffffffffff",
    };
    for (unsigned i = 0; i < array_count(bad); i++) {
        string_copy(line, bad[i], sizeof(line));
        capture_start();
        int result = shell_run_line(line);
        capture_stop();
        EXPECT_EQ(result, 1);
    }
    __free_page(page);
}

// Its memory is accounted for: as much as 64 bytes for each page, and owned as memmap.
KTEST(page_history, memory_is_in_the_ledger)
{
    uint64_t pages = memblock_ram_bytes() >> PAGE_SHIFT;

    EXPECT_GE(page_history_bytes(), (pages - memblock_ram.count) * 64);
    EXPECT_LE(page_history_bytes(), (pages + memblock_ram.count) * 64 + memblock_ram.count * PAGE_SIZE);
    EXPECT_GE(ledger_take().pages[PAGE_MEMMAP], (page_history_bytes() >> PAGE_SHIFT) + 1);
}

#endif
