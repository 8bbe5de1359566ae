// The two indices of fragmentation, from counts of free blocks, and the console command that shows them.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/fragmentation.h>

#include <base/format.h>
#include <debug/klog.h>
#include <debug/shell.h>

// Free pages in blocks that are large enough.
static uint64_t usable_pages(const struct free_counts *counts, unsigned order)
{
    uint64_t pages = 0;

    for (; order <= MAX_ORDER; order++)
        pages += counts->blocks[order] << order;
    return pages;
}

unsigned unusable_index(const struct free_counts *counts, unsigned order)
{
    if (counts->pages == 0)
        return 1000;
    return (unsigned)((counts->pages - usable_pages(counts, order)) * 1000 / counts->pages);
}

int fragmentation_index(const struct free_counts *counts, unsigned order)
{
    uint64_t blocks = 0;

    for (unsigned i = 0; i <= MAX_ORDER; i++)
        blocks += counts->blocks[i];
    if (blocks == 0)
        return 0;
    if (usable_pages(counts, order) > 0)
        return -1000;
    return 1000 - (int)((1000 + ((counts->pages * 1000) >> order)) / blocks);
}

struct free_counts zone_free_counts(struct zone *zone)
{
    struct free_counts counts = { 0 };

    page_engine->count(zone, &counts);
    return counts;
}

struct free_counts zones_free_counts(void)
{
    struct free_counts sum = { 0 };

    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        struct free_counts counts = zone_free_counts(&zones[id]);
        for (unsigned order = 0; order <= MAX_ORDER; order++)
            sum.blocks[order] += counts.blocks[order];
        sum.pages += counts.pages;
    }
    return sum;
}

#define LINE_BYTES (32 + 8 * (MAX_ORDER + 1))

// A sign and three digits behind the point, as in Linux's extfrag files.
static void print_line(const char *zone, const char *what, const int index[MAX_ORDER + 1])
{
    char line[LINE_BYTES];
    size_t used = (size_t)format_text(line, sizeof(line), "zone %8s, %s", zone, what);

    for (unsigned order = 0; order <= MAX_ORDER && used < sizeof(line); order++) {
        unsigned value = (unsigned)(index[order] < 0 ? -index[order] : index[order]);
        used += (size_t)format_text(line + used, sizeof(line) - used, " %s%u.%03u", index[order] < 0 ? "-" : " ",
                                    value / 1000, value % 1000);
    }
    console_print("%s\n", line);
}

static int command_fragmentation(int argc unused_arg, char **argv unused_arg)
{
    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        struct free_counts counts;
        int unusable[MAX_ORDER + 1], fragmentation[MAX_ORDER + 1];

        if (zones[id].present_pages == 0)
            continue;
        counts = zone_free_counts(&zones[id]);
        for (unsigned order = 0; order <= MAX_ORDER; order++) {
            unusable[order] = (int)unusable_index(&counts, order);
            fragmentation[order] = fragmentation_index(&counts, order);
        }
        print_line(zones[id].name, "unusable", unusable);
        print_line(zones[id].name, "index   ", fragmentation);
    }
    return 0;
}

SHELL_COMMAND(fragmentation, "", "by zone and order: unusable free space, and the fragmentation index",
              command_fragmentation);
