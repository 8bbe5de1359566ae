// The device tree reader: what it finds in good trees, and that no bad one makes it read outside.
// SPDX-License-Identifier: BSD-2-Clause
#include <platform/fdt.h>

#include "fdt_writer.h"

#include <base/errno.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <mm/vmalloc.h>
#include <platform/machine.h>

enum header { TOTALSIZE = 4, OFF_STRUCT = 8, OFF_STRINGS = 12, OFF_RESERVATIONS = 16, VERSION = 20,
              LAST_COMPATIBLE = 24, SIZE_STRINGS = 32, SIZE_STRUCT = 36 };
enum token { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, NOP = 4, END = 9 };

static struct fdt_writer writer;
static uint8_t blob[FDT_WRITER_BLOB_BYTES];

// A tree that has one of everything that the reader interprets. Returns its size.
static uint32_t write_sample(void)
{
    fdt_writer_start(&writer);
    fdt_writer_reserve(&writer, 0x80000000, 0x40000);
    fdt_writer_reserve(&writer, 0x123456789abc, 0x1000);
    fdt_writer_cells(&writer, "#address-cells", 2);
    fdt_writer_cells(&writer, "#size-cells", 2);
    fdt_writer_cells(&writer, "interrupt-parent", 7);
    fdt_writer_begin(&writer, "aliases");
    fdt_writer_string(&writer, "serial0", "/soc/serial@10000000");
    fdt_writer_string(&writer, "loop", "loop");
    fdt_writer_end(&writer);
    fdt_writer_begin(&writer, "memory@80000000");
    fdt_writer_string(&writer, "device_type", "memory");
    fdt_writer_cells(&writer, "reg", FDT_CELLS(0x80000000), FDT_CELLS(0x8000000), FDT_CELLS(0x200000000),
                     FDT_CELLS(0x1000));
    fdt_writer_end(&writer);
    fdt_writer_begin(&writer, "soc");
    fdt_writer_cells(&writer, "#address-cells", 1);
    fdt_writer_cells(&writer, "#size-cells", 1);
    fdt_writer_cells(&writer, "ranges", 0, FDT_CELLS(0x40000000), 0x1000,
                     0x10000000, FDT_CELLS(0x110000000), 0x10000);
    fdt_writer_begin(&writer, "serial@10000000");
    fdt_writer_bytes(&writer, "compatible", "snps,dw-apb-uart\0ns16550a", 26);
    fdt_writer_cells(&writer, "reg", 0x10000000, 0x100);
    fdt_writer_cells(&writer, "interrupts", 10, 4, 11, 5, 12, 6);
    fdt_writer_string(&writer, "status", "okay");
    fdt_writer_end(&writer);
    fdt_writer_begin(&writer, "serial@10001000");
    fdt_writer_cells(&writer, "reg", 0x10001000, 0x100);
    fdt_writer_cells(&writer, "interrupts-extended", 8, 3, 7, 12, 4);
    fdt_writer_string(&writer, "status", "disabled");
    fdt_writer_end(&writer);
    fdt_writer_begin(&writer, "intc");
    fdt_writer_cells(&writer, "#interrupt-cells", 2);
    fdt_writer_cells(&writer, "phandle", 7);
    fdt_writer_bytes(&writer, "interrupt-controller", "", 0);
    fdt_writer_end(&writer);
    fdt_writer_begin(&writer, "local-intc");
    fdt_writer_cells(&writer, "#interrupt-cells", 1);
    fdt_writer_cells(&writer, "phandle", 8);
    fdt_writer_end(&writer);
    fdt_writer_end(&writer);
    return fdt_writer_finish(&writer, blob, sizeof(blob));
}

static bool open_sample(struct fdt *fdt)
{
    struct fdt_error error;
    uint32_t size = write_sample();

    return EXPECT_EQ(fdt_check(blob, size, fdt, &error), 0);
}

// The size of the blob is what its header says, however much memory lies behind it.
KTEST(fdt, accepts_a_good_tree)
{
    struct fdt fdt;
    struct fdt_error error;
    uint32_t size = write_sample();

    EXPECT_EQ(fdt_check(blob, sizeof(blob), &fdt, &error), 0);
    EXPECT_EQ(fdt.size_bytes, size);
    EXPECT_EQ(fdt.reservation_count, 2);
}

