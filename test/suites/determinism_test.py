#!/usr/bin/python3
# Tests that a run under -icount repeats to the instruction, and that the seed is what changes it.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: determinism_test.py KERNEL"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from run import process, qemu  # noqa: E402
from run.emit import Report  # noqa: E402

LIMIT_S = 80.0
STRESS_RUNS = 3
CASES = "hart_*,thread_*,tlb_*,slab_*,buddy_*"


def console(kernel: Path, seed: int, mode: str, filters: str, extra: str = "") -> str:
    """The whole console of one run with four harts, which must end by itself."""
    machine = qemu.Machine(kernel, harts=4, icount=True, seed=seed,
                           append=qemu.boot_arguments(mode, seed=seed, filters=[filters], extra=extra))
    lines: list[str] = []
    ended = process.run_lines(qemu.command(qemu.find().path, machine), LIMIT_S, lines.append)
    assert not ended.timed_out and ended.exit == 0, "\n".join(lines[-20:])
    return "\n".join(lines)


def stress(kernel: Path, seed: int) -> str:
    """The whole console of a stress run, in which threads are preempted after uneven slices."""
    return console(kernel, seed, "stress", "*", "seconds=1 slice_us=20 jitter_us=30")


def digest(text: str) -> str:
    """What the last line of a stress run makes of all that happened in it."""
    return text.splitlines()[-1].rpartition("digest ")[2]


def main() -> int:
    report = Report()
    kernel = Path(sys.argv[1])
    first = console(kernel, 1, "test", CASES)
    with report.case("determinism_tests_repeat_with_the_seed"):
        report.check(console(kernel, 1, "test", CASES) == first, "two runs of one seed differ")
    with report.case("determinism_tests_differ_with_another_seed"):
        report.check(console(kernel, 2, "test", CASES) != first, "another seed gives the same order")
    with report.case("determinism_benchmarks_repeat"):
        rows = [console(kernel, 1, "bench", "page.order*,kmalloc.const.*,bench.*") for _ in range(2)]
        report.check(rows[0] == rows[1], "two runs count different instructions")
        report.check('"bench.empty"' in rows[0] and '"min": 0, "p50": 0' in rows[0], "an empty operation is not 0")
    with report.case("determinism_stress_repeats_with_the_seed"):
        stressed = [stress(kernel, 1) for _ in range(STRESS_RUNS)]
        report.check("stress: passed: " in stressed[0], stressed[0])
        report.check(len(set(stressed)) == 1, f"{len(set(stressed))} consoles of {STRESS_RUNS} runs of one seed")
    with report.case("determinism_stress_differs_with_another_seed"):
        one, other = digest(stressed[0]), digest(stress(kernel, 2))
        report.check(one.startswith("0x") and other.startswith("0x"), f"digests {one!r} and {other!r}")
        report.check(one != other, f"two seeds have the digest {one}")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
