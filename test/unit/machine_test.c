// The machine description: what is read from a tree, what is refused and in which words, what is left out.
// SPDX-License-Identifier: BSD-2-Clause
#include <platform/machine.h>

#include "fdt_writer.h"

#include <base/format.h>
#include <base/string.h>
#include <ktest/ktest.h>
#include <platform/fdt.h>

#define DEFAULT_ISA "rv64imafdch_zicsr_zifencei_zba_zbb_sstc"
#define MAX_BOARD_HARTS 12
#define LONG_TEXT_BYTES 2100
#define MAX_MEMORY_CELLS (4 * (MACHINE_MAX_RAM + 1))

// A board as QEMU's virt describes it, with knobs for what a test wants otherwise. A member that is NULL or 0
// where there must be something leaves the property or node out.
struct board {
    uint32_t memory[MAX_MEMORY_CELLS];     // cells of reg
    unsigned memory_cells;
    bool no_memory_node;
    unsigned harts, cpus_timebase;
    bool isa_as_list;                      // riscv,isa-base and riscv,isa-extensions
    const char *isa[MAX_BOARD_HARTS], *mmu[MAX_BOARD_HARTS], *cpu_status[MAX_BOARD_HARTS];
    uint32_t hart_id[MAX_BOARD_HARTS];
    uint64_t reserved_start, reserved_bytes;
    bool reserved_no_map;
    uint64_t memreserve_start, memreserve_bytes;
    unsigned memreserves;
    bool has_initrd_start, has_initrd_end;
    uint64_t initrd_start, initrd_end;
    const char *bootargs, *stdout_path, *uart_compatible;
    uint32_t uart_address, uart_shift, uart_width, plic_sources;
    uint32_t plic_bytes;
    bool no_plic, no_finisher;
    unsigned virtio_slots;
};

static struct fdt_writer writer;
static uint8_t blob[FDT_WRITER_BLOB_BYTES];
static struct board board;
static struct machine machine;
static struct machine_error refusal;

static void reset_board(void)
{
    const uint32_t memory[] = { FDT_CELLS(0x80000000), FDT_CELLS(0x8000000) };

    board = (struct board){
        .memory_cells = array_count(memory),
        .harts = 2,
        .cpus_timebase = 10000000,
        .reserved_start = 0x80000000,
        .reserved_bytes = 0x80000,
        .reserved_no_map = true,
        .bootargs = "mode=test",
        .stdout_path = "/soc/serial@10000000",
        .uart_compatible = "ns16550a",
        .uart_address = 0x10000000,
        .plic_sources = 96,
        .plic_bytes = 0x600000,
        .virtio_slots = 2,
    };
    memcpy(board.memory, memory, sizeof(memory));
    for (unsigned i = 0; i < MAX_BOARD_HARTS; i++) {
        board.isa[i] = DEFAULT_ISA;
        board.mmu[i] = "riscv,sv48";
        board.cpu_status[i] = "okay";
        board.hart_id[i] = i;
    }
}

static uint32_t intc_phandle(unsigned hart)
{
    return 0x20 + hart;
}

static void write_optional(const char *name, const char *text)
{
    if (text != NULL)
        fdt_writer_string(&writer, name, text);
}

static void write_memory(void)
{
    if (board.no_memory_node)
        return;
    fdt_writer_begin(&writer, "memory@80000000");
    fdt_writer_string(&writer, "device_type", "memory");
    fdt_writer_cells(&writer, "numa-node-id", 1);
    fdt_writer_cell_array(&writer, "reg", board.memory, board.memory_cells);
    fdt_writer_end(&writer);
}

static void write_chosen(void)
{
    fdt_writer_begin(&writer, "chosen");
    write_optional("bootargs", board.bootargs);
    write_optional("stdout-path", board.stdout_path);
    fdt_writer_bytes(&writer, "rng-seed", "0123456789abcdef", 16);
    if (board.has_initrd_start)
        fdt_writer_cells(&writer, "linux,initrd-start", FDT_CELLS(board.initrd_start));
    if (board.has_initrd_end)
        fdt_writer_cells(&writer, "linux,initrd-end", (uint32_t)board.initrd_end);
    fdt_writer_end(&writer);
}