KTEST(fdt, lists_the_reservations)
{
    struct fdt fdt;
    uint64_t start, size_bytes;

    REQUIRE(open_sample(&fdt));
    EXPECT(fdt_reservation(&fdt, 0, &start, &size_bytes));
    EXPECT_EQ(start, 0x80000000);
    EXPECT_EQ(size_bytes, 0x40000);
    EXPECT(fdt_reservation(&fdt, 1, &start, &size_bytes));
    EXPECT_EQ(start, 0x123456789abc);
    EXPECT(!fdt_reservation(&fdt, 2, &start, &size_bytes));
}

// Children in order, parents, and the walk over all nodes agree; asking no node is answered with no node.
KTEST(fdt, walks_the_tree)
{
    static const char *const in_order[] = { "", "aliases", "memory@80000000", "soc", "serial@10000000",
                                            "serial@10001000", "intc", "local-intc" };
    struct fdt fdt;
    unsigned count = 0;

    REQUIRE(open_sample(&fdt));
    for (struct fdt_node node = fdt_root(&fdt); fdt_exists(node); node = fdt_next(&fdt, node), count++) {
        REQUIRE(count < array_count(in_order));
        EXPECT_STREQ(fdt_name(&fdt, node), in_order[count]);
    }
    EXPECT_EQ(count, array_count(in_order));

    count = 4;
    struct fdt_node soc = fdt_find_path(&fdt, "/soc");
    fdt_for_each_child(child, &fdt, soc) {
        EXPECT_STREQ(fdt_name(&fdt, child), in_order[count++]);
        EXPECT_EQ(fdt_parent(&fdt, child).offset, soc.offset);
    }
    EXPECT_EQ(count, 8);
    EXPECT_EQ(fdt_parent(&fdt, soc).offset, fdt_root(&fdt).offset);
    EXPECT(!fdt_exists(fdt_parent(&fdt, fdt_root(&fdt))));
    EXPECT(!fdt_exists(fdt_next_sibling(&fdt, fdt_root(&fdt))));

    EXPECT_STREQ(fdt_name(&fdt, FDT_NO_NODE), "");
    EXPECT(!fdt_exists(fdt_first_child(&fdt, FDT_NO_NODE)));
    EXPECT(!fdt_exists(fdt_next_sibling(&fdt, FDT_NO_NODE)));
    EXPECT(!fdt_exists(fdt_next(&fdt, FDT_NO_NODE)));
    EXPECT(!fdt_exists(fdt_parent(&fdt, FDT_NO_NODE)));
    EXPECT(!fdt_has(&fdt, FDT_NO_NODE, "reg"));
}

KTEST(fdt, finds_nodes_by_path_and_alias)
{
    struct fdt fdt;

    REQUIRE(open_sample(&fdt));
    EXPECT_EQ(fdt_find_path(&fdt, "/").offset, fdt_root(&fdt).offset);
    struct fdt_node serial = fdt_find_path(&fdt, "/soc/serial@10000000");
    EXPECT_STREQ(fdt_name(&fdt, serial), "serial@10000000");
    EXPECT_EQ(fdt_find_path(&fdt, "/soc/serial").offset, serial.offset);
    EXPECT_EQ(fdt_find_path(&fdt, "/soc/serial@10000000:115200n8").offset, serial.offset);
    EXPECT_EQ(fdt_find_path(&fdt, "serial0").offset, serial.offset);
    EXPECT_EQ(fdt_find_path(&fdt, "serial0:115200").offset, serial.offset);
    EXPECT(!fdt_exists(fdt_find_path(&fdt, "/soc/serial@1000")));
    EXPECT(!fdt_exists(fdt_find_path(&fdt, "/soc/seria")));
    EXPECT(!fdt_exists(fdt_find_path(&fdt, "/soc/serial/x")));
    EXPECT(!fdt_exists(fdt_find_path(&fdt, "serial1")));
    EXPECT(!fdt_exists(fdt_find_path(&fdt, "loop")));
    EXPECT(!fdt_exists(fdt_find_path(&fdt, "")));
}

