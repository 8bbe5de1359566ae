// mm/vmap: the kernel's map, the one in use and others built for the case.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/page_group.h>
#include <mm/kernel_map.h>

#include "pgtable_support.h"

#include <base/errno.h>
#include <base/string.h>
#include <check/check.h>
#include <mm/memblock.h>
#include <mm/page_alloc.h>
#include <mm/zone.h>

#define WINDOW_BYTES (MAX_PFN * sizeof(struct page))

static vaddr_t alias(uint64_t phys)
{
    return vaddr_of(phys_to_virt(paddr(phys)));
}

// --- The map in use. ---

// Every struct page that there can be is readable: RAM's in memory of its own, which is writable; all others
// show zeros of one and the same granule, read-only, so that they read as "no page".
KTEST(kernel_map, memmap_window_is_backed_all_over)
{
    paddr_t zeros = { 0 };
    unsigned wrong = 0;

    for (unsigned i = 0; i < ktest_rounds(20000, 3000); i++) {
        uint64_t frame = i == 0 ? 0 : i == 1 ? MAX_PFN - 1 : ktest_random_below(MAX_PFN);
        const struct page *page = pfn_to_page(pfn(frame));
        struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, vaddr_of(page));
        if (!walk.mapped || (walk.prot & (PROT_READ | PROT_EXEC | PROT_USER)) != PROT_READ) {
            wrong++;
        } else if ((walk.prot & PROT_WRITE) == 0) {
            paddr_t granule = paddr(align_down(walk.pa.value, MMU_PAGE_SIZE));
            zeros = zeros.value != 0 ? zeros : granule;
            wrong += granule.value != zeros.value || page->type != PAGE_TAIL || page->refcount != 0;
        }
    }
    EXPECT_EQ(wrong, 0);
    EXPECT_NE(zeros.value, 0);
    for (unsigned i = 0; i < memblock_ram.count; i++) {
        const struct memblock_range *ram = &memblock_ram.range[i];
        for (unsigned k = 0; k < 200; k++) {
            uint64_t frame = (ram->start + ktest_random_below(ram->size)) >> PAGE_SHIFT;
            struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, vaddr_of(pfn_to_page(pfn(frame))));
            wrong += !walk.mapped || walk.prot != PROT_KERNEL_RW;
        }
    }
    EXPECT_EQ(wrong, 0);
}

// The memmap costs 32 bytes a page of RAM, 32 more for each group of 64, and of rounding no more than a page for each
// piece that it is made of.
KTEST(kernel_map, memmap_is_as_small_as_ram)
{
    uint64_t pages = memblock_ram_bytes() >> PAGE_SHIFT, held = kernel_map_memmap_bytes();
    uint64_t needed = pages * sizeof(struct page) + (pages >> GROUP_ORDER) * sizeof(struct page_group);

    EXPECT_GE(held, needed);
    EXPECT_LE(held, needed + memblock_ram.count * (PAGE_SIZE * 4 + MMU_PAGE_SIZE * 2));
    EXPECT_EQ(held % PAGE_SIZE, 0);
    EXPECT_GE(kernel_map_table_bytes(), MMU_PAGE_SIZE * (ARCH_PT_LEVELS + 2));
    EXPECT_LE(kernel_map_table_bytes(), KB(256) + memblock_ram.count * KB(64));
}

struct direct_leaves {
    uint64_t defects, large, small;
};

// A leaf is smaller than its place allows only where its larger surroundings are not all alike.
static void check_leaf_size(vaddr_t va, pte_t leaf, unsigned level, void *context)
{
    struct direct_leaves *found = context;
    uint64_t phys = arch_pte_paddr(leaf).value, size = pt_level_size(level + 1),
             first = align_down(phys, size);

    *(level > 0 ? &found->large : &found->small) += 1;
    if (level + 1 >= ARCH_PT_LEAF_LEVELS || phys != first)
        return;
    bool is_ram = false;
    for (unsigned i = 0; i < memblock_ram.count; i++)
        is_ram |= memblock_ram.range[i].start <= first &&
                  first + size <= memblock_ram.range[i].start + memblock_ram.range[i].size;
    bool is_alike = is_ram;
    for (uint64_t at = 0; at < size && is_alike; at += pt_level_size(0))
        is_alike = pgtable_walk(&kernel_pgtable, vaddr_add(va, at)).prot == arch_pte_prot(leaf);
    // Around what start-up gave back all is alike again, and stays split.
    bool holds_image = false;
    for (uint64_t at = first; at < first + size && !holds_image; at += PAGE_SIZE)
        holds_image = page_head(virt_to_page(phys_to_virt(paddr(at))))->type == PAGE_IMAGE;
    found->defects += is_alike && !holds_image;
}

