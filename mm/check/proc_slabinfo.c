// The console command slabinfo, in the format of Linux's /proc/slabinfo, version 2.1.
// SPDX-License-Identifier: BSD-2-Clause
//
// A line a cache (slabinfo(5)). objsize is the distance from one object to the next; pagesperslab counts
// kernel pages. There are no tunables: they are 0, as they are with Linux's SLUB. A slab is active while an
// object of it is in use.

#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/slab.h>

static void print_cache(struct kmem_cache *cache, void *context unused_arg)
{
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    uint64_t active_objects = kmem_cache_live_objects(cache);
    uint64_t slabs = cache->slab_count;
    uint64_t active_slabs = slabs - cache->empty_count;

    spin_unlock_irqrestore(&cache->lock, flags);
    console_print("%-17s %6lu %6lu %6u %4u %4u : tunables %4u %4u %4u : slabdata %6lu %6lu %6u\n",
                  cache->name, active_objects, slabs * cache->objects_per_slab, cache->stride_bytes,
                  cache->objects_per_slab, 1U << cache->slab_order, 0, 0, 0, active_slabs, slabs, 0);
}

static int command_slabinfo(int argc unused_arg, char **argv unused_arg)
{
    console_print("slabinfo - version: 2.1\n"
                  "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
                  " : tunables <limit> <batchcount> <sharedfactor>"
                  " : slabdata <active_slabs> <num_slabs> <sharedavail>\n");
    kmem_cache_for_each(print_cache, NULL);
    return 0;
}

SHELL_COMMAND(slabinfo, "", "slab caches, as /proc/slabinfo", command_slabinfo);