KTEST(fdt, finds_nodes_by_what_they_are)
{
    struct fdt fdt;

    REQUIRE(open_sample(&fdt));
    struct fdt_node serial = fdt_find_compatible(&fdt, FDT_NO_NODE, "ns16550a");
    EXPECT_STREQ(fdt_name(&fdt, serial), "serial@10000000");
    EXPECT(fdt_is_compatible(&fdt, serial, "snps,dw-apb-uart"));
    EXPECT(!fdt_is_compatible(&fdt, serial, "ns16550"));
    EXPECT(!fdt_exists(fdt_find_compatible(&fdt, serial, "ns16550a")));
    EXPECT_STREQ(fdt_name(&fdt, fdt_find_phandle(&fdt, 8)), "local-intc");
    EXPECT(!fdt_exists(fdt_find_phandle(&fdt, 9)));
    EXPECT(fdt_is_available(&fdt, serial));
    EXPECT(fdt_is_available(&fdt, fdt_find_path(&fdt, "/soc")));
    EXPECT(!fdt_is_available(&fdt, fdt_find_path(&fdt, "/soc/serial@10001000")));
}

// A value of another shape than asked for is as good as none.
KTEST(fdt, reads_values_of_the_asked_shape_only)
{
    struct fdt fdt;
    uint32_t cell = 5;
    uint64_t number = 5;

    REQUIRE(open_sample(&fdt));
    struct fdt_node root = fdt_root(&fdt);
    struct fdt_node memory = fdt_find_path(&fdt, "/memory");
    EXPECT(fdt_u32(&fdt, root, "#size-cells", &cell) && cell == 2);
    EXPECT(fdt_u64(&fdt, root, "#size-cells", &number) && number == 2);
    EXPECT(!fdt_u32(&fdt, memory, "reg", &cell));
    EXPECT(!fdt_u64(&fdt, memory, "reg", &number));
    EXPECT(!fdt_u32(&fdt, root, "absent", &cell));
    // A name is not found by the start of a longer one.
    EXPECT(!fdt_has(&fdt, fdt_find_path(&fdt, "/soc/serial@10001000"), "interrupts"));
    struct fdt_value reg = fdt_property(&fdt, memory, "reg");
    EXPECT_EQ(reg.size_bytes, 32);
    EXPECT(fdt_cells(reg, 4, 2, &number) && number == 0x200000000);
    EXPECT(fdt_cells(reg, 8, 0, &number) && number == 0);
    EXPECT(!fdt_cells(reg, 7, 2, &number));
    EXPECT(!fdt_cells(reg, 0, 3, &number));
    EXPECT(!fdt_cells(reg, UINT32_MAX, 2, &number));

    struct fdt_node serial = fdt_find_path(&fdt, "serial0");
    struct fdt_value list = fdt_property(&fdt, serial, "compatible");
    uint32_t at = 0;
    EXPECT_STREQ(fdt_next_string(list, &at), "snps,dw-apb-uart");
    EXPECT_STREQ(fdt_next_string(list, &at), "ns16550a");
    EXPECT_NULL(fdt_next_string(list, &at));
    list.size_bytes--;
    EXPECT(!fdt_has_string(list, "ns16550a"));
    EXPECT(fdt_has(&fdt, fdt_find_phandle(&fdt, 7), "interrupt-controller"));
    EXPECT_NULL(fdt_string(&fdt, fdt_find_phandle(&fdt, 7), "interrupt-controller"));
}

