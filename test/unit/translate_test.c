// mm/check: translations as they are drawn, of mappings that are known.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/translate.h>

#include "capture.h"
#include "pgtable_support.h"

#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <debug/shell.h>
#include <mm/kmalloc.h>
#include <mm/vmalloc.h>

#define NOT_CANONICAL (1UL << 62)

static char *output;

static void draw(const struct pgtable *table, uint64_t address)
{
    capture_start();
    translate_print(table, vaddr(address), console_print);
    output = capture_stop();
}

static int run(const char *text)
{
    char line[64];

    (void)string_copy(line, text, sizeof(line));
    capture_start();
    int code = shell_run_line(line);
    output = capture_stop();
    return code;
}

static int run_on(uint64_t address)
{
    char line[64];

    format_text(line, sizeof(line), "translate %#lx", address);
    return run(line);
}

static bool shows(const char *format, ...) printf_like(1, 2);

// Whether the output holds the text.
static bool shows(const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    format_text_va(text, sizeof(text), format, args);
    va_end(args);
    if (output != NULL && strstr(output, text) != NULL)
        return true;
    ktest_note("not shown: %s", text);
    return false;
}

// A mapping by a leaf of each size is drawn to that leaf and no further: tables, indices and entries as they are.
KTEST(translate, draws_leaves_of_each_size)
{
    static const char *const sizes[] = { "4 KB", "2 MB", "1 GB" };
    const uint64_t phys = GB(64);

    for (unsigned level = 0; level < ARCH_PT_LEAF_LEVELS; level++) {
        uint64_t va = pt_level_size(ARCH_PT_LEVELS - 1) + pt_level_size(level) * 5, inside = pt_level_size(level) - 9;
        struct pgtable table;
        REQUIRE(test_pgtable_open(&table));
        EXPECT_EQ(pgtable_map(&table, vaddr(va), paddr(phys), pt_level_size(level), PROT_KERNEL_RX, level), 0);
        struct pgtable_walk walk = pgtable_walk(&table, vaddr(va + inside));

        draw(&table, va + inside);
        EXPECT(shows("%#lx, translated by the root at %#lx\n", va + inside, table.root.value));
        paddr_t at = table.root;
        for (unsigned visited = ARCH_PT_LEVELS; visited-- > level;) {
            EXPECT(shows("  level %u  table %#lx, entry %u: 0x%016lx  V", visited, at.value,
                         pt_index(vaddr(va + inside), visited), walk.entry[visited].value));
            at = arch_pte_paddr(walk.entry[visited]);
            if (visited > level)
                EXPECT(shows(": the table %#lx\n", at.value));
        }
        EXPECT(shows(": a leaf of %s at %#lx\n", sizes[level], phys));
        EXPECT(level == 0 || strstr(output, "\n  level 0 ") == NULL);
        EXPECT(shows("  physical %#lx, page frame %#lx of ", phys + inside, (phys + inside) >> PAGE_SHIFT));
        EXPECT(shows("  rights   read, no write, execution; kernel only; in every address space\n"));
        EXPECT(strstr(output, "holds") == NULL);
        test_pgtable_close(&table);
    }
}

// A run of neighbours is told as the one leaf that it is, from wherever in it; and what an empty entry remembers.
KTEST(translate, draws_runs_and_memories)
{
    const uint64_t run = MMU_PAGE_SIZE << ARCH_NAPOT_ORDER, phys = GB(64) + run;
    static uint64_t owner;
    struct pgtable table;
    if (!test_napot_start())
        ktest_skip("the machine knows no runs of entries");
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(run), paddr(phys), run, PROT_KERNEL_RW, 1), 0);
    draw(&table, run + MMU_PAGE_SIZE * 5 + 9);
    EXPECT(shows(": a leaf of %lu KB at %#lx\n", run >> 10, phys));
    EXPECT(shows("  physical %#lx, page frame ", phys + MMU_PAGE_SIZE * 5 + 9));
    EXPECT_EQ(pgtable_claim_tables(&table, vaddr(0), MMU_PAGE_SIZE, &owner, GFP_KERNEL), 0);
    draw(&table, 1);
    EXPECT(shows(": empty, remembers %p\n", (void *)&owner));
    test_pgtable_close(&table);
    test_napot_stop();
}

