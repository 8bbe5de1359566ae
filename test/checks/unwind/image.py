# The image that the unwind tests run: its symbols, its tables, and what readelf says of its frames.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from host_unwinder import GuardedMemory, Tables

# Of the tables: lib/debug/debug_tables.h.
HEADER_BYTES, BLOCK_BYTES, STATE_BYTES = 16, 8, 4
READELF = "riscv64-unknown-elf-readelf"


class Image:
    """The final ELF: symbols, code and tables."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as stream:
            elf = ELFFile(stream)
            symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
            text = elf.get_section_by_name(".text")
            self.low = text["sh_addr"]
            self.high = self.low + text["sh_size"]
            self.code = text.data()
            section = elf.get_section_by_name(".ksyms").data()
        _, blocks, states, stream = struct.unpack_from("<4I", section)
        self.stream_bytes = stream
        # Without the padding, so that a read past the end is seen.
        self.tables = section[: HEADER_BYTES + BLOCK_BYTES * blocks + STATE_BYTES * states + stream]
        self.address = {symbol.name: symbol["st_value"] for symbol in symbols}
        # By address and size, because both builds of a shape have the same name.
        self.functions = sorted(
            (symbol["st_value"], symbol["st_size"], symbol.name)
            for symbol in symbols
            if symbol["st_info"]["type"] == "STT_FUNC"
        )

    def function_at(self, pc: int) -> str:
        return next((name for start, size, name in self.functions if start <= pc < start + size), "")

    def place(self, name: str, which: int = 0) -> tuple[int, int]:
        """Start and end of a function; `which` of those of that name."""
        start, size, _ = [function for function in self.functions if function[2] == name][which]
        return start, start + size


def descriptor(image: Image, memory: GuardedMemory) -> Tables:
    return Tables(
        image=memory.put(image.tables),
        image_bytes=len(image.tables),
        base=image.address["__kernel_start"],
        trap_return_start=image.address["__trap_return_start"],
        trap_return_end=image.address["__trap_return_end"],
    )


@dataclass(frozen=True)
class Rule:
    """One row as readelf prints it: the CFA's register and offset, and where ra and s0 lie from the CFA."""

    register: str
    offset: int
    ra: int | None
    s0: int | None


def readelf_rules(path: Path) -> dict[int, Rule]:
    """The rule for every address that .debug_frame describes."""
    output = subprocess.run(
        [READELF, "--debug-dump=frames-interp", str(path)], check=True, capture_output=True, text=True
    ).stdout
    rules: dict[int, Rule] = {}
    default = Rule("sp", 0, None, None)

    def saved(text: str | None) -> int | None:
        return int(text[1:]) if text is not None and text.startswith("c") else None

    for part in re.split(r"\n\n+", output):
        head = re.search(r"FDE .*pc=([0-9a-f]+)\.\.([0-9a-f]+)", part)
        if head is None:
            continue
        low, high = int(head[1], 16), int(head[2], 16)
        rows: list[tuple[int, Rule]] = [(low, default)]
        columns: list[str] = []
        for line in part.splitlines()[1:]:
            words = line.split()
            if words and words[0] == "LOC":
                columns = words[2:]
            elif words:
                register, offset = re.fullmatch(r"(\w+)([+-]\d+)", words[1]).groups()
                places = dict(zip(columns, words[2:]))
                rule = Rule(register, int(offset), saved(places.get("ra")), saved(places.get("s0")))
                rows.append((int(words[0], 16), rule))
        for (start, rule), (end, _) in zip(rows, [*rows[1:], (high, default)]):
            rules.update({pc: rule for pc in range(start, end, 2)})
    return rules
