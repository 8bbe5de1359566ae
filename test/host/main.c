// The host test program: a machine of fake RAM, the kernel's own start-up of mm/ on it, and the test cases.
// SPDX-License-Identifier: BSD-2-Clause
//
//     quire-host-tests-SIZE [seed=N] [filter=PATTERN,...] [rounds=few|all] [harts=N] [ram=START+SIZE,...]
//                           [zones=LAYOUT] [guarded=0|1]
//
// Exit code 0 when every case passed, 1 when one failed, 2 for a bad argument, 3 after a panic.
#include "host_debug.h"
#include "start_allocators.h"

#include <arch/layout.h>
#include <arch/smp.h>
#include <base/parse.h>
#include <base/string.h>
#include <debug/klog.h>
#include <fake_arch.h>
#include <ktest/ktest.h>
#include <mm/guard_memory.h>
#include <mm/kernel_map.h>
#include <mm/kmap.h>
#include <mm/memblock.h>
#include <mm/page_history.h>
#include <mm/pgtable.h>
#include <mm/slab_guard.h>
#include <mm/zone.h>

#define MAX_RAM 8
#define LEAST_RAM_BYTES MB(64)

static struct {
    uint64_t seed, harts;
    bool wants_all_rounds;
    bool has_guarded_objects;      // whether there is a window for caches that ask for it: 64 pages and more
    char filter[512];
    char zones[64];
    struct { uint64_t start, bytes; } ram[MAX_RAM];
    unsigned ram_count;
} machine = {
    .seed = 1,
    .harts = 4,
    .zones = "riscv64",
    // A hole, and RAM on both sides of 4 GB, so that DMA32 and NORMAL both have some.
    .ram = { { 0x80000000, MB(96) }, { GB(4), MB(64) } },
    .ram_count = 2,
};

// START+SIZE,...; cuts the text.
static bool parse_ram(char *text)
{
    for (machine.ram_count = 0; machine.ram_count < MAX_RAM; machine.ram_count++) {
        char *plus = strchr(text, '+'), *comma = strchr(text, ',');

        if (comma != NULL)
            *comma = '\0';
        if (plus == NULL)
            return false;
        *plus = '\0';
        if (!parse_size(text, &machine.ram[machine.ram_count].start) ||
            !parse_size(plus + 1, &machine.ram[machine.ram_count].bytes))
            return false;
        if (comma == NULL) {
            machine.ram_count++;
            return true;
        }
        text = comma + 1;
    }
    return false;
}

static bool parse_argument(char *argument)
{
    char *value = strchr(argument, '=');

    if (value == NULL)
        return false;
    *value++ = '\0';
    if (strcmp(argument, "seed") == 0)
        return parse_u64(value, &machine.seed);
    if (strcmp(argument, "filter") == 0)
        return string_copy(machine.filter, value, sizeof(machine.filter));
    if (strcmp(argument, "harts") == 0)
        return parse_u64(value, &machine.harts) && machine.harts >= 1 && machine.harts <= MAX_HARTS;
    if (strcmp(argument, "rounds") == 0) {
        machine.wants_all_rounds = strcmp(value, "all") == 0;
        return machine.wants_all_rounds || strcmp(value, "few") == 0;
    }
    if (strcmp(argument, "guarded") == 0) {
        machine.has_guarded_objects = strcmp(value, "1") == 0;
        return machine.has_guarded_objects || strcmp(value, "0") == 0;
    }
    if (strcmp(argument, "zones") == 0)
        return string_copy(machine.zones, value, sizeof(machine.zones));
    if (strcmp(argument, "ram") == 0)
        return parse_ram(value);
    return false;
}

// The image's parts, one after the other; nothing of the test program itself lies in them.
static struct kernel_image make_image(paddr_t phys)
{
    static const struct { const char *name; uint64_t bytes; unsigned prot; bool is_init; } parts[] = {
        { "text", KB(512), PROT_KERNEL_RX, false },
        { "rodata", KB(192), PROT_KERNEL_RO, false },
        { "init text", KB(64), PROT_KERNEL_RX, true },
        { "init data", KB(128), PROT_KERNEL_RW, true },
        { "boot guard", KB(64), 0, true },
        { "boot stack", KB(64), PROT_KERNEL_RW, true },
        { "data", KB(320), PROT_KERNEL_RW, false },
        { "symbols", KB(64), PROT_KERNEL_RO, false },
    };
    struct kernel_image image = {
        .phys = phys,
        .start = vaddr(ARCH_IMAGE_BASE),
        .end = vaddr(ARCH_IMAGE_BASE),
    };

