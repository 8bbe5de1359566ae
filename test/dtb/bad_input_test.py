#!/usr/bin/python3
# Boots a kernel with bad device trees and bad boot arguments, each of which it must name and refuse.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: bad_input_test.py KERNEL STUB MAX_HARTS"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import device_tree as dt  # noqa: E402
from elftools.elf.elffile import ELFFile  # noqa: E402
from run import process, qemu, tap  # noqa: E402
from run.emit import Report  # noqa: E402

EXIT_BAD_INPUT = 2
LIMIT_S = 30.0
HARTS = 2
MEM = "256M"
RAM_START, RAM_BYTES = 0x80000000, 256 << 20
FIRMWARE_BYTES = 0x80000

# Where the stub, which lies a page below, reads the tree's address from; see meson.build.
TREE_POINTER = 0x84001000
TREE_AT = 0x85000000
# A multiple of nothing: the kernel may not rely on the tree's alignment.
TREE_AT_ODD = 0x85000003


@dataclass(frozen=True)
class Setup:
    """What the cases start from."""

    qemu: str
    kernel: Path
    stub: Path
    good: bytes


@dataclass(frozen=True)
class Case:
    """A tree that the kernel is handed, and what it must say of it."""

    name: str
    tree: bytes
    says: str
    tree_at: int = TREE_AT
    exit: int = EXIT_BAD_INPUT


@dataclass(frozen=True)
class Board:
    """A board that QEMU itself describes, and what the kernel must say of it."""

    name: str
    says: str
    append: str = ""
    harts: int = HARTS
    mem: str = MEM


def broken_blobs(good: bytes) -> list[Case]:
    """Blobs that are no device trees."""
    half = len(good) // 2 & ~3
    place = r"\(offset 0x[0-9a-f]+, value"
    return [
        Case("no_tree", bytes(4096), r"magic is not 0xd00dfeed .*value 0\b"),
        Case("bad_magic", dt.with_cell(good, 0, 0xD00DFEEE), r"magic is not 0xd00dfeed .*0xd00dfeee"),
        Case("cut_in_the_middle", good[:half], rf"device tree at 0x85000000: .+ {place}"),
        Case("cut_within_the_header", good[:30], rf"device tree at 0x85000000: .+ {place}"),
        Case("size_of_half", dt.with_cell(good, 4, half), rf"block lies outside {place}"),
        Case("absurd_size", dt.with_cell(good, 4, 0x7FFFFFFF), r"total size is more than .*0x7fffffff"),
        Case("old_version", dt.with_cell(good, 20, 3), r"version is older than 17 .*value 0x3\)"),
        Case("unknown_token", dt.with_cell(good, 0x38, 0xDEADBEEF), r"unknown token .*0xdeadbeef"),
        Case("null_pointer", good, r"device tree at 0\b", tree_at=0),
        Case("pointer_beyond_memory", good, r"device tree at 0xffffffffffff0000", tree_at=0xFFFFFFFFFFFF0000),
    ]


