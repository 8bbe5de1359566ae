#!/usr/bin/python3
# Counts the kernel's lines against what a newcomer can read, and names the files that grew long.
# SPDX-License-Identifier: BSD-2-Clause
"""A line counts when it holds something besides comments and blanks. Tests and tools do not count, nor does what is a
test of the others: what only the checked kernel has (what stands between #if CONFIG_CHECKED and its #else or #endif),
and what looks for errors in their use or prints what they hold, which nobody needs to follow them: INSTRUMENTS.
"""

from __future__ import annotations

import sys
from pathlib import Path

from check_common import C_SUFFIXES, KERNEL_FOLDERS, parse_root, state_rule, tree_files, without_comments
from run.emit import Report

# 8,000 and 16,000 were meant for all. Objects that cost what a list costs, and addresses that are given up lazily, with
# every flush accounted for, took more: about 9,900 and 18,500. What is added from here on has to be won elsewhere.
MM_LINES_MAX = 9_900
KERNEL_LINES_MAX = 18_550
INSTRUMENTS = ("mm/check/", "mm/kmem/slab_debug.c", "mm/kmem/slab_guard.c", "mm/vmap/guard_memory.c",
               "mm/vmap/vmalloc_fault.c", "lib/debug/stack_meter.c")
# Past this many lines, comments included, a file may hold a second concept.
LONG_FILE_LINES = 600
LONG_FILE_SUFFIXES = (*C_SUFFIXES, ".py")


def code_lines(source: str) -> int:
    count = 0
    # For each condition that is open: whether this branch of it is the checked kernel's alone.
    is_apart: list[bool] = []
    for line in without_comments(source).splitlines():
        words = line.replace("#", "# ", 1).split()
        directive = words[1] if words[:1] == ["#"] and len(words) > 1 else ""
        if directive in ("if", "ifdef", "ifndef"):
            is_apart.append(directive == "if" and words[2:] == ["CONFIG_CHECKED"])
        elif directive in ("else", "elif") and is_apart:
            is_apart[-1] = False
        elif directive == "endif" and is_apart:
            is_apart.pop()
        count += bool(line.strip()) and not any(is_apart)
    return count


def read(root: Path, path: Path) -> str:
    return (root / path).read_text(encoding="utf-8", errors="replace")


def main() -> int:
    root = parse_root("lines of the kernel against their limits")
    report = Report()
    by_folder: dict[str, int] = {}
    instruments = 0
    for path in tree_files(root, KERNEL_FOLDERS):
        if path.suffix not in C_SUFFIXES:
            continue
        if path.as_posix().startswith(INSTRUMENTS):
            instruments += code_lines(read(root, path))
        else:
            folder = "/".join(path.parts[: min(2, len(path.parts) - 1)])
            by_folder[folder] = by_folder.get(folder, 0) + code_lines(read(root, path))

    for path in tree_files(root):
        if path.suffix in LONG_FILE_SUFFIXES:
            length = len(read(root, path).splitlines())
            if length > LONG_FILE_LINES:
                print(f"# {path}: {length} lines, past {LONG_FILE_LINES}: is there a second concept?")
    for folder, lines in sorted(by_folder.items()):
        print(f"# {lines:6} {folder}")
    print(f"# {instruments:6} instruments, apart")

    mm = sum(lines for folder, lines in by_folder.items() if folder.split("/")[0] == "mm")
    kernel = sum(by_folder.values())
    for name, lines, limit in (("mm", mm, MM_LINES_MAX), ("kernel", kernel, KERNEL_LINES_MAX)):
        print(f"# {name}: {lines} lines of at most {limit}")
        state_rule(report, f"size_{name}", [f"{lines - limit} lines too many"] if lines > limit else [])
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