    for (unsigned i = 0; i < array_count(parts); i++) {
        struct kernel_section *section = &image.section[image.section_count++];
        section->name = parts[i].name;
        section->start = image.end;
        section->end = image.end = vaddr_add(image.end, parts[i].bytes);
        section->prot = parts[i].prot;
        section->is_init = parts[i].is_init;
    }
    return image;
}

static void reserve(uint64_t offset, uint64_t bytes, enum page_type owner)
{
    if (memblock_reserve(paddr(machine.ram[0].start + offset), bytes, owner) != 0)
        panic("cannot reserve %#lx bytes", bytes);
}

// What the firmware and the boot loader would have left in RAM; odd bounds included.
static struct kernel_image make_machine(void)
{
    struct kernel_image image = make_image(paddr(machine.ram[0].start + MB(2)));

    for (unsigned i = 0; i < machine.ram_count; i++) {
        paddr_t start = paddr(machine.ram[i].start);

        if (memblock_add(start, machine.ram[i].bytes) != 0)
            host_refuse("ram: %#lx bytes at %#lx cannot be used", machine.ram[i].bytes, start.value);
        // In a page that RAM fills in part nothing lies; still the granules must be there.
        fake_ram_add(paddr(align_down(start.value, MMU_PAGE_SIZE)),
                     align_up(machine.ram[i].bytes + start.value % MMU_PAGE_SIZE, MMU_PAGE_SIZE));
    }
    reserve(0, KB(512), PAGE_FIRMWARE);
    reserve(MB(2), image.end.value - image.start.value, PAGE_IMAGE);
    reserve(MB(30) + 0x100, MB(3) + 0x234, PAGE_INITRD);
    reserve(MB(40) + 0x1230, 0x1fff, PAGE_FIRMWARE);
    return image;
}

static void lay_out_zones(void)
{
    struct zone_layout_error error;
    paddr_t low, high;

    if (zone_layout_parse(machine.zones, paddr(memblock_ram.range[0].start), memblock_ram_end(), &zone_layout,
                          &error) != 0)
        host_refuse("%s", error.text);
    zone_layout_boot_window(&zone_layout, &low, &high);
    memblock_set_window(low, high);
    fake_direct_map_end(highmem_start());
}

// As lib/init does it.
static void start_mm(const struct kernel_image *image)
{
    if (kernel_map_init(image) != 0)
        panic("no memory for the kernel's map");
    arch_mmu_activate(kernel_pgtable.root);
    page_history_init();
    host_start_allocators();
    slab_guard_set_interval(machine.has_guarded_objects);
    if (!guard_memory_init())
        panic("no memory for guarded objects");
    kmap_init();
    kernel_map_free_init(image);
}

unsigned ktest_run_on_harts(void (*fn)(unsigned index, void *argument), void *argument)
{
    fake_harts_run(arch_hart_count(), fn, argument);
    return arch_hart_count();
}

bool ktest_wants_all_rounds(void)
{
    return machine.wants_all_rounds;
}

int main(int argc, char **argv)
{
    struct kernel_image image;

    for (int i = 1; i < argc; i++) {
        char shown[64];
        string_copy(shown, argv[i], sizeof(shown));
        if (!parse_argument(argv[i]))
            host_refuse("bad argument '%s': there are seed=N filter=PATTERN,... rounds=few|all harts=N "
                        "ram=START+SIZE,... zones=LAYOUT guarded=0|1", shown);
    }
    if (machine.ram[0].bytes < LEAST_RAM_BYTES)
        host_refuse("ram: the first range is less than %lu MB", LEAST_RAM_BYTES >> 20);

    fake_arch_init((unsigned)machine.harts);
    image = make_machine();
    lay_out_zones();
    start_mm(&image);
    return ktest_run(machine.seed, machine.filter) == 0 ? HOST_EXIT_OK : HOST_EXIT_FAILED;
}
