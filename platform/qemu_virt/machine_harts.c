// The harts that the kernel can use.
// SPDX-License-Identifier: BSD-2-Clause

#include "machine_parse.h"

#include <base/string.h>

static uint32_t mmu_levels(const char *mmu_type)
{
    static const struct {
        const char *name;
        uint32_t levels;
    } types[] = { { "riscv,sv39", 3 }, { "riscv,sv48", 4 }, { "riscv,sv57", 5 } };

    for (size_t i = 0; mmu_type != NULL && i < array_count(types); i++)
        if (strcmp(mmu_type, types[i].name) == 0)
            return types[i].levels;
    return 0;
}

// Either one string, or (since 2023) a base and a list of extensions.
static bool parse_isa(const struct fdt *fdt, struct fdt_node node, struct machine_hart *hart)
{
    const char *isa = fdt_string(fdt, node, "riscv,isa");
    const char *base = fdt_string(fdt, node, "riscv,isa-base");
    struct fdt_value list = fdt_property(fdt, node, "riscv,isa-extensions");
    const char *name;

    if (base == NULL) {
        (void)string_copy(hart->isa, isa != NULL ? isa : "", sizeof(hart->isa));
        return isa != NULL && isa_parse(isa, &hart->features);
    }
    (void)string_copy(hart->isa, base, sizeof(hart->isa));
    if (!isa_parse(base, &hart->features))
        return false;
    for (uint32_t at = 0; (name = fdt_next_string(list, &at)) != NULL;)
        hart->features |= isa_extension(name);
    return true;
}

static uint32_t intc_phandle(const struct fdt *fdt, struct fdt_node node)
{
    uint32_t phandle = 0;

    fdt_for_each_child(child, fdt, node)
        if (fdt_has(fdt, child, "interrupt-controller") && fdt_u32(fdt, child, "phandle", &phandle))
            return phandle;
    return 0;
}

// Fills in *hart; NULL, or why the kernel cannot use it.
static const char *parse_hart(const struct fdt *fdt, struct fdt_node node, struct machine_hart *hart)
{
    if (!fdt_is_available(fdt, node))
        return "it is disabled";
    if (!parse_isa(fdt, node, hart))
        return "no isa string that starts with rv64";
    if ((hart->features & ISA_REQUIRED) != ISA_REQUIRED)
        return "its isa lacks a part of rv64imac";
    hart->mmu_levels = mmu_levels(fdt_string(fdt, node, "mmu-type"));
    if (hart->mmu_levels == 0)
        return "its mmu-type offers no Sv39";
    hart->intc_phandle = intc_phandle(fdt, node);
    hart->plic_context = MACHINE_NO_CONTEXT;
    (void)fdt_u32(fdt, node, "numa-node-id", &hart->numa_node);
    return NULL;
}

static bool is_known_hart(const struct machine *machine, uint64_t id)
{
    for (unsigned i = 0; i < machine->hart_count; i++)
        if (machine->hart[i].id == id)
            return true;
    return false;
}

static bool parse_timebase(struct parse *parse, struct fdt_node cpus, struct fdt_node boot)
{
    struct machine *machine = parse->machine;

    if (!fdt_u64(parse->fdt, cpus, "timebase-frequency", &machine->timebase_hz) &&
        !fdt_u64(parse->fdt, boot, "timebase-frequency", &machine->timebase_hz))
        return machine_refuse(parse, "no timebase-frequency, neither in /cpus nor in " NODE_FORMAT,
                              fdt_name(parse->fdt, boot));
    if (machine->timebase_hz == 0)
        return machine_refuse(parse, "timebase-frequency is 0");
    return true;
}

// The boot hart becomes the first; the others keep their order.
static void put_boot_hart_first(struct machine *machine, uint64_t boot_hart)
{
    unsigned at = 0;

    while (machine->hart[at].id != boot_hart)
        at++;
    struct machine_hart hart = machine->hart[at];
    for (; at > 0; at--)
        machine->hart[at] = machine->hart[at - 1];
    machine->hart[0] = hart;
}

bool machine_parse_harts(struct parse *parse)
{
    struct machine *machine = parse->machine;
    struct fdt_node cpus = fdt_find_path(parse->fdt, "/cpus");
    struct fdt_node boot = FDT_NO_NODE;
    const char *boot_why = NULL;
    unsigned usable_count = 0;

    fdt_for_each_child(node, parse->fdt, cpus) {
        const char *type = fdt_string(parse->fdt, node, "device_type");
        struct machine_hart hart = { 0 };
        uint64_t size_bytes;

        if (type == NULL || strcmp(type, "cpu") != 0)
            continue;
        if (!fdt_reg(parse->fdt, cpus, node, 0, &hart.id, &size_bytes))
            return machine_refuse(parse, NODE_FORMAT ": no usable reg, which would be its hart id",
                                  fdt_name(parse->fdt, node));
        const char *why = parse_hart(parse->fdt, node, &hart);
        if (hart.id == parse->limits->boot_hart) {
            boot = node;
            boot_why = why;
        } else if (why != NULL) {
            machine_note(parse, "hart %lu left out: %s (isa \"%.60s\")", hart.id, why, hart.isa);
        }
        if (why != NULL)
            continue;
        if (is_known_hart(machine, hart.id))
            return machine_refuse(parse, "hart id %lu is there twice", hart.id);
        if (usable_count++ < parse->limits->max_harts)
            machine->hart[machine->hart_count++] = hart;
    }
    if (usable_count > parse->limits->max_harts)
        return machine_refuse(parse, "the machine has %u usable harts, and this kernel is configured for at "
                              "most %u", usable_count, parse->limits->max_harts);
    if (!fdt_exists(boot))
        return machine_refuse(parse, "the hart that booted, %lu, is not in /cpus", parse->limits->boot_hart);
    if (boot_why != NULL)
        return machine_refuse(parse, "the hart that booted, %lu, cannot be used: %s",
                              parse->limits->boot_hart, boot_why);
    put_boot_hart_first(machine, parse->limits->boot_hart);
    machine->features = ~0UL;
    for (unsigned i = 0; i < machine->hart_count; i++)
        machine->features &= machine->hart[i].features;
    return parse_timebase(parse, cpus, boot);
}