// The direct map is made of the largest leaves that fit: RAM that is not near the image has no small ones
// inside, but where rights were changed since: each leaf that was split for that may now be all alike again.
KTEST(kernel_map, direct_map_has_large_leaves)
{
    struct direct_leaves found = { 0 };

    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_DIRECT_BASE), ARCH_PHYS_LIMIT, check_leaf_size, &found);
    EXPECT_GE(found.large, 1);
    EXPECT_LE(found.defects, kernel_pgtable.split_count);
}

// Memory that the page allocator hands out is writable by its direct-map address, also what start-up gave
// back.
KTEST(kernel_map, free_memory_is_writable)
{
    pfn_t at, end;
    unsigned blocks = 0, wrong = 0;

    for (uint64_t cursor = 0; zones_next_ram(&cursor, &at, &end);)
        for (; at.value < end.value; at.value += 1UL << pfn_to_page(at)->order) {
            if (pfn_to_page(at)->type != PAGE_FREE || page_is_high(pfn_to_page(at)))
                continue;
            blocks++;
            uint64_t first = pfn_to_paddr(at).value, past = first + (PAGE_SIZE << pfn_to_page(at)->order);
            for (uint64_t phys = first; phys < past;) {
                struct pgtable_walk walk = pgtable_walk(&kernel_pgtable, alias(phys));
                wrong += walk.prot != PROT_KERNEL_RW;
                phys = align_down(phys, pt_level_size(walk.level)) + pt_level_size(walk.level);
            }
        }
    EXPECT_GE(blocks, 1);
    EXPECT_EQ(wrong, 0);
}

static void check_image_leaf(vaddr_t va unused_arg, pte_t leaf, unsigned level unused_arg, void *context)
{
    unsigned *wrong = context;
    const struct page *head = page_head(virt_to_page(phys_to_virt(arch_pte_paddr(leaf))));
    unsigned prot = arch_pte_prot(leaf),
             direct = pgtable_walk(&kernel_pgtable, alias(arch_pte_paddr(leaf).value)).prot;

    // A tail of a block that is not compound does not name its head; no block but the image's is mapped here.
    *wrong += head->type != PAGE_IMAGE && head->type != PAGE_TAIL;
    *wrong += direct != (prot & PROT_WRITE ? PROT_KERNEL_RW : PROT_KERNEL_RO);
}

// What the image shows is the image's memory, and the direct map gives no right that the image does not, but
// to read.
KTEST(kernel_map, image_aliases_have_no_more_rights)
{
    unsigned wrong = 0;
    uint64_t mapped = 0;

    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_IMAGE_BASE), MB(8), check_image_leaf, &wrong);
    pgtable_for_each_leaf(&kernel_pgtable, vaddr(ARCH_IMAGE_BASE), MB(8), test_add_leaf_bytes, &mapped);
    EXPECT_GE(mapped, KB(64));
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(kernel_map_count_violations(), 0);
    EXPECT_EQ(check_kernel_map(), 0);
}

// --- Maps built for the case: RAM is blocks that the page allocator gave, and RAM in name only, all of it
// reserved. ---

#define SCENE_BLOCKS 4
#define NOMINAL_RAM GB(64)
#define NOMINAL_RAM_BYTES (GB(1) + MB(6))

static struct {
    struct memblock_list saved_ram, saved_reserved;
    struct page *block[SCENE_BLOCKS];
    struct pgtable table;
    struct kernel_image image;
} scene;

