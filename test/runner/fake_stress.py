#!/usr/bin/python3
# Stands in for QEMU with a kernel in mode=stress: passes, or ends in the way that FAKE_STRESS names.
# SPDX-License-Identifier: BSD-2-Clause
"""FAKE_STRESS is "HOW" for every seed or "HOW:SEED" for one. FAKE_STRESS_LOG names a file for the command lines."""

from __future__ import annotations

import os
import sys
import time

VERSION = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"
BANNER = ("OpenSBI v1.1", "   ____", r"  / __ \_", "Platform Name             : riscv-virtio,qemu", "")
EXIT_CODES = {"failed": 1, "failed_well": 0, "panic": 3, "mute_panic": 3, "refused": 2, "passed_badly": 1}


def main() -> int:
    if sys.argv[1:] == ["--version"]:
        print(VERSION)
        return 0
    with open(os.environ["FAKE_STRESS_LOG"], "a", encoding="utf-8") as log:
        print(" ".join(sys.argv[1:]), file=log)
    append = sys.argv[sys.argv.index("-append") + 1]
    given = dict(word.partition("=")[::2] for word in append.split())
    how, _, only = os.environ.get("FAKE_STRESS", "").partition(":")
    if only not in ("", given["seed"]):
        how = ""

    print(*BANNER, "  Quire   8 KB pages", "  arguments  " + append, sep="\r\n", end="\r\n")
    if how == "refused":
        print("quire: cannot start: harts=64 is above 8")
        return 2
    for second in range(1, int(given["seconds"]) + 1):
        print(f"stress {second:4} s: {second * 100} operations (+100); failed: page 0")
    if how == "hang":
        sys.stdout.flush()
        time.sleep(600)
    if how == "unsteady":
        print(f"a clock says {time.monotonic_ns()}")
    if how == "killed":
        sys.stdout.flush()
        os.kill(os.getpid(), 9)
    if how == "panic":
        print("panic on hart 2: free list is corrupt\n  backtrace\n    buddy_free+0x10")
    elif how in ("failed", "failed_well"):
        print("stress: FAILED: the ledger holds 3 pages too many")
    elif how not in ("unfinished", "mute_panic"):
        seconds, seed = given["seconds"], int(given["seed"])
        print(f"stress: passed: {seconds}00 operations in {seconds} s, seed {seed}, harts 4, page size 8192; "
              f"failed requests: page 0; switches 5; digest 0x{seed * 0x1234567:016x}")
    if how == "talkative":
        print("one word more")
    return EXIT_CODES.get(how, 0)


if __name__ == "__main__":
    sys.exit(main())
