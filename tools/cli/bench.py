# `tools/quire bench`: boots a kernel that measures its allocators, and prints a row for each operation.
# SPDX-License-Identifier: BSD-2-Clause
"""The kernel says each row as a console line `@bench {"name": ..., "page_size": ..., ...}`; counts are
retired instructions per operation, and repeat exactly because the clock is made of instructions and the seed
is fixed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from cli import build, options
from cli.running import EXIT_TIME_LIMIT, BannerFilter
from run import patterns, process, qemu, tap

_REFUSAL = "quire: cannot start:"
_MARK = "@bench "
_TEXT_KEYS = ("name",)
_COUNT_KEYS = ("page_size", "harts", "ops")
_NUMBER_KEYS = ("min", "p50", "p99", "max", "mean")
# What only some rows tell: RAM in MB, and how often an operation takes a lock that all harts share.
_OPTIONAL_KEYS = ("ram_mb", "shared_locks")
_TITLES = {"page_size": "page size", "ram_mb": "RAM (MB)", "shared_locks": "shared locks"}
_DEFAULT_SEED = 1
_BOOT_PATTERN = "boot"
_BOOT_MEMORIES = ("512M", "16G")


class RowError(Exception):
    """The kernel said something that is no row; the text quotes it."""


Row = dict[str, str | int | float]


@dataclass
class Rows:
    """Collects the rows from a console, and keeps the rest of it for the case that the run fails."""

    rows: list[Row] = field(default_factory=list)
    error: RowError | None = None
    rest: list[str] = field(default_factory=list)
    panicked: bool = False

    def feed(self, line: str) -> None:
        """Takes in one line of the console."""
        if not line.startswith(_MARK):
            self.panicked = self.panicked or tap.is_panic(line)
            self.rest = [*self.rest[1 - tap.TAIL_LINES:], line]
            return
        try:
            row = parse_row(line)
            if any(row["name"] == other["name"] for other in self.rows):
                raise RowError(f"row '{row['name']}' came twice")
            self.rows.append(row)
        except RowError as error:
            self.error = self.error or error
        if sys.stderr.isatty():
            print(f"\rquire: {len(self.rows)} rows", end="", file=sys.stderr, flush=True)


def parse_row(line: str) -> Row:
    """Reads one `@bench` line. Raises RowError when it is not exactly the fields that a row has."""
    try:
        row = json.loads(line.removeprefix(_MARK))
    except ValueError as error:
        raise RowError(f"not JSON ({error}): {line}") from error
    wanted = {*_TEXT_KEYS, *_COUNT_KEYS, *_NUMBER_KEYS}
    if not isinstance(row, dict) or set(row) - set(_OPTIONAL_KEYS) != wanted:
        raise RowError(f"not the fields {' '.join(sorted(wanted))}: {line}")
    proper = (
        all(isinstance(row[key], str) and row[key] for key in _TEXT_KEYS)
        and all(type(row[key]) is int and row[key] > 0 for key in _COUNT_KEYS)
        and all(type(row[key]) in (int, float) for key in (*_NUMBER_KEYS, *_OPTIONAL_KEYS) if key in row)
    )
    if not proper:
        raise RowError(f"a field has a value it cannot have: {line}")
    return row


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as aligned lines under a heading: the name to the left, numbers to the right."""
    optional = [key for key in _OPTIONAL_KEYS if any(key in row for row in rows)]
    columns = ["name", "page_size", "harts", *_NUMBER_KEYS, *optional]
    cells = [[_TITLES.get(key, key) for key in columns], *([_cell(row, key) for key in columns] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(line[n].rjust(widths[n]) for n in range(1, len(columns)))])
        for line in cells
    ]


def _cell(row: Row, key: str) -> str:
    value = row.get(key, "")
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4f}" if key == "shared_locks" else f"{value:.1f}"


@dataclass
class Verdict:
    """What became of a run: the exit code, why it is not 0, and whether the console tells more about it."""

    code: int = 0
    complaint: str = ""
    quotes_console: bool = True


def judge(collected: Rows, ended: process.Ended, wanted: Sequence[str]) -> Verdict:
    names = [str(row["name"]) for row in collected.rows]
    unmatched = [pattern for pattern in wanted
                 if not any(patterns.matches(name, patterns.widen(pattern)) for name in names)]
    is_refused = ended.exit == 2 and any(line.startswith(_REFUSAL) for line in collected.rest)
    if ended.timed_out or ended.flooded:
        return Verdict(EXIT_TIME_LIMIT, f"the kernel was stopped after {ended.seconds:.0f} s")
    if collected.panicked or ended.exit not in (0, 2) or is_refused or (ended.exit == 2 and not unmatched):
        return Verdict(ended.exit if ended.exit > 0 else 1, f"the kernel's exit code is {ended.exit}")
    if collected.error:
        return Verdict(1, str(collected.error))
    if unmatched:
        return Verdict(2, f"no row matches {', '.join(repr(pattern) for pattern in unmatched)}", quotes_console=False)
    return Verdict() if collected.rows else Verdict(1, "the kernel measured nothing")


def measure(found: qemu.Qemu, machines: Sequence[qemu.Machine], limit_s: float, wanted: Sequence[str],
            as_json: bool) -> int:
    """Boots one kernel after the other, prints their rows, and returns the exit code for the whole command.

    `wanted` are the patterns as they were typed; one that chose no row is an error. A machine that fails is the
    last one.
    """
    rows: list[Row] = []
    verdict = Verdict()
    for machine in machines:
        collected = Rows()
        ended = process.run_lines(qemu.command(found.path, machine), limit_s, BannerFilter(collected.feed).feed)
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        rows += collected.rows
        verdict = judge(collected, ended, wanted)
        if verdict.code:
            break
    if as_json:
        for row in rows:
            print(json.dumps(row))
    elif rows:
        print("\n".join(table(rows)))
    sys.stdout.flush()
    if verdict.code:
        for line in [*collected.rest, *ended.stderr] if verdict.quotes_console else []:
            print(f"    {line}", file=sys.stderr)
        build.say(verdict.complaint)
    return verdict.code


def command(parsed: argparse.Namespace) -> int:
    found = qemu.find()
    build.build()
    globs = [glob for pattern in parsed.patterns for glob in patterns.widen(pattern)]
    # What start-up costs depends on the page size and on how much RAM there is, and is told for the ends of both.
    is_boot = parsed.patterns == [_BOOT_PATTERN]
    machines = [
        qemu.Machine(
            kernel=build.kernel(page_size), harts=parsed.harts, mem=mem, cpu=parsed.cpu, icount=True, seed=parsed.seed,
            append=qemu.boot_arguments("bench", seed=parsed.seed, filters=globs, extra=parsed.append),
        )
        for page_size in (options.PAGE_SIZES if is_boot else (parsed.page_size,))
        for mem in (_BOOT_MEMORIES if is_boot else (parsed.mem,))
    ]
    return measure(found, machines, parsed.timeout, parsed.patterns, parsed.json)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "bench", allow_abbrev=False,
        description="Counts the instructions that each of the allocators' operations retires. The counts "
                    "repeat exactly, on any machine.")
    parser.add_argument("patterns", nargs="*", type=options.pattern, metavar="PATTERN",
                        help="rows to measure: a name or its beginning (page.order0), or with * and ? "
                             "(default all); `boot` alone: start-up of every page size with 512M and 16G of RAM")
    options.add_machine(parser, default_page_size="4k", default_harts=1)
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--timeout", type=options.seconds, default=300.0, metavar="S",
                        help="time limit (default 300)")
    parser.set_defaults(command=command, seed=_DEFAULT_SEED)
