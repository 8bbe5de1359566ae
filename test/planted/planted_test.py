#!/usr/bin/python3
# Tests which mode finds which planted bug: boots the kernel in each, and compares the table with the one that is kept.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: planted_test.py KERNEL [--write]

A cell is the number of reports of that bug in that mode, "." where nobody noticed. The kernel itself judges whether the
modes that must find a bug do (planted.bugs_are_found); here every cell is held against table.txt, so that a mode which
finds more or less than before is seen. With --write the table is written instead.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from run import process, qemu  # noqa: E402
from run.emit import Report  # noqa: E402

TABLE = Path(__file__).with_name("table.txt")
LIMIT_S = 60.0
HEAD = ("# Reports of each planted bug in each mode; made by planted_test.py KERNEL --write",
        "# SPDX-License-Identifier: BSD-2-Clause")
OBJECTS = "planted*,kmalloc*"
MODES = {
    "default": "",
    "cheap": "slab_check=cheap",
    "none": "objects=none",
    "F": f"slab_debug=F,{OBJECTS}",
    "Z": f"slab_debug=Z,{OBJECTS}",
    "P": f"slab_debug=P,{OBJECTS}",
    "U": f"slab_debug=U,{OBJECTS}",
    "FZPU": f"slab_debug=FZPU,{OBJECTS}",
    "G1": f"slab_debug=G1,{OBJECTS}",
    "init": "init_on_alloc=1 init_on_free=1",
}
REFUSED = ("Q", "F,", "G", "G0", "G1000001")
LINE = re.compile(r"# planted: (.+): (\d+)$")
LEAST_BUGS = 50


def boot(kernel: Path, extra: str) -> tuple[dict[str, int], list[str]]:
    """The reports by bug in one mode, and the console."""
    machine = qemu.Machine(kernel, harts=4, icount=True, seed=1,
                           append=qemu.boot_arguments("test", seed=1, filters=["planted*"], extra=extra))
    lines: list[str] = []
    ended = process.run_lines(qemu.command(qemu.find().path, machine), LIMIT_S, lines.append)
    found = {match[1]: int(match[2]) for match in map(LINE.match, map(str.rstrip, lines)) if match}
    assert not ended.timed_out and ended.exit == 0, "\n".join(lines[-30:])
    return found, lines


def check_refused(report: Report, kernel: Path, setting: str) -> None:
    """A setting that means nothing ends the boot, and what is said names it."""
    machine = qemu.Machine(kernel, append=qemu.boot_arguments("shell", extra=f"slab_debug={setting}"))
    lines: list[str] = []
    ended = process.run_lines(qemu.command(qemu.find().path, machine), LIMIT_S, lines.append)
    report.check(not ended.timed_out and ended.exit not in (0, 3), f"{setting}: exit {ended.exit}")
    report.check(any(f'boot argument slab_debug: "{setting}": ' in line for line in lines), f"{setting}: not named")


def table_of(by_mode: dict[str, dict[str, int]]) -> str:
    bugs = list(by_mode["default"])
    width = max(map(len, bugs))
    rows = list(HEAD)
    rows.append(" ".join([f"{'bug':{width}}", *(f"{mode:>4}" for mode in by_mode)]))
    for bug in bugs:
        cells = (f"{found.get(bug, '?') or '.':>{max(4, len(mode))}}" for mode, found in by_mode.items())
        rows.append(" ".join([f"{bug:{width}}", *cells]))
    return "\n".join(rows) + "\n"


def main() -> int:
    kernel = Path(sys.argv[1])
    report = Report()
    by_mode: dict[str, dict[str, int]] = {}
    for mode, extra in MODES.items():
        with report.case(f"planted_{mode}"):
            by_mode[mode], lines = boot(kernel, extra)
            report.check(len(by_mode[mode]) >= LEAST_BUGS, f"{len(by_mode[mode])} bugs")
            report.check(any("ok 1 - planted_bugs_are_found" in line for line in lines), "the case did not run")
    with report.case("planted_settings_that_mean_nothing_are_refused"):
        for setting in REFUSED:
            check_refused(report, kernel, setting)
    if len(by_mode) < len(MODES):
        return report.finish()
    table = table_of(by_mode)
    if "--write" in sys.argv[2:]:
        TABLE.write_text(table, encoding="utf-8")
    for row in table.splitlines():
        print(f"# {row}")
    kept = TABLE.read_text(encoding="utf-8")
    with report.case("planted_table_is_the_one_that_is_kept"):
        for row, expected in zip(table.splitlines(), kept.splitlines(), strict=True):
            report.check(row == expected, f"is   {row}\nkept {expected}")
    with report.case("planted_every_bug_is_found_by_a_mode"):
        for bug in by_mode["default"]:
            report.check(any(found[bug] for found in by_mode.values()), f"{bug}: nobody finds it")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