static void close_scene(void)
{
    memblock_ram = scene.saved_ram;
    memblock_reserved = scene.saved_reserved;
    for (unsigned i = 0; i < SCENE_BLOCKS; i++)
        __free_pages(scene.block[i], MAX_ORDER);
}

static void add_section(const char *name, uint64_t bytes, unsigned prot)
{
    struct kernel_section *section = &scene.image.section[scene.image.section_count++];

    *section = (struct kernel_section){ name, scene.image.end, vaddr_add(scene.image.end, bytes), prot,
                                        false };
    scene.image.end = section->end;
}

// False when there is not enough memory. The image stands in the first block, granules from its start.
static bool open_scene(unsigned blocks, uint64_t nominal_bytes)
{
    bool is_complete = true;

    memset(scene.block, 0, sizeof(scene.block));
    scene.saved_ram = memblock_ram;
    scene.saved_reserved = memblock_reserved;
    for (unsigned i = 0; i < blocks; i++)
        is_complete &= (scene.block[i] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, MAX_ORDER)) != NULL;
    memblock_reset();
    for (unsigned i = 0; i < blocks && is_complete; i++)
        EXPECT_EQ(memblock_add(page_to_phys(scene.block[i]), PAGE_SIZE << MAX_ORDER), 0);
    EXPECT_EQ(memblock_add(paddr(NOMINAL_RAM), nominal_bytes), 0);
    EXPECT_EQ(memblock_reserve(paddr(NOMINAL_RAM), nominal_bytes, PAGE_RESERVED), 0);
    if (!is_complete) {
        close_scene();
        return false;
    }
    scene.image = (struct kernel_image){
        .phys = paddr_add(page_to_phys(scene.block[0]), KB(320)),
        .start = vaddr(ARCH_IMAGE_BASE),
        .end = vaddr(ARCH_IMAGE_BASE),
    };
    add_section("text", KB(192), PROT_KERNEL_RX);
    add_section("rodata", KB(64), PROT_KERNEL_RO);
    add_section("init text", KB(64), PROT_KERNEL_RX);
    add_section("guard", KB(4), 0);
    add_section("data", KB(124), PROT_KERNEL_RW);
    add_section("nothing", 0, PROT_KERNEL_RW);
    add_section("symbols", KB(64), PROT_KERNEL_RO);
    EXPECT_EQ(memblock_reserve(scene.image.phys, scene.image.end.value - scene.image.start.value, PAGE_IMAGE),
              0);
    return true;
}

// What the image says of a granule at that offset from its start.
static unsigned image_prot(uint64_t offset)
{
    for (unsigned i = 0; i < scene.image.section_count; i++)
        if (scene.image.start.value + offset >= scene.image.section[i].start.value &&
            scene.image.start.value + offset < scene.image.section[i].end.value)
            return scene.image.section[i].prot;
    return PROT_KERNEL_RW;
}

// Each part of the image is mapped with its rights and the guard is not; the direct map's alias of every
// granule is writable exactly when the image's own mapping is, or there is none; RAM is there and nothing
// else.
KTEST(kernel_map, built_map_has_the_images_rights)
{
    if (!open_scene(1, 0))
        ktest_skip("no block of 4 MB");
    uint64_t first = page_to_phys(scene.block[0]).value, bytes = PAGE_SIZE << MAX_ORDER, wrong = 0;

    EXPECT_EQ(kernel_map_build(&scene.table, &scene.image, paddr(ARCH_PHYS_LIMIT)), 0);
    for (uint64_t at = 0; at < bytes; at += MMU_PAGE_SIZE) {
        struct pgtable_walk direct = pgtable_walk(&scene.table, alias(first + at));
        uint64_t offset = at - (scene.image.phys.value - first);
        unsigned prot = offset < KB(512) ? image_prot(offset) : PROT_KERNEL_RW;
        wrong += !direct.mapped || direct.pa.value != first + at;
        wrong += direct.prot != ((prot & PROT_WRITE) != 0 || prot == 0 ? PROT_KERNEL_RW : PROT_KERNEL_RO);
        if (offset >= KB(512))
            continue;
        struct pgtable_walk image = pgtable_walk(&scene.table, vaddr_add(scene.image.start, offset));
        wrong += image.mapped != (prot != 0) ||
                 (image.mapped && (image.prot != prot || image.pa.value != first + at));
    }
    EXPECT_EQ(wrong, 0);
    EXPECT(!pgtable_walk(&scene.table, scene.image.end).mapped);
    EXPECT(!pgtable_walk(&scene.table, alias(first - 1)).mapped);
    EXPECT(!pgtable_walk(&scene.table, alias(first + bytes)).mapped);
    // The 2 MB without any of the image are one leaf.
    EXPECT_EQ(pgtable_walk(&scene.table, alias(first + MB(3))).level, 1);
    EXPECT_EQ(kernel_map_count_violations_in(&scene.table), 0);
    close_scene();
}