def bad_machines(good: bytes, max_harts: int) -> list[Case]:
    """Good trees that describe a machine the kernel cannot run on."""
    memory = "/memory@80000000"

    def case(name: str, says: str, *changes: dt.Change) -> Case:
        tree = good
        for change in changes:
            tree = dt.changed(tree, change)
        return Case(name, tree, says)

    def ram(*numbers: int) -> dt.Change:
        return dt.set_bytes(memory, "reg", dt.cells64(*numbers))

    def initrd(start: int, end: int) -> dt.Change:
        def change(tree: dt.libfdt.Fdt) -> None:
            dt.set_bytes("/chosen", "linux,initrd-start", dt.cells64(start))(tree)
            dt.set_bytes("/chosen", "linux,initrd-end", dt.cells64(end))(tree)
        return change

    def many_harts(tree: dt.libfdt.Fdt) -> None:
        for hart in range(HARTS, max_harts + 1):
            dt.with_node("/cpus", f"cpu@{hart}",
                         {"device_type": b"cpu\0", "reg": dt.cells32(hart), "mmu-type": b"riscv,sv39\0",
                          "riscv,isa": b"rv64imac\0"})(tree)

    def without_mmu(tree: dt.libfdt.Fdt) -> None:
        for hart in range(HARTS):
            dt.set_text(f"/cpus/cpu@{hart}", "mmu-type", "riscv,none")(tree)

    return [
        case("no_memory_node", r"device tree: no memory: the tree has no node", dt.without_node(memory)),
        case("no_memory_reg", r"memory@80000000: no usable reg \(0 bytes\)", dt.without(memory, "reg")),
        case("empty_memory", r"no memory: every range is empty", ram(RAM_START, 0)),
        case("overlapping_memory",
             r"memory overlaps: 0x10000000 bytes at 0x80000000 and 0x1000000 bytes at 0x88000000",
             ram(RAM_START, RAM_BYTES, 0x88000000, 0x1000000)),
        case("overlapping_memory_nodes",
             r"memory overlaps: 0x10000000 bytes at 0x80000000 and 0x1000 bytes at 0x8ffff000",
             dt.with_node("/", "memory@8ffff000",
                          {"device_type": b"memory\0", "reg": dt.cells64(0x8FFFF000, 0x1000)})),
        case("absurd_memory", r"memory@80000000: 0x4000000000000000 bytes at 0x80000000 end past 56-bit",
             ram(RAM_START, 1 << 62)),
        case("wrapping_memory", r"0xffffffffffffffff bytes at 0x80000000 wrap around",
             ram(RAM_START, (1 << 64) - 1)),
        case("memory_that_is_not_there", r"cannot start: .*(0x80000000|\b16777216 KB)",
             ram(RAM_START, 16 << 30)),
        case("memory_elsewhere", r"kernel image, 0x80200000 \+ 0x[0-9a-f]+, does not lie in RAM",
             ram(0x100000000, 1 << 30)),
        case("more_harts_than_configured",
             rf"the machine has {max_harts + 1} usable harts, .* configured for at most {max_harts}$",
             many_harts),
        case("no_harts", r"the hart that booted, \d, is not in /cpus", dt.without_node("/cpus")),
        case("no_mmu", r"the hart that booted, \d, cannot be used: its mmu-type offers no Sv39", without_mmu),
        case("no_timebase", r"no timebase-frequency", dt.without("/cpus", "timebase-frequency")),
        case("no_uart", r"no UART: no available node is compatible with \"ns16550a\"",
             dt.set_text("/soc/serial@10000000", "compatible", "arm,pl011")),
        case("reserved_memory_wraps", r"reserved memory r@0: 0x2000 bytes at 0xfffffffffffff000 wrap around",
             dt.with_node("/reserved-memory", "r@0", {"reg": dt.cells64(0xFFFFFFFFFFFFF000, 0x2000)})),
        case("initrd_outside_memory", r"initrd: 0x8ffff000 to 0x90001000 is not in RAM",
             initrd(0x8FFFF000, 0x90001000)),
        case("initrd_backwards", r"initrd: its end 0x86000000 lies before its start 0x87000000",
             initrd(0x87000000, 0x86000000)),
        case("initrd_in_the_firmware",
             r"initrd: 0x80000000 to 0x80001000 is in memory that must not be mapped",
             initrd(0x80000000, 0x80001000)),
        case("initrd_in_the_kernel", r"cannot start: .*initrd.*0x80200000", initrd(0x80200000, 0x80300000)),
        case("long_boot_arguments", r"/chosen: bootargs has 5000 characters, more than 2047",
             dt.set_text("/chosen", "bootargs", "x" * 5000)),
        case("boot_arguments_without_end", r"/chosen: bootargs of 4 bytes is not one string",
             dt.set_bytes("/chosen", "bootargs", b"mode")),
    ]


