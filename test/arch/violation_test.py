#!/usr/bin/python3
# Tests of a checked kernel's last words: a broken rule ends the machine, and is told with who broke it.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: violation_test.py CHECKED-KERNEL"""

from __future__ import annotations

import sys
from pathlib import Path

from panic_test import HARTS, LockUp, boot, check_lock_up
from run.emit import Report

VIOLATIONS = (
    LockUp("sleep-atomic", r"panic: violation: sleeping in preemption disabled, with the lock TEST_INNER held",
           "crash_sleep_atomic", "init", 0),
    LockUp("lock-inversion", r"panic: violation: lock order: TEST_OUTER \w+ is taken while TEST_INNER \w+ is held",
           "crash_lock_inversion", "init", 0),
    LockUp("irq-lock", r"panic: violation: lock TEST_INNER \w+ is for process context only, and taken in an interrupt",
           "crash_take_in_interrupt", "idle", HARTS - 1),
    LockUp("deadlock", r"panic: violation: lock order: TEST_IRQ_OUTER \w+ is taken while TEST_IRQ_OUTER \w+ is held",
           "crash_deadlock", "init", 0),
)


def main() -> int:
    report = Report()
    kernel = Path(sys.argv[1])
    for violation in VIOLATIONS:
        with report.case(f"violation_tells_{violation.how.replace('-', '_')}"):
            check_lock_up(report, violation, *boot(kernel, violation.how, icount=True))
    with report.case("violation_tells_with_harts_in_parallel"):
        check_lock_up(report, VIOLATIONS[0], *boot(kernel, VIOLATIONS[0].how, icount=False))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
