#!/usr/bin/python3
# Tests of the kernel's last words: every way to break it is reported for what it is, and fails the machine.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: panic_test.py KERNEL"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from run import process, qemu  # noqa: E402
from run.emit import Report  # noqa: E402

EXIT_PANIC = 3
LIMIT_S = 30.0
HARTS = 3
OVERFLOW = r"(\d+) bytes deep, the stack has (\d+)$"


@dataclass(frozen=True)
class Crash:
    """A way to break the kernel, what the panic must say of it, and functions that its backtrace must name."""

    how: str
    says: str
    backtrace: tuple[str, ...]


CRASHES = (
    Crash("null", r"panic: write of a null pointer", ("crash_null", "crash_command", "shell_run_line")),
    Crash("rodata", r"panic: write of read-only memory", ("crash_rodata", "crash_command")),
    Crash("text-alias", r"panic: write of read-only memory", ("crash_text_alias", "crash_command")),
    Crash("exec-data", r"panic: execution of data", ("crash_exec_data", "crash_command")),
    Crash("freed-area", r"panic: write of the vmalloc area of \d+ bytes that crash_free_area\+0x[0-9a-f]+ freed "
          r"\(allocated by crash_allocate_area\+0x[0-9a-f]+\)", ("crash_freed_area",)),
    Crash("overrun-area", r"panic: write of the guard behind the vmalloc area of \d+ bytes at 0x[0-9a-f]+ "
          r"\(allocated by crash_overrun_area\+0x[0-9a-f]+\)", ("crash_overrun_area",)),
    Crash("no-area", r"panic: write of the vmalloc space, where nothing is mapped", ("crash_no_area",)),
    Crash("freed-pointer", r"panic: write of a pointer read from freed memory", ("crash_follow", "crash_command")),
    Crash("new-pointer", r"panic: write of a pointer read from memory that nobody has written", ("crash_follow",)),
    Crash("guard", r"panic: write of the guard below the stack 0x[0-9a-f]+ of thread neighbour",
          ("crash_guard", "crash_command")),
    Crash("guard-of-nobody", r"panic: write of the guard below the stack 0x[0-9a-f]+ of no thread",
          ("crash_guard_of_nobody", "crash_command")),
    Crash("user-address", r"panic: write of a user address", ("crash_user_address",)),
    Crash("illegal", r"panic: unexpected trap: (illegal instruction|breakpoint)", ("crash_illegal",)),
    Crash("assert", r"panic: assertion failed: not \(two \+ two == 4\), .*crash\.c:\d+", ("crash_assert",)),
    Crash("panic", r"panic: asked for, with the number 42", ("crash_panic", "crash_command")),
    Crash("overflow", rf"panic: kernel stack overflow in thread init: {OVERFLOW}", ("crash_overflow_deeper",)),
    Crash("overflow-interrupt", rf"panic: kernel stack overflow in thread \w+ in an interrupt: {OVERFLOW}",
          ("crash_overflow_deeper",)),
    Crash("overflow-bottom-half", rf"panic: kernel stack overflow in thread \w+ in a bottom half: {OVERFLOW}",
          ("crash_overflow_deeper",)),
)


@dataclass(frozen=True)
class LockUp:
    """A thread that locks up the last hart, what the panic must say of it, and a function of that hart's backtrace."""

    how: str
    says: str
    function: str
    thread: str
    last_hart: int = HARTS - 1


LOCK_UPS = (
    LockUp("deaf", rf"panic: watchdog: hart {HARTS - 1}, thread deaf, takes no interrupts since", "crash_deaf", "deaf"),
    # Whoever finds it first: the hart before it, or the one that waits.
    LockUp("deaf-lock", rf"panic: (watchdog: hart {HARTS - 1}, thread waiting, takes no interrupts since|"
           rf"hart {HARTS - 1} waits for the spin lock \w+ and does not get it)", "crash_deaf_lock", "waiting"),
    LockUp("endless", rf"panic: watchdog: thread endless on hart {HARTS - 1} runs since", "crash_endless", "endless"),
    LockUp("endless-atomic", rf"panic: watchdog: thread endless on hart {HARTS - 1} runs since",
           "crash_endless_atomic", "endless"),
)
DEADLOCK = LockUp("deadlock", r"panic: hart 0 waits for the spin lock \w+ and does not get it: word ", "crash_deadlock",
                  "init", 0)
# On two harts nobody but the one that waits is there to tell.
UNANSWERED_FLUSH = LockUp("unanswered-flush", r"panic: hart 0 waits since \d+ ms for a flush of \d+ bytes at "
                          r"0x[0-9a-f]+ \(protect\): no answer of hart 1$", "crash_deaf", "deaf", 1)


def boot(kernel: Path, how: str, icount: bool, harts: int = HARTS, watchdog: int = 0) -> tuple[process.Ended, str]:
    """Boots with the command that crashes; returns how QEMU ended and the console."""
    append = qemu.boot_arguments("shell", extra=f"watchdog={watchdog}" if watchdog else "", commands=f"crash {how}")
    return run_machine(qemu.Machine(kernel, harts=harts, icount=icount, seed=1, append=append))


def run_machine(machine: qemu.Machine) -> tuple[process.Ended, str]:
    """Returns how QEMU ended and the console."""
    lines: list[str] = []
    ended = process.run_lines(qemu.command(qemu.find().path, machine), LIMIT_S, lines.append)
    return ended, "\n".join(lines)


