# `tools/quire run`: boots a kernel to its console, or has it do some console commands.
# SPDX-License-Identifier: BSD-2-Clause

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable

from cli import build, options
from run import process, qemu

EXIT_TIME_LIMIT = 124

_LAST_COMMAND = "poweroff"


class BannerFilter:
    """Passes a console's lines on without OpenSBI's banner.

    The banner is the line "OpenSBI vX.Y", its drawing, and lines of which the key is 26 columns wide; all
    else belongs to the kernel. Where the first line is not OpenSBI's, nothing is held back.
    """

    _OPENING = re.compile(r"OpenSBI v\d")
    _DRAWING = re.compile(r"[ _/\\|\-()<>.,`']*")
    _KEY = re.compile(r"[A-Z].{25}: ")

    def __init__(self, write: Callable[[str], None]):
        self._write = write
        self._state = "before"

    def feed(self, line: str) -> None:
        if self._state == "before" and line.strip():
            self._state = "banner" if self._OPENING.match(line) else "kernel"
            if self._state == "banner":
                return
        if self._state == "banner" and not self._DRAWING.fullmatch(line) and not self._KEY.match(line):
            self._state = "kernel"
        if self._state == "kernel":
            self._write(line)


def with_poweroff(commands: str) -> str:
    """The list of commands, ended by one that ends the run."""
    listed = [command.strip() for command in commands.split(";") if command.strip()]
    if not listed or listed[-1].split()[0] != _LAST_COMMAND:
        listed.append(_LAST_COMMAND)
    return "; ".join(listed)


def _write(line: str) -> None:
    print(line, flush=True)


def boot(found: qemu.Qemu, machine: qemu.Machine, limit_s: float, stdin: int | None) -> int:
    """Boots a kernel without a terminal, shows its console, and returns its exit code or EXIT_TIME_LIMIT."""
    console = BannerFilter(_write)
    ended = process.run_lines(qemu.command(found.path, machine), limit_s, console.feed, stdin=stdin)
    for line in ended.stderr:
        print(line, file=sys.stderr)
    if ended.timed_out:
        build.say(f"the kernel did not end within {limit_s:g} s and was stopped")
        return EXIT_TIME_LIMIT
    if ended.flooded:
        build.say(f"the kernel printed more than {process.OUTPUT_LIMIT_BYTES >> 20} MB and was stopped")
        return 1
    return ended.exit if ended.exit >= 0 else 128 - ended.exit


def command(parsed: argparse.Namespace) -> int:
    if parsed.commands and " -- " in f" {parsed.append} ":
        raise options.UsageError(f"--append '{parsed.append}' has console commands, and -- has more of them")
    found = qemu.find()
    build.build()
    commands = with_poweroff(parsed.commands) if parsed.commands else ""
    machine = qemu.Machine(
        kernel=build.kernel(parsed.page_size), harts=parsed.harts, mem=parsed.mem, cpu=parsed.cpu,
        icount=parsed.icount, seed=parsed.seed,
        append=qemu.boot_arguments("shell", seed=parsed.seed, extra=parsed.append, commands=commands),
    )
    if commands:
        return boot(found, machine, parsed.timeout, subprocess.DEVNULL)
    if not sys.stdin.isatty():
        return boot(found, machine, parsed.timeout, None)
    build.say("booting; `poweroff` ends the kernel, Ctrl-C ends QEMU")
    argv = qemu.command(found.path, machine)
    os.execv(argv[0], argv)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "run", allow_abbrev=False, usage="tools/quire run [OPTION...] [-- 'COMMAND; COMMAND...']",
        description="Boots a kernel to its console on this terminal. With commands after -- it does these "
                    "without a terminal, powers off and passes the kernel's exit code on: 0 good, "
                    "1 a command failed, 2 bad input, 3 panic.")
    options.add_machine(parser, default_page_size="8k", default_harts=4)
    parser.add_argument("--icount", action="store_true",
                        help="time from instructions: the same run every time")
    parser.add_argument("--timeout", type=options.seconds, default=120.0, metavar="S",
                        help="time limit where there is no terminal (default 120)")
    parser.set_defaults(command=command, commands="")
