// The boot report.
// SPDX-License-Identifier: BSD-2-Clause

#include "report.h"
#include "bootargs.h"
#include "image.h"
#include <arch/cpu.h>
#include <arch/smp.h>
#include <arch/time.h>
#include <base/format.h>
#include <base/string.h>
#include <debug/klog.h>
#include <mm/kernel_map.h>
#include <mm/kstack.h>
#include <mm/ledger.h>
#include <mm/memblock.h>
#include <mm/zone.h>
#include <platform/machine.h>

#define STRIP_CELLS 64

// "512 KB", "1.5 GB": at most four digits.
struct size_text { char text[16]; };

static struct size_text size_text(uint64_t bytes)
{
    static const char units[] = "BKMGT";
    struct size_text out;
    unsigned unit = 0;
    uint64_t tenths = bytes * 10;

    while (tenths >= 10240 && unit + 2 < sizeof units) {
        tenths /= 1024;
        unit++;
    }
    if (tenths % 10 == 0 || unit == 0)
        format_text(out.text, sizeof out.text, "%lu %c%s", tenths / 10, units[unit], unit ? "B" : "");
    else
        format_text(out.text, sizeof out.text, "%lu.%lu %cB", tenths / 10, tenths % 10, units[unit]);
    return out;
}

static void print_configuration(const struct machine *machine)
{
    console_print("\n  Quire   %lu KB pages of %lu granule%s, Sv39, on %s\n\n", PAGE_SIZE >> 10, GRANULES_PER_PAGE,
                  GRANULES_PER_PAGE == 1 ? "" : "s", machine->model[0] ? machine->model : "an unnamed machine");
    console_print("  harts      %u of at most %u: ", arch_hart_count(), MAX_HARTS);
    for (unsigned i = 0; i < arch_hart_count(); i++)
        console_print("%lu%s ", arch_hart_machine_id(i), i == 0 ? " (boot)" : "");
    console_print("\n             %s; %s at %lu.%lu MHz\n", machine->hart[0].isa, arch_cpu_features(),
                  machine->timebase_hz / 1000000, machine->timebase_hz / 100000 % 10);
    console_print("  built with %u KB stacks, assertion tier %u%s\n", CONFIG_KERNEL_STACK_KB, CONFIG_ASSERT_TIER,
                  CONFIG_CHECKED ? ", locks and contexts checked" : "");
}

static void print_argument(const struct bootarg *argument, void *column)
{
    char text[96];
    unsigned *used = column;
    int length = bootarg_format(argument, text, sizeof text);

    if (*used > 0 && *used + (unsigned)length > 84) {
        console_print("\n             ");
        *used = 0;
    }
    console_print("%s ", text);
    *used += (unsigned)length + 1;
}

static char owner_letter(enum page_type owner)
{
    switch (owner) {
    case PAGE_FIRMWARE: return 'F';
    case PAGE_IMAGE: return 'K';
    case PAGE_MEMMAP: return 'm';
    case PAGE_TABLE: return 't';
    case PAGE_INITRD: return 'I';
    default: return 'x';
    }
}

// Each cell is an equal share of the range; a cell with any reserved memory shows the first of it.
static void print_strip(const struct memblock_range *ram)
{
    char strip[STRIP_CELLS + 1];
    uint64_t share = align_up(ram->size / STRIP_CELLS + 1, MMU_PAGE_SIZE);

    for (unsigned cell = 0; cell < STRIP_CELLS; cell++) {
        uint64_t start = ram->start + cell * share;
        strip[cell] = start < ram->start + ram->size ? '.' : ' ';
        for (unsigned i = 0; i < memblock_reserved.count; i++) {
            const struct memblock_range *range = &memblock_reserved.range[i];
            if (range->start < start + share && range->start + range->size > start) {
                strip[cell] = owner_letter(range->owner);
                break;
            }
        }
    }
    strip[STRIP_CELLS] = '\0';
    console_print("  %9lx  [%s]  %lx\n", ram->start, strip, ram->start + ram->size);
}

