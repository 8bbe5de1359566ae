#!/usr/bin/python3
# Writes the kernel's own symbol and unwind tables as assembler, from a linked ELF with .debug_frame.
# SPDX-License-Identifier: BSD-2-Clause
"""The kernel prints symbolised backtraces without frame pointers: what a function does to the stack is in
tables.

The kernel is linked twice. Stage 1 has an empty section .ksyms; this tool reads its functions (.symtab) and
call frame information (.debug_frame) and writes the section's content; the final link adds it. .ksyms comes
last in the image, so that nothing before it moves; `--verify` proves that.

.debug_frame is not loaded. GCC writes it with -g -fno-asynchronous-unwind-tables; an assembler file asks for
it by `.cfi_sections .debug_frame`, or its .cfi directives would go to .eh_frame.

    mkdebug.py STAGE1.elf -o tables.S
    mkdebug.py --verify STAGE1.elf FINAL.elf [--stamp OUT]

lib/debug/debug_tables.h describes the format. Addresses are offsets from __kernel_start.
"""

from __future__ import annotations

import argparse
import re
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn

from elftools.common.exceptions import ELFError
from elftools.dwarf import callframe
from elftools.dwarf.callframe import FDE, CFARule, RegisterRule
from elftools.elf.constants import SH_FLAGS
from elftools.elf.elffile import ELFFile

# The library makes the same parsers anew for each of thousands of entries, and in that most of its time.
callframe.DWARFStructs = cache(callframe.DWARFStructs)

# These agree with lib/debug/debug_tables.h.
MAGIC = 0x31627551  # "Qub1"
BLOCK_FUNCTIONS = 16
NAME_MAX = 63
DISTANCE_BITS = 3
RA_IN_REGISTER, RA_SAVED_MAX, RA_UNDEFINED = 0, 254, 255
CFA_UNKNOWN = 0xFFFF
FLAG_S0_BASED = 1

BASE_SYMBOL = "__kernel_start"
SECTION = ".ksyms"

# Register numbers of the RISC-V psABI's DWARF mapping.
RA, SP, S0 = 1, 2, 8


class TableError(Exception):
    """The ELF cannot be described; the text names the place."""


class State(NamedTuple):
    """How to undo one frame, as the table stores it: the CFA, and how many words below it ra and s0 are."""

    cfa: int
    ra: int
    s0: int


ENTRY = State(0, RA_IN_REGISTER, 0)
UNKNOWN = State(CFA_UNKNOWN, RA_IN_REGISTER, 0)


class Row(NamedTuple):
    address: int
    state: State


@dataclass
class Function:
    name: str
    start: int
    end: int
    rows: list[Row]

    @property
    def is_unknown(self) -> bool:
        return self.rows[:1] == [Row(self.start, UNKNOWN)]


@dataclass
class Tables:
    """What one image's section holds, in pieces that each have a comment for the assembler file."""

    functions: list[Function]
    states: list[State]
    pieces: list[tuple[str, bytes]]
    text_bytes: int

    @property
    def image(self) -> bytes:
        return b"".join(data for _, data in self.pieces)

    def summary(self) -> str:
        size = len(self.image)
        rows = sum(len(function.rows) for function in self.functions)
        plain = [function.name for function in self.functions if function.name and function.is_unknown]
        return (
            f"{size} bytes, {100 * size / self.text_bytes:.1f} % of {self.text_bytes} bytes of text: "
            f"{len(self.functions)} functions, {rows} rows, {len(self.states)} states; "
            f"without call frame information: {', '.join(plain) or 'none'}"
        )


def executable_ranges(elf: ELFFile) -> list[tuple[int, int]]:
    """The address ranges [start, end) of the loaded code, ascending."""
    flags = SH_FLAGS.SHF_ALLOC | SH_FLAGS.SHF_EXECINSTR
    ranges = [
        (section["sh_addr"], section["sh_addr"] + section["sh_size"])
        for section in elf.iter_sections()
        if section["sh_flags"] & flags == flags and section["sh_size"] > 0
    ]
    return sorted(ranges)


def symbols_of(elf: ELFFile) -> Iterator[tuple[str, str, str, int, int]]:
    """Name, type, binding, address and size of each defined symbol."""
    table = elf.get_section_by_name(".symtab")
    if table is None:
        raise TableError("no symbol table")
    for symbol in table.iter_symbols():
        if symbol["st_shndx"] != "SHN_UNDEF":
            info = symbol["st_info"]
            yield symbol.name, info["type"], info["bind"], symbol["st_value"], symbol["st_size"]