// Addresses are translated by the range that holds them, and only if one does.
KTEST(fdt, translates_addresses)
{
    struct fdt fdt;
    uint64_t address, size_bytes;

    REQUIRE(open_sample(&fdt));
    struct fdt_node memory = fdt_find_path(&fdt, "/memory");
    EXPECT(fdt_reg_cpu(&fdt, memory, 1, &address, &size_bytes));
    EXPECT_EQ(address, 0x200000000);
    EXPECT_EQ(size_bytes, 0x1000);
    EXPECT(!fdt_reg_cpu(&fdt, memory, 2, &address, &size_bytes));
    EXPECT(!fdt_reg_cpu(&fdt, memory, UINT32_MAX, &address, &size_bytes));
    EXPECT(!fdt_reg_cpu(&fdt, fdt_root(&fdt), 0, &address, &size_bytes));

    struct fdt_node soc = fdt_find_path(&fdt, "/soc");
    struct fdt_node serial = fdt_find_path(&fdt, "serial0");
    EXPECT(fdt_reg(&fdt, soc, serial, 0, &address, &size_bytes));
    EXPECT_EQ(address, 0x10000000);
    EXPECT(fdt_reg_cpu(&fdt, serial, 0, &address, &size_bytes));
    EXPECT_EQ(address, 0x110000000);
    EXPECT_EQ(size_bytes, 0x100);

    // The last byte that the second range translates, and one more.
    uint32_t reg = (uint32_t)(fdt_property(&fdt, serial, "reg").bytes - blob);
    fdt_poke(blob, reg, 0x1000ff00);
    EXPECT(fdt_reg_cpu(&fdt, serial, 0, &address, &size_bytes));
    EXPECT_EQ(address, 0x11000ff00);
    fdt_poke(blob, reg, 0x1000ff01);
    EXPECT(!fdt_reg_cpu(&fdt, serial, 0, &address, &size_bytes));
    fdt_poke(blob, reg, 0xfff);
    fdt_poke(blob, reg + 4, 1);
    EXPECT(fdt_reg_cpu(&fdt, serial, 0, &address, &size_bytes));
    EXPECT_EQ(address, 0x40000fff);

    uint32_t cells = (uint32_t)(fdt_property(&fdt, soc, "#address-cells").bytes - blob);
    fdt_poke(blob, cells, 3);
    EXPECT(!fdt_reg_cpu(&fdt, serial, 0, &address, &size_bytes));
}

// Neither a sum that wraps nor a bus without any cells is taken for an address.
KTEST(fdt, refuses_addresses_that_wrap)
{
    struct fdt fdt;
    uint64_t address, size_bytes;

    REQUIRE(open_sample(&fdt));
    struct fdt_node memory = fdt_find_path(&fdt, "/memory");
    uint32_t reg = (uint32_t)(fdt_property(&fdt, memory, "reg").bytes - blob);
    fdt_poke(blob, reg, 0xffffffff);
    EXPECT(fdt_reg_cpu(&fdt, memory, 0, &address, &size_bytes));
    fdt_poke(blob, reg + 8, 1);
    EXPECT(!fdt_reg_cpu(&fdt, memory, 0, &address, &size_bytes));

    struct fdt_node serial = fdt_find_path(&fdt, "serial0");
    uint32_t ranges = (uint32_t)(fdt_property(&fdt, fdt_find_path(&fdt, "/soc"), "ranges").bytes - blob);
    reg = (uint32_t)(fdt_property(&fdt, serial, "reg").bytes - blob);
    fdt_poke(blob, reg, 0x10001000);
    fdt_poke(blob, ranges + 20, 0xffffffff);
    fdt_poke(blob, ranges + 24, 0xfffff000);
    EXPECT(!fdt_reg_cpu(&fdt, serial, 0, &address, &size_bytes));
}

KTEST(fdt, refuses_ranges_without_cells)
{
    struct fdt fdt;
    struct fdt_error error;
    uint64_t address, size_bytes;

    fdt_writer_start(&writer);
    fdt_writer_cells(&writer, "#address-cells", 0);
    fdt_writer_begin(&writer, "bus");
    fdt_writer_cells(&writer, "#address-cells", 0);
    fdt_writer_cells(&writer, "#size-cells", 0);
    fdt_writer_cells(&writer, "ranges", 1, 2, 3);
    fdt_writer_begin(&writer, "bus");
    fdt_writer_cells(&writer, "#address-cells", 1);
    fdt_writer_bytes(&writer, "ranges", "", 0);
    fdt_writer_begin(&writer, "device");
    fdt_writer_cells(&writer, "reg", 4, 5);
    fdt_writer_end(&writer);
    fdt_writer_end(&writer);
    fdt_writer_end(&writer);
    uint32_t size = fdt_writer_finish(&writer, blob, sizeof(blob));
    REQUIRE(EXPECT_EQ(fdt_check(blob, size, &fdt, &error), 0));
    EXPECT(!fdt_reg_cpu(&fdt, fdt_find_path(&fdt, "/bus/bus/device"), 0, &address, &size_bytes));
}

