// What the bytes of a property mean: cells, strings, addresses through buses, interrupts.
// SPDX-License-Identifier: BSD-2-Clause

#include "fdt_format.h"

#include <base/string.h>

#define MAX_CELLS 2U               // of an address or a size: 64 bits

bool fdt_cells(struct fdt_value value, uint32_t index, uint32_t count, uint64_t *number)
{
    if (count > MAX_CELLS || ((uint64_t)index + count) * FDT_CELL_BYTES > value.size_bytes)
        return false;
    *number = 0;
    for (uint32_t i = 0; i < count; i++)
        *number = *number << 32 | fdt_read_u32(value.bytes + (size_t)(index + i) * FDT_CELL_BYTES);
    return true;
}

bool fdt_u32(const struct fdt *fdt, struct fdt_node node, const char *name, uint32_t *number)
{
    struct fdt_value value = fdt_property(fdt, node, name);

    if (value.size_bytes != FDT_CELL_BYTES)
        return false;
    *number = fdt_read_u32(value.bytes);
    return true;
}

bool fdt_u64(const struct fdt *fdt, struct fdt_node node, const char *name, uint64_t *number)
{
    struct fdt_value value = fdt_property(fdt, node, name);

    if (value.size_bytes != FDT_CELL_BYTES && value.size_bytes != 2 * FDT_CELL_BYTES)
        return false;
    return fdt_cells(value, 0, value.size_bytes / FDT_CELL_BYTES, number);
}

const char *fdt_next_string(struct fdt_value list, uint32_t *at)
{
    if (*at >= list.size_bytes)
        return NULL;
    const char *string = (const char *)list.bytes + *at;
    size_t length = strnlen(string, list.size_bytes - *at);
    if (length == list.size_bytes - *at)
        return NULL;
    *at += (uint32_t)length + 1;
    return string;
}

const char *fdt_string(const struct fdt *fdt, struct fdt_node node, const char *name)
{
    uint32_t at = 0;

    return fdt_next_string(fdt_property(fdt, node, name), &at);
}

bool fdt_has_string(struct fdt_value list, const char *wanted)
{
    const char *string;
    uint32_t at = 0;

    do {
        string = fdt_next_string(list, &at);
    } while (string != NULL && strcmp(string, wanted) != 0);
    return string != NULL;
}

// A bus's #address-cells or #size-cells. (Devicetree Specification v0.4, 2.3.5: what holds where they are
// absent.)
static uint32_t cell_count(const struct fdt *fdt, struct fdt_node bus, const char *name, uint32_t absent)
{
    uint32_t count;

    if (!fdt_has(fdt, bus, name))
        return absent;
    return fdt_u32(fdt, bus, name, &count) ? count : UINT32_MAX;
}

static uint32_t address_cells(const struct fdt *fdt, struct fdt_node bus)
{
    return cell_count(fdt, bus, "#address-cells", 2);
}

static uint32_t size_cells(const struct fdt *fdt, struct fdt_node bus)
{
    return cell_count(fdt, bus, "#size-cells", 1);
}

bool fdt_reg(const struct fdt *fdt, struct fdt_node bus, struct fdt_node node, uint32_t index,
             uint64_t *address, uint64_t *size_bytes)
{
    uint32_t for_address = address_cells(fdt, bus);
    uint32_t for_size = size_cells(fdt, bus);
    struct fdt_value reg = fdt_property(fdt, node, "reg");

    // The index is below the number of cells there are, so that no product overflows.
    if (for_address > MAX_CELLS || for_size > MAX_CELLS || for_address + for_size == 0 ||
        index >= reg.size_bytes / FDT_CELL_BYTES / (for_address + for_size))
        return false;
    uint32_t at = index * (for_address + for_size);
    return fdt_cells(reg, at, for_address, address) && fdt_cells(reg, at + for_address, for_size, size_bytes);
}