def functions_of(elf: ELFFile, ranges: list[tuple[int, int]]) -> list[Function]:
    """The functions by address, none overlapping another, with nameless ones in the gaps between them.

    Of several names for one address a global one is taken, then a weak one, then one that the compiler did
    not make up. A function without a size (assembler) reaches to the next one.
    """
    ranks = {"STB_GLOBAL": 0, "STB_WEAK": 1}
    found: dict[int, list[tuple[int, bool, str, int]]] = {}
    for name, kind, binding, address, size in symbols_of(elf):
        if kind == "STT_FUNC" and any(low <= address < high for low, high in ranges):
            found.setdefault(address, []).append((ranks.get(binding, 2), "." in name, name, size))
    starts = sorted(found)
    functions: list[Function] = []
    for start, limit in zip(starts, [*starts[1:], ranges[-1][1] if ranges else 0]):
        _, _, name, _ = min(found[start])
        size = max(size for _, _, _, size in found[start])
        if start % 2 != 0:
            raise TableError(f"{name}: a function at the odd address {start:#x}")
        section_end = next(high for low, high in ranges if low <= start < high)
        end = min(limit, section_end, start + size + size % 2 if size else limit)
        functions.append(Function(name, start, end, []))
        if end < limit:
            functions.append(Function("", end, limit, []))
    return functions


def encode_cfa(rule: CFARule) -> int:
    if rule.expr is not None or rule.reg not in (SP, S0):
        raise TableError("the CFA is neither sp + N nor s0 + N")
    if rule.offset % 8 != 0 or not 0 <= rule.offset < 8 * (CFA_UNKNOWN >> 1):
        raise TableError(f"the CFA's offset {rule.offset} does not fit the table")
    return (rule.offset // 8) << 1 | (FLAG_S0_BASED if rule.reg == S0 else 0)


def encode_save(rule: RegisterRule | None, register: str) -> int:
    """Where a register of the caller is: 0 still in the register, otherwise words below the CFA."""
    if rule is None or rule.type == RegisterRule.SAME_VALUE:
        return 0
    if rule.type == RegisterRule.UNDEFINED and register == "ra":
        return RA_UNDEFINED
    if rule.type != RegisterRule.OFFSET or rule.arg % 8 != 0 or not 0 < -rule.arg <= 8 * RA_SAVED_MAX:
        raise TableError(f"{register} is not kept where the table can say it")
    return -rule.arg // 8


def frame_rows(elf: ELFFile, ranges: list[tuple[int, int]]) -> list[Row]:
    """The call frame information of all code as one ascending list; UNKNOWN where there is none."""
    dwarf = elf.get_dwarf_info(relocate_dwarf_sections=False)
    if not dwarf.has_CFI():
        raise TableError("no .debug_frame: compile with -g -fno-asynchronous-unwind-tables")
    fdes = [
        entry
        for entry in dwarf.CFI_entries()
        if isinstance(entry, FDE) and any(low <= entry["initial_location"] < high for low, high in ranges)
    ]
    rows: list[Row] = []
    end = 0
    for fde in sorted(fdes, key=lambda entry: entry["initial_location"]):
        start = fde["initial_location"]
        if start < end:
            raise TableError(f"{start:#x}: two descriptions of one place in .debug_frame")
        if start > end:
            rows.append(Row(end, UNKNOWN))
        end = start + fde["address_range"]
        for line in fde.get_decoded().table or [{"pc": start, "cfa": CFARule(reg=SP, offset=0)}]:
            try:
                state = State(
                    encode_cfa(line["cfa"]), encode_save(line.get(RA), "ra"), encode_save(line.get(S0), "s0")
                )
            except TableError as error:
                raise TableError(f"{start:#x} + {line['pc'] - start}: {error}") from None
            rows.append(Row(line["pc"], state))
    rows.append(Row(end, UNKNOWN))
    return rows


def give_rows(functions: list[Function], rows: list[Row]) -> None:
    """Cuts the rows at the functions' bounds. A function starts as ENTRY; its rows are what changes that."""
    addresses = [row.address for row in rows]
    for function in functions:
        state = ENTRY
        first = bisect_right(addresses, function.start) - 1
        for row in rows[max(first, 0) : bisect_right(addresses, function.end - 1)]:
            if row.state != state:
                function.rows.append(Row(max(row.address, function.start), row.state))
                state = row.state


def number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)


def encode_name(name: str, previous: str) -> bytes:
    """How many characters it shares with the name before, then the others; the top bit marks the last one."""
    text = name[:NAME_MAX] or "\0"
    shared = 0
    while shared < min(len(previous), len(text) - 1) and previous[shared] == text[shared]:
        shared += 1
    rest = bytearray(text[shared:].encode("ascii"))
    rest[-1] |= 0x80
    return bytes([shared]) + bytes(rest)


