// The devices that the kernel drives: interrupt controllers, console, virtio slots, the ways to end the
// machine.
// SPDX-License-Identifier: BSD-2-Clause

#include "machine_parse.h"

#include <base/string.h>

#define S_EXTERNAL_INTERRUPT 9U    // what a PLIC's context for S-mode is connected to at the hart
// RISC-V PLIC specification 1.0.0: sources, and where the registers of a context lie.
#define PLIC_MAX_SOURCES 1023U
#define PLIC_CONTEXTS_AT 0x200000UL
#define PLIC_CONTEXT_BYTES 0x1000UL

#define UART_REGISTERS 8U

// reg of a device as the processor sees it: not empty, and not in RAM. Otherwise false, and *why says what is
// wrong.
static bool device_reg(struct parse *parse, struct fdt_node node, uint64_t *address, uint64_t *size_bytes,
                       const char **why)
{
    const struct machine *machine = parse->machine;

    *why = NULL;
    if (!fdt_reg_cpu(parse->fdt, node, 0, address, size_bytes))
        *why = "no usable reg";
    else if (*size_bytes == 0)
        *why = "reg of size 0";
    for (unsigned i = 0; *why == NULL && i < machine->ram_count; i++) {
        const struct machine_ram *ram = &machine->ram[i];
        if (*address < ram->start + ram->size_bytes && ram->start < *address + *size_bytes)
            *why = "reg inside RAM";
    }
    return *why == NULL;
}

// The device's interrupt at one of our PLICs, or MACHINE_NO_IRQ.
static void device_interrupt(struct parse *parse, struct fdt_node node, uint32_t *plic, uint32_t *irq)
{
    struct machine *machine = parse->machine;
    struct fdt_interrupt interrupt;

    *plic = 0;
    *irq = MACHINE_NO_IRQ;
    if (!fdt_interrupt(parse->fdt, node, 0, &interrupt) || interrupt.cell_count != 1)
        return;
    for (unsigned i = 0; i < machine->plic_count; i++) {
        if (parse->plic_node[i].offset == interrupt.controller.offset &&
            interrupt.cell[0] <= machine->plic[i].source_count) {
            *plic = i;
            *irq = interrupt.cell[0];
        }
    }
}

// A PLIC's contexts are numbered by the entries of interrupts-extended, each a hart's controller and its
// interrupt.
static bool parse_plic_contexts(struct parse *parse, struct fdt_node node, uint32_t index)
{
    struct machine *machine = parse->machine;
    struct fdt_value entries = fdt_property(parse->fdt, node, "interrupts-extended");
    uint64_t phandle, interrupt;

    for (uint32_t context = 0; fdt_cells(entries, 2 * context, 1, &phandle) &&
                               fdt_cells(entries, 2 * context + 1, 1, &interrupt); context++) {
        for (unsigned i = 0; interrupt == S_EXTERNAL_INTERRUPT && i < machine->hart_count; i++) {
            struct machine_hart *hart = &machine->hart[i];
            if (hart->intc_phandle == 0 || hart->intc_phandle != phandle)
                continue;
            if (PLIC_CONTEXTS_AT + (context + 1) * PLIC_CONTEXT_BYTES > machine->plic[index].size_bytes)
                return machine_refuse(parse, NODE_FORMAT ": context %u of hart %lu lies outside of its 0x%lx "
                                      "bytes", fdt_name(parse->fdt, node), context, hart->id,
                                      machine->plic[index].size_bytes);
            hart->plic = index;
            hart->plic_context = context;
        }
    }
    return true;
}

static bool parse_plic(struct parse *parse, struct fdt_node node)
{
    struct machine *machine = parse->machine;
    const char *name = fdt_name(parse->fdt, node);
    uint32_t index = machine->plic_count;
    const char *why;

    if (index == MACHINE_MAX_PLICS)
        return machine_refuse(parse, "more than %u PLICs; the next is " NODE_FORMAT, MACHINE_MAX_PLICS, name);
    struct machine_plic *plic = &machine->plic[index];
    if (!device_reg(parse, node, &plic->address, &plic->size_bytes, &why))
        return machine_refuse(parse, NODE_FORMAT ": %s (0x%lx bytes at 0x%lx)", name, why, plic->size_bytes,
                              plic->address);
    if (!fdt_u32(parse->fdt, node, "riscv,ndev", &plic->source_count))
        return machine_refuse(parse, NODE_FORMAT ": no riscv,ndev, its number of interrupts", name);
    if (plic->source_count == 0 || plic->source_count > PLIC_MAX_SOURCES)
        return machine_refuse(parse, NODE_FORMAT ": riscv,ndev is %u, not 1 to %u", name, plic->source_count,
                              PLIC_MAX_SOURCES);
    (void)fdt_u32(parse->fdt, node, "numa-node-id", &plic->numa_node);
    parse->plic_node[index] = node;
    machine->plic_count++;
    return parse_plic_contexts(parse, node, index);
}

