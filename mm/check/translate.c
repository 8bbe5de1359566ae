// An address's way through the page tables, drawn; and the console command translate.
// SPDX-License-Identifier: BSD-2-Clause
#include <mm/translate.h>

#include <base/format.h>
#include <base/parse.h>
#include <debug/klog.h>
#include <debug/nofault.h>
#include <debug/shell.h>
#include <debug/symbols.h>
#include <mm/memblock.h>
#include <mm/page_group.h>
#include <mm/pte.h>
#include <mm/vmalloc.h>

#define ADDRESS_BITS (MMU_PAGE_SHIFT + PT_INDEX_BITS * ARCH_PT_LEVELS)
#define CELL_BYTES 24
#define PLACE_BYTES VMALLOC_FAULT_TEXT_BYTES

typedef void (*printer_t)(const char *format, ...);

// --- The address, cut.

enum { CUT_TITLE, CUT_BITS, CUT_BINARY, CUT_VALUE, CUT_ROWS };

struct cut {
    char row[CUT_ROWS][(ARCH_PT_LEVELS + 1) * CELL_BYTES];
    size_t used;               // of each row
};

// The bits of an address from `low` on, as a column that is as wide as there are bits.
static void add_column(struct cut *cut, vaddr_t address, unsigned low, unsigned bits)
{
    char cell[CUT_ROWS][CELL_BYTES];
    uint64_t value = address.value >> low & ((1UL << bits) - 1);

    format_text(cell[CUT_TITLE], CELL_BYTES, low == 0 ? "offset" : "level %u", (low - MMU_PAGE_SHIFT) / PT_INDEX_BITS);
    format_text(cell[CUT_BITS], CELL_BYTES, "%u-%u", low + bits - 1, low);
    format_text(cell[CUT_VALUE], CELL_BYTES, low == 0 ? "%#lx" : "%lu", value);
    for (unsigned bit = 0; bit < bits; bit++)
        cell[CUT_BINARY][bit] = value >> (bits - 1 - bit) & 1 ? '1' : '0';
    cell[CUT_BINARY][bits] = '\0';
    for (unsigned row = 0; row < CUT_ROWS; row++)
        format_text(cut->row[row] + cut->used, sizeof(cut->row[row]) - cut->used, "  %*s", (int)bits, cell[row]);
    cut->used += bits + 2;
}

static void print_cut(vaddr_t address, printer_t print)
{
    static const char *const names[CUT_ROWS] = { "", "bits", "", "index" };
    struct cut cut = { .used = 0 };

    for (unsigned level = ARCH_PT_LEVELS; level-- > 0;)
        add_column(&cut, address, MMU_PAGE_SHIFT + PT_INDEX_BITS * level, PT_INDEX_BITS);
    add_column(&cut, address, 0, MMU_PAGE_SHIFT);
    for (unsigned row = 0; row < CUT_ROWS; row++)
        print("  %-6s%s\n", names[row], cut.row[row]);
}

// --- The way down.

// Of a power of two from 1 KB on.
static void format_size(char *text, size_t size, uint64_t bytes)
{
    static const char *const units[] = { "KB", "MB", "GB", "TB" };
    unsigned unit = 0;

    for (bytes >>= 10; bytes >= 1024; bytes >>= 10)
        unit++;
    format_text(text, size, "%lu %s", bytes, units[unit]);
}

static void print_level(paddr_t table, unsigned index, unsigned level, pte_t entry, printer_t print)
{
    char bits[PTE_TEXT_BYTES], leaf_size[16], meaning[64];

    arch_pte_describe(entry, bits, sizeof(bits));
    format_size(leaf_size, sizeof(leaf_size), pte_leaf_bytes(entry, level));
    if (arch_pte_noted(entry) != NULL)
        format_text(meaning, sizeof(meaning), "empty, remembers %p", arch_pte_noted(entry));
    else if (!arch_pte_is_present(entry))
        format_text(meaning, sizeof(meaning), "empty, none of its %s is mapped", leaf_size);
    else if (arch_pte_is_leaf(entry))
        format_text(meaning, sizeof(meaning), "a leaf of %s at %#lx", leaf_size, arch_pte_paddr(entry).value);
    else
        format_text(meaning, sizeof(meaning), "the table %#lx", arch_pte_paddr(entry).value);
    print("  level %u  table %#lx, entry %u: 0x%016lx  %s: %s\n", level, table.value, index, entry.value, bits,
          meaning);
}

static void print_walk(const struct pgtable *table, const struct pgtable_walk *walk, vaddr_t address, printer_t print)
{
    paddr_t at = table->root;

    for (unsigned level = ARCH_PT_LEVELS; level-- > walk->level;) {
        print_level(at, pt_index(address, level), level, walk->entry[level], print);
        at = arch_pte_paddr(walk->entry[level]);
    }
}

// --- Where it ends.

static bool is_ram(paddr_t address)
{
    for (unsigned i = 0; i < memblock_ram.count; i++)
        if (address.value - memblock_ram.range[i].start < memblock_ram.range[i].size)
            return true;
    return false;
}

// Of a block that is not compound only the head says anything, and where it lies is known from the order alone.
static enum page_type use_of(paddr_t address)
{
    uint64_t frame = paddr_to_pfn(address).value;