static void write_reserved(void)
{
    fdt_writer_begin(&writer, "reserved-memory");
    fdt_writer_cells(&writer, "#address-cells", 2);
    fdt_writer_cells(&writer, "#size-cells", 2);
    fdt_writer_bytes(&writer, "ranges", "", 0);
    fdt_writer_begin(&writer, "mmode_resv0@80000000");
    fdt_writer_cells(&writer, "reg", FDT_CELLS(board.reserved_start), FDT_CELLS(board.reserved_bytes));
    if (board.reserved_no_map)
        fdt_writer_bytes(&writer, "no-map", "", 0);
    fdt_writer_end(&writer);
    fdt_writer_end(&writer);
}

static void write_cpus(void)
{
    char name[16];

    fdt_writer_begin(&writer, "cpus");
    fdt_writer_cells(&writer, "#address-cells", 1);
    fdt_writer_cells(&writer, "#size-cells", 0);
    if (board.cpus_timebase != 0)
        fdt_writer_cells(&writer, "timebase-frequency", board.cpus_timebase);
    for (unsigned i = 0; i < board.harts; i++) {
        format_text(name, sizeof(name), "cpu@%u", board.hart_id[i]);
        fdt_writer_begin(&writer, name);
        fdt_writer_string(&writer, "device_type", "cpu");
        fdt_writer_cells(&writer, "reg", board.hart_id[i]);
        write_optional("status", board.cpu_status[i]);
        if (board.isa_as_list) {
            fdt_writer_string(&writer, "riscv,isa-base", "rv64i");
            fdt_writer_bytes(&writer, "riscv,isa-extensions", "i\0m\0a\0c\0zicsr\0svnapot", 22);
        } else {
            write_optional("riscv,isa", board.isa[i]);
        }
        write_optional("mmu-type", board.mmu[i]);
        fdt_writer_begin(&writer, "interrupt-controller");
        fdt_writer_cells(&writer, "#interrupt-cells", 1);
        fdt_writer_bytes(&writer, "interrupt-controller", "", 0);
        fdt_writer_cells(&writer, "phandle", intc_phandle(i));
        fdt_writer_end(&writer);
        fdt_writer_end(&writer);
    }
    fdt_writer_begin(&writer, "cpu-map");
    fdt_writer_end(&writer);
    fdt_writer_end(&writer);
}

static void write_plic(void)
{
    uint32_t contexts[4 * MAX_BOARD_HARTS];

    if (board.no_plic)
        return;
    for (unsigned i = 0; i < board.harts; i++) {
        const uint32_t pair[] = { intc_phandle(i), 9, intc_phandle(i), 11 };
        memcpy(contexts + 4 * i, pair, sizeof(pair));
    }
    fdt_writer_begin(&writer, "plic@c000000");
    fdt_writer_cells(&writer, "phandle", 3);
    fdt_writer_bytes(&writer, "compatible", "sifive,plic-1.0.0\0riscv,plic0", 30);
    fdt_writer_cells(&writer, "#interrupt-cells", 1);
    fdt_writer_cells(&writer, "reg", FDT_CELLS(0xc000000), FDT_CELLS(board.plic_bytes));
    if (board.plic_sources != 0)
        fdt_writer_cells(&writer, "riscv,ndev", board.plic_sources);
    fdt_writer_cell_array(&writer, "interrupts-extended", contexts, 4 * board.harts);
    fdt_writer_end(&writer);
}

