// The console command slabstats: how far requests for objects come, and what of the memory behind them is of use.
// SPDX-License-Identifier: BSD-2-Clause
//
// A line a cache. Of each layer, how often it was gone to, which is what the layer before it did not serve: a hart's
// loaded magazine serves the rest, and counts nothing. `remote` are objects freed by one hart that another took.
// `asked` is how much of an object its requests want, in percent, of those that came past the magazines: one of some
// twenty. `used` is how much of the slabs' memory objects in use hold, in percent.

#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/magazine.h>
#include <mm/slab.h>

static uint64_t percent(uint64_t part, uint64_t whole) { return whole == 0 ? 100 : (part * 100 + whole / 2) / whole; }

static void print_cache(struct kmem_cache *cache, void *context unused_arg)
{
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    uint64_t live = kmem_cache_live_objects(cache), from_slabs = cache->alloc_count, to_slabs = cache->free_count;
    uint64_t slabs = cache->slab_count, grown = cache->grown_count, failed = cache->failed_count;

    spin_unlock_irqrestore(&cache->lock, flags);
    console_print("%-17s %6lu %5lu %5lu %8lu %8lu %8lu %8lu %8lu %8lu %6lu %6lu\n", cache->name, live,
                  percent(__atomic_load_n(&cache->asked_bytes, __ATOMIC_RELAXED),
                          __atomic_load_n(&cache->asked_count, __ATOMIC_RELAXED) * cache->object_bytes),
                  percent(live * cache->object_bytes, (slabs << cache->slab_order) * PAGE_SIZE),
                  magazines_swaps(cache), cache->depot.taken, cache->depot.left, cache->depot.remote, from_slabs,
                  to_slabs, grown, failed);
}

static int command_slabstats(int argc unused_arg, char **argv unused_arg)
{
    console_print("# name             in-use asked  used previous    taken     left   remote from-slab  to-slab  grown"
                  " failed\n");
    kmem_cache_for_each(print_cache, NULL);
    return 0;
}

SHELL_COMMAND(slabstats, "", "slab caches: visits of each layer, and memory of use", command_slabstats);
