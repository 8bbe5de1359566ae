#!/usr/bin/python3
# Tests that configuring without the cross file, or with an option out of range, is refused with what to do.
# SPDX-License-Identifier: BSD-2-Clause

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from run.emit import Report  # noqa: E402

CROSS_FILE = "tools/cross/riscv64-unknown-elf.ini"
LIMIT_S = 60.0
BAD_OPTIONS = {
    "page_sizes": "page_sizes=12k", "kernel_stack_kb": "kernel_stack_kb=12", "max_harts": "max_harts=65",
    "assert_tier": "assert_tier=9", "log_level": "log_level=loud",
}


def configure(*words: str) -> tuple[int, str]:
    """Configures into a scratch folder; returns Meson's exit code and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        ended = subprocess.run(["/usr/bin/meson", "setup", folder, *words], cwd=ROOT, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def main() -> int:
    report = Report()
    with report.case("configure_without_cross_file_names_the_command"):
        code, said = configure()
        report.check(code != 0, "Meson accepts it")
        report.check(f"meson setup build --cross-file {CROSS_FILE}" in said, "the command is not named")
    for name, option in BAD_OPTIONS.items():
        with report.case(f"configure_refuses_{name}"):
            code, said = configure("--cross-file", CROSS_FILE, f"-D{option}")
            report.check(code != 0, "Meson accepts it")
            # Meson words the message, and names the value.
            report.check(option.partition("=")[2] in said.partition("ERROR:")[2], f"the value is not named: {said}")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
