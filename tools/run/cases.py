# Reads from an ELF file which test cases it holds.
# SPDX-License-Identifier: BSD-2-Clause
"""Each case leaves a symbol `ktest_case_<name>` in the program: what must report is known before it runs."""

from __future__ import annotations

from pathlib import Path

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

PREFIX = "ktest_case_"


def names_in(program: Path) -> list[str]:
    """Returns the sorted names of the cases in an ELF file; none for a file that is no ELF file.

    Raises OSError when the file cannot be read.
    """
    names = set()
    with program.open("rb") as file:
        try:
            for section in ELFFile(file).iter_sections():
                if isinstance(section, SymbolTableSection):
                    # The compiler may append .N or .lto_priv.N to the name of a file-local object.
                    names |= {symbol.name.removeprefix(PREFIX).partition(".")[0]
                              for symbol in section.iter_symbols() if symbol.name.startswith(PREFIX)}
        except ELFError:
            return []
    return sorted(names)
