// Building the kernel's address space, once, out of memblock memory; and giving start-up's part of it back.
// SPDX-License-Identifier: BSD-2-Clause

#include <mm/kernel_map.h>

#include <base/errno.h>
#include <base/string.h>
#include <mm/granule.h>
#include <mm/memblock.h>
#include <mm/page_group.h>
#include <mm/tlb.h>
#include <mm/zone.h>
#include <mm/zone_layout.h>

#define MEMMAP_LEAF_BYTES pt_level_size(1)
// Of the memmap, and the groups of pages behind it.
#define MEMMAP_WINDOW_BYTES (MAX_PFN * sizeof(struct page) + MAX_PFN / GROUP_PAGES * sizeof(struct page_group))

_Static_assert(ARCH_MEMMAP_BASE + MEMMAP_WINDOW_BYTES <= ARCH_MODULE_BASE, "windows do not overlap");

static bool table_from_memblock(struct pgtable *table, gfp_t gfp unused_arg, paddr_t *granule)
{
    if (table->boot_left_bytes == 0) {
        if (!memblock_alloc(PAGE_SIZE, PAGE_SIZE, paddr(ARCH_PHYS_LIMIT), PAGE_TABLE, &table->boot_next))
            return false;
        table->boot_left_bytes = PAGE_SIZE;
        table->boot_bytes += PAGE_SIZE;
    }
    *granule = table->boot_next;
    table->boot_next = paddr_add(table->boot_next, MMU_PAGE_SIZE);
    table->boot_left_bytes -= MMU_PAGE_SIZE;
    return true;
}

static vaddr_t alias_of(paddr_t phys)
{
    return vaddr_of(phys_to_virt(phys));
}

static int map_direct(struct pgtable *table, paddr_t direct_end)
{
    for (unsigned i = 0; i < memblock_ram.count; i++) {
        const struct memblock_range *ram = &memblock_ram.range[i];
        uint64_t start = align_up(ram->start, MMU_PAGE_SIZE),
                 end = align_down(min_of(ram->start + ram->size, direct_end.value), MMU_PAGE_SIZE);
        int error = end > start ? pgtable_map(table, alias_of(paddr(start)), paddr(start), end - start,
                                              PROT_KERNEL_RW, LARGEST_LEAVES) : 0;
        if (error != 0)
            return error;
    }
    return 0;
}

static paddr_t section_phys(const struct kernel_image *image, const struct kernel_section *section)
{
    return paddr_add(image->phys, section->start.value - image->start.value);
}

static bool is_read_only(const struct kernel_section *section)
{
    return section->prot != 0 && (section->prot & PROT_WRITE) == 0;
}

static int map_image(struct pgtable *table, const struct kernel_image *image)
{
    int error = 0;

    for (unsigned i = 0; i < image->section_count && error == 0; i++) {
        const struct kernel_section *section = &image->section[i];
        uint64_t bytes = section->end.value - section->start.value;
        paddr_t phys = section_phys(image, section);

        // Granules only: init sections are unmapped later, which must not need a table for splitting.
        if (bytes != 0 && section->prot != 0)
            error = pgtable_map(table, section->start, phys, bytes, section->prot, GRANULE_LEAVES);
        if (bytes != 0 && is_read_only(section) && error == 0)
            error = pgtable_protect(table, alias_of(phys), bytes, PROT_KERNEL_RO);
    }
    return error;
}

// The next piece of a span of the memmap window that can be backed by one block: whole 2 MB leaves, or up to
// the next one.
static uint64_t piece_bytes(uint64_t start, uint64_t end)
{
    if (is_aligned(start, MEMMAP_LEAF_BYTES) && end - start >= MEMMAP_LEAF_BYTES)
        return align_down(end - start, MEMMAP_LEAF_BYTES);
    return min_of(align_up(start + 1, MEMMAP_LEAF_BYTES), end) - start;
}

