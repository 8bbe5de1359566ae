# Runs one child program under a time limit and hands its output on line by line.
# SPDX-License-Identifier: BSD-2-Clause
"""A child can hang, flood, ignore SIGTERM or leave its pipe open in a grandchild; none of that hangs us."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, NoReturn

# A kernel that prints without end is a failure too, and must not fill the host's memory.
OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024

_POLL_S = 0.1
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Ended:
    """How a child ended. `exit` is its code, or -N after signal N; meaningless when a limit was hit."""

    exit: int
    timed_out: bool
    flooded: bool
    seconds: float
    stderr: tuple[str, ...]


def _die_with_parent() -> None:
    # A runner that is killed outright must not leave a QEMU spinning on the machine.
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Ends the child's whole process group at once: a guest can make QEMU deaf to SIGTERM."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    child.wait()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def run_lines(argv: Sequence[str], limit_s: float, on_line: Callable[[str], None], *,
              environment: Mapping[str, str] | None = None,
              stdin: int | IO[bytes] | None = subprocess.DEVNULL,
              output_limit: int = OUTPUT_LIMIT_BYTES) -> Ended:
    """Runs `argv` and calls `on_line` with each line of its standard output, without the line's end.

    A last line that has no end is handed on too, unless it is empty. Standard error is collected. The child
    is killed when `limit_s` seconds have passed, when it prints more than `output_limit` bytes, or when this
    call is left by an exception. Call it from the main thread: the child dies with the thread that starts it.
    Raises OSError when the program cannot be started.
    """
    started = time.monotonic()
    deadline = started + limit_s
    timed_out = flooded = False
    pending = b""
    total = 0
    with tempfile.TemporaryFile() as stderr:
        child = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, env=environment,
                                 process_group=0, preexec_fn=_die_with_parent)
        assert child.stdout is not None
        try:
            pipe = child.stdout.fileno()
            open_ended = True
            while open_ended and not (timed_out or flooded):
                ended = child.poll() is not None
                if select.select([pipe], [], [], _POLL_S)[0]:
                    chunk = os.read(pipe, 1 << 16)
                    open_ended = bool(chunk)
                    total += len(chunk)
                    flooded = total > output_limit
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in lines:
                        on_line(_text(line.removesuffix(b"\r")))
                elif ended:
                    open_ended = False
                timed_out = open_ended and time.monotonic() >= deadline
            if not (timed_out or flooded):
                try:
                    child.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    timed_out = True
        finally:
            if child.returncode is None:
                _kill(child)
            child.stdout.close()
        if pending.removesuffix(b"\r"):
            on_line(_text(pending.removesuffix(b"\r")))
        stderr.seek(0)
        errors = tuple(_text(line) for line in stderr.read(1 << 20).splitlines())
    return Ended(child.returncode, timed_out, flooded, time.monotonic() - started, errors)


def _leave(signal_number: int, _frame: object) -> NoReturn:
    sys.exit(128 + signal_number)


def leave_by_exception() -> None:
    """Makes SIGTERM and SIGHUP unwind the program as an exception does, so that children are ended."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, _leave)