static void write_devices(void)
{
    char name[32];

    fdt_writer_begin(&writer, "serial@10000000");
    write_optional("compatible", board.uart_compatible);
    fdt_writer_cells(&writer, "reg", FDT_CELLS(board.uart_address), FDT_CELLS(0x100));
    fdt_writer_cells(&writer, "clock-frequency", 3686400);
    fdt_writer_cells(&writer, "interrupts", 10);
    if (board.uart_shift != 0)
        fdt_writer_cells(&writer, "reg-shift", board.uart_shift);
    if (board.uart_width != 0)
        fdt_writer_cells(&writer, "reg-io-width", board.uart_width);
    fdt_writer_end(&writer);
    for (unsigned i = board.virtio_slots; i > 0; i--) {
        format_text(name, sizeof(name), "virtio_mmio@%x", 0x10000000 + (i << 12));
        fdt_writer_begin(&writer, name);
        fdt_writer_string(&writer, "compatible", "virtio,mmio");
        fdt_writer_cells(&writer, "reg", FDT_CELLS(0x10000000 + (i << 12)), FDT_CELLS(0x1000));
        fdt_writer_cells(&writer, "interrupts", i);
        fdt_writer_end(&writer);
    }
    if (board.no_finisher)
        return;
    fdt_writer_begin(&writer, "test@100000");
    fdt_writer_cells(&writer, "phandle", 6);
    fdt_writer_bytes(&writer, "compatible", "sifive,test1\0sifive,test0\0syscon", 33);
    fdt_writer_cells(&writer, "reg", FDT_CELLS(0x100000), FDT_CELLS(0x1000));
    fdt_writer_end(&writer);
}

static void write_poweroff(void)
{
    fdt_writer_begin(&writer, "poweroff");
    fdt_writer_string(&writer, "compatible", "syscon-poweroff");
    fdt_writer_cells(&writer, "regmap", 6);
    fdt_writer_cells(&writer, "offset", 8);
    fdt_writer_cells(&writer, "value", 0x5555);
    fdt_writer_end(&writer);
}

// Writes the board, which is a good tree in any case, and parses it for at most 8 harts, booted by hart 1.
static bool parse_board(void)
{
    const struct machine_limits limits = { .boot_hart = 1, .max_harts = 8, .phys_limit = 1UL << 37 };
    struct fdt fdt;
    struct fdt_error error;

    fdt_writer_start(&writer);
    for (unsigned i = 0; i < board.memreserves; i++)
        fdt_writer_reserve(&writer, board.memreserve_start, board.memreserve_bytes);
    fdt_writer_cells(&writer, "#address-cells", 2);
    fdt_writer_cells(&writer, "#size-cells", 2);
    fdt_writer_string(&writer, "model", "a board");
    fdt_writer_bytes(&writer, "compatible", "quire,board\0riscv-virtio", 25);
    write_chosen();
    write_poweroff();
    write_memory();
    write_reserved();
    write_cpus();
    fdt_writer_begin(&writer, "soc");
    fdt_writer_cells(&writer, "#address-cells", 2);
    fdt_writer_cells(&writer, "#size-cells", 2);
    fdt_writer_cells(&writer, "interrupt-parent", 3);
    fdt_writer_bytes(&writer, "ranges", "", 0);
    write_devices();
    write_plic();
    fdt_writer_end(&writer);
    uint32_t size = fdt_writer_finish(&writer, blob, sizeof(blob));

    if (!EXPECT_EQ(fdt_check(blob, size, &fdt, &error), 0))
        return false;
    bool accepted = machine_parse(&fdt, &limits, &machine, &refusal);
    // Nothing may point into the tree.
    memset(blob, 0xa5, sizeof(blob));
    return accepted;
}

static void set_memory(uint64_t start, uint64_t size_bytes)
{
    const uint32_t cells[] = { FDT_CELLS(start), FDT_CELLS(size_bytes) };
    memcpy(board.memory, cells, sizeof(cells));
    board.memory_cells = 4;
}

static void add_memory(uint64_t start, uint64_t size_bytes)
{
    const uint32_t cells[] = { FDT_CELLS(start), FDT_CELLS(size_bytes) };
    memcpy(board.memory + board.memory_cells, cells, sizeof(cells));
    board.memory_cells += 4;
}