bool machine_parse_plics(struct parse *parse)
{
    struct machine *machine = parse->machine;

    for (struct fdt_node node = fdt_root(parse->fdt); fdt_exists(node); node = fdt_next(parse->fdt, node)) {
        bool is_plic = fdt_is_compatible(parse->fdt, node, "sifive,plic-1.0.0") ||
                       fdt_is_compatible(parse->fdt, node, "riscv,plic0");
        if (is_plic && fdt_is_available(parse->fdt, node) && !parse_plic(parse, node))
            return false;
    }
    if (machine->plic_count == 0)
        machine_note(parse, "no PLIC: devices cannot interrupt");
    for (unsigned i = 0; machine->plic_count != 0 && i < machine->hart_count; i++)
        if (machine->hart[i].plic_context == MACHINE_NO_CONTEXT)
            machine_note(parse, "hart %lu has no S-mode context at any PLIC", machine->hart[i].id);
    return true;
}

static bool is_uart(const struct fdt *fdt, struct fdt_node node)
{
    return fdt_is_compatible(fdt, node, "ns16550a") && fdt_is_available(fdt, node);
}

// Where stdout-path says, or else the first there is.
static struct fdt_node find_uart(struct parse *parse)
{
    const char *path = fdt_string(parse->fdt, fdt_find_path(parse->fdt, "/chosen"), "stdout-path");
    struct fdt_node node = path != NULL ? fdt_find_path(parse->fdt, path) : FDT_NO_NODE;

    if (is_uart(parse->fdt, node))
        return node;
    node = fdt_find_compatible(parse->fdt, FDT_NO_NODE, "ns16550a");
    while (fdt_exists(node) && !is_uart(parse->fdt, node))
        node = fdt_find_compatible(parse->fdt, node, "ns16550a");
    if (path != NULL && fdt_exists(node))
        machine_note(parse, "stdout-path \"%.60s\" is no usable ns16550a; the console is " NODE_FORMAT, path,
                     fdt_name(parse->fdt, node));
    return node;
}

// An optional property of one cell.
static bool optional_u32(struct parse *parse, struct fdt_node node, const char *name, uint32_t absent,
                         uint32_t *number)
{
    *number = absent;
    return !fdt_has(parse->fdt, node, name) || fdt_u32(parse->fdt, node, name, number);
}

bool machine_parse_uart(struct parse *parse)
{
    struct machine_uart *uart = &parse->machine->uart;
    struct fdt_node node = find_uart(parse);
    const char *name = fdt_name(parse->fdt, node);
    const char *why;

    if (!fdt_exists(node))
        return machine_refuse(parse, "no UART: no available node is compatible with \"ns16550a\"");
    if (!device_reg(parse, node, &uart->address, &uart->size_bytes, &why))
        return machine_refuse(parse, NODE_FORMAT ": %s (0x%lx bytes at 0x%lx)", name, why, uart->size_bytes,
                              uart->address);
    if (!optional_u32(parse, node, "reg-shift", 0, &uart->reg_shift) || uart->reg_shift > 3)
        return machine_refuse(parse, NODE_FORMAT ": reg-shift is %u, not 0 to 3", name, uart->reg_shift);
    if (!optional_u32(parse, node, "reg-io-width", 1, &uart->reg_io_width) || uart->reg_io_width > 4 ||
        !is_power_of_two(uart->reg_io_width))
        return machine_refuse(parse, NODE_FORMAT ": reg-io-width is %u, not 1, 2 or 4", name,
                              uart->reg_io_width);
    if (uart->size_bytes < (UART_REGISTERS << uart->reg_shift))
        return machine_refuse(parse, NODE_FORMAT ": 0x%lx bytes are too few for %u registers %u bytes apart",
                              name, uart->size_bytes, UART_REGISTERS, 1U << uart->reg_shift);
    (void)fdt_u64(parse->fdt, node, "clock-frequency", &uart->clock_hz);
    device_interrupt(parse, node, &uart->plic, &uart->irq);
    if (uart->irq == MACHINE_NO_IRQ)
        machine_note(parse, NODE_FORMAT ": no usable interrupt; input is polled", name);
    return true;
}

