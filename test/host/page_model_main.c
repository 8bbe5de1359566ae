// The page allocator beside a model of it: a host program of its own, for as many operations as one likes.
// SPDX-License-Identifier: BSD-2-Clause
//
//     quire-page-model-SIZE [--ops N] [--seed S] [--frames F] [--harts H]
//
// Prints TAP with one case and the mix of operations. Exit code 0 when all was well, 1 when it was not, 2 for a bad
// argument, 3 after a panic.
#include "host_debug.h"
#include "page_model_run.h"

#include <base/parse.h>
#include <debug/klog.h>
#include <fake_arch.h>
#include <arch/smp.h>
#include <ktest/ktest.h>
#include <mm/kernel_map.h>
#include <mm/kmalloc.h>
#include <mm/magazine.h>
#include <mm/memblock.h>
#include <mm/page_lists.h>
#include <mm/pgtable.h>
#include <mm/slab.h>
#include <mm/vmalloc.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_FRAMES 4096
#define MOST_FRAMES (1UL << 20)

static uint64_t operation_count = 2000000, seed = 1, frame_count = 8192, hart_count = 1;

// No case runs here, and nothing asks for more than this.
const char *ktest_running(void)
{
    return NULL;
}

static void parse_arguments(int argc, char **argv)
{
    static const struct { const char *name; uint64_t *value; } options[] = {
        { "--ops", &operation_count }, { "--seed", &seed }, { "--frames", &frame_count }, { "--harts", &hart_count },
    };

    for (int i = 1; i < argc; i += 2) {
        size_t k = 0;
        while (k < array_count(options) && strcmp(argv[i], options[k].name) != 0)
            k++;
        if (k == array_count(options) || i + 1 == argc || !parse_u64(argv[i + 1], options[k].value))
            host_refuse("bad argument '%s': there are --ops N --seed S --frames F --harts H", argv[i]);
    }
    if (frame_count < LEAST_FRAMES || frame_count > MOST_FRAMES)
        host_refuse("--frames: %d to %lu", LEAST_FRAMES, MOST_FRAMES);
    if (hart_count < 1 || hart_count > MAX_HARTS)
        host_refuse("--harts: 1 to %d", MAX_HARTS);
}

static void add_piece(struct run *run, unsigned i, uint64_t start)
{
    // Whole largest blocks, so that a block's index in the model is aligned as its frame is.
    uint64_t bytes = align_up(frame_count / MODEL_PIECES * PAGE_SIZE, 1UL << MAX_BLOCK_SHIFT);

    run->model.piece[i].start_pfn = start >> PAGE_SHIFT;
    run->model.piece[i].pages = bytes >> PAGE_SHIFT;
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
    zones_init();
    page_lists_init(true);
    zones_settle();
    pgtable_use_granules(&kernel_pgtable);
    slab_init(false);
    magazines_init(true);
    kmalloc_init();
    vmalloc_init();
    kernel_map_free_init(&image);
    // No slab is to come back later, when the model knows what there is.
    (void)kmem_cache_reap(UINT64_MAX);
}

int main(int argc, char **argv)
{
    static struct run run;

    parse_arguments(argc, argv);
    fake_arch_init((unsigned)hart_count);
    add_piece(&run, 0, 0x80000000);
    add_piece(&run, 1, GB(4));
    start_mm();

    run.random = random_seeded(seed);
    model_init(&run.model, calloc(1, model_storage_bytes(run.model.piece[0].pages + run.model.piece[1].pages)));
    console_print("TAP version 14\n1..1\n# %lu operations, seed %lu, %lu frames of %lu KB, %lu of them to be had, "
                  "harts %lu\n",
                  operation_count, seed, run.model.frame_count, PAGE_SIZE / 1024, run.model.capacity_pages, hart_count);
    page_model_run(&run, operation_count);
    page_model_report(&run);
    console_print("ok 1 - page_model\n");
    return HOST_EXIT_OK;
}
