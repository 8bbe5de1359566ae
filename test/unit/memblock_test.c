// mm/phys/memblock.c. The machine's own lists are put aside for each case, and put back.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/memblock.h>

#include <base/errno.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/page_alloc.h>

static struct memblock_list saved_ram, saved_reserved;

static void put_lists_aside(void)
{
    saved_ram = memblock_ram;
    saved_reserved = memblock_reserved;
    memblock_reset();
}

static void put_lists_back(void)
{
    memblock_ram = saved_ram;
    memblock_reserved = saved_reserved;
}

static void expect_range(const struct memblock_list *list, unsigned index, uint64_t start, uint64_t end)
{
    EXPECT_LT(index, list->count);
    EXPECT_EQ(list->range[index].start, start);
    EXPECT_EQ(list->range[index].start + list->range[index].size, end);
}

// RAM ranges that overlap or touch become one, in whatever order they come.
KTEST(memblock, unites_ram)
{
    put_lists_aside();
    EXPECT_EQ(memblock_add(paddr(0x3000), 0x1000), 0);
    EXPECT_EQ(memblock_add(paddr(0x1000), 0x1000), 0);
    EXPECT_EQ(memblock_ram.count, 2);
    expect_range(&memblock_ram, 0, 0x1000, 0x2000);
    expect_range(&memblock_ram, 1, 0x3000, 0x4000);
    EXPECT_EQ(memblock_add(paddr(0x1800), 0x800), 0);
    EXPECT_EQ(memblock_ram.count, 2);
    EXPECT_EQ(memblock_add(paddr(0x1fff), 0x1001), 0);
    EXPECT_EQ(memblock_ram.count, 1);
    expect_range(&memblock_ram, 0, 0x1000, 0x4000);
    EXPECT_EQ(memblock_add(paddr(0x800), 0x8000), 0);
    EXPECT_EQ(memblock_ram.count, 1);
    expect_range(&memblock_ram, 0, 0x800, 0x8800);
    EXPECT_EQ(memblock_add(paddr(0x8800), 1), 0);
    EXPECT_EQ(memblock_add(paddr(0x7ff), 1), 0);
    expect_range(&memblock_ram, 0, 0x7ff, 0x8801);
    EXPECT_EQ(memblock_ram_bytes(), 0x8002);
    EXPECT_EQ(memblock_ram_end().value, 0x8801);
    put_lists_back();
}

// Of an overlap, the earlier owner keeps what it held.
KTEST(memblock, earlier_reservation_stays)
{
    put_lists_aside();
    EXPECT_EQ(memblock_reserve(paddr(0x2000), 0x1000, PAGE_IMAGE), 0);
    EXPECT_EQ(memblock_reserve(paddr(0x1000), 0x3000, PAGE_FIRMWARE), 0);
    EXPECT_EQ(memblock_reserved.count, 3);
    expect_range(&memblock_reserved, 0, 0x1000, 0x2000);
    expect_range(&memblock_reserved, 1, 0x2000, 0x3000);
    expect_range(&memblock_reserved, 2, 0x3000, 0x4000);
    EXPECT_EQ(memblock_reserved.range[0].owner, PAGE_FIRMWARE);
    EXPECT_EQ(memblock_reserved.range[1].owner, PAGE_IMAGE);
    EXPECT_EQ(memblock_reserved.range[2].owner, PAGE_FIRMWARE);
    EXPECT_EQ(memblock_reserve(paddr(0x2400), 0x400, PAGE_FIRMWARE), 0);
    EXPECT_EQ(memblock_reserved.count, 3);
    EXPECT_EQ(memblock_reserve(paddr(0x4000), 0x1000, PAGE_FIRMWARE), 0);
    EXPECT_EQ(memblock_reserved.count, 3);
    expect_range(&memblock_reserved, 2, 0x3000, 0x5000);
    put_lists_back();
}

