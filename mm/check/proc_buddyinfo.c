// The console command buddyinfo, in the format of Linux's /proc/buddyinfo.
// SPDX-License-Identifier: BSD-2-Clause
//
// A line a zone that holds RAM: how many blocks of each order are free, from order 0 on (proc(5)). The counts
// are those of one moment only while nobody allocates; blocks in harts' lists are not among them.

#include <base/format.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/page_engine.h>

static void print_zone(struct zone *zone)
{
    char line[32 + 12 * (MAX_ORDER + 1)];
    struct free_counts counts;

    page_engine->count(zone, &counts);
    size_t used = (size_t)format_text(line, sizeof(line), "Node 0, zone %8s ", zone->name);
    for (unsigned order = 0; order <= MAX_ORDER && used < sizeof(line); order++)
        used += (size_t)format_text(line + used, sizeof(line) - used, "%6lu ", counts.blocks[order]);
    console_print("%s\n", line);
}

static int command_buddyinfo(int argc unused_arg, char **argv unused_arg)
{
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        if (zones[id].present_pages != 0)
            print_zone(&zones[id]);
    return 0;
}

SHELL_COMMAND(buddyinfo, "", "free blocks by zone and order, as /proc/buddyinfo", command_buddyinfo);
