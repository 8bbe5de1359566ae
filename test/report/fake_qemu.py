#!/usr/bin/python3
# Stands in for QEMU in the study's tests: prints invented records of the trace it is given, or misbehaves.
# SPDX-License-Identifier: BSD-2-Clause
"""FAKE_QEMU names one way to misbehave, none by default. The kernel's name gives the page size, the initrd
the trace, the boot arguments the bound."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path[1:1] = [str(TOOLS / "study"), str(TOOLS)]

VERSION = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"
if sys.argv[1:] == ["--version"]:
    # Every study asks for it first: before the rest is loaded, which takes longer than the answer.
    print(VERSION)
    sys.exit(0)

import synthetic  # noqa: E402
import trace_import  # noqa: E402

FLOOD_BYTES = 40 << 20      # more than a study takes


def option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def given_trace(image: bytes) -> synthetic.Trace:
    fields = trace_import.HEADER.unpack_from(image)
    harts, _, _, events = fields[5:9]
    crc = int.from_bytes(image[-4:], "little")
    return synthetic.Trace(fields[4].rstrip(b"\0").decode(), f"{crc:08x}", harts, events,
                           fields[9 + len(trace_import.OPERATIONS) + 1])


def without_last_record(console: bytes) -> bytes:
    lines = console.split(b"\r\n")
    return b"\r\n".join(line for line in lines if b'"kind": "end"' not in line)


def broken(console: bytes, how: str) -> bytes:
    """The console of a run that went wrong in this way."""
    lines = console.split(b"\r\n")
    if how == "silent":
        return b""
    if how == "unfinished":
        return without_last_record(console)
    if how == "cut":
        return console[:len(console) // 2]
    if how == "altered":
        return console.replace(b'"count": ', b'"count": 1', 1)
    if how == "mixed":
        middle = len(lines) // 2
        lines[middle] = b"a warning from another hart " + lines[middle]
        return b"\r\n".join(lines)
    return console


def main() -> int:
    how = os.environ.get("FAKE_QEMU", "good")
    size = 1024 * int(re.search(r"quire-(\d+)k\.elf$", option("-kernel"))[1])
    bound = re.search(r"\bbound=(\w+)|\bonly=objects\b", option("-append"))[1]
    trace = given_trace(Path(option("-initrd")).read_bytes())
    if how == "other_trace":
        trace = synthetic.Trace("another", trace.crc, trace.harts, trace.events, trace.requested_peak)
    if how == "other_peak":
        trace = synthetic.Trace(trace.name, trace.crc, trace.harts, trace.events, trace.requested_peak + 4096)
    console = synthetic.console(synthetic.records(trace, bound, size) if bound else
                                synthetic.object_records(trace, size))
    sys.stdout.buffer.write(broken(console, how))
    if how == "flood":
        line = b"again " * 1000 + b"\r\n"
        sys.stdout.buffer.write(line * (FLOOD_BYTES // len(line)))
    sys.stdout.flush()
    if how in ("hang", "flood"):
        time.sleep(600)
    if how == "panic":
        print("Panic: \033[31mpage fault at 0x0")
    return {"panic": 3, "refused": 2}.get(how, 0)


if __name__ == "__main__":
    sys.exit(main())
