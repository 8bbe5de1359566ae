#!/usr/bin/python3
# Builds kernels with the other stack sizes, and runs every case and an overflow on each.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: stack_size_test.py"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from run import process, qemu  # noqa: E402
from run.emit import Report  # noqa: E402

CROSS_FILE = "tools/cross/riscv64-unknown-elf.ini"
KERNEL = "quire-4k.elf"
BUILD_LIMIT_S = 600.0
RUN_LIMIT_S = 200.0
HARTS = 4
EXIT_PANIC = 3


def build(folder: str, stack_kb: int) -> Path:
    """Builds one kernel in a scratch folder."""
    words = ["/usr/bin/meson", "setup", folder, "--cross-file", CROSS_FILE, "-Dpage_sizes=4k",
             f"-Dkernel_stack_kb={stack_kb}"]
    for command in (words, ["ninja", "-C", folder, KERNEL]):
        subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=BUILD_LIMIT_S,
                       check=True)
    return Path(folder) / KERNEL


def run(kernel: Path, append: str) -> tuple[process.Ended, list[str]]:
    """Boots the kernel; returns how QEMU ended and the console's lines."""
    machine = qemu.Machine(kernel, harts=HARTS, icount=True, seed=1, append=append)
    lines: list[str] = []
    return process.run_lines(qemu.command(qemu.find().path, machine), RUN_LIMIT_S, lines.append), lines


def check_cases(report: Report, kernel: Path) -> None:
    """Every case that the plan promises passes."""
    ended, lines = run(kernel, qemu.boot_arguments("test", extra="seed=1"))
    plan = [int(line[3:]) for line in lines if re.fullmatch(r"1\.\.\d+", line)]
    passed = sum(line.startswith("ok ") for line in lines)
    report.check(ended.exit == 0, f"exit code {ended.exit}")
    report.check(plan == [passed], f"{passed} cases passed, the plan is {plan}")
    for line in lines:
        report.check(not line.startswith("not ok"), line)


def check_overflow(report: Report, kernel: Path, stack_kb: int) -> None:
    """An overflow is told with that stack's size."""
    ended, lines = run(kernel, qemu.boot_arguments("shell", commands="crash overflow"))
    said = re.search(r"^panic: kernel stack overflow in thread init: \d+ bytes deep, the stack has (\d+)$",
                     "\n".join(lines), re.MULTILINE)
    report.check(ended.exit == EXIT_PANIC, f"exit code {ended.exit}, expected {EXIT_PANIC}")
    report.check(said is not None and int(said.group(1)) == stack_kb * 1024, "the overflow is not told")


def main() -> int:
    report = Report()
    for stack_kb in (8, 32):
        with tempfile.TemporaryDirectory() as folder:
            kernel = build(folder, stack_kb)
            with report.case(f"stack_of_{stack_kb}k_passes_every_case"):
                check_cases(report, kernel)
            with report.case(f"stack_of_{stack_kb}k_tells_its_overflow"):
                check_overflow(report, kernel, stack_kb)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