// The memmap of a RAM range is memory of its own, all zero, each granule another one, also where ranges are
// close; what lies around is the shared zeros, at the cost of a few tables.
KTEST(kernel_map, built_memmap_fits_ram)
{
    if (!open_scene(2, MB(1) + KB(64)))
        ktest_skip("no two blocks of 4 MB");
    uint64_t window_tables = 0, wrong = 0;

    // A near neighbour of the nominal RAM, whose struct pages share a granule with the other's.
    EXPECT_EQ(memblock_add(paddr(NOMINAL_RAM + MB(1) + KB(128)), KB(64)), 0);
    EXPECT_EQ(memblock_reserve(paddr(NOMINAL_RAM + MB(1) + KB(128)), KB(64), PAGE_RESERVED), 0);
    EXPECT_EQ(kernel_map_build(&scene.table, &scene.image, paddr(ARCH_PHYS_LIMIT)), 0);
    struct pgtable_walk hole = pgtable_walk(&scene.table, vaddr_of(pfn_to_page(pfn(MAX_PFN - 1))));
    EXPECT(hole.mapped);
    EXPECT_EQ(hole.prot, PROT_KERNEL_RO);
    for (unsigned i = 0; i < memblock_ram.count; i++) {
        uint64_t frame = memblock_ram.range[i].start >> PAGE_SHIFT;
        uint64_t end = (memblock_ram.range[i].start + memblock_ram.range[i].size) >> PAGE_SHIFT;
        for (; frame < end; frame++) {
            struct pgtable_walk walk = pgtable_walk(&scene.table, vaddr_of(pfn_to_page(pfn(frame))));
            const struct page *page = phys_to_virt(walk.pa);
            // Marked, so that a granule that stands for two is found.
            wrong += walk.prot != PROT_KERNEL_RW || (page->map == ~(uint64_t)page->owner && page->map != frame);
            if (walk.mapped && walk.prot == PROT_KERNEL_RW) {
                ((struct page *)phys_to_virt(walk.pa))->map = frame;
                ((struct page *)phys_to_virt(walk.pa))->owner = (void *)~frame;
            }
        }
        struct pgtable_walk behind =
            pgtable_walk(&scene.table, vaddr(align_up((uintptr_t)pfn_to_page(pfn(end)), MMU_PAGE_SIZE)));
        wrong += !behind.mapped;
    }
    EXPECT_EQ(wrong, 0);
    for (uint64_t at = 0; at < WINDOW_BYTES; at += pt_level_size(1) / 2)
        window_tables += !pgtable_walk(&scene.table, vaddr(ARCH_MEMMAP_BASE + at)).mapped;
    EXPECT_EQ(window_tables, 0);
    EXPECT_LE(scene.table.boot_bytes, KB(128));
    EXPECT_EQ(kernel_map_count_violations_in(&scene.table), 0);
    close_scene();
}

