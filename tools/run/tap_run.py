#!/usr/bin/python3
# The test runner: one kernel, host program or check script in one configuration, and an honest verdict.
# SPDX-License-Identifier: BSD-2-Clause
"""Runs one thing, prints clean TAP and exits 0 when it passed, 1 when it failed.

    tap_run.py --name NAME [options] --kernel ELF          boot a kernel in mode=test and read its TAP
    tap_run.py --name NAME [options] --kernel ELF --expect-exit N [--expect-text RE]...
                                                           boot it and expect that end and those lines
    tap_run.py --name NAME [--timeout S] --host PROGRAM [ARG...]     a native test program that prints TAP
    tap_run.py --name NAME [--timeout S] --script PROGRAM [ARG...]   a check script that prints TAP

From the environment: QUIRE_QEMU (the QEMU binary), QUIRE_RESULTS (where the record goes), QUIRE_SEED (wins
over --seed), QUIRE_FILTER (globs with commas: only the cases they match run, or all where they match NAME; wins
over --filter).
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from run import cases, process, qemu, result, tap  # noqa: E402
from run.patterns import matches  # noqa: E402

FILTER_VARIABLE = "QUIRE_FILTER"
SEED_VARIABLE = "QUIRE_SEED"
_OWN_VARIABLES = (FILTER_VARIABLE, SEED_VARIABLE, result.DIRECTORY_VARIABLE)
_UNPRINTABLE = re.compile(r"[^ -~]")
_INTERPRETERS = {".py": sys.executable, ".sh": "/bin/sh"}


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; exits with 2 on a bad one."""
    parser = argparse.ArgumentParser(prog="tap_run.py", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True, help="the run's name, unique in the project")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="time limit in seconds (60)")
    parser.add_argument("--seed", type=int, help="fixes the order of the cases and the firmware's rng-seed")
    parser.add_argument("--filter", default="", metavar="GLOBS", help="globs with commas: only the cases they match")
    kernel = parser.add_argument_group("kernels")
    kernel.add_argument("--harts", type=int, default=1)
    kernel.add_argument("--mem", default="256M")
    kernel.add_argument("--cpu", help="QEMU's -cpu, for example rv64,svnapot=on")
    kernel.add_argument("--icount", action="store_true",
                        help="time from instructions: deterministic, one host thread")
    kernel.add_argument("--append", default="", help="more boot arguments")
    kernel.add_argument("--initrd", type=Path)
    kernel.add_argument("--dtb", type=Path, help="this device tree instead of the board's own")
    kernel.add_argument("--expect-exit", type=int, metavar="N", help="expect no TAP but this exit code")
    kernel.add_argument("--expect-text", action="append", default=[], metavar="RE",
                        help="with --expect-exit: a line of the console that must match (repeatable)")
    what = parser.add_argument_group("what to run (one)").add_mutually_exclusive_group(required=True)
    what.add_argument("--kernel", type=Path, metavar="ELF")
    what.add_argument("--host", nargs=argparse.REMAINDER, metavar="PROGRAM")
    what.add_argument("--script", nargs=argparse.REMAINDER, metavar="PROGRAM")
    options = parser.parse_args(argv)
    if options.host == [] or options.script == []:
        parser.error("--host and --script want a program")
    if options.expect_text and options.expect_exit is None:
        parser.error("--expect-text needs --expect-exit")
    if options.expect_exit is not None and options.kernel is None:
        parser.error("--expect-exit needs --kernel")
    return options


class Printer:
    """Writes the verdicts as TAP, numbered anew, with the plan at the end when all of it is known."""

    def __init__(self) -> None:
        self.count = 0
        self.line(tap.HEADER)

    def line(self, text: str) -> None:
        print(_UNPRINTABLE.sub(lambda found: ascii(found.group())[1:-1], text), flush=True)

    def note(self, text: str) -> None:
        self.line(f"# {text}".rstrip())

    def case(self, case: tap.Case) -> None:
        self.count += 1
        if case.verdict == "missing":
            self.note(f"{case.name} never reported")
        sign = "ok" if case.verdict in ("ok", "skip") else "not ok"
        skip = f" # SKIP {case.why}".rstrip() if case.verdict == "skip" else ""
        self.line(f"{sign} {self.count} - {case.name}{skip}")

    def fault(self, fault: tap.Fault) -> None:
        self.count += 1
        self.note(f"{fault.kind}: {fault.text}")
        self.line(f"not ok {self.count} - run.{fault.kind}")

    def finish(self) -> None:
        self.line(f"1..{self.count}")