static void print_physical_map(void)
{
    console_print("\n  RAM        %s   F firmware  K kernel  m memmap  t page tables  I initrd  . free\n",
                  size_text(memblock_ram_bytes()).text);
    for (unsigned i = 0; i < memblock_ram.count; i++)
        print_strip(&memblock_ram.range[i]);
    for (unsigned i = 0; i < memblock_reserved.count; i++) {
        const struct memblock_range *range = &memblock_reserved.range[i];
        if (range->size >= MMU_PAGE_SIZE && i < 10)
            console_print("  %9lx - %9lx  %8s  %s\n", range->start, range->start + range->size,
                          size_text(range->size).text, page_type_name(range->owner));
    }
}

static void print_zones(void)
{
    console_print("\n  zone     page frames            present  managed     free   min/low/high (pages; zones=%s)\n",
                  bootarg_text("zones"));
    for (unsigned id = 0; id < ZONE_COUNT; id++) {
        const struct zone *zone = &zones[id];
        if (zone->present_pages == 0)
            continue;
        console_print("  %-8s %8lx - %-8lx %8lu %8lu %8lu   %lu/%lu/%lu\n", zone->name, zone->start_pfn, zone->end_pfn,
                      zone->present_pages, zone->managed_pages, zone->free_pages, zone->watermark_min,
                      zone->watermark_low, zone->watermark_high);
    }
}

static void print_kernel(uint64_t init_bytes_freed)
{
    const struct kernel_image *image = image_describe();

    console_print("\n  kernel     ");
    for (unsigned i = 0; i < image->section_count; i++) {
        const struct kernel_section *section = &image->section[i];
        if (section->is_init)
            continue;
        console_print("%s %s %c%c%c  ", section->name, size_text(section->end.value - section->start.value).text,
                      section->prot & PROT_READ ? 'r' : '-', section->prot & PROT_WRITE ? 'w' : '-',
                      section->prot & PROT_EXEC ? 'x' : '-');
    }
    console_print(" init %s freed\n", size_text(init_bytes_freed).text);
}

static void print_metadata(uint64_t allocator_instructions)
{
    struct ledger ledger = ledger_take();
    uint64_t memmap_bytes = ledger.pages[PAGE_MEMMAP] * PAGE_SIZE;
    uint64_t hundredths_percent = memmap_bytes * 10000 / (ledger.total * PAGE_SIZE);

    console_print("  memmap     %s, %zu bytes a page, %lu.%02lu %% of RAM;  page tables %s;  stacks %s\n",
                  size_text(memmap_bytes).text, sizeof(struct page), hundredths_percent / 100, hundredths_percent % 100,
                  size_text(ledger.pages[PAGE_TABLE] * PAGE_SIZE).text,
                  size_text(ledger.pages[PAGE_STACK] * PAGE_SIZE).text);
    console_print("  virtual    direct map %lx  memmap %lx  vmalloc %lx  modules %lx\n", ARCH_DIRECT_BASE,
                  ARCH_MEMMAP_BASE, ARCH_VMALLOC_BASE, ARCH_MODULE_BASE);
    console_print("  started    %lu instructions from entry to working allocators (exact under -icount)\n\n",
                  allocator_instructions);
}

void report_boot(const struct machine *machine, uint64_t init_bytes_freed, uint64_t allocator_instructions)
{
    unsigned column = 0;

    print_configuration(machine);
    console_print("  arguments  ");
    bootargs_for_each(print_argument, &column);
    console_print("\n");
    for (unsigned i = 0; i < min_of(machine->note_count, (unsigned)MACHINE_MAX_NOTES); i++)
        console_print("  note       %s\n", machine->note[i]);
    print_physical_map();
    print_zones();
    print_kernel(init_bytes_freed);
    print_metadata(allocator_instructions);
}