// More than 1 GB of RAM has a leaf of 1 GB in the direct map and leaves of 2 MB in the memmap, as far as it
// is large enough; memory too broken up for one piece does in several.
KTEST(kernel_map, built_map_of_much_ram_has_large_leaves)
{
    const uint64_t memmap_bytes = (GB(1) >> PAGE_SHIFT) * sizeof(struct page);
    if (!open_scene(SCENE_BLOCKS, NOMINAL_RAM_BYTES))
        ktest_skip("no four blocks of 4 MB");

    EXPECT_EQ(kernel_map_build(&scene.table, &scene.image, paddr(ARCH_PHYS_LIMIT)), 0);
    EXPECT_EQ(pgtable_walk(&scene.table, alias(NOMINAL_RAM + MB(500))).level, 2);
    EXPECT_EQ(pgtable_walk(&scene.table, alias(NOMINAL_RAM + GB(1) + MB(5))).level, 1);
    EXPECT(!pgtable_walk(&scene.table, alias(NOMINAL_RAM + NOMINAL_RAM_BYTES)).mapped);
    struct pgtable_walk first = pgtable_walk(&scene.table,
                                             vaddr_of(pfn_to_page(pfn(NOMINAL_RAM >> PAGE_SHIFT))));
    EXPECT(first.mapped);
    EXPECT_EQ(first.level, memmap_bytes >= pt_level_size(1) ? 1 : 0);
    EXPECT_EQ(first.prot, PROT_KERNEL_RW);
    struct pgtable_walk last = pgtable_walk(
        &scene.table, vaddr_of(pfn_to_page(pfn(((NOMINAL_RAM + NOMINAL_RAM_BYTES) >> PAGE_SHIFT) - 1))));
    EXPECT_EQ(last.level, 0);
    EXPECT_EQ(last.prot, PROT_KERNEL_RW);
    uint64_t held = 0;
    for (unsigned i = 0; i < memblock_reserved.count; i++)
        held += memblock_reserved.range[i].owner == PAGE_MEMMAP ? memblock_reserved.range[i].size : 0;
    EXPECT_LE(held, (memblock_ram_bytes() >> PAGE_SHIFT) * sizeof(struct page) +
                        (memblock_ram_bytes() >> PAGE_SHIFT >> GROUP_ORDER) * sizeof(struct page_group) +
                        memblock_ram.count * (PAGE_SIZE * 6 + MMU_PAGE_SIZE * 4));
    close_scene();
}

// A direct map that ends within RAM shows what lies below and not a granule behind; the memmap covers all of it.
KTEST(kernel_map, built_map_ends_where_it_is_told)
{
    const uint64_t end = NOMINAL_RAM + MB(512);
    if (!open_scene(SCENE_BLOCKS, NOMINAL_RAM_BYTES))
        ktest_skip("no four blocks of 4 MB");

    EXPECT_EQ(kernel_map_build(&scene.table, &scene.image, paddr(end)), 0);
    EXPECT(pgtable_walk(&scene.table, alias(end - 1)).mapped);
    for (uint64_t at = end; at < NOMINAL_RAM + NOMINAL_RAM_BYTES; at += MB(2))
        EXPECT(!pgtable_walk(&scene.table, alias(at)).mapped);
    EXPECT(!pgtable_walk(&scene.table, alias(NOMINAL_RAM + NOMINAL_RAM_BYTES - 1)).mapped);
    struct pgtable_walk last = pgtable_walk(
        &scene.table, vaddr_of(pfn_to_page(pfn(((NOMINAL_RAM + NOMINAL_RAM_BYTES) >> PAGE_SHIFT) - 1))));
    EXPECT_EQ(last.prot, PROT_KERNEL_RW);
    close_scene();
}

// With too little RAM for the tables or for the memmap the answer is -ENOMEM, at any amount that is too
// little.
KTEST(kernel_map, too_little_ram)
{
    unsigned failures = 0;

    for (uint64_t bytes = KB(64); bytes <= MB(2); bytes += KB(64)) {
        if (!open_scene(1, 0))
            ktest_skip("no block of 4 MB");
        // All but the last bytes of the block are taken.
        EXPECT_EQ(
            memblock_reserve(page_to_phys(scene.block[0]), (PAGE_SIZE << MAX_ORDER) - bytes, PAGE_RESERVED),
            0);
        int error = kernel_map_build(&scene.table, &scene.image, paddr(ARCH_PHYS_LIMIT));
        EXPECT(error == 0 || error == -ENOMEM);
        EXPECT(error == 0 || failures == bytes / KB(64) - 1);
        failures += error != 0;
        close_scene();
        if (error == 0)
            break;
    }
    EXPECT_LT(failures, MB(2) / KB(64));
}