KTEST(fdt, reads_interrupts)
{
    struct fdt fdt;
    struct fdt_interrupt interrupt;

    REQUIRE(open_sample(&fdt));
    struct fdt_node serial = fdt_find_path(&fdt, "serial0");
    EXPECT(fdt_interrupt(&fdt, serial, 1, &interrupt));
    EXPECT_EQ(interrupt.controller.offset, fdt_find_phandle(&fdt, 7).offset);
    EXPECT_EQ(interrupt.cell_count, 2);
    EXPECT_EQ(interrupt.cell[0], 11);
    EXPECT_EQ(interrupt.cell[1], 5);
    EXPECT(!fdt_interrupt(&fdt, serial, 3, &interrupt));
    EXPECT(!fdt_interrupt(&fdt, serial, UINT32_MAX, &interrupt));

    struct fdt_node extended = fdt_find_path(&fdt, "/soc/serial@10001000");
    EXPECT(fdt_interrupt(&fdt, extended, 0, &interrupt));
    EXPECT_EQ(interrupt.cell_count, 1);
    EXPECT_EQ(interrupt.cell[0], 3);
    EXPECT(fdt_interrupt(&fdt, extended, 1, &interrupt));
    EXPECT_EQ(interrupt.cell[0], 12);
    EXPECT_EQ(interrupt.cell[1], 4);
    EXPECT(!fdt_interrupt(&fdt, extended, 2, &interrupt));
    EXPECT(!fdt_interrupt(&fdt, fdt_find_path(&fdt, "/memory"), 0, &interrupt));

    // More cells than there is room for, and none at all.
    struct fdt_node controller = fdt_find_phandle(&fdt, 7);
    uint32_t cells = (uint32_t)(fdt_property(&fdt, controller, "#interrupt-cells").bytes - blob);
    fdt_poke(blob, cells, FDT_MAX_INTERRUPT_CELLS + 1);
    EXPECT(!fdt_interrupt(&fdt, serial, 0, &interrupt));
    fdt_poke(blob, cells, 0);
    EXPECT(!fdt_interrupt(&fdt, serial, 0, &interrupt));
}

static void expect_refused(uint32_t max_bytes, const char *what, uint32_t offset, uint64_t value)
{
    struct fdt fdt;
    struct fdt_error error = { "accepted", 0, 0 };

    EXPECT_EQ(fdt_check(blob, max_bytes, &fdt, &error), -EINVAL);
    EXPECT_STREQ(error.what, what);
    EXPECT_EQ(error.offset, offset);
    EXPECT_EQ(error.value, value);
}

// Each field of the header is refused for what is wrong with it, and the message carries the value.
KTEST(fdt, names_what_is_wrong_with_the_header)
{
    static const struct {
        uint32_t field, value;
        const char *what;
    } cases[] = {
        { 0, 0xd00dfeee, "magic is not 0xd00dfeed" },
        { TOTALSIZE, 0xffffffff, "total size is more than the memory that holds it" },
        { TOTALSIZE, 39, "total size is less than the header" },
        { VERSION, 16, "version is older than 17" },
        { LAST_COMPATIBLE, 18, "oldest compatible version is newer than 17" },
        { OFF_STRUCT, 0x3a, "structure block is not at a multiple of 4" },
        { OFF_STRUCT, 0xfffffffc, "structure block lies outside" },
        { OFF_STRUCT, 36, "structure block lies outside" },
        { OFF_STRINGS, 0xffffffff, "strings block lies outside" },
        { OFF_RESERVATIONS, 44, "reservation block is not at a multiple of 8" },
        { OFF_RESERVATIONS, 0xfffffff8, "reservation block lies outside" },
        { SIZE_STRUCT, 0xffffff00, "structure block lies outside" },
        { SIZE_STRINGS, 0xffffffff, "strings block lies outside" },
    };

    for (unsigned i = 0; i < array_count(cases); i++) {
        uint32_t size = write_sample();
        uint32_t field = cases[i].field;

        fdt_poke(blob, field, cases[i].value);
        // A size is told as the place of its block.
        if (field == SIZE_STRUCT || field == SIZE_STRINGS)
            field = field == SIZE_STRUCT ? OFF_STRUCT : OFF_STRINGS;
        expect_refused(size, cases[i].what, field, fdt_peek(blob, field));
    }
    uint32_t size = write_sample();
    expect_refused(39, "memory ends within the header", 0, 39);
    expect_refused(size - 1, "total size is more than the memory that holds it", TOTALSIZE, size);
    // The list starts with strings, which are no pair of zeros, and the blob ends behind one entry.
    fdt_poke(blob, OFF_RESERVATIONS, align_down(size - 16, 8U));
    expect_refused(size, "reservation block has no end", align_down(size - 16, 8U), 1);
}