#define EXPECT_REFUSED(message) \
    do { \
        EXPECT(!parse_board()); \
        EXPECT_STREQ(refusal.text, message); \
    } while (0)

KTEST(machine, describes_a_good_board)
{
    reset_board();
    REQUIRE(parse_board());
    EXPECT_EQ(machine.note_count, 1);
    EXPECT_STREQ(machine.note[0], "no syscon-reboot");
    EXPECT_STREQ(machine.model, "a board");
    EXPECT_STREQ(machine.compatible, "quire,board");
    EXPECT_STREQ(machine.bootargs, "mode=test");
    EXPECT_EQ(machine.rng_seed_bytes, 16);
    EXPECT_EQ(machine.rng_seed[15], 'f');
    EXPECT_EQ(machine.timebase_hz, 10000000);
    EXPECT_EQ(machine.initrd_size_bytes, 0);

    EXPECT_EQ(machine.ram_count, 1);
    EXPECT_EQ(machine.ram[0].start, 0x80000000);
    EXPECT_EQ(machine.ram[0].size_bytes, 0x8000000);
    EXPECT_EQ(machine.ram[0].numa_node, 1);
    EXPECT_EQ(machine.reserved_count, 1);
    EXPECT_EQ(machine.reserved[0].size_bytes, 0x80000);
    EXPECT(machine.reserved[0].no_map);
    EXPECT_STREQ(machine.reserved[0].name, "mmode_resv0@80000000");

    EXPECT_EQ(machine.plic_count, 1);
    EXPECT_EQ(machine.plic[0].address, 0xc000000);
    EXPECT_EQ(machine.plic[0].source_count, 96);
    EXPECT_EQ(machine.uart.address, 0x10000000);
    EXPECT_EQ(machine.uart.reg_io_width, 1);
    EXPECT_EQ(machine.uart.clock_hz, 3686400);
    EXPECT_EQ(machine.uart.irq, 10);
    EXPECT_EQ(machine.finisher, 0x100000);
    EXPECT_EQ(machine.poweroff.address, 0x100008);
    EXPECT_EQ(machine.poweroff.value, 0x5555);
    EXPECT_EQ(machine.poweroff.mask, 0xffffffff);
    EXPECT_EQ(machine.reboot.address, 0);
    EXPECT_EQ(machine.virtio_count, 2);
    EXPECT_EQ(machine.virtio[0].address, 0x10001000);
    EXPECT_EQ(machine.virtio[1].irq, 2);
}

// The hart that booted is the first; contexts follow interrupts-extended; the machine can what all of its
// harts can.
KTEST(machine, describes_the_harts)
{
    char names[64];

    reset_board();
    board.harts = 3;
    board.isa[2] = "rv64imac_zicsr_sstc_svnapot";
    board.mmu[2] = "riscv,sv39";
    REQUIRE(parse_board());
    EXPECT_EQ(machine.hart_count, 3);
    EXPECT_EQ(machine.hart[0].id, 1);
    EXPECT_EQ(machine.hart[1].id, 0);
    EXPECT_EQ(machine.hart[2].id, 2);
    EXPECT_EQ(machine.hart[0].plic_context, 2);
    EXPECT_EQ(machine.hart[1].plic_context, 0);
    EXPECT_EQ(machine.hart[2].plic_context, 4);
    EXPECT_EQ(machine.hart[0].intc_phandle, intc_phandle(1));
    EXPECT_EQ(machine.hart[0].mmu_levels, 4);
    EXPECT_EQ(machine.hart[2].mmu_levels, 3);
    EXPECT_STREQ(machine.hart[0].isa, DEFAULT_ISA);
    EXPECT_EQ(machine.features, ISA_REQUIRED | ISA_SSTC);
    EXPECT_STREQ(machine_feature_names(machine.hart[0].features, names, sizeof(names)), "sstc zba zbb");
    EXPECT_STREQ(machine_feature_names(machine.hart[2].features, names, sizeof(names)), "sstc svnapot");
    memset(names, '#', sizeof(names));
    EXPECT_STREQ(machine_feature_names(machine.hart[0].features, names, 7), "sstc z");
    for (size_t i = 7; i < sizeof(names); i++)
        EXPECT_EQ(names[i], '#');
}

