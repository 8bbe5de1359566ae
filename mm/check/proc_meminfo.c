// The console command meminfo, in the format of Linux's /proc/meminfo.
// SPDX-License-Identifier: BSD-2-Clause
//
// A line is a name, a number and "kB" (proc(5)). Of Linux's lines there are those whose subject exists here;
// Buffers, Cached and Swap do not yet, and are there as zeros because every reader of the file asks for them. As in
// Linux, High and Low are told where there is HIGHMEM.

#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/granule.h>
#include <mm/pgtable.h>
#include <mm/pte.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <mm/zone.h>

struct slab_pages {
    uint64_t reclaimable, unreclaimable;
};

static void add_cache(struct kmem_cache *cache, void *context)
{
    struct slab_pages *sum = context;
    irqflags_t flags = spin_lock_irqsave(&cache->lock);
    uint64_t pages = cache->slab_count << cache->slab_order;

    spin_unlock_irqrestore(&cache->lock, flags);
    if (cache->flags & SLAB_RECLAIM_ACCOUNT)
        sum->reclaimable += pages;
    else
        sum->unreclaimable += pages;
}

// What can be had without hurting anyone: free pages that no watermark holds back, and of the reclaimable
// slabs what is not likely in use. (The estimate of Linux's si_mem_available.)
static uint64_t available_pages(uint64_t reclaimable)
{
    uint64_t held_back = 0;
    uint64_t low = 0;

    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        held_back += zones[id].watermark_high;
        low += zones[id].watermark_low;
    }
    uint64_t free = zones_free_pages();
    return (free > held_back ? free - held_back : 0) + reclaimable - min_of(reclaimable / 2, low);
}

static void add_leaf(vaddr_t va unused_arg, pte_t leaf, unsigned level, void *context)
{
    uint64_t *bytes = context;

    bytes[level] += pte_leaf_bytes(leaf, level);
}

static void print_bytes(const char *name, uint64_t bytes)
{
    console_print("%-16s%8lu kB\n", name, bytes / 1024);
}

static void print_pages(const char *name, uint64_t pages)
{
    print_bytes(name, pages * PAGE_SIZE);
}

static void print_high_and_low(void)
{
    uint64_t high = zones[ZONE_HIGHMEM].managed_pages, free_low = zones_free_direct_pages(), free = zones_free_pages();

    print_pages("HighTotal:", high);
    print_pages("HighFree:", free - min_of(free, free_low));
    print_pages("LowTotal:", zones_managed_pages() - high);
    print_pages("LowFree:", free_low);
}

static int command_meminfo(int argc unused_arg, char **argv unused_arg)
{
    struct slab_pages slab = { 0, 0 };
    uint64_t direct_bytes[ARCH_PT_LEVELS] = { 0 };

    kmem_cache_for_each(add_cache, &slab);
    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_DIRECT_BASE), ARCH_PHYS_LIMIT, add_leaf,
                          direct_bytes);
    print_pages("MemTotal:", zones_managed_pages());
    print_pages("MemFree:", zones_free_pages());
    print_pages("MemAvailable:", available_pages(slab.reclaimable));
    print_pages("Buffers:", 0);
    print_pages("Cached:", 0);
    if (zones[ZONE_HIGHMEM].present_pages > 0)
        print_high_and_low();
    print_pages("SwapTotal:", 0);
    print_pages("SwapFree:", 0);
    print_pages("Slab:", slab.reclaimable + slab.unreclaimable);
    print_pages("SReclaimable:", slab.reclaimable);
    print_pages("SUnreclaim:", slab.unreclaimable);
    print_bytes("KernelStack:", granule_stacks.used_count * MMU_PAGE_SIZE);
    print_bytes("PageTables:", (kernel_pgtable.table_count + 1) * MMU_PAGE_SIZE);
    print_bytes("VmallocTotal:", ARCH_VMALLOC_END - ARCH_VMALLOC_BASE);
    print_pages("VmallocUsed:", vmalloc_stats().pages);
    print_pages("VmallocWaiting:", vmalloc_stats().waiting_pages);
    print_bytes("DirectMap4k:", direct_bytes[0]);
    print_bytes("DirectMap2M:", direct_bytes[1]);
    print_bytes("DirectMap1G:", direct_bytes[2]);
    return 0;
}

SHELL_COMMAND(meminfo, "", "memory by use, as /proc/meminfo", command_meminfo);