// Ranges that wrap or end past the last physical address are refused; those that end with it are not, nor
// empty ones.
KTEST(memblock, refuses_what_cannot_be_addressed)
{
    static const struct { uint64_t start, size; int error; } cases[] = {
        { 0, 0, 0 }, { ARCH_PHYS_LIMIT, 0, 0 }, { ARCH_PHYS_LIMIT - 1, 1, 0 }, { 0, ARCH_PHYS_LIMIT, 0 },
        { ARCH_PHYS_LIMIT, 1, -ERANGE }, { ARCH_PHYS_LIMIT - 1, 2, -ERANGE }, { 1, ARCH_PHYS_LIMIT, -ERANGE },
        { UINT64_MAX, 0, -ERANGE }, { UINT64_MAX, 1, -ERANGE }, { 0x1000, UINT64_MAX, -ERANGE },
        { UINT64_MAX, UINT64_MAX, -ERANGE }, { 0x1000, UINT64_MAX - 0xfff, -ERANGE },
    };

    put_lists_aside();
    for (size_t i = 0; i < array_count(cases); i++) {
        memblock_reset();
        EXPECT_EQ(memblock_add(paddr(cases[i].start), cases[i].size), cases[i].error);
        EXPECT_EQ(memblock_reserve(paddr(cases[i].start), cases[i].size, PAGE_BOOT), cases[i].error);
        EXPECT_EQ(memblock_ram.count, cases[i].error == 0 && cases[i].size > 0);
        EXPECT_EQ(memblock_reserved.count, memblock_ram.count);
        EXPECT_EQ(memblock_release(paddr(cases[i].start), cases[i].size), cases[i].error);
        EXPECT_EQ(memblock_reserved.count, 0);
    }
    put_lists_back();
}

// A full list refuses one range more and stays as it was; a range that joins others still fits.
KTEST(memblock, full_list_stays_whole)
{
    struct memblock_list *list = &memblock_reserved;

    put_lists_aside();
    for (uint64_t i = 0; i < MEMBLOCK_RANGES; i++)
        EXPECT_EQ(memblock_reserve(paddr(0x10000 * (i + 1)), 0x8000, PAGE_BOOT), 0);
    EXPECT_EQ(list->count, MEMBLOCK_RANGES);
    EXPECT_EQ(memblock_reserve(paddr(0x1000), 0x1000, PAGE_BOOT), -ENOSPC);
    EXPECT_EQ(memblock_reserve(paddr(0x19000), 0x1000, PAGE_BOOT), -ENOSPC);
    EXPECT_EQ(memblock_reserve(paddr(0), 0x10000 * (MEMBLOCK_RANGES + 2), PAGE_IMAGE), -ENOSPC);
    EXPECT_EQ(memblock_release(paddr(0x12000), 0x1000), -ENOSPC);
    EXPECT_EQ(list->count, MEMBLOCK_RANGES);
    for (unsigned i = 0; i < MEMBLOCK_RANGES; i++)
        expect_range(list, i, 0x10000 * (i + 1UL), 0x10000 * (i + 1UL) + 0x8000);
    EXPECT_EQ(memblock_reserve(paddr(0x18000), 0x8000, PAGE_BOOT), 0);
    EXPECT_EQ(list->count, MEMBLOCK_RANGES - 1);
    EXPECT_EQ(memblock_reserve(paddr(0), 0x10000 * (MEMBLOCK_RANGES + 2), PAGE_BOOT), 0);
    EXPECT_EQ(list->count, 1);
    put_lists_back();
}

#define MODEL_UNITS 200
#define MODEL_UNIT_BYTES 0x1800

// What each unit of a small address space is: RAM or not, and whose.
struct model {
    bool is_ram[MODEL_UNITS];
    enum page_type owner[MODEL_UNITS];     // PAGE_FREE: not reserved
};

static struct model model;

// The list's view of a unit: its owner, or PAGE_TAIL when no range holds it.
static enum page_type owner_by_list(const struct memblock_list *list, unsigned unit)
{
    uint64_t start = (unit + 1UL) * MODEL_UNIT_BYTES;

    for (unsigned i = 0; i < list->count; i++) {
        const struct memblock_range *range = &list->range[i];
        if (range->start <= start && start + MODEL_UNIT_BYTES <= range->start + range->size)
            return range->owner;
    }
    return PAGE_TAIL;
}

static bool is_well_formed(const struct memblock_list *list)
{
    for (unsigned i = 0; i < list->count; i++) {
        const struct memblock_range *range = &list->range[i];
        uint64_t end = i > 0 ? range[-1].start + range[-1].size : 0;
        if (range->size == 0 || range->start < end)
            return false;
        if (i > 0 && range->start == end && range->owner == range[-1].owner)
            return false;
    }
    return true;
}