// A structure block of these cells alone, with strings "a\0"; returns the blob's size.
static uint32_t write_cells(const uint32_t *cells, uint32_t count)
{
    const uint32_t strings = 56 + 4 * count;
    const uint32_t header[] = { 0xd00dfeed, strings + 4, 56, strings, 40, 17, 16, 0, 2, 4 * count };

    memset(blob, 0, 56);
    for (uint32_t i = 0; i < array_count(header); i++)
        fdt_poke(blob, 4 * i, header[i]);
    for (uint32_t i = 0; i < count; i++)
        fdt_poke(blob, 56 + 4 * i, cells[i]);
    memcpy(blob + strings, "a\0\0", 4);
    return strings + 4;
}

#define EXPECT_CELLS_REFUSED(what, cell_index, value, ...) \
    do { \
        const uint32_t cells_[] = { __VA_ARGS__ }; \
        uint32_t size_ = write_cells(cells_, array_count(cells_)); \
        expect_refused(size_, what, 56 + 4 * (cell_index), value); \
    } while (0)

// The tokens that may stand in each place, and what else stands there is named with its offset.
KTEST(fdt, names_what_is_wrong_with_the_tokens)
{
    struct fdt fdt;
    struct fdt_error error;
    const uint32_t good[] = { NOP, BEGIN_NODE, 0, PROP, 4, 0, 5, NOP, END_NODE, NOP, END };

    EXPECT_EQ(fdt_check(blob, write_cells(good, array_count(good)), &fdt, &error), 0);
    EXPECT_CELLS_REFUSED("structure block has no end", 3, 0, BEGIN_NODE, 0, END_NODE);
    EXPECT_CELLS_REFUSED("no root node", 0, END, END);
    EXPECT_CELLS_REFUSED("structure block ends within open nodes", 2, 1, BEGIN_NODE, 0, END);
    EXPECT_CELLS_REFUSED("structure block goes on behind its end", 3, 8, BEGIN_NODE, 0, END_NODE, END, NOP);
    EXPECT_CELLS_REFUSED("second root node", 3, BEGIN_NODE, BEGIN_NODE, 0, END_NODE, BEGIN_NODE, 0, END_NODE,
                         END);
    EXPECT_CELLS_REFUSED("end of a node that did not begin", 0, END_NODE, END_NODE, END);
    EXPECT_CELLS_REFUSED("property outside of any node", 0, PROP, PROP, 0, 0, END);
    EXPECT_CELLS_REFUSED("unknown token", 2, 0x77, BEGIN_NODE, 0, 0x77, END_NODE, END);
    EXPECT_CELLS_REFUSED("root node has a name", 1, 1, BEGIN_NODE, 0x78000000, END_NODE, END);
    EXPECT_CELLS_REFUSED("node without a name", 3, 0, BEGIN_NODE, 0, BEGIN_NODE, 0, END_NODE, END_NODE, END);
    EXPECT_CELLS_REFUSED("property behind a child node", 5, PROP,
                         BEGIN_NODE, 0, BEGIN_NODE, 0x78000000, END_NODE, PROP, 0, 0, END_NODE, END);
    EXPECT_CELLS_REFUSED("structure block ends within a property", 2, 8, BEGIN_NODE, 0, PROP, 0);
    EXPECT_CELLS_REFUSED("property is longer than the structure block", 3, 0x100, BEGIN_NODE, 0, PROP, 0x100,
                         0, END_NODE, END);
    EXPECT_CELLS_REFUSED("property is longer than the structure block", 3, 0xffffffff, BEGIN_NODE, 0, PROP,
                         0xffffffff, 0, END_NODE, END);
    EXPECT_CELLS_REFUSED("property's name lies outside of the strings block", 4, 2, BEGIN_NODE, 0, PROP, 0, 2,
                         END_NODE, END);
    EXPECT_CELLS_REFUSED("property without a name", 4, 1, BEGIN_NODE, 0, PROP, 0, 1, END_NODE, END);
    EXPECT_CELLS_REFUSED("character that no name may have", 3, 0x1b, BEGIN_NODE, 0, BEGIN_NODE, 0x1b000000,
                         END_NODE, END_NODE, END);
    EXPECT_CELLS_REFUSED("name does not end within its block", 3, 4, BEGIN_NODE, 0, BEGIN_NODE, 0x78787878);
    uint32_t size = write_cells(good, array_count(good));
    fdt_poke(blob, SIZE_STRUCT, 4 * array_count(good) - 1);
    expect_refused(size, "size of the structure block is not a multiple of 4", SIZE_STRUCT,
                   4 * array_count(good) - 1);
    // The only name among the strings loses its NUL.
    write_cells(good, array_count(good));
    fdt_poke(blob, SIZE_STRINGS, 1);
    expect_refused(size, "name does not end within its block", 56 + 4 * array_count(good), 1);
}

