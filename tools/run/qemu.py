# The QEMU command line, in one place: every tool that boots a kernel builds it here.
# SPDX-License-Identifier: BSD-2-Clause
"""Finding QEMU and describing one run of a kernel.

A run is deterministic when `icount` is set and a `seed` is given: instructions drive the guest's clock,
sleeping harts skip ahead, and the firmware's rng-seed is fixed. Without `icount` each hart is a host thread.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "qemu-system-riscv64"
OLDEST = (7, 0)
PROGRAM_VARIABLE = "QUIRE_QEMU"

_VERSION = re.compile(r"QEMU emulator version (\d+)\.(\d+)[^\s,]*")
_VERSION_LIMIT_S = 20


class QemuError(Exception):
    """QEMU is missing, too old or does not answer; the text says which and what to do."""


@dataclass(frozen=True)
class Qemu:
    """A usable QEMU: the path of its binary and the version it reported, for example "7.2.22"."""

    path: str
    version: str


@dataclass(frozen=True)
class Machine:
    """One configuration of the board. `mem` is in QEMU's notation, for example "256M"."""

    kernel: Path
    harts: int = 1
    mem: str = "256M"
    cpu: str | None = None
    icount: bool = False
    seed: int | None = None
    append: str = ""
    initrd: Path | None = None
    dtb: Path | None = None
    extra: tuple[str, ...] = ()

    def record(self) -> dict[str, object]:
        """The configuration as plain values, to be stamped on a result."""
        return {
            "kernel": str(self.kernel),
            "harts": self.harts,
            "mem": self.mem,
            "cpu": self.cpu,
            "clock": "icount" if self.icount else "host",
            "seed": self.seed,
            "append": self.append,
            "initrd": str(self.initrd) if self.initrd else None,
            "dtb": str(self.dtb) if self.dtb else None,
        }


def find() -> Qemu:
    """Returns the QEMU to use: the one QUIRE_QEMU names, else the one on PATH. Raises QemuError."""
    named = os.environ.get(PROGRAM_VARIABLE)
    path = shutil.which(named or PROGRAM)
    if path is None:
        if named:
            raise QemuError(f"QEMU not found: {PROGRAM_VARIABLE}={named} names no program")
        raise QemuError(f"QEMU not found: no {PROGRAM} on PATH; Debian's package is qemu-system-misc")
    try:
        answer = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_VERSION_LIMIT_S, check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise QemuError(f"QEMU does not run: {path} --version: {error}") from error
    found = _VERSION.search(answer.stdout)
    if not found:
        said = (answer.stdout + answer.stderr).strip().splitlines()
        raise QemuError(f"QEMU tells no version: {path} --version said: {said[0] if said else 'nothing'}")
    version = found.group(0).rsplit(" ", 1)[1]
    if (int(found.group(1)), int(found.group(2))) < OLDEST:
        raise QemuError(
            f"QEMU too old: {path} is version {version}, and Quire needs {OLDEST[0]}.{OLDEST[1]} or newer"
        )
    return Qemu(path, version)


def command(program: str, machine: Machine) -> list[str]:
    """Returns the argument list that boots `machine` with the QEMU binary `program`."""
    argv = [
        program, "-M", "virt", "-m", machine.mem, "-smp", str(machine.harts),
        "-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot",
        "-kernel", str(machine.kernel),
    ]
    if machine.cpu:
        argv += ["-cpu", machine.cpu]
    if machine.icount:
        argv += ["-icount", "shift=0,sleep=off"]
    if machine.seed is not None:
        argv += ["-seed", str(machine.seed)]
    if machine.append:
        argv += ["-append", machine.append]
    if machine.initrd:
        argv += ["-initrd", str(machine.initrd)]
    if machine.dtb:
        argv += ["-dtb", str(machine.dtb)]
    return argv + list(machine.extra)


def selection(seed: int | None, filters: Sequence[str]) -> list[str]:
    """The words that fix the seed and choose cases or rows, for a kernel and a host test program alike."""
    return ([] if seed is None else [f"seed={seed}"]) + (["filter=" + ",".join(filters)] if filters else [])


def boot_arguments(mode: str, *, seed: int | None = None, filters: Sequence[str] = (), extra: str = "",
                   commands: str = "") -> str:
    """Joins the kernel's boot arguments. A `mode=` or `seed=` in `extra` wins over the one given here.

    `extra` may end in its own ` -- commands`; everything else goes before that.
    """
    given, separator, tail = f" {extra} ".partition(" -- ")
    words = given.split()
    named = {word.partition("=")[0] for word in words}
    line = [f"mode={mode}", *selection(seed, filters)]
    line = [word for word in line if word.partition("=")[0] not in named]
    line += words
    command_list = tail.strip() if separator else commands
    if command_list:
        line += ["--", command_list]
    return " ".join(line)
