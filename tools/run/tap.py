# Reads the TAP that a kernel, a host test program or a check script prints, and judges the run.
# SPDX-License-Identifier: BSD-2-Clause
"""What is read:

    boot report ...              anything, up to the header (kernels only)
    TAP version 14
    1..N                         once, first or last
    ok K - name                  K counts 1, 2, 3 ...
    not ok K - name
    ok K - name # SKIP why
    # anything                   belongs to the case after it

Every other line after the header is garbage. A run is trusted only when the stream, the exit code and the
list of cases agree with each other; each disagreement is a Fault, and a run with a fault has failed whatever
its cases say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from run.process import OUTPUT_LIMIT_BYTES, Ended

HEADER = "TAP version 14"
EXIT_OK, EXIT_FAILED, EXIT_PANIC = 0, 1, 3

_HEADER = re.compile(r"TAP version 1[34]")
_PLAN = re.compile(r"1\.\.(\d+)")
_CASE = re.compile(
    r"(?P<not>not )?ok (?P<number>\d+) - (?P<name>[^#]*[^#\s])(?P<skip> # SKIP(?: (?P<why>.*))?)?"
)
_PANIC = re.compile(r"(# )?(\[[^]]*\] *)?(kernel )?panic( on hart \d+)?:", re.IGNORECASE)
TAIL_LINES = 40


@dataclass
class Case:
    """One test case. `verdict` is "ok", "not ok", "skip" or "missing"; `notes` are the lines before it."""

    name: str
    verdict: str
    why: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """A reason not to trust the run: a short kind such as "panic", and a sentence with the facts."""

    kind: str
    text: str


def is_panic(line: str) -> bool:
    """Whether the line is the first one of a kernel's panic: `panic: why` or `panic on hart N: why`."""
    return _PANIC.match(line) is not None


class Stream:
    """Collects the cases of one run, fed a line at a time."""

    def __init__(self, has_boot_report: bool, on_note: Callable[[str], None],
                 on_case: Callable[[Case], None]):
        """With `has_boot_report` all before the header is let pass; otherwise the header may be absent."""
        self.started = not has_boot_report
        self.plan: int | None = None
        self.cases: list[Case] = []
        self.garbage: list[str] = []
        self.disorder: list[str] = []
        self.duplicates: list[str] = []
        self.panic: str | None = None
        self.tail: list[str] = []
        self._header_seen = False
        self._first_line = True
        self._names: set[str] = set()
        self._notes: list[str] = []
        self._on_note = on_note
        self._on_case = on_case

    def feed(self, line: str) -> None:
        """Takes in one line of the console, without its end."""
        self.tail = [*self.tail[1 - TAIL_LINES:], line]
        first, self._first_line = self._first_line, False
        if self.panic is None and is_panic(line):
            self.panic = line
        if _HEADER.fullmatch(line) and not self._header_seen and (first or not self.started):
            self.started = self._header_seen = True
        elif self.started:
            self._feed_tap(line)

    def _feed_tap(self, line: str) -> None:
        if line == "#" or line.startswith("# "):
            self._notes.append(line[2:])
            self._on_note(line[2:])
        elif (found := _PLAN.fullmatch(line)) and self.plan is None:
            self.plan = int(found.group(1))
        elif found := _CASE.fullmatch(line):
            self._take_case(found)
        else:
            self.garbage.append(line)
            self._notes.append(f"console: {line}")
            self._on_note(f"console: {line}")

    def _take_case(self, found: re.Match[str]) -> None:
        name, number = found.group("name"), int(found.group("number"))
        if number != len(self.cases) + len(self.duplicates) + 1:
            self.disorder.append(f"{number} - {name}")
        verdict = "not ok" if found.group("not") else "skip" if found.group("skip") else "ok"
        notes, self._notes = self._notes, []
        if name in self._names:
            self.duplicates.append(name)
            return
        self._names.add(name)
        case = Case(name, verdict, found.group("why") or "", notes)
        self.cases.append(case)
        self._on_case(case)

    def add_missing(self, expected: Collection[str] | None) -> list[Case]:
        """Appends a "missing" case for each one that had to report and did not; returns these."""
        missing = [Case(name, "missing") for name in expected or () if name not in self._names]
        total = len(self.cases) + len(self.duplicates) + len(missing)
        missing += [Case(f"case {number} of the plan", "missing")
                    for number in range(total + 1, (self.plan or 0) + 1)]
        for case in missing:
            self.cases.append(case)
            self._on_case(case)
        return missing


