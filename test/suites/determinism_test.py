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
CASES = "hart_*,thread_*,tlb_*,slab_*,buddy_*"


def console(kernel: Path, seed: int, mode: str, filters: str) -> str:
    """The whole console of one run with four harts, which must end by itself."""
    machine = qemu.Machine(kernel, harts=4, icount=True, seed=seed,
                           append=qemu.boot_arguments(mode, seed=seed, filters=[filters]))
    lines: list[str] = []
    ended = process.run_lines(qemu.command(qemu.find().path, machine), LIMIT_S, lines.append)
    assert not ended.timed_out and ended.exit == 0, "\n".join(lines[-20:])
    return "\n".join(lines)


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
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
