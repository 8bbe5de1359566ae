# Runs a Python program in a fork of the test, which has its modules in memory.
# SPDX-License-Identifier: BSD-2-Clause
"""Starting Python and loading everything anew takes longer than most of what the tools' tests try. One run or more of
each program is still started as a user does it; see the tests."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Forked:
    """A program that runs. Its standard output and error are held in files; its standard input is empty."""

    def __init__(self, main: Callable[[], object], argv: Sequence[str], environment: Mapping[str, str], cwd: Path,
                 ) -> None:
        """Calls main() with these arguments (argv[0] is the program), only these variables, and in that folder. What it
        returns, or leaves by SystemExit with, is the exit code."""
        self._said = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._process = multiprocessing.get_context("fork").Process(
            target=self._run, args=(main, argv, environment, cwd))
        self._process.start()

    def _run(self, main: Callable[[], object], argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
        for place, file in enumerate(self._said, start=1):
            os.dup2(file.fileno(), place)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None     # TMPDIR may be another one
        os.chdir(cwd)
        sys.argv = list(argv)
        sys.exit(main())

    @property
    def returncode(self) -> int | None:
        """None while it runs, -N after signal N."""
        return self._process.exitcode

    @property
    def sentinel(self) -> int:
        """For multiprocessing.connection.wait: ready when the program has ended."""
        return self._process.sentinel

    def send_signal(self, number: int) -> None:
        pid = self._process.pid
        assert pid is not None
        os.kill(pid, number)

    def communicate(self, limit_s: float) -> tuple[str, str]:
        """Waits for the end; returns what was said on standard output and error. Kills it at the limit."""
        self._process.join(limit_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        said = []
        for file in self._said:
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
            file.close()
        return said[0], said[1]


def script(path: Path) -> Callable[[], object]:
    """What runs a Python file as a program."""
    return lambda: runpy.run_path(str(path), run_name="__main__")
