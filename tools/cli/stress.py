# `tools/quire stress`: boots a kernel that works all of its parts at once, and says how that ended.
# SPDX-License-Identifier: BSD-2-Clause
"""The kernel says a line `stress ...` each second and ends with `stress: passed: ...` or `stress: FAILED: why`.

Without --icount each hart is a host thread, and harts race as the host has it. With it one seed is one order
of all that happens, so a seed that failed fails again. --sweep tries many seeds, --repeat one seed many times.
"""

from __future__ import annotations

import argparse
import random
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from cli import build, options
from cli.running import EXIT_TIME_LIMIT, BannerFilter
from run import process, qemu, tap

DEFAULT_PAGE_SIZE = "8k"
DEFAULT_MINUTES, DEFAULT_MINUTES_OF_MANY = 1.0, 0.05
# Short slices of uneven length, so that threads are preempted everywhere.
ICOUNT_ARGUMENTS = ("slice_us=20", "jitter_us=30")
_OWN_OPTION = {"mode": "", "seed": ": use --seed", "seconds": ": use --minutes"}
_CONSOLE_LINES = 30
_BYTES_PER_SECOND = 4096

_LINE = re.compile(r"stress\b")
_PASSED = re.compile(r"stress: passed: (?P<operations>\d+) operations in .*\bdigest (?P<digest>0x[0-9a-fA-F]+)")
_FAILED = re.compile(r"stress: FAILED: (?P<why>.*)")


@dataclass(frozen=True)
class Outcome:
    """How one run ended. `code` is the exit code for it, `text` the verdict, `console` all that the kernel said."""

    code: int
    text: str
    console: list[str]


class Show:
    """Passes a console's lines on from the first one about stress, or from a panic; before is the boot report."""

    def __init__(self, write: Callable[[str], None]):
        self._write = write
        self.is_open = False

    def feed(self, line: str) -> None:
        self.is_open = self.is_open or _LINE.match(line) is not None or tap.is_panic(line)
        if self.is_open:
            self._write(line)


def limit_s(seconds: int, icount: bool) -> float:
    """The wall-clock limit of a run: under -icount a machine's second is 10^9 instructions, however long they take."""
    return (100.0 if icount else 5.0) * seconds + 120.0


def judge(console: Sequence[str], ended: process.Ended) -> tuple[int, str]:
    """The exit code for a run and its verdict in words. Only a kernel that says so and ends with 0 has passed."""
    said = [line for line in console if line.strip()]
    last = said[-1] if said else "nothing on the console"
    panic = next((line for line in said if tap.is_panic(line)), None)
    failed = next((found["why"] for line in said if (found := _FAILED.match(line))), None)
    passed = _PASSED.match(last)
    if panic or ended.exit == tap.EXIT_PANIC:
        return tap.EXIT_PANIC, f"FAILED: {panic or last}"
    if ended.timed_out:
        return EXIT_TIME_LIMIT, f"FAILED: no end within {ended.seconds:.0f} s; the last line: {last}"
    if ended.flooded:
        return 1, "FAILED: more on the console than any honest run has"
    if ended.exit < 0:
        return 128 - ended.exit, f"FAILED: QEMU died of signal {-ended.exit}"
    if ended.exit != 0:
        return ended.exit, f"FAILED: {failed or f'exit code {ended.exit}; the last line: {last}'}"
    if failed is not None or not passed:
        return 1, f"FAILED: {failed or f'exit code 0, but the last line is: {last}'}"
    return 0, f"passed, {passed['operations']} operations, digest {passed['digest']}"


def run(found: qemu.Qemu, machine: qemu.Machine, seconds: int, write: Callable[[str], None]) -> Outcome:
    """Boots the kernel, hands each line of its console to `write` except the firmware's banner, and judges the run."""
    console: list[str] = []

    def take(line: str) -> None:
        console.append(line)
        write(line)

    ended = process.run_lines(qemu.command(found.path, machine), limit_s(seconds, machine.icount),
                              BannerFilter(take).feed,
                              output_limit=process.OUTPUT_LIMIT_BYTES + _BYTES_PER_SECOND * seconds)
    for line in ended.stderr:
        print(line, file=sys.stderr)
    return Outcome(*judge(console, ended), console)