// Smaller pieces where RAM is too broken up for large ones. What is not written here zones_init writes, as far as it
// needs it.
static int back_memmap(struct pgtable *table, uint64_t start, uint64_t end, bool is_written)
{
    while (start < end) {
        uint64_t bytes = piece_bytes(start, end);
        paddr_t block;

        while (!memblock_alloc_unwritten(align_up(bytes, PAGE_SIZE),
                                         bytes < MEMMAP_LEAF_BYTES ? PAGE_SIZE : MEMMAP_LEAF_BYTES,
                                         paddr(ARCH_PHYS_LIMIT), PAGE_MEMMAP, &block)) {
            if (bytes <= PAGE_SIZE)
                return -ENOMEM;
            bytes = align_down(bytes / 2, bytes / 2 < MEMMAP_LEAF_BYTES ? PAGE_SIZE : MEMMAP_LEAF_BYTES);
            bytes = max_of(bytes, PAGE_SIZE);
        }
        if (is_written)
            memset(phys_to_virt(block), 0, bytes);
        int error = pgtable_map(table, vaddr(start), block, bytes, PROT_KERNEL_RW, LARGEST_LEAVES);
        if (error != 0)
            return error;
        start += bytes;
    }
    return 0;
}

// Backs an array with an element of `element_bytes` for each 2^frames_shift page frames, for all RAM and what shares a
// largest block with it.
static int back_array(struct pgtable *table, uint64_t base, unsigned frames_shift, uint64_t element_bytes)
{
    uint64_t backed_to = base;
    int error = 0;

    for (unsigned i = 0; i < memblock_ram.count && error == 0; i++) {
        const struct memblock_range *ram = &memblock_ram.range[i];
        uint64_t first = ram->start >> PAGE_SHIFT, past = ((ram->start + ram->size - 1) >> PAGE_SHIFT) + 1;
        if (frames_shift > 0) {
            first = align_down(first, 1UL << MAX_ORDER) >> frames_shift;
            past = align_up(past, 1UL << MAX_ORDER) >> frames_shift;
        }
        uint64_t start = align_down(base + first * element_bytes, MMU_PAGE_SIZE);
        uint64_t end = align_up(base + past * element_bytes, MMU_PAGE_SIZE);

        // Ranges near each other share a granule.
        start = max_of(start, backed_to);
        if (start < end)
            error = back_memmap(table, start, end, frames_shift > 0);
        backed_to = max_of(backed_to, end);
    }
    return error;
}

static int map_memmap(struct pgtable *table)
{
    int error = back_array(table, ARCH_MEMMAP_BASE, 0, sizeof(struct page));

    return error != 0 ? error : back_array(table, PAGE_GROUPS_BASE, GROUP_ORDER, sizeof(struct page_group));
}

// What stands for a hole, by the level of the entry that it fills; tables are made when first needed.
struct hole {
    paddr_t zeros;
    paddr_t table[ARCH_PT_LEVELS];
};

static int new_table(struct pgtable *table, paddr_t *result)
{
    if (!table->table_alloc(table, GFP_NOWAIT, result))
        return -ENOMEM;
    table->table_count++;
    return 0;
}

static int hole_entry(struct pgtable *table, struct hole *hole, unsigned level, pte_t *entry)
{
    if (level == 0) {
        *entry = arch_pte_leaf(hole->zeros, PROT_KERNEL_RO, 0);
        return 0;
    }
    if (hole->table[level].value == 0) {
        pte_t below;
        int error = hole_entry(table, hole, level - 1, &below);
        if (error == 0)
            error = new_table(table, &hole->table[level]);
        if (error != 0)
            return error;
        pte_t *entries = phys_to_virt(hole->table[level]);
        for (unsigned i = 0; i < PT_ENTRIES; i++)
            entries[i] = below;
    }
    *entry = arch_pte_table(hole->table[level]);
    return 0;
}

// Fills what is empty of [first, last] below one table: whole entries by what stands for a hole, others by a
// new table.
static int fill_holes(struct pgtable *table, struct hole *hole, pte_t *entries, unsigned level,
                      uint64_t first, uint64_t last)
{
    uint64_t size = pt_level_size(level);
    int error = 0;

    for (uint64_t va = first; error == 0; va = align_down(va, size) + size) {
        uint64_t entry_last = min_of(va | (size - 1), last);
        pte_t *slot = &entries[pt_index(vaddr(va), level)];

        if (!arch_pte_is_present(*slot) && is_aligned(va, size) && entry_last == (va | (size - 1))) {
            error = hole_entry(table, hole, level, slot);
        } else if (!arch_pte_is_present(*slot) || !arch_pte_is_leaf(*slot)) {
            paddr_t below = arch_pte_paddr(*slot);
            if (!arch_pte_is_present(*slot) && (error = new_table(table, &below)) == 0)
                *slot = arch_pte_table(below);
            if (error == 0)
                error = fill_holes(table, hole, phys_to_virt(below), level - 1, va, entry_last);
        }
        if (entry_last == last)
            break;
    }
    return error;
}