// Translates a range on `bus` to where the parent's bus sees it.
static bool translate(const struct fdt *fdt, struct fdt_node bus, struct fdt_node parent, uint64_t *address,
                      uint64_t size_bytes)
{
    struct fdt_value ranges = fdt_property(fdt, bus, "ranges");
    uint32_t for_child = address_cells(fdt, bus);
    uint32_t for_parent = address_cells(fdt, parent);
    uint32_t for_size = size_cells(fdt, bus);

    if (ranges.bytes == NULL)
        return false;
    if (ranges.size_bytes == 0)
        return true;
    uint32_t entry_cells = for_child + for_parent + for_size;
    if (for_child > MAX_CELLS || for_parent > MAX_CELLS || for_size > MAX_CELLS || entry_cells == 0)
        return false;

    uint64_t child, to, length;
    for (uint32_t at = 0; fdt_cells(ranges, at, for_child, &child) &&
                          fdt_cells(ranges, at + for_child, for_parent, &to) &&
                          fdt_cells(ranges, at + for_child + for_parent, for_size, &length);
         at += entry_cells) {
        if (*address >= child && *address - child < length && size_bytes <= length - (*address - child)) {
            *address = to + (*address - child);
            return *address >= to;
        }
    }
    return false;
}

bool fdt_reg_cpu(const struct fdt *fdt, struct fdt_node node, uint32_t index, uint64_t *address,
                 uint64_t *size_bytes)
{
    struct fdt_node lineage[FDT_MAX_DEPTH];
    unsigned depth = fdt_lineage(fdt, node, lineage);

    if (depth < 2 || !fdt_reg(fdt, lineage[depth - 2], node, index, address, size_bytes))
        return false;
    for (unsigned bus = depth - 2; bus > 0; bus--)
        if (!translate(fdt, lineage[bus], lineage[bus - 1], address, *size_bytes))
            return false;
    return *address + *size_bytes >= *address;
}

// Cells of one interrupt of that controller; false when it does not say, or says something absurd.
static bool interrupt_cells(const struct fdt *fdt, struct fdt_node controller, uint32_t *count)
{
    return fdt_u32(fdt, controller, "#interrupt-cells", count) && *count >= 1 &&
           *count <= FDT_MAX_INTERRUPT_CELLS;
}

static bool read_interrupt(struct fdt_node controller, uint32_t cell_count, struct fdt_value cells,
                           uint32_t at, struct fdt_interrupt *out)
{
    *out = (struct fdt_interrupt){ .controller = controller, .cell_count = cell_count };
    for (uint32_t i = 0; i < cell_count; i++) {
        uint64_t number;
        if (!fdt_cells(cells, at + i, 1, &number))
            return false;
        out->cell[i] = (uint32_t)number;
    }
    return true;
}

// The node that takes the interrupts of `node`: named by it or by the nearest node above that names one.
static struct fdt_node interrupt_parent(const struct fdt *fdt, struct fdt_node node)
{
    struct fdt_node lineage[FDT_MAX_DEPTH];
    uint32_t phandle;

    for (unsigned depth = fdt_lineage(fdt, node, lineage); depth > 0; depth--)
        if (fdt_u32(fdt, lineage[depth - 1], "interrupt-parent", &phandle))
            return fdt_find_phandle(fdt, phandle);
    return FDT_NO_NODE;
}

static bool extended_interrupt(const struct fdt *fdt, struct fdt_value cells, uint32_t index,
                               struct fdt_interrupt *out)
{
    uint64_t phandle;
    uint32_t count;
    uint32_t at = 0;

    for (uint32_t i = 0; fdt_cells(cells, at, 1, &phandle); i++) {
        struct fdt_node controller = fdt_find_phandle(fdt, (uint32_t)phandle);
        if (!interrupt_cells(fdt, controller, &count))
            return false;
        if (i == index)
            return read_interrupt(controller, count, cells, at + 1, out);
        at += 1 + count;
    }
    return false;
}

bool fdt_interrupt(const struct fdt *fdt, struct fdt_node node, uint32_t index, struct fdt_interrupt *out)
{
    struct fdt_value extended = fdt_property(fdt, node, "interrupts-extended");
    struct fdt_value interrupts = fdt_property(fdt, node, "interrupts");
    uint32_t count;

    if (extended.bytes != NULL)
        return extended_interrupt(fdt, extended, index, out);
    struct fdt_node controller = interrupt_parent(fdt, node);
    return interrupt_cells(fdt, controller, &count) &&
           index < interrupts.size_bytes / FDT_CELL_BYTES / count &&
           read_interrupt(controller, count, interrupts, index * count, out);
}