static bool agrees_with_model(void)
{
    uint64_t cursor = 0, bytes, free_units = 0, free_bytes = 0;
    paddr_t start;

    for (unsigned unit = 0; unit < MODEL_UNITS; unit++) {
        enum page_type reserved = owner_by_list(&memblock_reserved, unit);
        bool is_ram = owner_by_list(&memblock_ram, unit) != PAGE_TAIL;
        if (is_ram != model.is_ram[unit])
            return false;
        if ((reserved == PAGE_TAIL ? PAGE_FREE : reserved) != model.owner[unit])
            return false;
        free_units += is_ram && reserved == PAGE_TAIL;
    }
    while (memblock_next_free(&cursor, &start, &bytes)) {
        for (uint64_t at = start.value; at < start.value + bytes; at += MODEL_UNIT_BYTES) {
            uint64_t unit = at / MODEL_UNIT_BYTES - 1;
            if (!model.is_ram[unit] || model.owner[unit] != PAGE_FREE)
                return false;
        }
        free_bytes += bytes;
    }
    return free_bytes == free_units * MODEL_UNIT_BYTES && is_well_formed(&memblock_ram) &&
           is_well_formed(&memblock_reserved);
}

// Any sequence of operations leaves the lists equal to an array that has an entry per unit of memory.
KTEST(memblock, agrees_with_a_model)
{
    put_lists_aside();
    for (unsigned round = 0; round < ktest_rounds(200, 10); round++) {
        memblock_reset();
        for (unsigned unit = 0; unit < MODEL_UNITS; unit++) {
            model.is_ram[unit] = false;
            model.owner[unit] = PAGE_FREE;
        }
        for (unsigned step = 0; step < 60; step++) {
            uint64_t first = ktest_random_below(MODEL_UNITS);
            uint64_t count = ktest_random_below(MODEL_UNITS - first) / 2;
            paddr_t start = paddr((first + 1) * MODEL_UNIT_BYTES);
            uint64_t bytes = count * MODEL_UNIT_BYTES, operation = ktest_random_below(4);
            enum page_type owner = ktest_random_below(2) ? PAGE_BOOT : PAGE_FIRMWARE;
            int error = operation == 0   ? memblock_add(start, bytes)
                        : operation == 1 ? memblock_release(start, bytes)
                                         : memblock_reserve(start, bytes, owner);

            EXPECT_EQ(error, 0);
            for (uint64_t unit = first; unit < first + count; unit++) {
                if (operation == 0)
                    model.is_ram[unit] = true;
                else if (operation == 1)
                    model.owner[unit] = PAGE_FREE;
                else if (model.owner[unit] == PAGE_FREE)
                    model.owner[unit] = owner;
            }
        }
        if (!EXPECT(agrees_with_model()))
            break;
    }
    put_lists_back();
}

