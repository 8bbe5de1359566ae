// The kernel's own address space: direct map, image and memmap, each with the rights it needs and no more.
// SPDX-License-Identifier: BSD-2-Clause
//
// Theory
//
// The direct map shows RAM below HIGHMEM, and nothing else, by the largest leaves that fit, not executable. The image
// shows the kernel a second time, granule by granule: text executable and read-only, rodata read-only, the
// rest not executable. A second name must not undo that, so the direct map's alias of all that is read-only
// in the image is read-only too, and its large leaves are split around it.
//
// The memmap window is backed by memory of its own where there is RAM: by 2 MB leaves where a whole one is
// needed, granule by granule at the ends (a machine of 64 MB needs 512 KB). All else of it shows one granule
// of zeros, read-only: one table of 512 such leaves stands for every hole of 2 MB, one table of 512 such
// tables for every hole of 1 GB. So any look-up in the window is defined, and the holes cost a few granules
// however large they are.
//
//      window  | zeros, shared tables | struct pages of RAM | zeros, shared tables ...
//
// Until the new root is activated, memory is written through the early direct map, which shows everything.
#pragma once

#include <arch/mmu.h>
#include <base/addr.h>
#include <mm/pgtable.h>

// Where the image's parts lie, in virtual addresses of the image, granule aligned. The parts do not overlap.
struct kernel_image {
    paddr_t phys;                          // of `start`
    vaddr_t start, end;
    struct kernel_section {
        const char *name;
        vaddr_t start, end;
        unsigned prot;                     // 0: not mapped (a guard)
        bool is_init;                      // goes to the allocator after start-up
    } section[12];
    unsigned section_count;
};

// Builds the tables in memblock memory and fills in kernel_pgtable; reserves the memmap. The caller then
// activates the root. 0, or -ENOMEM when RAM does not suffice. An image that does not lie in RAM, or whose
// parts overlap or ask for rights that no mapping may have, gives what pgtable_map and pgtable_protect say of
// it.
int kernel_map_init(const struct kernel_image *image);

// The same into any table, which is overwritten, with a direct map that ends at `direct_end`: what
// kernel_map_init does with highmem_start(), and tests with memory of their own.
int kernel_map_build(struct pgtable *table, const struct kernel_image *image, paddr_t direct_end);

// After start-up: unmaps the sections marked is_init, restores their direct-map alias to read-write, and
// gives their whole pages to the buddy. Granules left from tables of start-up go to the pool. Returns the
// bytes of init memory freed.
uint64_t kernel_map_free_init(const struct kernel_image *image);

// How many leaves of a table, or of kernel_pgtable, break a rule of the map: writable and executable in one,
// or writable while another one executes the same memory. The first few are reported. Exact while nobody
// changes the tables.
unsigned kernel_map_count_violations_in(const struct pgtable *table);
unsigned kernel_map_count_violations(void);

// Bytes of RAM that hold the memmap, and page tables made before the granule pool existed.
uint64_t kernel_map_memmap_bytes(void);
uint64_t kernel_map_table_bytes(void);