// Depth and the length of a name have a bound, and reach it.
KTEST(fdt, bounds_depth_and_names)
{
    char name[129];
    struct fdt fdt;
    struct fdt_error error;

    for (unsigned depth = FDT_MAX_DEPTH; depth <= FDT_MAX_DEPTH + 1; depth++) {
        fdt_writer_start(&writer);
        for (unsigned i = 1; i < depth; i++)
            fdt_writer_begin(&writer, "n");
        for (unsigned i = 1; i < depth; i++)
            fdt_writer_end(&writer);
        uint32_t size = fdt_writer_finish(&writer, blob, sizeof(blob));
        EXPECT_EQ(fdt_check(blob, size, &fdt, &error), depth == FDT_MAX_DEPTH ? 0 : -EINVAL);
    }
    EXPECT_STREQ(error.what, "nodes nest too deep");
    EXPECT_EQ(error.value, FDT_MAX_DEPTH + 1);

    memset(name, 'x', sizeof(name));
    for (unsigned length = 127; length <= 128; length++) {
        name[length] = '\0';
        fdt_writer_start(&writer);
        fdt_writer_begin(&writer, name);
        fdt_writer_end(&writer);
        uint32_t size = fdt_writer_finish(&writer, blob, sizeof(blob));
        EXPECT_EQ(fdt_check(blob, size, &fdt, &error), length == 127 ? 0 : -EINVAL);
        name[length] = 'x';
    }
    EXPECT_STREQ(error.what, "name is longer than 127 characters");
}

static volatile uint64_t sum_read;

// Reads everything that the functions hand out.
static void read_value(struct fdt_value value)
{
    const char *string;
    uint64_t number;
    uint64_t sum = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < value.size_bytes; i++)
        sum += value.bytes[i];
    while ((string = fdt_next_string(value, &at)) != NULL)
        sum += strlen(string);
    for (uint32_t i = 0; fdt_cells(value, i, 2, &number); i++)
        sum += number;
    sum_read += sum;
}

static void read_node(const struct fdt *fdt, struct fdt_node node)
{
    static const char *const names[] = { "reg", "ranges", "compatible", "status", "interrupts", "phandle" };
    struct fdt_interrupt interrupt;
    uint64_t address, size_bytes;

    sum_read += strlen(fdt_name(fdt, node)) + fdt_parent(fdt, node).offset;
    sum_read += fdt_next_sibling(fdt, node).offset;
    for (unsigned i = 0; i < array_count(names); i++)
        read_value(fdt_property(fdt, node, names[i]));
    for (uint32_t i = 0; i < 4; i++) {
        (void)fdt_reg_cpu(fdt, node, i, &address, &size_bytes);
        (void)fdt_interrupt(fdt, node, i, &interrupt);
    }
}