def run(options: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> result.Result:
    """Does the run, prints its TAP and returns its record."""
    if environment.get(SEED_VARIABLE):
        options.seed = int(environment[SEED_VARIABLE])
    filters = [glob for glob in environment.get(FILTER_VARIABLE, "").split(",") if glob]
    if not filters or matches(options.name, filters):
        filters = [glob for glob in options.filter.split(",") if glob]
    if options.expect_exit is not None:
        filters = []
    record = result.Result(run=options.name, command=[], config={})
    printer = Printer()
    try:
        record.command, record.config = _command(options, filters)
    except qemu.QemuError as error:
        record.faults = [tap.Fault("qemu", str(error))]
    try:
        if options.expect_exit is not None:
            _run_expecting_an_end(options, record, printer)
        else:
            _run_tap(options, filters, record, printer, environment)
    except OSError as error:
        record.faults.append(tap.Fault("start", f"cannot be run: {error}"))
    for fault in record.faults:
        printer.fault(fault)
    if record.failed:
        for line in record.stderr:
            printer.note(f"stderr: {line}")
        printer.note(f"command: {shlex.join(record.command)}")
    printer.finish()
    return record


def _command(options: argparse.Namespace, filters: list[str]) -> tuple[list[str], dict[str, object]]:
    if options.kernel is None:
        program, *arguments = options.host or options.script
        interpreter = _INTERPRETERS.get(Path(program).suffix) if options.script else None
        if options.host:
            arguments += qemu.selection(options.seed, filters)
        command = [*([interpreter] if interpreter else []), program, *arguments]
        return command, {"program": program, "arguments": arguments, "seed": options.seed}
    found = qemu.find()
    machine = qemu.Machine(
        kernel=options.kernel, harts=options.harts, mem=options.mem, cpu=options.cpu, icount=options.icount,
        seed=options.seed, initrd=options.initrd, dtb=options.dtb,
        append=qemu.boot_arguments("test", seed=options.seed, filters=filters, extra=options.append),
    )
    return qemu.command(found.path, machine), machine.record() | {"qemu": found.version}


def _expected_names(options: argparse.Namespace, filters: list[str]) -> list[str] | None:
    """The cases that must report, or None where only the plan can tell: a script, a stripped program."""
    if options.script:
        return None
    names = cases.names_in(options.kernel or Path(options.host[0]))
    if not names and options.host:
        return None
    return [name for name in names if not filters or matches(name, filters)]


def _run_tap(options: argparse.Namespace, filters: list[str], record: result.Result, printer: Printer,
             environment: Mapping[str, str]) -> None:
    expected = _expected_names(options, filters)
    if expected == []:
        wanted = f" that match {','.join(filters)}" if filters else ""
        record.faults.append(tap.Fault("no-cases", f"the program holds no symbols {cases.PREFIX}*{wanted}"))
    stream = tap.Stream(options.kernel is not None, printer.note, printer.case)
    if not record.faults:
        inner = {name: value for name, value in environment.items() if name not in _OWN_VARIABLES}
        ended = process.run_lines(record.command, options.timeout, stream.feed, environment=inner)
        record.faults += tap.judge(stream, ended, expected)
        _take_end(record, ended)
    stream.add_missing(expected)
    record.cases, record.console = stream.cases, stream.tail


def _run_expecting_an_end(options: argparse.Namespace, record: result.Result, printer: Printer) -> None:
    console: list[str] = []
    case = tap.Case(f"{options.name}.exit_{options.expect_exit}", "not ok")
    if not record.faults:
        ended = process.run_lines(record.command, options.timeout, console.append)
        _take_end(record, ended)
        case.notes = _unmet(options, console, ended)
        case.verdict = "not ok" if case.notes else "ok"
        for note in case.notes:
            printer.note(note)
    if case.verdict != "ok":
        for line in console[-tap.TAIL_LINES:]:
            printer.note(f"console: {line}")
    printer.case(case)
    record.cases, record.console = [case], console[-tap.TAIL_LINES:]


def _unmet(options: argparse.Namespace, console: list[str], ended: process.Ended) -> list[str]:
    if ended.flooded:
        return [f"more than {process.OUTPUT_LIMIT_BYTES >> 20} MB on the console"]
    if ended.timed_out:
        return [f"no end within {ended.seconds:.1f} s"]
    unmet = []
    if ended.exit != options.expect_exit:
        unmet.append(f"exit code {ended.exit}, expected {options.expect_exit}")
    panics = [line for line in console if tap.is_panic(line)]
    if panics and options.expect_exit != tap.EXIT_PANIC:
        unmet.append(f"unexpected {panics[0]}")
    unmet += [f"no line of the console matches {text!r}" for text in options.expect_text
              if not any(re.search(text, line) for line in console)]
    return unmet


def _take_end(record: result.Result, ended: process.Ended) -> None:
    record.exit = None if ended.timed_out or ended.flooded else ended.exit
    record.seconds = round(ended.seconds, 3)
    record.stderr = list(ended.stderr[-tap.TAIL_LINES:])


def main() -> int:
    process.leave_by_exception()
    record = run(parse())
    result.save(record)
    return 1 if record.failed else 0


if __name__ == "__main__":
    sys.exit(main())
