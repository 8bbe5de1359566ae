// A machine for the model programs.
// SPDX-License-Identifier: BSD-2-Clause
#include "model_machine.h"

#include "host_debug.h"
#include "start_allocators.h"

#include <arch/smp.h>
#include <base/parse.h>
#include <debug/klog.h>
#include <fake_arch.h>
#include <ktest/ktest.h>
#include <mm/kernel_map.h>
#include <mm/memblock.h>
#include <mm/page_lists.h>
#include <mm/pgtable.h>
#include <mm/slab.h>
#include <string.h>

#define MOST_FRAMES (1UL << 20)

// No case runs here, and nothing asks for more than this.
const char *ktest_running(void)
{
    return NULL;
}

void model_parse_arguments(int argc, char **argv, uint64_t least_frames, struct model_options *options)
{
    const struct { const char *name; uint64_t *value; } known[] = {
        { "--ops", &options->operations },
        { "--seed", &options->seed },
        { "--frames", &options->frames },
        { "--harts", &options->harts },
    };

    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < array_count(known) && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == array_count(known) || i + 1 == argc || !parse_u64(argv[i + 1], known[k].value))
            host_refuse("bad argument '%s': there are --ops N --seed S --frames F --harts H", argv[i]);
    }
    if (options->frames < least_frames || options->frames > MOST_FRAMES)
        host_refuse("--frames: %lu to %lu", least_frames, MOST_FRAMES);
    if (options->harts < 1 || options->harts > MAX_HARTS)
        host_refuse("--harts: 1 to %d", MAX_HARTS);
}

static void add_piece(struct model_ram *piece, uint64_t start, uint64_t frames)
{
    // Whole largest blocks, so that a block's index in a model is aligned as its frame is.
    uint64_t bytes = align_up(frames * PAGE_SIZE, 1UL << MAX_BLOCK_SHIFT);

    piece->start_pfn = start >> PAGE_SHIFT;
    piece->pages = bytes >> PAGE_SHIFT;
    if (memblock_add(paddr(start), bytes) != 0)
        panic("no room for %lu bytes of RAM", bytes);
    fake_ram_add(paddr(start), bytes);
}

// As lib/init does it, with an image of one section.
static void start_mm(void)
{
    struct kernel_image image = {
        .phys = paddr(0x80200000),
        .start = vaddr(ARCH_IMAGE_BASE),
        .end = vaddr(ARCH_IMAGE_BASE + KB(256)),
        .section = { { "data", vaddr(ARCH_IMAGE_BASE), vaddr(ARCH_IMAGE_BASE + KB(256)), PROT_KERNEL_RW, false } },
        .section_count = 1,
    };

    if (memblock_reserve(image.phys, KB(256), PAGE_IMAGE) != 0 || kernel_map_init(&image) != 0)
        panic("no memory for the kernel's map");
    arch_mmu_activate(kernel_pgtable.root);
    host_start_allocators();
    kernel_map_free_init(&image);
    // No slab is to come back later, when a model knows what there is.
    (void)kmem_cache_reap(UINT64_MAX);
    page_lists_drain();
}

void model_machine_start(const struct model_options *options, struct model_ram ram[MODEL_PIECES])
{
    fake_arch_init((unsigned)options->harts);
    add_piece(&ram[0], 0x80000000, options->frames / MODEL_PIECES);
    add_piece(&ram[1], GB(4), options->frames / MODEL_PIECES);
    start_mm();
    console_print("TAP version 14\n1..1\n# %lu operations, seed %lu, %lu frames of %lu KB, harts %lu\n",
                  options->operations, options->seed, ram[0].pages + ram[1].pages, PAGE_SIZE / 1024, options->harts);
}

uint64_t model_pages_kept(const struct zone *zone, gfp_t gfp)
{
    uint64_t reserve = 0;

    if ((gfp & (__GFP_HIGH | __GFP_MEMALLOC)) == (__GFP_HIGH | __GFP_MEMALLOC))
        return 0;
    for (unsigned id = 0; id < ZONE_COUNT; id++)
        reserve = max_of(reserve, zone->lowmem_reserve[id]);
    return zone->watermark_high + reserve + zone->reserved_pages;
}
