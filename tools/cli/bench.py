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
_COLUMNS = ("name", "page_size", "harts", *_NUMBER_KEYS)
_TITLES = ("name", "page size", "harts", *_NUMBER_KEYS)
_DEFAULT_SEED = 1


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
    if not isinstance(row, dict) or set(row) != wanted:
        raise RowError(f"not the fields {' '.join(sorted(wanted))}: {line}")
    proper = (
        all(isinstance(row[key], str) and row[key] for key in _TEXT_KEYS)
        and all(type(row[key]) is int and row[key] > 0 for key in _COUNT_KEYS)
        and all(type(row[key]) in (int, float) for key in _NUMBER_KEYS)
    )
    if not proper:
        raise RowError(f"a field has a value it cannot have: {line}")
    return row


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as aligned lines under a heading: the name to the left, numbers to the right."""
    cells = [_TITLES, *(tuple(_cell(row[key]) for key in _COLUMNS) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    return [
        "  ".join([line[0].ljust(widths[0]), *(line[n].rjust(widths[n]) for n in range(1, len(_COLUMNS)))])
        for line in cells
    ]


def _cell(value: str | int | float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def measure(found: qemu.Qemu, machine: qemu.Machine, limit_s: float, wanted: Sequence[str],
            as_json: bool) -> int:
    """Boots the kernel, prints its rows, and returns the exit code for the whole command.

    `wanted` are the patterns as they were typed; one that chose no row is an error.
    """
    collected = Rows()
    ended = process.run_lines(qemu.command(found.path, machine), limit_s, BannerFilter(collected.feed).feed)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    names = [str(row["name"]) for row in collected.rows]
    unmatched = [pattern for pattern in wanted
                 if not any(patterns.matches(name, patterns.widen(pattern)) for name in names)]
    if as_json:
        for row in collected.rows:
            print(json.dumps(row))
    elif collected.rows:
        print("\n".join(table(collected.rows)))
    sys.stdout.flush()

    code, complaint = 0, ""
    is_refused = ended.exit == 2 and any(line.startswith(_REFUSAL) for line in collected.rest)
    if ended.timed_out or ended.flooded:
        code, complaint = EXIT_TIME_LIMIT, f"the kernel was stopped after {ended.seconds:.0f} s"
    elif collected.panicked or ended.exit not in (0, 2) or is_refused or (ended.exit == 2 and not unmatched):
        code, complaint = ended.exit if ended.exit > 0 else 1, f"the kernel's exit code is {ended.exit}"
    elif collected.error:
        code, complaint = 1, str(collected.error)
    elif unmatched:
        build.say(f"no row matches {', '.join(repr(pattern) for pattern in unmatched)}")
        return 2
    elif not collected.rows:
        code, complaint = 1, "the kernel measured nothing"
    if code:
        for line in [*collected.rest, *ended.stderr]:
            print(f"    {line}", file=sys.stderr)
        build.say(complaint)
    return code


def command(parsed: argparse.Namespace) -> int:
    found = qemu.find()
    build.build()
    globs = [glob for pattern in parsed.patterns for glob in patterns.widen(pattern)]
    machine = qemu.Machine(
        kernel=build.kernel(parsed.page_size), harts=parsed.harts, mem=parsed.mem, cpu=parsed.cpu,
        icount=True, seed=parsed.seed,
        append=qemu.boot_arguments("bench", seed=parsed.seed, filters=globs, extra=parsed.append),
    )
    return measure(found, machine, parsed.timeout, parsed.patterns, parsed.json)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "bench", allow_abbrev=False,
        description="Counts the instructions that each of the allocators' operations retires. The counts "
                    "repeat exactly, on any machine.")
    parser.add_argument("patterns", nargs="*", type=options.pattern, metavar="PATTERN",
                        help="rows to measure: a name or its beginning (page.order0), or with * and ? "
                             "(default all)")
    options.add_machine(parser, default_page_size="4k", default_harts=1)
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a table")
    parser.add_argument("--timeout", type=options.seconds, default=300.0, metavar="S",
                        help="time limit (default 300)")
    parser.set_defaults(command=command, seed=_DEFAULT_SEED)
