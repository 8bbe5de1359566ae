# For check scripts: states each check as a TAP case on standard output.
# SPDX-License-Identifier: BSD-2-Clause
"""Usage:

    report = Report()
    with report.case("tools.every_folder_has_a_readme"):
        for folder in folders:
            report.check((folder / "README.md").exists(), f"{folder} has none")
    sys.exit(report.finish())
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Skip(Exception):
    """Raised inside a case that cannot be tried here; the text says why."""


class Report:
    """Prints a case when its block ends: failed if a check failed in it or an exception left it."""

    def __init__(self, write: Callable[[str], None] = lambda line: print(line, flush=True)):
        self._write = write
        self._count = 0
        self._failed = 0
        self._complaints: list[str] = []
        write("TAP version 14")

    def check(self, holds: bool, complaint: str) -> bool:
        """Notes the complaint when the condition does not hold; returns the condition."""
        if not holds:
            self._complaints.append(complaint)
        return holds

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """One case around a block of checks."""
        self._complaints = []
        why = None
        try:
            yield
        except Skip as skip:
            why = str(skip)
        except Exception:
            self._complaints += traceback.format_exc().splitlines()
        self._count += 1
        for complaint in self._complaints:
            for line in complaint.splitlines():
                self._write(f"# {line}")
        if self._complaints:
            self._failed += 1
            self._write(f"not ok {self._count} - {name}")
        else:
            self._write(f"ok {self._count} - {name}" + (f" # SKIP {why}" if why is not None else ""))

    def finish(self) -> int:
        """Prints the plan; returns the script's exit code."""
        self._write(f"1..{self._count}")
        return 1 if self._failed else 0