def check_crash(report: Report, crash: Crash, ended: process.Ended, console: str) -> None:
    """Checks the exit code, the reason, the backtrace, and that every other hart tells where it was."""
    report.check(not ended.timed_out, "the machine did not end")
    report.check(ended.exit == EXIT_PANIC, f"exit code {ended.exit}, expected {EXIT_PANIC}")
    report.check(re.search(crash.says, console, re.MULTILINE) is not None, f"the console does not say /{crash.says}/")
    _, _, told = console.partition("backtrace:")
    own, _, others = told.partition("\nhart 1")
    if OVERFLOW in crash.says:
        check_depth(report, console)
    for function in crash.backtrace:
        report.check(re.search(rf"\b{function} \+ 0x", own) is not None, f"the backtrace does not name {function}")
    report.check("sched_idle + 0x" in others, "hart 1 does not tell that it was idle")
    report.check("hart 2  idle:" in console, "hart 2 does not tell what it was doing")
    if not ended.exit == EXIT_PANIC:
        print("\n".join("# " + line for line in console.splitlines()[-40:]))


def check_depth(report: Report, console: str) -> None:
    """Checks that an overflow is told as a little deeper than the stack."""
    found = re.search(OVERFLOW, console, re.MULTILINE)
    if report.check(found is not None, "no depth is told"):
        depth, size = int(found.group(1)), int(found.group(2))
        report.check(size < depth < size + 1024, f"{depth} bytes deep on a stack of {size}")


def check_boot_overflow(report: Report, kernel: Path) -> None:
    """Overflows the stack that start-up runs on, before there are threads."""
    machine = qemu.Machine(kernel, harts=HARTS, icount=True, seed=1,
                           append=qemu.boot_arguments("shell", extra="crash_boot=overflow"))
    ended, console = run_machine(machine)
    report.check(ended.exit == EXIT_PANIC, f"exit code {ended.exit}, expected {EXIT_PANIC}")
    report.check("panic: kernel stack overflow in thread starting" in console, "the stack is not named")
    report.check("crash_overflow_deeper + 0x" in console, "the backtrace does not name crash_overflow_deeper")
    check_depth(report, console)


def told_by_hart(console: str, hart: int, thread: str) -> str:
    """The part of a panic's report that tells of one hart, empty if none does."""
    found = re.search(rf"^hart {hart}  {thread}\b.*?(?=^hart \d|\Z)", console, re.MULTILINE | re.DOTALL)
    return found.group(0) if found else ""


def check_lock_up(report: Report, lock_up: LockUp, ended: process.Ended, console: str, harts: int = HARTS) -> None:
    """Checks the exit code, the reason, the function in its hart's backtrace, and that every hart tells something."""
    report.check(not ended.timed_out, "the machine did not end")
    report.check(ended.exit == EXIT_PANIC, f"exit code {ended.exit}, expected {EXIT_PANIC}")
    report.check(re.search(lock_up.says, console, re.MULTILINE) is not None,
                 f"the console does not say /{lock_up.says}/")
    _, _, told = console.partition("\npanic: ")
    report.check(re.search(rf"\b{lock_up.function} \+ 0x", told_by_hart(told, lock_up.last_hart, lock_up.thread))
                 is not None, f"hart {lock_up.last_hart} does not name {lock_up.function}")
    for hart in range(harts):
        report.check(re.search(rf"^hart {hart}  \w", told, re.MULTILINE) is not None, f"nothing is told of hart {hart}")
    if not ended.exit == EXIT_PANIC:
        print("\n".join("# " + line for line in console.splitlines()[-40:]))


def main() -> int:
    report = Report()
    kernel = Path(sys.argv[1])
    for crash in CRASHES:
        with report.case(f"panic_tells_{crash.how.replace('-', '_')}"):
            check_crash(report, crash, *boot(kernel, crash.how, icount=True))
    with report.case("panic_tells_overflow_of_the_boot_stack"):
        check_boot_overflow(report, kernel)
    with report.case("panic_tells_overflow_on_another_hart"):
        ended, console = boot(kernel, "overflow-elsewhere", icount=True)
        report.check(ended.exit == EXIT_PANIC, f"exit code {ended.exit}, expected {EXIT_PANIC}")
        report.check("panic: kernel stack overflow in thread doomed" in console, "the thread is not named")
        report.check(f"hart {HARTS - 1}  doomed" in console, "the hart is not named")
        report.check("crash_overflow_deeper + 0x" in console, "the backtrace does not name crash_overflow_deeper")
        report.check("hart 0  idle:" in console, "hart 0 does not tell that it was idle")
    for lock_up in LOCK_UPS:
        with report.case(f"watchdog_tells_{lock_up.how.replace('-', '_')}"):
            check_lock_up(report, lock_up, *boot(kernel, lock_up.how, icount=True, watchdog=1))
    with report.case("watchdog_tells_deadlock_of_the_only_hart"):
        check_lock_up(report, DEADLOCK, *boot(kernel, "deadlock", icount=True, harts=1, watchdog=1), harts=1)
    with report.case("flush_tells_harts_that_do_not_answer"):
        check_lock_up(report, UNANSWERED_FLUSH, *boot(kernel, "unanswered-flush", icount=True, harts=2, watchdog=1),
                      harts=2)
    with report.case("watchdog_tells_deaf_with_harts_in_parallel"):
        check_lock_up(report, LOCK_UPS[0], *boot(kernel, "deaf", icount=False, watchdog=3))
    with report.case("panic_tells_with_harts_in_parallel"):
        check_crash(report, CRASHES[0], *boot(kernel, "null", icount=False))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