// Ascending by address: slots keep their numbers however the tree lists them.
static void insert_virtio(struct machine *machine, struct machine_virtio slot)
{
    unsigned at = machine->virtio_count++;

    for (; at > 0 && machine->virtio[at - 1].address > slot.address; at--)
        machine->virtio[at] = machine->virtio[at - 1];
    machine->virtio[at] = slot;
}

void machine_parse_virtio(struct parse *parse)
{
    struct machine *machine = parse->machine;
    struct fdt_node node = fdt_find_compatible(parse->fdt, FDT_NO_NODE, "virtio,mmio");
    unsigned seen = 0;

    for (; fdt_exists(node); node = fdt_find_compatible(parse->fdt, node, "virtio,mmio")) {
        struct machine_virtio slot;
        const char *why;

        if (!fdt_is_available(parse->fdt, node))
            continue;
        if (seen++ == MACHINE_MAX_VIRTIO) {
            machine_note(parse, "more than %u virtio slots: " NODE_FORMAT " and what follows left out",
                         MACHINE_MAX_VIRTIO, fdt_name(parse->fdt, node));
            return;
        }
        if (device_reg(parse, node, &slot.address, &slot.size_bytes, &why)) {
            device_interrupt(parse, node, &slot.plic, &slot.irq);
            if (slot.irq == MACHINE_NO_IRQ)
                why = "no usable interrupt";
            else
                insert_virtio(machine, slot);
        }
        if (why != NULL)
            machine_note(parse, NODE_FORMAT ": %s, left out", fdt_name(parse->fdt, node), why);
    }
}

// A command of a system controller: which register, and what to store. (Linux binding
// power/reset/syscon-poweroff.)
static void parse_syscon(struct parse *parse, const char *compatible, struct machine_syscon *out)
{
    struct fdt_node node = fdt_find_compatible(parse->fdt, FDT_NO_NODE, compatible);
    struct machine_syscon syscon;
    uint32_t phandle, offset;
    uint64_t size_bytes;
    const char *why = NULL;

    if (!fdt_exists(node) || !fdt_is_available(parse->fdt, node)) {
        machine_note(parse, "no %s", compatible);
        return;
    }
    bool has_value = fdt_u32(parse->fdt, node, "value", &syscon.value);
    bool has_mask = fdt_u32(parse->fdt, node, "mask", &syscon.mask);
    if (!has_value && !has_mask)
        why = "neither value nor mask";
    else if (!fdt_u32(parse->fdt, node, "regmap", &phandle) || !fdt_u32(parse->fdt, node, "offset", &offset))
        why = "no regmap or no offset";
    else if (device_reg(parse, fdt_find_phandle(parse->fdt, phandle), &syscon.address, &size_bytes, &why) &&
             (!is_aligned(offset, 4U) || size_bytes < 4 || offset > size_bytes - 4))
        why = "offset outside of its controller";
    if (why != NULL) {
        machine_note(parse, NODE_FORMAT ": %s, left out", fdt_name(parse->fdt, node), why);
        return;
    }
    // A mask alone is the older form of the binding: it is also the value.
    out->value = has_value ? syscon.value : syscon.mask;
    out->mask = has_mask ? syscon.mask : UINT32_MAX;
    out->address = syscon.address + offset;
}

void machine_parse_power(struct parse *parse)
{
    struct machine *machine = parse->machine;
    struct fdt_node node = fdt_find_compatible(parse->fdt, FDT_NO_NODE, "sifive,test1");
    uint64_t size_bytes;
    const char *why = "no sifive,test1";

    if (fdt_exists(node) && fdt_is_available(parse->fdt, node))
        (void)device_reg(parse, node, &machine->finisher, &size_bytes, &why);
    if (why != NULL) {
        machine->finisher = 0;
        machine_note(parse, "finisher: %s; a failure cannot be told by the exit code", why);
    }
    parse_syscon(parse, "syscon-poweroff", &machine->poweroff);
    parse_syscon(parse, "syscon-reboot", &machine->reboot);
}