static int map_memmap_holes(struct pgtable *table)
{
    struct hole hole = { 0 };

    if (!table->table_alloc(table, GFP_NOWAIT, &hole.zeros))
        return -ENOMEM;
    return fill_holes(table, &hole, phys_to_virt(table->root), ARCH_PT_LEVELS - 1, ARCH_MEMMAP_BASE,
                      ARCH_MEMMAP_BASE + (MEMMAP_WINDOW_BYTES - 1));
}

int kernel_map_build(struct pgtable *table, const struct kernel_image *image, paddr_t direct_end)
{
    int error;

    *table = (struct pgtable){ .lock = SPINLOCK_INIT(PAGE_TABLE), .table_alloc = table_from_memblock };
    if (!table->table_alloc(table, GFP_NOWAIT, &table->root))
        return -ENOMEM;
    if ((error = map_direct(table, direct_end)) != 0 || (error = map_image(table, image)) != 0 ||
        (error = map_memmap(table)) != 0)
        return error;
    error = map_memmap_holes(table);
    // What the image made necessary is no change of the map.
    table->split_count = 0;
    return error;
}

static uint64_t memmap_bytes;      // (C) after kernel_map_init

int kernel_map_init(const struct kernel_image *image)
{
    int error = kernel_map_build(&kernel_pgtable, image, highmem_start());

    for (unsigned i = 0; i < memblock_reserved.count; i++)
        if (memblock_reserved.range[i].owner == PAGE_MEMMAP)
            memmap_bytes += memblock_reserved.range[i].size;
    return error;
}

uint64_t kernel_map_memmap_bytes(void)
{
    return memmap_bytes;
}

uint64_t kernel_map_table_bytes(void)
{
    return kernel_pgtable.boot_bytes;
}

static void forget_section(const struct kernel_image *image, const struct kernel_section *section)
{
    uint64_t bytes = section->end.value - section->start.value;
    vaddr_t alias = alias_of(section_phys(image, section));

    if (bytes == 0)
        return;
    int64_t unmapped = pgtable_unmap(&kernel_pgtable, section->start, bytes);
    ASSERT(unmapped == (section->prot != 0 ? (int64_t)bytes : 0));
    // Section 4.2.1: leaves were changed, and the memory goes to the allocator.
    tlb_flush_kernel(section->start, bytes, TLB_INIT_FREED);
    if (is_read_only(section)) {
        // Split down to these very bounds when they became read-only, so no table is needed.
        int error = pgtable_protect(&kernel_pgtable, alias, bytes, PROT_KERNEL_RW);
        ASSERT(error == 0);
        // Rights were added: section 4.2.1 would leave that to the fault which a stale entry takes. Not here: from now
        // on anybody's memory lies there, and is touched where no fault may be.
        tlb_flush_kernel(alias, bytes, TLB_PROTECT);
    }
}

uint64_t kernel_map_free_init(const struct kernel_image *image)
{
    uint64_t freed = 0;

    for (unsigned i = 0; i < image->section_count; i++) {
        const struct kernel_section *first = &image->section[i], *last = first;
        if (!first->is_init)
            continue;
        // Neighbours are given back as one, since a page may hold the end of one and the start of the next.
        while (i + 1 < image->section_count && last[1].is_init && last[1].start.value == last->end.value) {
            last++;
            i++;
        }
        for (const struct kernel_section *section = first; section <= last; section++)
            forget_section(image, section);
        uint64_t start = align_up(section_phys(image, first).value, PAGE_SIZE);
        uint64_t end = align_down(section_phys(image, last).value + (last->end.value - last->start.value),
                                  PAGE_SIZE);
        if (start < end) {
            zones_add_range(paddr_to_pfn(paddr(start)), paddr_to_pfn(paddr(end)));
            freed += end - start;
        }
    }
    for (; kernel_pgtable.boot_left_bytes != 0; kernel_pgtable.boot_left_bytes -= MMU_PAGE_SIZE) {
        granule_free(&granule_tables, phys_to_virt(kernel_pgtable.boot_next));
        kernel_pgtable.boot_next = paddr_add(kernel_pgtable.boot_next, MMU_PAGE_SIZE);
    }
    return freed;
}