def _print(line: str) -> None:
    print(line, flush=True)


def _print_tail(outcome: Outcome) -> None:
    for line in outcome.console[-_CONSOLE_LINES:]:
        _print(f"    | {line}")


def replay(parsed: argparse.Namespace, seed: int) -> str:
    """The command that does one run again."""
    words = ["tools/quire", "stress", *(["--icount"] if parsed.icount else []), "--harts", str(parsed.harts),
             *(["--page-size", parsed.page_size] if parsed.page_size else []),
             *(["--checked"] if parsed.checked else []), "--mem", parsed.mem,
             *(["--cpu", parsed.cpu] if parsed.cpu else []),
             *(["--append", parsed.append] if parsed.append else []),
             "--minutes", f"{parsed.minutes:.10g}", "--seed", str(seed)]
    return shlex.join(words)


def once(found: qemu.Qemu, parsed: argparse.Namespace, machine: qemu.Machine) -> int:
    """One run, shown as it goes."""
    show = Show(_print)
    outcome = run(found, machine, parsed.seconds, show.feed)
    if outcome.code:
        if not show.is_open:
            _print_tail(outcome)
        build.say(outcome.text)
        build.say(f"the same again: {replay(parsed, parsed.seed)}")
    return outcome.code


def sweep(found: qemu.Qemu, parsed: argparse.Namespace, machine: qemu.Machine) -> int:
    """One run for each of many seeds, a line for each."""
    bad = []
    for seed in range(parsed.seed, parsed.seed + parsed.sweep):
        outcome = run(found, with_seed(machine, parsed, seed), parsed.seconds, lambda line: None)
        _print(f"seed {seed}: {outcome.text}")
        if outcome.code:
            bad.append(seed)
            _print_tail(outcome)
            _print(f"  the same again: {replay(parsed, seed)}")
    seeds = f": {' '.join(str(seed) for seed in bad)}" if bad else ""
    _print(f"{parsed.sweep} seeds: {parsed.sweep - len(bad)} passed, {len(bad)} failed{seeds}")
    return 1 if bad else 0


def repeat(found: qemu.Qemu, parsed: argparse.Namespace, machine: qemu.Machine) -> int:
    """One seed again and again; every console must be the same to the byte."""
    distinct: list[tuple[int, list[str]]] = []
    for n in range(1, parsed.repeat + 1):
        outcome = run(found, machine, parsed.seconds, lambda line: None)
        result = (outcome.code, outcome.console)
        if result not in distinct:
            distinct.append(result)
        _print(f"run {n}: result {distinct.index(result) + 1}: {outcome.text}")
        if outcome.code and result is distinct[-1]:
            _print_tail(outcome)
    _print(f"{parsed.repeat} runs of seed {parsed.seed}, distinct results: {len(distinct)}")
    code = distinct[0][0]
    if len(distinct) > 1:
        code = 1
        for line in difference(distinct[0][1], distinct[1][1]):
            _print(f"  {line}")
    if code:
        _print(f"  one of them again: {replay(parsed, parsed.seed)}")
    return code


