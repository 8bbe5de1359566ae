#!/usr/bin/python3
# Checks that every file includes only what ranks at most as high as itself, and that mm/ and lib/base know no
# port.
# SPDX-License-Identifier: BSD-2-Clause
"""The kernel's folders are ranked: a file includes files of its own rank or below it. Calls upward go through
registered operations or <arch/upcalls.h>. There are no exceptions. What includes what is read from the text,
so that the rule holds for code that this build leaves out, too; only what stands #ifdef QUIRE_HOST is the
host's and not looked at.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from check_common import C_SUFFIXES, KERNEL_FOLDERS, parse_root, state_rule, tree_files, without_comments
from run.emit import Report

# Low to high. A file belongs to the longest of these folders that it lies in.
RANKS = (
    ("lib/base",),
    ("arch/include", "arch/riscv/include"),
    ("lib/sync", "lib/debug", "arch/riscv"),
    ("lib/block",),
    ("mm/phys",),
    ("mm/kmem",),
    ("mm/vmap",),
    ("mm/vm",),
    ("mm/reclaim",),
    ("mm/check",),
    ("platform",),
    ("lib/task", "lib/fs", "lib/module"),
    ("lib/init",),
)
RANK_OF = {folder: rank for rank, folders in enumerate(RANKS) for folder in folders}

# A header <mm/NAME.h> ranks as the folder of mm/ that has NAME.c; here are those that have no such source.
MM_HEADERS = "mm/include/mm"
MM_HEADER_FOLDERS = {
    "gfp.h": "mm/phys",
    "page_engine.h": "mm/phys",
    "page_group.h": "mm/phys",
    "page_ops.h": "mm/phys",
    "pte.h": "mm/vmap",
}

INCLUDE_ROOTS = ("lib", "arch/include", "arch/riscv/include", "mm/include", "platform/include")
# What a freestanding compiler brings along.
COMPILER_HEADERS = {
    "float.h", "iso646.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h", "stddef.h",
    "stdint.h", "stdnoreturn.h",
}

PORTABLE_FOLDERS = ("mm", "lib/base")
PORT_WORDS = re.compile(
    r"""
    \w*riscv\w* | risc-v | \bsv(39|48|57)\b | \bsvnapot\b | \bsstc\b | \bopensbi\b | \bsbi_\w+
    | \b(__)?asm(__)?\b | \b(sfence|hfence|sinval|csr[rwsc]i?|wfi|ecall|sret|mret)\b | \bfence\.i\b
    | \b(satp|stimecmp|mhartid|[ms](status|scratch|tvec|epc|cause|tval|ie|ip|counteren|envcfg))\b
    """,
    re.VERBOSE | re.IGNORECASE,
)

_INCLUDE = re.compile(r'^[ \t]*(?:#[ \t]*include|\.include)[ \t]*(?P<path><[^>\n]*>|"[^"\n]*")')
_CONDITION = re.compile(r"^[ \t]*#[ \t]*(?P<word>if|ifdef|ifndef|elif|else|endif)\b(?P<rest>.*)")


@dataclass(frozen=True)
class Include:
    line: int
    path: str
    is_quoted: bool


def includes_of(source: str) -> Iterator[Include]:
    """The includes that the kernel sees: outside of what is there #ifdef QUIRE_HOST."""
    host_only: list[bool] = []
    for number, line in enumerate(without_comments(source).splitlines(), start=1):
        if condition := _CONDITION.match(line):
            word, is_host = condition["word"], "QUIRE_HOST" in condition["rest"]
            if word in ("if", "ifdef", "ifndef"):
                host_only.append(is_host and word != "ifndef" and "!" not in condition["rest"])
            elif host_only and word == "endif":
                host_only.pop()
            elif host_only:
                host_only[-1] = False
        elif (found := _INCLUDE.match(line)) and not any(host_only):
            yield Include(number, found["path"][1:-1], found["path"][0] == '"')