def encode_function(function: Function, previous: str, indices: dict[State, int]) -> bytes:
    data = number((function.end - function.start) // 2)
    data += encode_name(function.name, previous)
    data += number(len(function.rows))
    at = function.start
    for row in function.rows:
        distance, index = (row.address - at) // 2, indices[row.state]
        if 0 < distance < 1 << DISTANCE_BITS:
            data += number(index << DISTANCE_BITS | distance)
        else:
            data += number(index << DISTANCE_BITS) + number(distance)
        at = row.address
    return data


def build(path: Path) -> Tables:
    """Reads one linked ELF. Raises TableError when something in it cannot be described."""
    with path.open("rb") as stream:
        elf = ELFFile(stream)
        ranges = executable_ranges(elf)
        functions = functions_of(elf, ranges)
        base = next((address for name, _, _, address, _ in symbols_of(elf) if name == BASE_SYMBOL), None)
        if base is None:
            raise TableError(f"no symbol {BASE_SYMBOL}")
        if not functions:
            raise TableError("no functions")
        give_rows(functions, frame_rows(elf, ranges))

    counts = Counter(row.state for function in functions for row in function.rows)
    counts.pop(ENTRY, None)
    states = [ENTRY, *sorted(counts, key=lambda state: (-counts[state], state))]
    indices = {state: index for index, state in enumerate(states)}

    def word(value: int) -> bytes:
        if not 0 <= value < 1 << 32:
            raise TableError(f"{value:#x} is no 32-bit offset")
        return value.to_bytes(4, "little")

    blocks = b""
    stream_pieces: list[tuple[str, bytes]] = []
    stream_size = 0
    previous = ""
    for index, function in enumerate(functions):
        if index % BLOCK_FUNCTIONS == 0:
            blocks += word(function.start - base) + word(stream_size)
            previous = ""
        data = encode_function(function, previous, indices)
        stream_pieces.append((f"{function.start - base:#x} {function.name or 'between functions'}", data))
        stream_size += len(data)
        previous = function.name[:NAME_MAX]
    block_count = len(blocks) // 8
    header = word(MAGIC) + word(block_count) + word(len(states)) + word(stream_size)
    pieces = [("header: magic, blocks, states, bytes of the stream", header), ("blocks", blocks)]
    for state in states:
        pieces.append((describe(state), state.cfa.to_bytes(2, "little") + bytes([state.ra, state.s0])))
    text_bytes = sum(high - low for low, high in ranges)
    return Tables(functions, states, pieces + stream_pieces, text_bytes)


def describe(state: State) -> str:
    if state.cfa == CFA_UNKNOWN:
        return "unknown"

    def place(words: int) -> str:
        return "register" if words == 0 else "none" if words == RA_UNDEFINED else f"CFA-{8 * words}"

    base = "s0" if state.cfa & FLAG_S0_BASED else "sp"
    return f"CFA={base}+{8 * (state.cfa >> 1)} ra={place(state.ra)} s0={place(state.s0)}"


def write_assembler(tables: Tables, out: Path) -> None:
    lines = [
        "// Symbols and unwind rows of the kernel, made by tools/mkdebug.py from the stage 1 link.",
        "// SPDX-License-Identifier: BSD-2-Clause",
        f"// {tables.summary()}",
        f'    .section {SECTION}, "a", @progbits',
        "    .balign 8",
    ]
    for comment, data in tables.pieces:
        lines.append(f"    // {comment}")
        for start in range(0, len(data), 24):
            lines.append("    .byte " + ",".join(str(byte) for byte in data[start : start + 24]))
    out.write_text("\n".join(lines) + "\n", encoding="ascii")


def verify(stage1: Path, final: Path) -> Tables:
    """Proves that the final image has stage 1's functions where they were, and the table that describes it.

    Padding may follow the table in its section.
    """
    before, after = build(stage1), build(final)
    places = {(function.name, function.start, function.end) for function in before.functions}
    moved = [
        f"{function.name} ({function.start:#x} to {function.end:#x})"
        for function in after.functions
        if function.name and (function.name, function.start, function.end) not in places
    ]
    if moved or len(before.functions) != len(after.functions):
        names = ", ".join(moved[:4]) or "some are gone"
        raise TableError(f"{len(moved)} functions of {final} are elsewhere: {names}")
    with final.open("rb") as stream:
        section = ELFFile(stream).get_section_by_name(SECTION)
        content = section.data() if section is not None else b""
    size = len(after.image)
    if content[:size] != after.image or any(content[size:]):
        raise TableError(f"{SECTION} of {final} is not the table of this image")
    return after


def main() -> int:
    parser = argparse.ArgumentParser(description="symbol and unwind tables of a linked kernel")
    parser.add_argument("--verify", action="store_true", help="compare STAGE1 and FINAL; write no table")
    parser.add_argument("--stamp", type=Path, help="with --verify: a file to write when all is well")
    parser.add_argument("-o", dest="out", type=Path, help="the assembler file to write")
    parser.add_argument("elf", nargs="+", type=Path, help="STAGE1, and with --verify FINAL")
    args = parser.parse_args()
    if len(args.elf) != (2 if args.verify else 1) or (args.out is None) != args.verify:
        parser.error("give either STAGE1 -o OUT or --verify STAGE1 FINAL")
    try:
        if args.verify:
            tables = verify(*args.elf)
            if args.stamp is not None:
                args.stamp.write_text(tables.summary() + "\n", encoding="ascii")
        else:
            write_assembler(build(args.elf[0]), args.out)
    except (TableError, ELFError, OSError) as error:
        print(f"mkdebug: {', '.join(map(str, args.elf))}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