// The ways in which one and the same hart has been written down.
KTEST(machine, reads_isa_strings)
{
    static const struct {
        const char *isa;
        uint64_t features;
    } cases[] = {
        { "rv64imac", ISA_REQUIRED },
        { "rv64gc", ISA_REQUIRED | ISA_LETTER('f') | ISA_LETTER('d') },
        { "rv64imacsu", ISA_REQUIRED | ISA_LETTER('s') | ISA_LETTER('u') },
        { "rv64imac_zba_sstc", ISA_REQUIRED | ISA_ZBA | ISA_SSTC },
        { "rv64imaczba_svnapot", ISA_REQUIRED | ISA_ZBA | ISA_SVNAPOT },
        { "rv64imacsstc_zbs", ISA_REQUIRED | ISA_SSTC | ISA_ZBS },
        { "rv64i2p1m2p0a2p1c2p0_zbb1p0_zba1", ISA_REQUIRED | ISA_ZBA | ISA_ZBB },
        { "rv64imac_zbbx_zb_xzbb_", ISA_REQUIRED },
        { "rv64imac_zbap1", ISA_REQUIRED },
        { "rv64imac__zbb", ISA_REQUIRED | ISA_ZBB },
        { "rv64imacZ", ISA_REQUIRED },
    };

    reset_board();
    for (unsigned i = 0; i < array_count(cases); i++) {
        board.isa[1] = cases[i].isa;
        REQUIRE(parse_board());
        EXPECT_EQ(machine.hart[0].features, cases[i].features);
    }
}

KTEST(machine, reads_isa_lists)
{
    reset_board();
    board.isa_as_list = true;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.features, ISA_REQUIRED | ISA_SVNAPOT);
    EXPECT_STREQ(machine.hart[0].isa, "rv64i");
}

KTEST(machine, refuses_absurd_memory)
{
    reset_board();
    board.no_memory_node = true;
    EXPECT_REFUSED("no memory: the tree has no node of device_type \"memory\"");
    reset_board();
    board.memory_cells = 0;
    EXPECT_REFUSED("memory@80000000: no usable reg (0 bytes)");
    board.memory_cells = 3;
    EXPECT_REFUSED("memory@80000000: no usable reg (12 bytes)");
    set_memory(0x80000000, 0);
    EXPECT_REFUSED("no memory: every range is empty");
    set_memory(0x80000000, 0x100);
    EXPECT_REFUSED("no memory: nothing from 0x80000000 on is a whole granule below 0x2000000000");
    set_memory(1UL << 37, 0x10000000);
    EXPECT_REFUSED("no memory: nothing from 0x2000000000 on is a whole granule below 0x2000000000");
    set_memory(0xffffffff00000000, 0x100000000);
    EXPECT_REFUSED("memory@80000000: 0x100000000 bytes at 0xffffffff00000000 wrap around the address space");
    set_memory(0x80000000, 0x4000000000000000);
    EXPECT_REFUSED("memory@80000000: 0x4000000000000000 bytes at 0x80000000 end past 56-bit physical "
                   "addresses");
    set_memory(0x80000000, 0x8000000);
    add_memory(0x87fff000, 0x8000000);
    EXPECT_REFUSED("memory overlaps: 0x8000000 bytes at 0x80000000 and 0x8000000 bytes at 0x87fff000");
    set_memory(0x80001000, 0x1000);
    add_memory(0x80000000, 0x8000000);
    EXPECT_REFUSED("memory overlaps: 0x8000000 bytes at 0x80000000 and 0x1000 bytes at 0x80001000");
}