def little_memory(setup: Setup, free_bytes: int) -> Case:
    """A machine whose RAM begins with the kernel's image and ends that much behind it."""
    with setup.kernel.open("rb") as file:
        segments = [segment for segment in ELFFile(file).iter_segments() if segment["p_type"] == "PT_LOAD"]
        start = min(segment["p_paddr"] for segment in segments)
        end = max(segment["p_paddr"] + segment["p_memsz"] for segment in segments)
    reg = dt.cells64(start, -(-end // 4096) * 4096 - start + free_bytes)
    tree = dt.changed(setup.good, dt.set_bytes("/memory@80000000", "reg", reg))
    return Case(f"{free_bytes >> 10}_kb_free", tree, r"cannot start: .*\d")


# What zones= refuses: the texts, and layouts that this machine cannot run with.
BAD_ZONES = [
    ("unknown", "x86-64", r': entry "x86-64": there is no such zone or layout'),
    ("dma32_in_a_list", "dma32:16M,normal", r': entry "dma32:16M": there is no such zone'),
    ("twice", "dma:4M,dma:8M,normal", r': entry "dma:8M": dma is there twice'),
    ("out_of_order", "normal:64M,dma:96M,highmem", r': entry "dma:96M": dma comes before normal'),
    ("without_normal", "dma:16M,highmem", r': entry "dma:16M,highmem": normal is missing'),
    ("without_end", "dma,normal", r': entry "dma": only the last zone may leave out where it ends'),
    ("no_number", "dma:16MB,normal", r': entry "dma:16MB": "16MB" is not a size'),
    ("not_a_multiple", "dma:15M,normal", r': entry "dma:15M": the end 15M is not a multiple of 4 MB'),
    ("not_growing", "dma:16M,normal:16M,highmem", r': entry "normal:16M": the end 16M is not above the zone'),
    ("beyond", "dma:16M,normal:999G,highmem", r': entry "normal:999G": the end 999G is beyond'),
    ("ram_without_zone", "dma:16M,normal:64M", r': entry "normal:64M": the last zone ends at 64M, and RAM only'),
    ("no_normal_ram", "dma:512M,normal:1G,highmem", r"=dma:512M,.*: no RAM is left for the kernel in NORMAL"),
    ("too_long", "dma:16M," * 9, r": \"dma:16M.*\" has 72 characters, more than 64"),
]


def boards(max_harts: int) -> list[Board]:
    """What a user can get wrong on QEMU's command line."""
    return [
        Board("unknown_argument", r"unknown boot argument \"speed=9\"; known: .*seed", "speed=9"),
        Board("unknown_mode", r"mode.*dream", "mode=dream"),
        Board("malformed_number", r"boot argument seed: \"1x\" is not a number", "seed=1x"),
        Board("argument_out_of_range", r"boot argument seed: \"18446744073709551616\" is not a number",
              "seed=18446744073709551616"),
        Board("unknown_choice", r"boot argument log: \"loud\" is not one of error\|warn\|info\|debug",
              "log=loud"),
        Board("argument_without_value", r"boot argument seed has no value", "seed="),
        Board("word_without_equals", r"boot argument \"verbose\" is not of the form name=value", "verbose"),
        Board("argument_given_twice", r"boot argument seed is given twice: 1 and 2", "seed=1 seed=2"),
        Board("quoted_value", r"boot argument mode=\"test\": quotes have no meaning", 'mode="test"'),
        *[Board(f"zones_{name}", rf"cannot start: boot argument zones{says}", f"zones={value}")
          for name, value, says in BAD_ZONES],
        Board("zones_too_little_normal", r"cannot start: 8388608 KB of RAM are too little .* zones=normal:4M,highmem",
              "zones=normal:4M,highmem", mem="8G"),
        Board("too_many_harts", rf"the machine has {max_harts + 1} usable harts, .* at most {max_harts}$",
              harts=max_harts + 1),
    ]


def run(machine: qemu.Machine, program: str) -> tuple[process.Ended, list[str]]:
    """Boots it; returns how QEMU ended and the console."""
    lines: list[str] = []
    return process.run_lines(qemu.command(program, machine), LIMIT_S, lines.append), lines


def check(report: Report, ended: process.Ended, lines: list[str], exit_code: int, says: str) -> None:
    """The exit code, the words, and that nothing went wrong on the way."""
    sound = report.check(not ended.timed_out, f"no end within {LIMIT_S:.0f} s")
    sound &= report.check(ended.exit == exit_code, f"exit code {ended.exit}, expected {exit_code}")
    sound &= report.check(any(re.search(says, line) for line in lines),
                          f"no line of the console matches {says!r}")
    sound &= report.check(not any(tap.is_panic(line) for line in lines), "the kernel panicked")
    if not sound:
        for line in [*lines[-8:], *ended.stderr]:
            report.check(False, f"console: {line}")


def boot_with_tree(setup: Setup, case: Case, directory: Path) -> tuple[process.Ended, list[str]]:
    """Boots the kernel by way of the stub, with the case's tree in memory."""
    blob = directory / "tree.dtb"
    blob.write_bytes(case.tree)
    loaded_at = case.tree_at if RAM_START <= case.tree_at < RAM_START + RAM_BYTES else TREE_AT
    return run(qemu.Machine(setup.stub, harts=HARTS, mem=MEM, extra=(
        "-device", f"loader,file={setup.kernel}",
        "-device", f"loader,file={blob},addr={loaded_at:#x},force-raw=on",
        "-device", f"loader,addr={TREE_POINTER:#x},data={case.tree_at:#x},data-len=8",
    )), setup.qemu)


def main() -> int:
    process.leave_by_exception()
    kernel, stub, max_harts = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    program = qemu.find().path
    tree = dt.with_firmware_reserved(dt.dumped(program, HARTS, MEM), RAM_START, FIRMWARE_BYTES)
    setup = Setup(program, kernel, stub,
                  dt.changed(tree, dt.set_text("/chosen", "bootargs", "mode=shell -- meminfo; poweroff")))
    report = Report()

    with tempfile.TemporaryDirectory() as directory:
        # What the other cases prove rests on this one: the same way in, with a good tree, boots.
        good = [Case("good_tree", setup.good, r"^MemTotal: +\d+ kB$", exit=0),
                Case("good_tree_misaligned", setup.good, r"^MemTotal: +\d+ kB$", TREE_AT_ODD, exit=0)]
        for case in good + broken_blobs(setup.good) + bad_machines(setup.good, max_harts):
            with report.case(f"device_tree.{case.name}"):
                ended, lines = boot_with_tree(setup, case, Path(directory))
                check(report, ended, lines, case.exit, case.says)
        with report.case("device_tree.too_little_memory"):
            # From too little for the page tables to about enough for everything.
            for free_kb in (4, 64, 128, 192, 256, 320, 384, 512, 640, 768):
                case = little_memory(setup, free_kb << 10)
                ended, lines = boot_with_tree(setup, case, Path(directory))
                if free_kb == 4 or ended.exit != 0:
                    check(report, ended, lines, EXIT_BAD_INPUT, case.says)
    for board in boards(max_harts):
        with report.case(f"boot_arguments.{board.name}" if board.append else f"board.{board.name}"):
            ended, lines = run(qemu.Machine(kernel, harts=board.harts, mem=board.mem, append=board.append), program)
            check(report, ended, lines, EXIT_BAD_INPUT, board.says)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
