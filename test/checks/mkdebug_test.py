#!/usr/bin/python3
# Tests of mkdebug.py: good images are described and verified, others are refused with a reason.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: mkdebug_test.py DIRECTORY    (where the unwind tests' image was built)"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from elftools.elf.elffile import ELFFile  # noqa: E402
from run.emit import Report  # noqa: E402

BUILD = Path(sys.argv[1])
STAGE1, FINAL = BUILD / "unwind_stage1.elf", BUILD / "unwind_final.elf"
MKDEBUG = TOOLS / "mkdebug.py"


def mkdebug(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MKDEBUG), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def patched(data: bytes, old: bytes, new: bytes) -> bytes:
    if old not in data or len(old) != len(new):
        raise AssertionError(f"{old!r} is not to be patched")
    return data.replace(old, new)


def with_a_moved_symbol(data: bytes, name: str) -> bytes:
    """The image with one function's symbol two bytes further on."""
    with tempfile.TemporaryFile() as stream:
        stream.write(data)
        elf = ELFFile(stream)
        table = elf.get_section_by_name(".symtab")
        index = next(index for index, symbol in enumerate(table.iter_symbols()) if symbol.name == name)
        at = table["sh_offset"] + index * table["sh_entsize"] + 8
    value = int.from_bytes(data[at : at + 8], "little") + 2
    return data[:at] + value.to_bytes(8, "little") + data[at + 8 :]


def bad_images(data: bytes) -> Iterator[tuple[str, bytes, str]]:
    """What is wrong, the image, and what mkdebug.py must say of it."""
    yield "no_frames", patched(data, b".debug_frame\0", b".debug_fram_\0"), "no .debug_frame"
    yield "no_base", patched(data, b"__kernel_start\0", b"__kernel_stars\0"), "no symbol __kernel_start"
    # DW_CFA_def_cfa s0, 0 becomes t0.
    yield "odd_cfa", patched(data, b"\x0c\x08\x00", b"\x0c\x05\x00"), "neither sp + N nor s0 + N"
    yield "no_elf", b"#!/bin/sh\n", "Magic number"
    yield "cut", data[: len(data) // 2], "mkdebug: "
    yield "empty", b"", "mkdebug: "


def main() -> int:
    report = Report()
    final = FINAL.read_bytes()
    with tempfile.TemporaryDirectory(prefix="quire-") as name:
        folder = Path(name)
        with report.case("mkdebug_verifies_the_final_image"):
            stamp = folder / "stamp"
            done = mkdebug("--verify", STAGE1, FINAL, "--stamp", stamp)
            report.check(done.returncode == 0 and "% of" in stamp.read_text(), done.stderr)
        with report.case("mkdebug_is_reproducible"):
            outputs = []
            for path in (STAGE1, FINAL):
                done = mkdebug(path, "-o", folder / "tables.S")
                report.check(done.returncode == 0, done.stderr)
                outputs.append((folder / "tables.S").read_text())
            report.check(outputs[0] == outputs[1], "stage 1 and the final image give different tables")
        with report.case("mkdebug_sees_a_missing_table"):
            done = mkdebug("--verify", STAGE1, STAGE1)
            report.check(done.returncode == 1 and "not the table of this image" in done.stderr, done.stderr)
        with report.case("mkdebug_sees_a_function_that_moved"):
            (folder / "moved").write_bytes(with_a_moved_symbol(final, "several_returns"))
            done = mkdebug("--verify", STAGE1, folder / "moved", "--stamp", folder / "no")
            report.check(done.returncode == 1 and "several_returns" in done.stderr, done.stderr)
            report.check(not (folder / "no").exists(), "a stamp all the same")
        for what, data, says in bad_images(final):
            with report.case(f"mkdebug_refuses_{what}"):
                (folder / what).write_bytes(data)
                done = mkdebug(folder / what, "-o", folder / "no")
                is_told = done.returncode == 1 and says in done.stderr
                report.check(is_told, f"exit {done.returncode}: {done.stderr}")
                report.check("Traceback" not in done.stderr, done.stderr)
                report.check(not (folder / "no").exists(), "a table all the same")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
