// RAM, what of it is taken already, and the initial RAM disk.
// SPDX-License-Identifier: BSD-2-Clause

#include "machine_parse.h"

#include <base/addr.h>
#include <base/string.h>

// A physical address under any RISC-V paging mode has 56 bits. (Privileged specification 20211203, 4.4.1.)
#define PHYS_BITS 56

// Keeps machine->ram sorted by start.
static bool insert_ram(struct parse *parse, struct machine_ram range)
{
    struct machine *machine = parse->machine;
    unsigned at = machine->ram_count;

    if (machine->ram_count == MACHINE_MAX_RAM)
        return machine_refuse(parse, "more than %u ranges of RAM; the next starts at 0x%lx", MACHINE_MAX_RAM,
                              range.start);
    for (; at > 0 && machine->ram[at - 1].start > range.start; at--)
        machine->ram[at] = machine->ram[at - 1];
    machine->ram[at] = range;
    machine->ram_count++;
    return true;
}

static bool check_overlap(struct parse *parse)
{
    const struct machine_ram *ram = parse->machine->ram;

    for (unsigned i = 1; i < parse->machine->ram_count; i++)
        if (ram[i - 1].start + ram[i - 1].size_bytes > ram[i].start)
            return machine_refuse(parse, "memory overlaps: 0x%lx bytes at 0x%lx and 0x%lx bytes at 0x%lx",
                                  ram[i - 1].size_bytes, ram[i - 1].start, ram[i].size_bytes, ram[i].start);
    return true;
}

static bool parse_ram_range(struct parse *parse, const char *name, uint64_t start, uint64_t size_bytes,
                            uint32_t numa_node)
{
    if (size_bytes == 0) {
        machine_note(parse, NODE_FORMAT ": empty range at 0x%lx left out", name, start);
        return true;
    }
    if (start + size_bytes < start)
        return machine_refuse(parse, NODE_FORMAT ": 0x%lx bytes at 0x%lx wrap around the address space", name,
                              size_bytes, start);
    if (start + size_bytes > 1UL << PHYS_BITS)
        return machine_refuse(parse, NODE_FORMAT ": 0x%lx bytes at 0x%lx end past %u-bit physical addresses",
                              name, size_bytes, start, PHYS_BITS);
    return insert_ram(parse, (struct machine_ram){ start, size_bytes, numa_node });
}

static bool parse_memory_node(struct parse *parse, struct fdt_node root, struct fdt_node node)
{
    const char *name = fdt_name(parse->fdt, node);
    uint64_t start, size_bytes;
    uint32_t numa_node = 0;
    uint32_t index = 0;

    if (!fdt_is_available(parse->fdt, node)) {
        machine_note(parse, NODE_FORMAT ": disabled, left out", name);
        return true;
    }
    (void)fdt_u32(parse->fdt, node, "numa-node-id", &numa_node);
    for (; fdt_reg(parse->fdt, root, node, index, &start, &size_bytes); index++)
        if (!parse_ram_range(parse, name, start, size_bytes, numa_node))
            return false;
    if (index == 0)
        return machine_refuse(parse, NODE_FORMAT ": no usable reg (%u bytes)", name,
                              fdt_property(parse->fdt, node, "reg").size_bytes);
    return true;
}

// Cuts every range to whole granules below the limit and drops those of which nothing remains.
static void clip_ram(struct parse *parse)
{
    struct machine *machine = parse->machine;
    unsigned kept = 0;

    for (unsigned i = 0; i < machine->ram_count; i++) {
        struct machine_ram ram = machine->ram[i];
        uint64_t start = align_up(ram.start, MMU_PAGE_SIZE);
        uint64_t end = align_down(ram.start + ram.size_bytes, MMU_PAGE_SIZE);

        if (start != ram.start || end != ram.start + ram.size_bytes)
            machine_note(parse, "memory: 0x%lx bytes at 0x%lx shrunk to whole granules", ram.size_bytes,
                         ram.start);
        if (end > parse->limits->phys_limit) {
            machine_note(parse, "memory: of 0x%lx bytes at 0x%lx only what is below 0x%lx is used",
                         ram.size_bytes, ram.start, parse->limits->phys_limit);
            end = parse->limits->phys_limit;
        }
        if (start < end)
            machine->ram[kept++] = (struct machine_ram){ start, end - start, ram.numa_node };
    }
    machine->ram_count = kept;
}

bool machine_parse_ram(struct parse *parse)
{
    struct fdt_node root = fdt_root(parse->fdt);
    bool saw_node = false;

    fdt_for_each_child(node, parse->fdt, root) {
        const char *type = fdt_string(parse->fdt, node, "device_type");
        if (type == NULL || strcmp(type, "memory") != 0)
            continue;
        saw_node = true;
        if (!parse_memory_node(parse, root, node))
            return false;
    }
    if (!saw_node)
        return machine_refuse(parse, "no memory: the tree has no node of device_type \"memory\"");
    if (parse->machine->ram_count == 0)
        return machine_refuse(parse, "no memory: every range is empty");
    if (!check_overlap(parse))
        return false;
    uint64_t lowest = parse->machine->ram[0].start;
    clip_ram(parse);
    if (parse->machine->ram_count == 0)
        return machine_refuse(parse, "no memory: nothing from 0x%lx on is a whole granule below 0x%lx",
                              lowest, parse->limits->phys_limit);
    return true;
}