def difference(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Where two consoles part, in words."""
    for n, (first, second) in enumerate(zip_longest(one, other, fillvalue="(nothing more)"), start=1):
        if first != second:
            return [f"they part in line {n} of the console:", f"  1: {first}", f"  2: {second}"]
    return []


def with_seed(machine: qemu.Machine, parsed: argparse.Namespace, seed: int) -> qemu.Machine:
    """The same machine for another seed, which goes to the kernel and to QEMU."""
    given = {word.partition("=")[0] for word in parsed.append.split()}
    words = [f"seconds={parsed.seconds}"]
    if machine.icount:
        words += [word for word in ICOUNT_ARGUMENTS if word.partition("=")[0] not in given]
    extra = " ".join([*words, parsed.append]).strip()
    return replace(machine, seed=seed, append=qemu.boot_arguments("stress", seed=seed, extra=extra))


def kernel(page_size: str | None, checked: bool) -> Path:
    """The kernel to boot. There is one checked kernel only; UsageError where it has another page size."""
    if not checked:
        return build.kernel(page_size or DEFAULT_PAGE_SIZE)
    found = {path.name.split("-")[1]: path for path in sorted(build.DIRECTORY.glob("quire-*-checked.elf"))}
    if not found:
        raise build.BuildError(f"--checked: {build.DIRECTORY} has no checked kernel")
    if page_size is None:
        return found.get(DEFAULT_PAGE_SIZE) or next(iter(found.values()))
    if page_size not in found:
        raise options.UsageError(f"--page-size '{page_size}': the only checked kernel has pages of {' '.join(found)}")
    return found[page_size]


def complete(parsed: argparse.Namespace) -> None:
    """Fills in what was not given. Raises UsageError for options that do not go together."""
    for word in parsed.append.split():
        name = word.partition("=")[0]
        if name in _OWN_OPTION:
            raise options.UsageError(f"--append '{word}': this is set here{_OWN_OPTION[name]}")
    is_many = bool(parsed.sweep or parsed.repeat)
    parsed.icount = parsed.icount or is_many
    if parsed.minutes is None:
        parsed.minutes = DEFAULT_MINUTES_OF_MANY if is_many else DEFAULT_MINUTES
    parsed.seconds = max(1, round(parsed.minutes * 60))
    if parsed.seed is None:
        parsed.seed = random.SystemRandom().randrange(1 << 32)
        build.say(f"seed {parsed.seed}")
    if parsed.sweep and parsed.seed + parsed.sweep > 1 << 64:
        raise options.UsageError(f"--sweep '{parsed.sweep}': from seed {parsed.seed} on there are not as many")


def command(parsed: argparse.Namespace) -> int:
    complete(parsed)
    found = qemu.find()
    build.build()
    machine = with_seed(
        qemu.Machine(kernel=kernel(parsed.page_size, parsed.checked), harts=parsed.harts, mem=parsed.mem,
                     cpu=parsed.cpu, icount=parsed.icount), parsed, parsed.seed)
    if parsed.sweep:
        return sweep(found, parsed, machine)
    if parsed.repeat:
        return repeat(found, parsed, machine)
    return once(found, parsed, machine)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "stress", allow_abbrev=False,
        description="Boots a kernel that works all of its parts at once on every hart, with a line a second, and "
                    "passes its verdict on: 0 passed, 1 failed, 3 panic, 124 no end within a generous time.")
    options.add_machine(parser, default_page_size=DEFAULT_PAGE_SIZE, default_harts=4)
    parser.add_argument("--minutes", type=options.minutes, metavar="M",
                        help=f"how long, in the machine's time; fractions too (default {DEFAULT_MINUTES:g}; "
                             f"{DEFAULT_MINUTES_OF_MANY:g} for each run of --sweep and --repeat)")
    parser.add_argument("--checked", action="store_true",
                        help="the checked kernel: rules of locking and sleeping, and all assertions")
    parser.add_argument("--icount", action="store_true",
                        help="time from instructions: one seed is one order of events "
                             f"(adds {' '.join(ICOUNT_ARGUMENTS)} where --append has no others)")
    many = parser.add_mutually_exclusive_group()
    many.add_argument("--sweep", type=options.at_least(1), metavar="N",
                      help="N seeds from --seed on, a line each, under --icount; says how to replay what failed")
    many.add_argument("--repeat", type=options.at_least(2), metavar="N",
                      help="the same seed N times under --icount: all consoles must be the same to the byte")
    parser.set_defaults(command=command, page_size=None)