class Tree:
    """The kernel's sources and who includes whom."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = [path for path in tree_files(root, KERNEL_FOLDERS) if path.suffix in C_SUFFIXES]
        self.text = {path: (root / path).read_text(encoding="utf-8", errors="replace") for path in self.files}
        self.includes = {path: list(includes_of(text)) for path, text in self.text.items()}

    def resolve(self, path: Path, include: Include) -> Path | None:
        """The file of this tree that is meant."""
        if include.is_quoted:
            candidates = [Path(os.path.normpath(path.parent / include.path))]
        else:
            candidates = [Path(folder) / include.path for folder in (*INCLUDE_ROOTS, "test")]
        return next((found for found in candidates if (self.root / found).is_file()), None)

    def folder_of(self, path: Path) -> str | None:
        """The ranked folder that a file belongs to."""
        if path.parent.as_posix() == MM_HEADERS:
            if path.name in MM_HEADER_FOLDERS:
                return MM_HEADER_FOLDERS[path.name]
            homes = {
                source.parent.as_posix()
                for source in self.files
                if source.parts[0] == "mm" and source.name == f"{path.stem}.c"
            }
            return homes.pop() if len(homes) == 1 else None
        folders = [parent.as_posix() for parent in path.parents if parent.as_posix() in RANK_OF]
        return folders[0] if folders else None


def find_unranked(tree: Tree) -> list[str]:
    findings = []
    for path in tree.files:
        if tree.folder_of(path) is None:
            if path.parent.as_posix() == MM_HEADERS:
                why = f"no single mm/*/{path.stem}.c; name its folder in MM_HEADER_FOLDERS"
            else:
                why = "its folder has no rank"
            findings.append(f"{path}:1: {why}")
    return findings


def find_upward(tree: Tree) -> list[str]:
    findings = []
    for path, includes in tree.includes.items():
        own = tree.folder_of(path)
        for include in includes:
            target = tree.resolve(path, include)
            folder = tree.folder_of(target) if target else None
            if own and folder and RANK_OF[folder] > RANK_OF[own]:
                findings.append(
                    f"{path}:{include.line}: {own} includes {include.path} of {folder}, which ranks above it"
                )
    return findings


def find_test(tree: Tree) -> list[str]:
    return [
        f"{path}:{include.line}: includes {include.path} of test/"
        for path, includes in tree.includes.items()
        for include in includes
        if (target := tree.resolve(path, include)) and target.parts[0] == "test" or "test/" in include.path
    ]


def find_quoted_elsewhere(tree: Tree) -> list[str]:
    """Quotes name a private header, one of the same folder of the table."""
    findings = []
    for path, includes in tree.includes.items():
        for include in includes:
            if include.is_quoted:
                target = tree.resolve(path, include)
                if target is None or tree.folder_of(target) != tree.folder_of(path):
                    where = f"{path}:{include.line}"
                    findings.append(f'{where}: "{include.path}" is not in its folder; use <...>')
    return findings


def find_unknown(tree: Tree) -> list[str]:
    return [
        f"{path}:{include.line}: <{include.path}> is neither the project's nor a freestanding compiler's"
        for path, includes in tree.includes.items()
        for include in includes
        if not include.is_quoted and include.path not in COMPILER_HEADERS
        if tree.resolve(path, include) is None
    ]


def find_port_outside_arch(tree: Tree) -> list[str]:
    return [
        f"{path}:{include.line}: <{include.path}> is for arch/; the contract is <arch/...>"
        for path, includes in tree.includes.items()
        for include in includes
        if include.path.startswith("port/") and path.parts[0] != "arch"
    ]


def find_port_words(tree: Tree) -> list[str]:
    findings = []
    for path, text in tree.text.items():
        if any(path.is_relative_to(folder) for folder in PORTABLE_FOLDERS):
            for number, line in enumerate(text.splitlines(), start=1):
                for word in PORT_WORDS.finditer(line):
                    findings.append(f"{path}:{number}: names the port: {word.group()}")
    return findings


def find_cycles(tree: Tree) -> list[str]:
    """Files that include themselves by way of others: `#pragma once` would hide one's half from the other."""
    findings: list[str] = []
    done: set[Path] = set()

    def visit(path: Path, trail: list[Path]) -> None:
        if path in trail:
            cycle = [*trail[trail.index(path) :], path]
            findings.append(f"{path}:1: includes itself: {' > '.join(step.as_posix() for step in cycle)}")
        elif path not in done:
            for include in tree.includes.get(path, []):
                if target := tree.resolve(path, include):
                    visit(target, [*trail, path])
            done.add(path)

    for path in tree.files:
        visit(path, [])
    return findings


def main() -> int:
    tree = Tree(parse_root("who includes whom"))
    report = Report()
    state_rule(report, "ranks_every_file_has_one", find_unranked(tree))
    state_rule(report, "ranks_no_include_goes_up", find_upward(tree))
    state_rule(report, "ranks_nothing_includes_test", find_test(tree))
    state_rule(report, "ranks_quotes_stay_in_their_folder", find_quoted_elsewhere(tree))
    state_rule(report, "ranks_no_unknown_header", find_unknown(tree))
    state_rule(report, "ranks_port_headers_stay_in_arch", find_port_outside_arch(tree))
    state_rule(report, "ranks_mm_and_base_name_no_port", find_port_words(tree))
    state_rule(report, "ranks_no_include_cycle", find_cycles(tree))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