// Several ranges are sorted; what lies past the limit or fills no granule is cut off, and told.
KTEST(machine, clips_memory)
{
    reset_board();
    set_memory(0x200000000, 0x1000000);
    add_memory(0x80000000, 0x8000000);
    add_memory(0x88000000, 0x1000);
    REQUIRE(parse_board());
    EXPECT_EQ(machine.ram_count, 3);
    EXPECT_EQ(machine.ram[0].start, 0x80000000);
    EXPECT_EQ(machine.ram[1].start, 0x88000000);
    EXPECT_EQ(machine.ram[2].start, 0x200000000);

    set_memory(0x80000000, 1UL << 40);
    REQUIRE(parse_board());
    EXPECT_EQ(machine.ram[0].size_bytes, (1UL << 37) - 0x80000000);
    EXPECT_STREQ(machine.note[0],
                 "memory: of 0x10000000000 bytes at 0x80000000 only what is below 0x2000000000 is used");

    set_memory(0x80000801, 0x3000);
    REQUIRE(parse_board());
    EXPECT_EQ(machine.ram[0].start, 0x80001000);
    EXPECT_EQ(machine.ram[0].size_bytes, 0x2000);
    EXPECT_STREQ(machine.note[0], "memory: 0x3000 bytes at 0x80000801 shrunk to whole granules");
}

KTEST(machine, keeps_what_is_reserved)
{
    reset_board();
    board.memreserves = 1;
    board.memreserve_start = 0x87f00000;
    board.memreserve_bytes = 0x200000;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.reserved_count, 2);
    EXPECT_STREQ(machine.reserved[0].name, "memreserve");
    EXPECT_EQ(machine.reserved[0].start, 0x87f00000);
    EXPECT_EQ(machine.reserved[0].size_bytes, 0x100000);

    board.memreserve_start = 0x10000000;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.reserved_count, 1);
    EXPECT_STREQ(machine.note[0],
                 "reserved memory memreserve: 0x200000 bytes at 0x10000000 are not in RAM, left out");

    board.memreserve_start = 0x7ff00000;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.reserved[0].start, 0x80000000);
    EXPECT_EQ(machine.reserved[0].size_bytes, 0x100000);

    board.reserved_start = 0xfffffffffffff000;
    EXPECT_REFUSED("reserved memory mmode_resv0@80000000: 0x80000 bytes at 0xfffffffffffff000 wrap around "
                   "the address space");
}

KTEST(machine, refuses_harts_it_cannot_use)
{
    reset_board();
    board.harts = 0;
    EXPECT_REFUSED("the hart that booted, 1, is not in /cpus");
    board.harts = 9;
    EXPECT_REFUSED("the machine has 9 usable harts, and this kernel is configured for at most 8");
    board.harts = 12;
    EXPECT_REFUSED("the machine has 12 usable harts, and this kernel is configured for at most 8");
    board.harts = 3;
    board.hart_id[2] = 0;
    EXPECT_REFUSED("hart id 0 is there twice");
    reset_board();
    board.hart_id[1] = 7;
    EXPECT_REFUSED("the hart that booted, 1, is not in /cpus");
    reset_board();
    board.mmu[1] = "riscv,none";
    EXPECT_REFUSED("the hart that booted, 1, cannot be used: its mmu-type offers no Sv39");
    board.mmu[1] = NULL;
    EXPECT_REFUSED("the hart that booted, 1, cannot be used: its mmu-type offers no Sv39");
    board.isa[1] = "rv32imac";
    EXPECT_REFUSED("the hart that booted, 1, cannot be used: no isa string that starts with rv64");
    board.isa[1] = "rv64ima_zba";
    EXPECT_REFUSED("the hart that booted, 1, cannot be used: its isa lacks a part of rv64imac");
    board.cpu_status[1] = "disabled";
    EXPECT_REFUSED("the hart that booted, 1, cannot be used: it is disabled");
    reset_board();
    board.cpus_timebase = 0;
    EXPECT_REFUSED("no timebase-frequency, neither in /cpus nor in cpu@1");
}

