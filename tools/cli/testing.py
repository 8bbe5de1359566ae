# `tools/quire test`: builds, has Meson run the tests, and counts every case of every run.
# SPDX-License-Identifier: BSD-2-Clause
"""Meson knows which runs there are; each leaves a record (tools/run/result.py). A run without a record has
failed, however Meson judged it: a test that never got to its end must not vanish from the count.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cli import build, options
from run import cases, patterns, qemu, result, tap_run

# Long runs; they are asked for by name.
LONG_SUITES = ("stress", "soak")
_CONSOLE_LINES = 15


@dataclass(frozen=True)
class Planned:
    """A test that is registered in Meson. `run` is the name in its record; None without the test runner."""

    name: str
    suites: tuple[str, ...]
    run: str | None
    program: Path | None


@dataclass
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def planned_tests(directory: Path) -> list[Planned]:
    """All tests that are registered in a build directory. Raises BuildError."""
    answer = subprocess.run([build.MESON, "introspect", "--tests", str(directory)], stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, check=False)
    try:
        return [_planned(test) for test in json.loads(answer.stdout)]
    except ValueError as error:
        raise build.BuildError(f"meson introspect failed: {answer.stderr or answer.stdout}") from error


def _planned(test: dict[str, list[str]]) -> Planned:
    command = test["cmd"]
    run, program = None, None
    for n, word in enumerate(command[:-1]):
        if Path(word).name == "tap_run.py":
            try:
                parsed = tap_run.parse(command[n + 1:])
            except SystemExit:
                break
            run = parsed.name
            if parsed.expect_exit is None:
                program = parsed.kernel or (Path(parsed.host[0]) if parsed.host else None)
            break
    suites = tuple(suite.rpartition(":")[2] for suite in test["suite"])
    return Planned(str(test["name"]), suites, run, program)


def choose(tests: Sequence[Planned], suites: Sequence[str], wanted: Sequence[str]) -> list[Planned]:
    """The tests of the suites (without: all but the long ones) of which a pattern matches the name or a case.

    Raises UsageError when a suite does not exist or a pattern matches nothing.
    """
    known = sorted({suite for test in tests for suite in test.suites})
    for suite in suites:
        if suite not in known:
            raise options.UsageError(f"--suite '{suite}': there is no such suite, only {' '.join(known)}")
    if suites:
        chosen = [test for test in tests if set(test.suites) & set(suites)]
    else:
        chosen = [test for test in tests if not set(test.suites) & set(LONG_SUITES)]
    if not wanted:
        return chosen
    matched: set[str] = set()
    for pattern in wanted:
        found = {test.name for test in chosen if _matches(test, patterns.widen(pattern))}
        if not found:
            raise options.UsageError(f"pattern '{pattern}' matches no run and no case")
        matched |= found
    return [test for test in chosen if test.name in matched]


def _matches(test: Planned, globs: Sequence[str]) -> bool:
    if patterns.matches(test.run or test.name, globs):
        return True
    try:
        held = cases.names_in(test.program) if test.program else []
    except OSError:
        return False
    return any(patterns.matches(name, globs) for name in held)


def count(tests: Sequence[Planned], records: Path) -> tuple[Tally, list[str]]:
    """Counts the cases of the runs, and returns with them the lines that tell about each failure."""
    tally = Tally()
    report: list[str] = []
    sharers = Counter(test.run for test in tests)
    for test in tests:
        if test.run is None:
            report += [f"FAILED {test.name}: tools/run/tap_run.py does not run it, so its cases go uncounted"]
            tally.failed += 1
        elif sharers[test.run] > 1:
            report += [f"FAILED {test.name}: {sharers[test.run]} tests run under the name '{test.run}'"]
            tally.failed += 1
        elif (record := result.load(records, test.run)) is None:
            report += [f"FAILED {test.name}: it left no record, so it did not get to its end"]
            tally.failed += 1
        else:
            tally.passed += record.passed
            tally.skipped += record.skipped
            tally.failed += record.failed
            report += _details(record)
    return tally, report


def _details(record: result.Result) -> list[str]:
    if not record.failed:
        return []
    bad = [case for case in record.cases if case.verdict in ("not ok", "missing")]
    lines = ["", f"FAILED {record.run}: {record.failed} of {len(record.cases)} cases"]
    lines += [f"  {fault.kind}: {fault.text}" for fault in record.faults]
    for case in bad:
        lines += [f"  {'never reported' if case.verdict == 'missing' else 'not ok'}: {case.name}"]
        lines += [f"      {note}" for note in case.notes]
    console = [line for line in [*record.console, *record.stderr] if line.strip()]
    if console:
        lines += ["  the last lines of its output:"] + [f"    | {line}" for line in console[-_CONSOLE_LINES:]]
    if record.command:
        lines += ["  the same by hand:", f"    {shlex.join(record.command)}"]
    return lines


def _run(parsed: argparse.Namespace) -> tuple[Tally, list[str]]:
    qemu.find()
    build.build()
    chosen = choose(planned_tests(build.DIRECTORY), parsed.suite, parsed.patterns)
    globs = [glob for pattern in parsed.patterns for glob in patterns.widen(pattern)]
    records = build.DIRECTORY / "results"
    shutil.rmtree(records, ignore_errors=True)
    environment = os.environ | {
        result.DIRECTORY_VARIABLE: str(records),
        tap_run.FILTER_VARIABLE: ",".join(globs),
    }
    if parsed.seed is not None:
        environment[tap_run.SEED_VARIABLE] = str(parsed.seed)
    # The runner has a time limit of its own for each run, and tells more than Meson when it is reached.
    meson = [build.MESON, "test", "--no-rebuild", "--timeout-multiplier", "0",
             "--num-processes", str(os.cpu_count() or 1), *(test.name for test in chosen)]
    judged = 0
    if chosen:
        judged = subprocess.run(meson, cwd=build.DIRECTORY, env=environment, stdin=subprocess.DEVNULL,
                                check=False).returncode
    tally, report = count(chosen, records)
    if judged != 0 and tally.failed == 0:
        tally.failed += 1
        report.append(f"FAILED: meson test's exit code is {judged}, though no run has failed")
    return tally, report


def command(parsed: argparse.Namespace) -> int:
    try:
        tally, report = _run(parsed)
    except (build.BuildError, qemu.QemuError) as error:
        tally, report = Tally(failed=1), [f"FAILED: {error}"]
    for line in report:
        print(line)
    print(f"\n{tally}" if report else tally, flush=True)
    return 0 if tally.failed == 0 and tally.passed > 0 else 1


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "test", allow_abbrev=False,
        description="Builds everything and runs the tests; the last line counts the cases. Without --suite "
                    f"it runs all suites but {' and '.join(LONG_SUITES)}.")
    parser.add_argument("patterns", nargs="*", type=options.pattern, metavar="PATTERN",
                        help="runs or cases to run: a name or its beginning (buddy), or with * and ? "
                             "(default all)")
    parser.add_argument("--suite", action="append", default=[], metavar="S",
                        help="only this suite (repeatable)")
    parser.add_argument("--seed", type=options.seed, metavar="N", help="replays the order and draws of a run")
    parser.set_defaults(command=command)