// The address is cut as the tables take it: its indices and its offset, in binary and as numbers, in columns.
KTEST(translate, cuts_the_address)
{
    const uint64_t va = 5 * pt_level_size(2) + 300 * pt_level_size(1) + 511 * pt_level_size(0) + 0x80a;
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    draw(&table, va);
    EXPECT(shows("    level 2    level 1    level 0        offset\n"));
    EXPECT(shows("      38-30      29-21      20-12          11-0\n"));
    EXPECT(shows("  000000101  100101100  111111111  100000001010\n"));
    EXPECT(shows("          5        300        511         0x80a\n"));
    EXPECT(strstr(output, "  rights") == NULL);
    test_pgtable_close(&table);
}

// Where nothing is mapped the walk ends at the empty entry, at whatever level that is.
KTEST(translate, shows_where_nothing_is_mapped)
{
    struct pgtable table;
    REQUIRE(test_pgtable_open(&table));

    EXPECT_EQ(pgtable_map(&table, vaddr(0), paddr(GB(64)), MMU_PAGE_SIZE, PROT_READ | PROT_USER, 0), 0);
    draw(&table, MMU_PAGE_SIZE);
    EXPECT(shows("  level 0  table "));
    EXPECT(shows(": empty, none of its 4 KB is mapped\n  nothing is mapped there: an access faults\n"));
    draw(&table, pt_level_size(2));
    EXPECT(strstr(output, "\n  level 1 ") == NULL);
    EXPECT(shows(": empty, none of its 1 GB is mapped\n  nothing is mapped there: an access faults\n"));
    draw(&table, 5);
    EXPECT(shows("  rights   read, no write, no execution; user; in this address space\n"));
    draw(&table, NOT_CANONICAL);
    EXPECT(shows("%#lx is not canonical: bits 63 to ", NOT_CANONICAL));
    EXPECT(strstr(output, "level") == NULL);
    test_pgtable_close(&table);
}

// Of the kernel's own addresses it is told what kind they are, who holds the page, and what stands there.
KTEST(translate, knows_the_kernels_addresses)
{
    uint64_t *object = kmalloc(64, GFP_KERNEL);
    char *area = vmalloc(2 * PAGE_SIZE);
    REQUIRE(object != NULL && area != NULL);

    object[1] = 0x1122334455667788;
    EXPECT_EQ(run_on((uintptr_t)(object + 1) + 3), 0);
    EXPECT(shows(": slab\n"));
    EXPECT(shows("  place    the direct map\n"));
    EXPECT(shows("  holds    0x1122334455667788 in the 8 bytes from %p on\n", (void *)(object + 1)));
    EXPECT_EQ(run_on((uintptr_t)area + PAGE_SIZE), 0);
    EXPECT(shows(": vmalloc\n"));
    EXPECT(shows("  rights   read, write, no execution; kernel only; in every address space\n"));
    EXPECT(shows("  place    the vmalloc area of %lu bytes at %p, made by ", 2 * PAGE_SIZE, (void *)area));
    EXPECT_EQ(run_on((uintptr_t)area + 2 * PAGE_SIZE), 0);
    EXPECT(shows("  nothing is mapped there: an access faults\n"
                 "  place    the guard behind the vmalloc area of %lu bytes at %p", 2 * PAGE_SIZE, (void *)area));
    EXPECT_EQ(run_on((uintptr_t)virt_to_page(object)), 0);
    EXPECT(shows("  place    the memmap: struct page of page frame %#lx\n", page_to_pfn(virt_to_page(object)).value));
    EXPECT(shows(": memmap\n"));
    EXPECT_EQ(run_on(ARCH_VMALLOC_END - MMU_PAGE_SIZE), 0);
    EXPECT(shows("  place    the vmalloc space, in no area\n"));
    EXPECT_EQ(run_on(NOT_CANONICAL), 0);
    EXPECT(shows(" is not canonical: "));
    vfree(area);
    EXPECT_EQ(run_on((uintptr_t)area), 0);
    EXPECT(shows("  place    the vmalloc area of %lu bytes that ", 2 * PAGE_SIZE));
    kfree(object);
}

// Anything but one number is refused and shown.
KTEST(translate, refuses_what_is_no_address)
{
    static const char *const texts[] = { "12z", "0x", "-1", "kmalloc", "0x1ffffffffffffffff" };
    char line[64];

    for (unsigned i = 0; i < array_count(texts); i++) {
        format_text(line, sizeof(line), "translate %s", texts[i]);
        EXPECT_EQ(run(line), 1);
        EXPECT(shows("translate: \"%s\" is no address", texts[i]));
    }
    EXPECT_EQ(run("translate"), 1);
    EXPECT_EQ(run("translate 1 2"), 1);
    EXPECT(shows("translate: give one address"));
    EXPECT_EQ(run("translate 4096"), 0);
    EXPECT(shows("0x1000, translated by the root at %#lx\n", kernel_pgtable.root.value));
}
