// memblock: two sorted lists of ranges, each changed by one sweep that writes the new list beside the old.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/memblock.h>

#include <base/errno.h>
#include <base/string.h>

struct memblock_list memblock_ram, memblock_reserved;

static uint64_t window_low, window_high = ARCH_PHYS_LIMIT;

// The list being written. A list that cannot hold the result is left as it was.
static struct memblock_list scratch;

static uint64_t range_end(const struct memblock_range *range)
{
    return range->start + range->size;
}

void memblock_reset(void)
{
    memblock_ram.count = 0;
    memblock_reserved.count = 0;
    window_low = 0;
    window_high = ARCH_PHYS_LIMIT;
}

void memblock_set_window(paddr_t low, paddr_t high)
{
    window_low = low.value;
    window_high = high.value;
}

// Appends [start, end) to the scratch list, united with its last range if they touch and agree. An empty
// range is fine.
static bool append(uint64_t start, uint64_t end, enum page_type owner)
{
    struct memblock_range *last = &scratch.range[scratch.count];

    if (start >= end)
        return true;
    if (scratch.count > 0 && range_end(last - 1) == start && last[-1].owner == owner) {
        last[-1].size += end - start;
        return true;
    }
    if (scratch.count == MEMBLOCK_RANGES)
        return false;
    *last = (struct memblock_range){ start, end - start, owner };
    scratch.count++;
    return true;
}

static int replace_list(struct memblock_list *list, bool complete)
{
    if (!complete)
        return -ENOSPC;
    memcpy(list->range, scratch.range, scratch.count * sizeof(scratch.range[0]));
    list->count = scratch.count;
    return 0;
}

// Adds what of [start, end) the list does not hold yet.
static int list_add(struct memblock_list *list, uint64_t start, uint64_t end, enum page_type owner)
{
    bool complete = true;

    scratch.count = 0;
    for (unsigned i = 0; i < list->count; i++) {
        const struct memblock_range *range = &list->range[i];
        complete = complete && append(start, min_of(end, range->start), owner);
        complete = complete && append(range->start, range_end(range), range->owner);
        start = max_of(start, range_end(range));
    }
    complete = complete && append(start, end, owner);
    return replace_list(list, complete);
}

static int list_remove_range(struct memblock_list *list, uint64_t start, uint64_t end)
{
    bool complete = true;

    scratch.count = 0;
    for (unsigned i = 0; i < list->count; i++) {
        const struct memblock_range *range = &list->range[i];
        complete = complete && append(range->start, min_of(range_end(range), start), range->owner);
        complete = complete && append(max_of(range->start, end), range_end(range), range->owner);
    }
    return replace_list(list, complete);
}

static bool is_addressable(paddr_t start, uint64_t size_bytes)
{
    return size_bytes <= ARCH_PHYS_LIMIT && start.value <= ARCH_PHYS_LIMIT - size_bytes;
}

int memblock_add(paddr_t start, uint64_t size_bytes)
{
    if (!is_addressable(start, size_bytes))
        return -ERANGE;
    return list_add(&memblock_ram, start.value, start.value + size_bytes, PAGE_FREE);
}

int memblock_reserve(paddr_t start, uint64_t size_bytes, enum page_type owner)
{
    if (!is_addressable(start, size_bytes))
        return -ERANGE;
    return list_add(&memblock_reserved, start.value, start.value + size_bytes, owner);
}

int memblock_release(paddr_t start, uint64_t size_bytes)
{
    if (!is_addressable(start, size_bytes))
        return -ERANGE;
    return list_remove_range(&memblock_reserved, start.value, start.value + size_bytes);
}

// The highest free range of that size and alignment in [low, high).
static bool find_top_down(uint64_t low, uint64_t high, uint64_t size_bytes, uint64_t alignment,
                          uint64_t *start)
{
    // Reserved ranges from the top; below the last of them, one more gap.
    for (unsigned i = memblock_reserved.count + 1; i-- > 0 && high > low;) {
        const struct memblock_range *below = i > 0 ? &memblock_reserved.range[i - 1] : NULL;
        uint64_t gap_start = below != NULL ? max_of(low, range_end(below)) : low;

        if (gap_start < high && high - gap_start >= size_bytes) {
            *start = align_down(high - size_bytes, alignment);
            if (*start >= gap_start)
                return true;
        }
        if (below != NULL)
            high = min_of(high, below->start);
    }
    return false;
}

bool memblock_alloc_unwritten(uint64_t size_bytes, uint64_t alignment, paddr_t limit, enum page_type owner,
                              paddr_t *result)
{
    uint64_t start;

    uint64_t window_end = min_of(limit.value, window_high);

    ASSERT(is_power_of_two(alignment));
    if (size_bytes == 0)
        return false;
    for (unsigned i = memblock_ram.count; i-- > 0;) {
        const struct memblock_range *ram = &memblock_ram.range[i];
        if (!find_top_down(max_of(ram->start, window_low), min_of(range_end(ram), window_end), size_bytes, alignment,
                           &start))
            continue;
        if (memblock_reserve(paddr(start), size_bytes, owner) != 0)
            return false;
        *result = paddr(start);
        return true;
    }
    return false;
}

bool memblock_alloc(uint64_t size_bytes, uint64_t alignment, paddr_t limit, enum page_type owner,
                    paddr_t *result)
{
    if (!memblock_alloc_unwritten(size_bytes, alignment, limit, owner, result))
        return false;
    memset(phys_to_virt(*result), 0, size_bytes);
    return true;
}

uint64_t memblock_ram_bytes(void)
{
    uint64_t bytes = 0;

    for (unsigned i = 0; i < memblock_ram.count; i++)
        bytes += memblock_ram.range[i].size;
    return bytes;
}

paddr_t memblock_ram_end(void)
{
    return paddr(memblock_ram.count > 0 ? range_end(&memblock_ram.range[memblock_ram.count - 1]) : 0);
}

bool memblock_next_free(uint64_t *cursor, paddr_t *start, uint64_t *size_bytes)
{
    for (unsigned i = 0; i < memblock_ram.count; i++) {
        const struct memblock_range *ram = &memblock_ram.range[i];
        uint64_t low = max_of(*cursor, ram->start), high = range_end(ram);

        for (unsigned k = 0; k < memblock_reserved.count; k++) {
            const struct memblock_range *reserved = &memblock_reserved.range[k];
            if (reserved->start > low) {
                high = min_of(high, reserved->start);
                break;
            }
            low = max_of(low, range_end(reserved));
        }
        if (low < high) {
            *start = paddr(low);
            *size_bytes = high - low;
            *cursor = high;
            return true;
        }
    }
    return false;
}