// Nine harts of which two cannot be used are seven.
KTEST(machine, leaves_out_harts_it_cannot_use)
{
    reset_board();
    board.harts = 9;
    board.mmu[0] = NULL;
    board.cpu_status[4] = "fail";
    REQUIRE(parse_board());
    EXPECT_EQ(machine.hart_count, 7);
    EXPECT_STREQ(machine.note[0], "hart 0 left out: its mmu-type offers no Sv39 (isa \"" DEFAULT_ISA "\")");
    EXPECT_STREQ(machine.note[1], "hart 4 left out: it is disabled (isa \"\")");
    // They keep the contexts of their places in the tree.
    EXPECT_EQ(machine.hart[6].id, 8);
    EXPECT_EQ(machine.hart[6].plic_context, 16);
}

KTEST(machine, checks_the_initrd)
{
    reset_board();
    board.has_initrd_start = board.has_initrd_end = true;
    board.initrd_start = 0x84000000;
    board.initrd_end = 0x84001234;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.initrd_start, 0x84000000);
    EXPECT_EQ(machine.initrd_size_bytes, 0x1234);
    board.initrd_end = 0x84000000;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.initrd_size_bytes, 0);
    board.initrd_end = 0x83ffffff;
    EXPECT_REFUSED("initrd: its end 0x83ffffff lies before its start 0x84000000");
    board.initrd_end = 0x88000001;
    EXPECT_REFUSED("initrd: 0x84000000 to 0x88000001 is not in RAM");
    board.initrd_start = 0x7fffffff;
    EXPECT_REFUSED("initrd: 0x7fffffff to 0x88000001 is not in RAM");
    board.initrd_start = 0x8007ffff;
    board.initrd_end = 0x80090000;
    EXPECT_REFUSED("initrd: 0x8007ffff to 0x80090000 is in memory that must not be mapped, "
                   "mmode_resv0@80000000 at 0x80000000");
    board.reserved_no_map = false;
    EXPECT(parse_board());
    // Two ranges that touch hold it together; two that do not, do not.
    add_memory(0x88000000, 0x1000000);
    board.initrd_start = 0x87fff000;
    board.initrd_end = 0x88001000;
    EXPECT(parse_board());
    board.memory[5] = 0x88001000;
    EXPECT_REFUSED("initrd: 0x87fff000 to 0x88001000 is not in RAM");
    board.has_initrd_end = false;
    EXPECT_REFUSED("initrd: its start is 0x87fff000, but it has no end");
    board.has_initrd_start = false;
    board.has_initrd_end = true;
    EXPECT_REFUSED("initrd: its end is 0x88001000, but it has no start");
}

KTEST(machine, refuses_long_bootargs)
{
    static char text[LONG_TEXT_BYTES];

    reset_board();
    board.bootargs = NULL;
    REQUIRE(parse_board());
    EXPECT_STREQ(machine.bootargs, "");

    memset(text, 'x', sizeof(text));
    board.bootargs = text;
    text[MACHINE_BOOTARGS_BYTES - 1] = '\0';
    REQUIRE(parse_board());
    EXPECT_STREQ(machine.bootargs, text);
    text[MACHINE_BOOTARGS_BYTES - 1] = 'x';
    text[MACHINE_BOOTARGS_BYTES] = '\0';
    EXPECT_REFUSED("/chosen: bootargs has 2048 characters, more than 2047: "
                   "\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...\"");
}