    if (!is_ram(address))
        return PAGE_TAIL;
    if (page_run_free(pfn_to_page(pfn(frame))) > 0)
        return PAGE_FREE;
    for (unsigned order = 0; order <= MAX_ORDER; order++) {
        const struct page *head = pfn_to_page(pfn(align_down(frame, 1UL << order)));
        if (page_type(head) != PAGE_TAIL && head->order >= order)
            return page_type(head);
    }
    return PAGE_TAIL;
}

static void print_end(const struct pgtable_walk *walk, printer_t print)
{
    enum page_type use = use_of(walk->pa);
    char page_size[16];

    format_size(page_size, sizeof(page_size), PAGE_SIZE);
    print("  physical %#lx, page frame %#lx of %s: %s\n", walk->pa.value, paddr_to_pfn(walk->pa).value, page_size,
          use == PAGE_TAIL ? "no RAM" : page_type_name(use));
    print("  rights   %s, %s, %s; %s; %s\n", walk->prot & PROT_READ ? "read" : "no read",
          walk->prot & PROT_WRITE ? "write" : "no write", walk->prot & PROT_EXEC ? "execution" : "no execution",
          walk->prot & PROT_USER ? "user" : "kernel only",
          walk->prot & PROT_GLOBAL ? "in every address space" : "in this address space");
}

// --- What kind of address it is.

struct area_search {
    vaddr_t address;
    char *text;
};

static void look_into_area(const struct vmalloc_area *area, void *context)
{
    const struct area_search *search = context;
    char caller[SYMBOL_NAME_BYTES + 32];

    if (search->address.value - area->range_start.value >= area->range_size)
        return;
    symbol_format(caller, sizeof(caller), (uintptr_t)area->caller);
    format_text(search->text, PLACE_BYTES, "%sthe %s area of %lu bytes at %#lx, made by %s",
                search->address.value - area->start.value < area->size ? "" : "a guard of ",
                vmalloc_kind_name(area->kind), area->size, area->start.value, caller);
}

static void describe_place(vaddr_t address, const struct pgtable_walk *walk, char *text)
{
    struct area_search search = { address, text };
    uint64_t frame = (address.value - ARCH_MEMMAP_BASE) / sizeof(struct page);

    if (is_vmalloc_addr(vaddr_ptr(address))) {
        format_text(text, PLACE_BYTES, "the vmalloc space, in no area");
        vmalloc_for_each(look_into_area, &search);
        if (!walk->mapped)
            vmalloc_fault_text(address, text, PLACE_BYTES);
    } else if (virt_is_direct(vaddr_ptr(address))) {
        format_text(text, PLACE_BYTES, "the direct map");
    } else if (frame < MAX_PFN) {
        format_text(text, PLACE_BYTES, "the memmap: struct page of page frame %#lx", frame);
    } else if (address.value - PAGE_GROUPS_BASE < MAX_PFN / GROUP_PAGES * sizeof(struct page_group)) {
        format_text(text, PLACE_BYTES, "the groups of pages behind the memmap");
    } else if (walk->mapped && address.value >= ARCH_IMAGE_BASE && use_of(walk->pa) == PAGE_IMAGE) {
        format_text(text, PLACE_BYTES, "the kernel's image");
    } else if ((int64_t)address.value >= 0) {
        format_text(text, PLACE_BYTES, "the user's half");
    } else {
        format_text(text, PLACE_BYTES, "the kernel's half, where nothing has its place");
    }
}

void translate_print(const struct pgtable *table, vaddr_t address, void (*print)(const char *format, ...))
{
    struct pgtable_walk walk = pgtable_walk(table, address);
    char place[PLACE_BYTES];
    uint64_t word;

    if (!arch_vaddr_is_canonical(address)) {
        print("%#lx is not canonical: bits 63 to %u are not all like bit %u, so no table is asked\n", address.value,
              ADDRESS_BITS, ADDRESS_BITS - 1);
        return;
    }
    print("%#lx, translated by the root at %#lx\n", address.value, table->root.value);
    print_cut(address, print);
    print_walk(table, &walk, address, print);
    if (walk.mapped)
        print_end(&walk, print);
    else
        print("  nothing is mapped there: an access faults\n");
    describe_place(address, &walk, place);
    print("  place    %s\n", place);
    vaddr_t first = vaddr(align_down(address.value, sizeof(word)));
    if (table == &kernel_pgtable && walk.mapped && is_ram(walk.pa) &&
        copy_from_kernel_nofault(&word, vaddr_ptr(first), sizeof(word)) == 0)
        print("  holds    0x%016lx in the 8 bytes from %#lx on\n", word, first.value);
}

static int command_translate(int argc, char **argv)
{
    uint64_t address;

    if (argc != 2) {
        console_print("translate: give one address, decimal or hexadecimal behind 0x\n");
        return 1;
    }
    if (!parse_u64(argv[1], &address)) {
        console_print("translate: \"%s\" is no address: decimal or hexadecimal behind 0x\n", argv[1]);
        return 1;
    }
    translate_print(&kernel_pgtable, vaddr(address), console_print);
    return 0;
}

SHELL_COMMAND(translate, "ADDRESS", "an address's way through the page tables, level by level", command_translate);
