// The console command pagelists: what harts keep in front of the zones, and what idle ones have cleared.
// SPDX-License-Identifier: BSD-2-Clause

#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/page_alloc.h>
#include <mm/page_depot.h>
#include <mm/page_lists.h>
#include <mm/page_zero.h>

static int command_pagelists(int argc unused_arg, char **argv unused_arg)
{
    struct page_alloc_stats stats = page_alloc_stats();
    struct page_zero_stats zero = page_zero_stats();

    for (const struct zone *zone = zones; zone < zones + ZONE_COUNT; zone++)
        if (zone->managed_pages > 0)
            console_print("lists    %-8s %lu\n", zone->name, page_lists_pages(zone));
    console_print("depot    pages %lu batches moved %lu, calls of the engine %lu\n", page_depot_pages(&page_depot),
                  stats.depot_calls, stats.engine_calls);
    if (page_zero_is_on())
        console_print("zeroed   cleared %lu served %lu held %lu instructions %lu\n", zero.cleared, zero.served,
                      zero.held, zero.instructions);
    else
        console_print("zeroed   none in advance (prezero=off)\n");
    return 0;
}

SHELL_COMMAND(pagelists, "", "pages that harts keep, and those that idle harts have cleared", command_pagelists);