static bool touches_ram(const struct machine *machine, uint64_t start, uint64_t size_bytes)
{
    for (unsigned i = 0; i < machine->ram_count; i++)
        if (start < machine->ram[i].start + machine->ram[i].size_bytes &&
            machine->ram[i].start < start + size_bytes)
            return true;
    return false;
}

static bool add_reserved(struct parse *parse, const char *name, uint64_t start, uint64_t size_bytes,
                         bool no_map)
{
    struct machine *machine = parse->machine;

    if (start + size_bytes < start)
        return machine_refuse(parse, "reserved memory " NODE_FORMAT ": 0x%lx bytes at 0x%lx wrap around the "
                              "address space", name, size_bytes, start);
    if (size_bytes == 0 || !touches_ram(machine, start, size_bytes)) {
        machine_note(parse, "reserved memory " NODE_FORMAT ": 0x%lx bytes at 0x%lx are not in RAM, left out",
                     name, size_bytes, start);
        return true;
    }
    if (machine->reserved_count == MACHINE_MAX_RESERVED)
        return machine_refuse(parse, "more than %u reserved ranges; the next is " NODE_FORMAT " at 0x%lx",
                              MACHINE_MAX_RESERVED, name, start);

    struct machine_reserved *reserved = &machine->reserved[machine->reserved_count++];
    const struct machine_ram *highest = &machine->ram[machine->ram_count - 1];
    *reserved = (struct machine_reserved){ .start = max_of(start, machine->ram[0].start), .no_map = no_map };
    reserved->size_bytes = min_of(start + size_bytes, highest->start + highest->size_bytes) - reserved->start;
    (void)string_copy(reserved->name, name, sizeof(reserved->name));
    return true;
}

static bool parse_reserved_node(struct parse *parse, struct fdt_node parent, struct fdt_node node)
{
    const char *name = fdt_name(parse->fdt, node);
    bool no_map = fdt_has(parse->fdt, node, "no-map");
    uint64_t start, size_bytes;
    uint32_t index = 0;

    for (; fdt_reg(parse->fdt, parent, node, index, &start, &size_bytes); index++)
        if (!add_reserved(parse, name, start, size_bytes, no_map))
            return false;
    if (index == 0)
        machine_note(parse, "reserved memory " NODE_FORMAT ": no fixed place, left out", name);
    return true;
}

bool machine_parse_reserved(struct parse *parse)
{
    struct fdt_node parent = fdt_find_path(parse->fdt, "/reserved-memory");
    uint64_t start, size_bytes;

    for (uint32_t index = 0; fdt_reservation(parse->fdt, index, &start, &size_bytes); index++)
        if (!add_reserved(parse, "memreserve", start, size_bytes, false))
            return false;
    fdt_for_each_child(node, parse->fdt, parent)
        if (fdt_is_available(parse->fdt, node) && !parse_reserved_node(parse, parent, node))
            return false;
    return true;
}

static bool lies_in_ram(const struct machine *machine, uint64_t start, uint64_t end)
{
    // Ranges that touch (of two NUMA nodes) hold it together.
    for (unsigned i = 0; i < machine->ram_count && start < end; i++)
        if (start >= machine->ram[i].start && start - machine->ram[i].start < machine->ram[i].size_bytes)
            start = machine->ram[i].start + machine->ram[i].size_bytes;
    return start >= end;
}

bool machine_parse_initrd(struct parse *parse)
{
    struct machine *machine = parse->machine;
    struct fdt_node chosen = fdt_find_path(parse->fdt, "/chosen");
    uint64_t start = 0, end = 0;
    bool has_start = fdt_u64(parse->fdt, chosen, "linux,initrd-start", &start);
    bool has_end = fdt_u64(parse->fdt, chosen, "linux,initrd-end", &end);

    if (has_start != has_end)
        return machine_refuse(parse, "initrd: its %s is 0x%lx, but it has no %s", has_start ? "start" : "end",
                              has_start ? start : end, has_start ? "end" : "start");
    if (end < start)
        return machine_refuse(parse, "initrd: its end 0x%lx lies before its start 0x%lx", end, start);
    if (end == start)
        return true;
    if (!lies_in_ram(machine, start, end))
        return machine_refuse(parse, "initrd: 0x%lx to 0x%lx is not in RAM", start, end);
    for (unsigned i = 0; i < machine->reserved_count; i++) {
        const struct machine_reserved *reserved = &machine->reserved[i];
        if (reserved->no_map && start < reserved->start + reserved->size_bytes && reserved->start < end)
            return machine_refuse(parse, "initrd: 0x%lx to 0x%lx is in memory that must not be mapped, %s at "
                                  "0x%lx", start, end, reserved->name, reserved->start);
    }
    machine->initrd_start = start;
    machine->initrd_size_bytes = end - start;
    return true;
}
