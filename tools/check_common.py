# What the check_*.py scripts share: which files there are, source without its comments, a rule as a TAP case.
# SPDX-License-Identifier: BSD-2-Clause
"""A check is a script that is given the tree by --root and prints one TAP case for each rule."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from run.emit import Report

# The folders that hold sources; anything else at the root (build directories, reports) is nobody's text.
TOP_FOLDERS = ("arch", "mm", "lib", "platform", "test", "tools", ".ci")
KERNEL_FOLDERS = ("arch", "mm", "lib", "platform")
C_SUFFIXES = (".c", ".h", ".S", ".ld")

# Of one rule; whoever mends these sees the others next.
FINDINGS_SHOWN = 40

_SKIPPED_FOLDERS = {"__pycache__", ".git"}


def parse_root(description: str) -> Path:
    """The tree to check: --root, or the one that the script lies in."""
    parser = argparse.ArgumentParser(description=description)
    own = Path(__file__).resolve().parent.parent
    parser.add_argument("--root", type=Path, default=own, help="the tree to check")
    root: Path = parser.parse_args().root
    if not root.is_dir():
        parser.error(f"{root} is no folder")
    return root


def tree_files(root: Path, folders: tuple[str, ...] = TOP_FOLDERS) -> list[Path]:
    """The files below these folders, relative to the root, sorted."""
    found = []
    for folder in folders:
        for place, subfolders, names in os.walk(root / folder):
            subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS]
            found += [(Path(place) / name).relative_to(root) for name in names]
    return sorted(found)


def text_files(root: Path) -> Iterator[tuple[Path, str]]:
    """Every text file of the tree with its text; the root's own files too. A NUL makes a file binary."""
    own = sorted(Path(entry.name) for entry in os.scandir(root) if entry.is_file())
    for path in [*own, *tree_files(root)]:
        data = (root / path).read_bytes()
        if b"\0" not in data[:8192] and not path.name.endswith((".xz", ".svg")):
            yield path, data.decode("utf-8", errors="replace")


_C_TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    re.DOTALL,
)


def without_comments(source: str, keep_strings: bool = True) -> str:
    """C or assembler source with comments blanked, at wish quotes emptied, too; lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        found = match.group()
        if match["text"] is not None:
            return found if keep_strings else found[0] + found[-1]
        return re.sub(r"[^\n]", " ", found)

    return _C_TOKEN.sub(blank, source)


def state_rule(report: Report, name: str, findings: list[str]) -> None:
    """One TAP case: a rule, and the places that break it."""
    with report.case(name):
        for finding in findings[:FINDINGS_SHOWN]:
            report.check(False, finding)
        if len(findings) > FINDINGS_SHOWN:
            report.check(False, f"and {len(findings) - FINDINGS_SHOWN} more")