// Allocations come from the top of the highest RAM below the limit, aligned, cleared and reserved for their
// owner.
KTEST(memblock, allocates_from_the_top)
{
    unsigned order = get_order(KB(256));
    struct page *block = alloc_pages(GFP_KERNEL, order);
    uint64_t base, end;
    paddr_t got;

    REQUIRE(block);
    base = page_to_phys(block).value;
    end = base + KB(256);
    memset(page_to_virt(block), 0xa5, KB(256));
    put_lists_aside();

    // Two pieces of RAM with a hole, and a reserved range within the upper one.
    EXPECT_EQ(memblock_add(paddr(base), KB(96)), 0);
    EXPECT_EQ(memblock_add(paddr(base + KB(128)), KB(128)), 0);
    EXPECT_EQ(memblock_reserve(paddr(end - KB(32)), KB(16), PAGE_FIRMWARE), 0);

    EXPECT(memblock_alloc(KB(8), KB(4), paddr(ARCH_PHYS_LIMIT), PAGE_TABLE, &got));
    EXPECT_EQ(got.value, end - KB(8));
    EXPECT(memblock_alloc(KB(8), KB(4), paddr(end), PAGE_TABLE, &got));
    EXPECT_EQ(got.value, end - KB(16));
    EXPECT_EQ(memblock_reserved.count, 2);

    // The next gap, below the firmware; the alignment leaves some of it over.
    EXPECT(memblock_alloc(100, KB(32), paddr(end), PAGE_BOOT, &got));
    EXPECT_EQ(got.value, align_down(end - KB(32) - 100, KB(32)));
    EXPECT_EQ(*(char *)phys_to_virt(got), 0);
    EXPECT_EQ(*((char *)phys_to_virt(got) + 99), 0);
    EXPECT_EQ(*((uint8_t *)phys_to_virt(got) + 100), 0xa5);

    // Only the lower piece lies below that limit, and the limit cuts it.
    EXPECT(memblock_alloc(KB(4), KB(4), paddr(base + KB(90)), PAGE_BOOT, &got));
    EXPECT_EQ(got.value, base + KB(84));

    // The highest gap that is large enough is not at that alignment; the lower piece is.
    EXPECT_EQ(memblock_reserve(paddr(base + KB(128)), KB(4), PAGE_FIRMWARE), 0);
    EXPECT(memblock_alloc(KB(48), KB(64), paddr(end), PAGE_BOOT, &got));
    EXPECT_EQ(got.value, base);

    // Larger than any gap, or than any RAM: nothing changes.
    unsigned count = memblock_reserved.count;
    got = paddr(77);
    EXPECT(!memblock_alloc(KB(96), 1, paddr(end), PAGE_BOOT, &got));
    EXPECT(!memblock_alloc(KB(4), KB(4), paddr(base), PAGE_BOOT, &got));
    EXPECT(!memblock_alloc(0, 1, paddr(end), PAGE_BOOT, &got));
    EXPECT(!memblock_alloc(UINT64_MAX, 1, paddr(end), PAGE_BOOT, &got));
    EXPECT_EQ(memblock_reserved.count, count);
    EXPECT_EQ(got.value, 77);

    put_lists_back();
    __free_pages(block, order);
}

// All of RAM can be allocated to the last byte, and then no byte more.
KTEST(memblock, allocates_to_the_last_byte)
{
    struct page *block = alloc_page(GFP_KERNEL);
    uint64_t base, total = 0;
    paddr_t got;

    REQUIRE(block);
    base = page_to_phys(block).value;
    put_lists_aside();
    EXPECT_EQ(memblock_add(paddr(base), 1000), 0);
    while (memblock_alloc(7, 1, paddr(ARCH_PHYS_LIMIT), PAGE_BOOT, &got))
        total += 7;
    while (memblock_alloc(1, 1, paddr(ARCH_PHYS_LIMIT), PAGE_BOOT, &got))
        total += 1;
    EXPECT_EQ(total, 1000);
    EXPECT_EQ(got.value, base);
    EXPECT_EQ(memblock_reserved.count, 1);
    put_lists_back();
    __free_page(block);
}

// Within a window allocation keeps off what lies above it and below, and ends when the window is full; without
// one it goes on.
KTEST(memblock, allocates_within_the_window)
{
    unsigned order = get_order(KB(256));
    struct page *block = alloc_pages(GFP_KERNEL, order);
    paddr_t got;

    REQUIRE(block);
    uint64_t base = page_to_phys(block).value;
    put_lists_aside();
    EXPECT_EQ(memblock_add(paddr(base), KB(64)), 0);
    EXPECT_EQ(memblock_add(paddr(base + KB(128)), KB(128)), 0);

    memblock_set_window(paddr(base + KB(56)), paddr(base + KB(136)));
    for (unsigned i = 1; i <= 4; i++) {
        EXPECT(memblock_alloc(KB(4), KB(4), paddr(ARCH_PHYS_LIMIT), PAGE_BOOT, &got));
        EXPECT_EQ(got.value, base + (i <= 2 ? KB(136) - i * KB(4) : KB(64) - (i - 2) * KB(4)));
    }
    EXPECT(!memblock_alloc(1, 1, paddr(ARCH_PHYS_LIMIT), PAGE_BOOT, &got));
    memblock_set_window(paddr(base + KB(64)), paddr(base + KB(128)));
    EXPECT(!memblock_alloc(1, 1, paddr(ARCH_PHYS_LIMIT), PAGE_BOOT, &got));
    memblock_set_window(paddr(0), paddr(ARCH_PHYS_LIMIT));
    EXPECT(memblock_alloc(KB(4), KB(4), paddr(ARCH_PHYS_LIMIT), PAGE_BOOT, &got));
    EXPECT_EQ(got.value, base + KB(252));

    put_lists_back();
    __free_pages(block, order);
}