KTEST(machine, checks_the_uart)
{
    reset_board();
    board.uart_shift = 2;
    board.uart_width = 4;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.uart.reg_shift, 2);
    EXPECT_EQ(machine.uart.reg_io_width, 4);
    board.uart_width = 3;
    EXPECT_REFUSED("serial@10000000: reg-io-width is 3, not 1, 2 or 4");
    board.uart_shift = 4;
    EXPECT_REFUSED("serial@10000000: reg-shift is 4, not 0 to 3");
    reset_board();
    board.uart_address = 0x80001000;
    EXPECT_REFUSED("serial@10000000: reg inside RAM (0x100 bytes at 0x80001000)");
    board.uart_compatible = "arm,pl011";
    EXPECT_REFUSED("no UART: no available node is compatible with \"ns16550a\"");
    reset_board();
    board.stdout_path = "/soc/virtio_mmio";
    REQUIRE(parse_board());
    EXPECT_STREQ(machine.note[0],
                 "stdout-path \"/soc/virtio_mmio\" is no usable ns16550a; the console is serial@10000000");
    board.stdout_path = NULL;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.note_count, 1);
}

KTEST(machine, checks_the_interrupt_controller)
{
    reset_board();
    board.plic_sources = 0;
    EXPECT_REFUSED("plic@c000000: no riscv,ndev, its number of interrupts");
    board.plic_sources = 1024;
    EXPECT_REFUSED("plic@c000000: riscv,ndev is 1024, not 1 to 1023");
    board.plic_sources = 96;
    board.plic_bytes = 0x202000;
    EXPECT_REFUSED("plic@c000000: context 2 of hart 1 lies outside of its 0x202000 bytes");
    board.plic_bytes = 0x203000;
    EXPECT(parse_board());

    // An interrupt that the controller does not have is none.
    board.plic_sources = 9;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.uart.irq, MACHINE_NO_IRQ);
    EXPECT_STREQ(machine.note[0], "serial@10000000: no usable interrupt; input is polled");

    reset_board();
    board.no_plic = true;
    REQUIRE(parse_board());
    EXPECT_STREQ(machine.note[0], "no PLIC: devices cannot interrupt");
    EXPECT_EQ(machine.hart[0].plic_context, MACHINE_NO_CONTEXT);
    EXPECT_EQ(machine.virtio_count, 0);
}

KTEST(machine, does_without_a_finisher)
{
    reset_board();
    board.no_finisher = true;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.finisher, 0);
    EXPECT_EQ(machine.poweroff.address, 0);
    EXPECT_STREQ(machine.note[0], "finisher: no sifive,test1; a failure cannot be told by the exit code");
    EXPECT_STREQ(machine.note[1], "poweroff: no usable reg, left out");
}

// More notes than are kept are still counted.
KTEST(machine, bounds_what_it_keeps)
{
    reset_board();
    board.virtio_slots = MACHINE_MAX_VIRTIO + 1;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.virtio_count, MACHINE_MAX_VIRTIO);
    EXPECT_STREQ(machine.note[0],
                 "more than 32 virtio slots: virtio_mmio@10001000 and what follows left out");
    board.no_plic = true;
    REQUIRE(parse_board());
    EXPECT_LT(MACHINE_MAX_NOTES, machine.note_count);

    reset_board();
    board.memory_cells = 0;
    for (unsigned i = 0; i < MACHINE_MAX_RAM; i++)
        add_memory(0x80000000 + i * 0x100000UL, 0x100000);
    REQUIRE(parse_board());
    EXPECT_EQ(machine.ram_count, MACHINE_MAX_RAM);
    add_memory(0x90000000, 0x100000);
    EXPECT_REFUSED("more than 32 ranges of RAM; the next starts at 0x90000000");

    reset_board();
    board.memreserves = MACHINE_MAX_RESERVED - 1;
    board.memreserve_start = 0x81000000;
    board.memreserve_bytes = 0x1000;
    REQUIRE(parse_board());
    EXPECT_EQ(machine.reserved_count, MACHINE_MAX_RESERVED);
    board.memreserves++;
    EXPECT_REFUSED("more than 64 reserved ranges; the next is mmode_resv0@80000000 at 0x80000000");
}