def judge(stream: Stream, ended: Ended, expected: Collection[str] | None) -> list[Fault]:
    """Compares what a run printed with how it ended and with the names that had to report.

    `expected` is None where the names are not known; the plan alone counts then. Call before add_missing().
    """
    planned = stream.plan if stream.plan is not None else len(expected or ())
    ending = _judge_end(stream, ended, planned)
    return [
        *ending,
        *_judge_plan(stream, ended, expected),
        *_judge_names(stream, expected, cut_short=bool(ending)),
        *_judge_lines(stream),
    ]


def _judge_end(stream: Stream, ended: Ended, planned: int) -> list[Fault]:
    so_far = f"{len(stream.cases)} of {planned or 'unknown'} cases reported"
    if ended.flooded:
        return [Fault("flood", f"more than {OUTPUT_LIMIT_BYTES >> 20} MB on the console; {so_far}")]
    if stream.panic is not None:
        ending = "the time limit" if ended.timed_out else f"exit code {ended.exit}"
        return [Fault("panic", f"{ending}; {so_far}; {stream.panic}")]
    if ended.timed_out and not stream.started:
        return [Fault("silence", f"no line '{HEADER}' within {ended.seconds:.1f} s; {_last(stream)}")]
    if ended.timed_out:
        return [Fault("hang", f"no end within {ended.seconds:.1f} s; {so_far}; {_last(stream)}")]
    if ended.exit < 0:
        return [Fault("killed", f"the program died of signal {-ended.exit}; {so_far}")]
    if ended.exit == EXIT_PANIC:
        return [Fault("panic", f"exit code {ended.exit}; {so_far}; {_last(stream)}")]
    if not stream.started or not (stream.cases or stream.garbage or stream.plan is not None):
        return [Fault("silence", f"exit code {ended.exit} without a line of TAP; {_last(stream)}")]
    if len(stream.cases) + len(stream.duplicates) < planned:
        return [Fault("early-exit", f"exit code {ended.exit} before the plan was complete; {so_far}")]
    failed = any(case.verdict == "not ok" for case in stream.cases)
    proper = EXIT_FAILED if failed else EXIT_OK
    if ended.exit != proper:
        says = "a case says not ok" if failed else "no case says not ok"
        return [Fault("exit-code", f"exit code {ended.exit} although {says} (that is {proper})")]
    return []


def _judge_plan(stream: Stream, ended: Ended, expected: Collection[str] | None) -> list[Fault]:
    if not stream.started:
        return []
    if stream.plan is None:
        return [] if ended.timed_out or not stream.cases else [Fault("plan", "no plan line 1..N")]
    if stream.plan == 0:
        return [Fault("plan", "the plan is 1..0: no case was run")]
    if len(stream.cases) > stream.plan:
        return [Fault("plan", f"the plan is 1..{stream.plan}, and {len(stream.cases)} cases reported")]
    if expected is not None and stream.plan != len(expected):
        held = len(expected)
        return [Fault("plan", f"the plan is 1..{stream.plan}, and the program holds {held} cases to run")]
    return []


def _judge_names(stream: Stream, expected: Collection[str] | None, cut_short: bool) -> list[Fault]:
    if expected is None:
        return []
    faults = []
    reported = {case.name for case in stream.cases}
    missing = [name for name in expected if name not in reported]
    unknown = [case.name for case in stream.cases if case.name not in expected]
    if missing and not cut_short:
        faults.append(Fault("missing", f"{len(missing)} cases never reported: {_list(missing)}"))
    if unknown:
        faults.append(Fault("unknown", f"cases the program does not hold: {_list(unknown)}"))
    return faults


def _judge_lines(stream: Stream) -> list[Fault]:
    faults = []
    if stream.duplicates:
        faults.append(Fault("duplicate", f"reported more than once: {_list(stream.duplicates)}"))
    if stream.disorder:
        faults.append(Fault("order", f"case numbers out of order: {_list(stream.disorder)}"))
    if stream.garbage and stream.panic is None:
        count = len(stream.garbage)
        faults.append(Fault("garbage", f"{count} lines that are not TAP, the first: {stream.garbage[0]!r}"))
    return faults


def _last(stream: Stream) -> str:
    lines = [line for line in stream.tail if line.strip()]
    return f"last line: {lines[-1]!r}" if lines else "nothing at all on the console"


def _list(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
