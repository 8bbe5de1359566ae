#!/usr/bin/python3
# Tests of the test framework: each case of provoked_cases.c goes wrong in one way and has to be found out.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from run.emit import Report  # noqa: E402

TIME_LIMIT_S = 60


@dataclass(frozen=True)
class Provoked:
    """A case, the exit code of the run, and patterns that the output must hold."""

    name: str
    exit: int
    patterns: tuple[str, ...]


CASES = (
    Provoked("passes", 0, (r"^ok 1 - provoked_passes$", r"^1\.\.1$")),
    Provoked("fails_an_expectation", 1,
             (r"^# .*provoked_cases\.c:\d+: expected 1 \+ 1 == 3, found 2 .* and 3 ", r"^not ok 1 - ")),
    Provoked("leaves_at_require", 1, (r"^# .*: expected 1 > 2$", r"^not ok 1 - ")),
    Provoked("is_skipped", 0, (r"^ok 1 - provoked_is_skipped # SKIP for the sake of it$",)),
    Provoked("fails_often", 1, (r"^# more failures", r"^not ok 1 - ")),
    Provoked("fails_on_another_hart", 1, (r"expected index == 0, found [1-3] ", r"^not ok 1 - ")),
    Provoked("leaks_a_page", 1, (r"^# pages owned as raw: 0 before, 1 after$", r"given back", r"^not ok 1 - ")),
    Provoked("leaks_an_object", 1, (r"^# live objects: \d+ before, \d+ after$", r"given back", r"^not ok 1 - ")),
    Provoked("leaks_an_area", 1, (r"^# vmalloc areas: \d+ before, \d+ after$", r"^not ok 1 - ")),
    Provoked("misuses_in_secret", 1, (r"^# .*page misuse: freed twice", r"no misuse reports", r"^not ok 1 - ")),
    Provoked("expects_misuse_in_vain", 1, (r"expected 1 misuse reports of", r"^not ok 1 - ")),
    Provoked("leaves_damage", 1, (r"^# .*zones: DMA32: counts", r"expected no defects", r"^not ok 1 - ")),
    Provoked("panics", 3, (r"^# panic: .*assertion failed", r"^# in case provoked_panics$")),
    Provoked("faults", 3, (r"^# panic: unexpected fault: write of 0x", r"^# in case provoked_faults$")),
)

BAD_ARGUMENTS = ("seed", "seed=", "seed=x", "seed=-1", "harts=0", "harts=1000", "ram=1", "ram=0x80000000+1M",
                 "ram=0x80000000+64M,", "ram=0+1G,x", "ram=0x80000000+200G", "fliter=x", "")


def run(program: str, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIME_LIMIT_S, check=False)
    return done.returncode, done.stdout


def order_of(output: str) -> list[str]:
    return re.findall(r"^(?:not )?ok \d+ - (\w+)", output, re.MULTILINE)


def main() -> int:
    program = sys.argv[1]
    report = Report()
    for case in CASES:
        with report.case(f"ktest_{case.name}"):
            code, output = run(program, f"filter=provoked_{case.name}")
            report.check(code == case.exit, f"exit code {code}, expected {case.exit}")
            for pattern in case.patterns:
                report.check(re.search(pattern, output, re.MULTILINE) is not None, f"no {pattern!r} in:\n{output}")
    with report.case("ktest_seed_fixes_the_order"):
        names = "filter=provoked_passes,provoked_f*n,provoked_i*,provoked_e*,provoked_l*_at_*"
        first, again, other = (order_of(run(program, names, f"seed={seed}")[1]) for seed in (1, 1, 2))
        report.check(len(first) == 6, f"chosen: {first}")
        report.check(first == again, f"seed 1 gave {first}, then {again}")
        report.check(sorted(first) == sorted(other), f"seed 2 chose {other}")
        report.check(first != other, f"seeds 1 and 2 both gave {first}")
    with report.case("ktest_empty_choice_fails"):
        code, output = run(program, "filter=nothing_of_the_kind")
        report.check(code == 1 and "1..0" in output, f"exit code {code}:\n{output}")
    with report.case("host_refuses_bad_arguments"):
        for argument in BAD_ARGUMENTS:
            code, output = run(program, argument)
            report.check(code == 2, f"{argument!r}: exit code {code}:\n{output[:500]}")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