// Checks a blob that may be broken and, if it passes, uses all of it. Returns whether it passed.
static bool check_and_read(const uint8_t *start, uint32_t max_bytes)
{
    static struct machine machine;
    static struct machine_error refusal;
    const struct machine_limits limits = { .boot_hart = 0, .max_harts = 1, .phys_limit = 1UL << 40 };
    struct fdt fdt;
    struct fdt_error error;
    uint64_t address, size_bytes;

    if (fdt_check(start, max_bytes, &fdt, &error) != 0)
        return false;
    for (uint32_t i = 0; fdt_reservation(&fdt, i, &address, &size_bytes); i++)
        sum_read += address;
    for (struct fdt_node node = fdt_root(&fdt); fdt_exists(node); node = fdt_next(&fdt, node))
        read_node(&fdt, node);
    sum_read += fdt_find_path(&fdt, "serial0").offset + fdt_find_path(&fdt, "/soc/intc").offset;
    sum_read += machine_parse(&fdt, &limits, &machine, &refusal);
    return true;
}

// Copies of a blob are put right before the guard of a vmalloc area: a byte read past their end ends the run.
static uint8_t *guard_of(void *area)
{
    return (uint8_t *)area + align_up(sizeof(blob), PAGE_SIZE);
}

// Cut at every length, also with a header that says so, no tree is read past its end.
KTEST(fdt, survives_every_truncation)
{
    uint32_t size = write_sample();
    void *area = vmalloc(sizeof(blob));

    REQUIRE(area != NULL);
    for (uint32_t length = 0; length < size; length++) {
        uint8_t *cut = guard_of(area) - length;

        memcpy(cut, blob, length);
        EXPECT(!check_and_read(cut, length));
        if (length < 40)
            continue;
        fdt_poke(cut, TOTALSIZE, length);
        EXPECT(!check_and_read(cut, length));
        // With both blocks cut to what is left of them, only names and tokens can tell.
        for (unsigned block = 0; block < 2; block++) {
            uint32_t offset = fdt_peek(cut, block == 0 ? OFF_STRUCT : OFF_STRINGS);
            uint32_t field = block == 0 ? SIZE_STRUCT : SIZE_STRINGS;
            if (offset <= length && fdt_peek(cut, field) > length - offset)
                fdt_poke(cut, field, length - offset);
        }
        fdt_poke(cut, OFF_STRINGS, min_of(fdt_peek(cut, OFF_STRINGS), length));
        EXPECT(!check_and_read(cut, length));
    }
    vfree(area);
}

// Whatever bit is wrong, the tree is refused or can be used without reading outside. (The simulated machine takes two
// bits of each byte, others in the next one.)
KTEST(fdt, survives_every_flipped_bit)
{
    uint32_t size = write_sample();
    void *area = vmalloc(sizeof(blob));
    unsigned accepted = 0, tried = 0, bits_apart = ktest_rounds(1, 4);

    REQUIRE(area != NULL);
    uint8_t *copy = guard_of(area) - size;
    memcpy(copy, blob, size);
    for (uint32_t at = 0; at < size; at++) {
        for (unsigned bit = at % bits_apart; bit < 8; bit += bits_apart) {
            copy[at] = (uint8_t)(blob[at] ^ 1U << bit);
            accepted += check_and_read(copy, size);
            tried++;
        }
        copy[at] = blob[at];
    }
    // Values and names are any text; counts and tokens are not.
    EXPECT_LT(accepted, tried);
    EXPECT_LT(tried / 8, accepted);
    vfree(area);
}

// The same for several bytes at once, cells of the sizes that hurt among them.
KTEST(fdt, survives_random_damage)
{
    static const uint32_t nasty[] = { 0, 1, 2, 3, 4, 9, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff };
    uint32_t size = write_sample();
    void *area = vmalloc(sizeof(blob));

    REQUIRE(area != NULL);
    uint8_t *copy = guard_of(area) - size;
    for (unsigned round = 0; round < ktest_rounds(20000, 500); round++) {
        memcpy(copy, blob, size);
        for (uint64_t count = 1 + ktest_random_below(6); count > 0; count--) {
            // Past the header's first cells, which would only be refused.
            uint32_t at = 8 + (uint32_t)ktest_random_below((size - 12) / 4) * 4;
            fdt_poke(copy, at, ktest_random_below(2) == 0 ? nasty[ktest_random_below(array_count(nasty))]
                                                          : (uint32_t)ktest_random_below(size));
        }
        sum_read += check_and_read(copy, size);
    }
    vfree(area);
}