// An image outside of RAM, or with parts that overlap or ask for forbidden rights, is refused.
KTEST(kernel_map, bad_images_are_refused)
{
    if (!open_scene(1, 0))
        ktest_skip("no block of 4 MB");
    scene.image.section[1].prot = PROT_KERNEL_RW | PROT_EXEC;
    EXPECT_EQ(kernel_map_build(&scene.table, &scene.image, paddr(ARCH_PHYS_LIMIT)), -EINVAL);
    scene.image.section[1].prot = PROT_KERNEL_RO;
    scene.image.section[1].start.value -= MMU_PAGE_SIZE;
    EXPECT_EQ(kernel_map_build(&scene.table, &scene.image, paddr(ARCH_PHYS_LIMIT)), -EEXIST);
    scene.image.section[1].start.value += MMU_PAGE_SIZE;
    scene.image.phys = paddr(NOMINAL_RAM + GB(8));
    EXPECT_EQ(kernel_map_build(&scene.table, &scene.image, paddr(ARCH_PHYS_LIMIT)), -ENOENT);
    close_scene();
}

// One granule that is writable and executable, by one mapping or by two, whichever is the larger, is found;
// as is each of more spans than the count can hold at once.
KTEST(kernel_map, violations_are_counted)
{
    const uint64_t large = pt_level_size(1), base = pt_level_size(2) * 8, phys = GB(32);
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(base), paddr(phys), large * 2, PROT_KERNEL_RX, 1), 0);
    EXPECT_EQ(pgtable_map(&table, vaddr(base + large * 4), paddr(phys + large * 2), large, PROT_KERNEL_RW, 1),
              0);
    EXPECT_EQ(pgtable_map(&table, vaddr(base + large * 5), paddr(phys + large), large, PROT_KERNEL_RO, 1), 0);
    EXPECT_EQ(kernel_map_count_violations_in(&table), 0);
    EXPECT_EQ(pgtable_map(&table, vaddr(0), paddr(phys + large * 2 - MMU_PAGE_SIZE), MMU_PAGE_SIZE * 2,
                          PROT_KERNEL_RW, 0),
              0);
    EXPECT_EQ(kernel_map_count_violations_in(&table), 1);
    EXPECT_EQ(pgtable_map(&table, vaddr(-large), paddr(phys + large), large, PROT_KERNEL_RW, 1), 0);
    EXPECT_EQ(kernel_map_count_violations_in(&table), 2);
    pgtable_unmap(&table, vaddr(0), MMU_PAGE_SIZE * 2);
    pgtable_unmap(&table, vaddr(-large), large);

    // No function makes such a leaf.
    unsigned level = ARCH_PT_LEVELS - 1;
    pte_t *entries = phys_to_virt(table.root);
    for (; level > 1; level--)
        entries = phys_to_virt(arch_pte_paddr(entries[pt_index(vaddr(base), level)]));
    entries[6] = arch_pte_leaf(paddr(phys + large * 6), PROT_KERNEL_RW | PROT_EXEC, 1);
    EXPECT_EQ(kernel_map_count_violations_in(&table), 1);
    entries[6] = (pte_t){ 0 };

    // Every other granule executable, in more spans than are looked at in one round, and all of them writable
    // elsewhere.
    for (unsigned i = 0; i < 200; i += 2)
        EXPECT_EQ(pgtable_map(&table, vaddr(base + large * 8 + i * MMU_PAGE_SIZE),
                              paddr(phys + large * 8 + i * MMU_PAGE_SIZE), MMU_PAGE_SIZE, PROT_KERNEL_RX, 0),
                  0);
    EXPECT_EQ(kernel_map_count_violations_in(&table), 0);
    EXPECT_EQ(pgtable_map(&table, vaddr(base + large * 9), paddr(phys + large * 8), MMU_PAGE_SIZE * 200,
                          PROT_KERNEL_RW, 0),
              0);
    EXPECT_EQ(kernel_map_count_violations_in(&table), 100);
    test_pgtable_close(&table);
}
