# The record a run leaves behind, from which `tools/quire test` counts and reports.
# SPDX-License-Identifier: BSD-2-Clause
"""One JSON file a run, in the directory that QUIRE_RESULTS names. No file: the run never got to its end."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from run.tap import Case, Fault

DIRECTORY_VARIABLE = "QUIRE_RESULTS"


@dataclass
class Result:
    """One run: its cases and faults, and enough to repeat it."""

    run: str
    command: list[str]
    config: dict[str, object]
    exit: int | None = None
    seconds: float = 0.0
    cases: list[Case] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    stderr: list[str] = field(default_factory=list)

    def count(self, *verdicts: str) -> int:
        """The number of cases with one of these verdicts."""
        return sum(case.verdict in verdicts for case in self.cases)

    @property
    def passed(self) -> int:
        return self.count("ok")

    @property
    def skipped(self) -> int:
        return self.count("skip")

    @property
    def failed(self) -> int:
        """Failed and missing cases, and each fault of the run as one more."""
        return self.count("not ok", "missing") + len(self.faults)


def _file(directory: Path, run: str) -> Path:
    return directory / (re.sub(r"[^A-Za-z0-9_.-]", "_", run) + ".json")


def save(result: Result) -> None:
    """Writes the record when QUIRE_RESULTS is set; the file appears whole or not at all."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    if not named:
        return
    target = _file(Path(named), result.run)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    partial.replace(target)


def load(directory: Path, run: str) -> Result | None:
    """Returns the record of a run, or None when there is none or it cannot be read."""
    try:
        plain = json.loads(_file(directory, run).read_text(encoding="utf-8"))
        plain["cases"] = [Case(**case) for case in plain["cases"]]
        plain["faults"] = [Fault(**fault) for fault in plain["faults"]]
        result = Result(**plain)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return result if result.run == run else None
