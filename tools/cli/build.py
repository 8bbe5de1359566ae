# `tools/quire build`: configures and compiles build/, and mends a build directory that is broken.
# SPDX-License-Identifier: BSD-2-Clause

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# By full path: PATH may name another Python's Meson first.
MESON = "/usr/bin/meson"
NINJA = "/usr/bin/ninja"

ROOT = Path(__file__).resolve().parents[2]
DIRECTORY = ROOT / "build"
CROSS_FILE = ROOT / "tools" / "cross" / "riscv64-unknown-elf.ini"


class BuildError(Exception):
    """The build failed; the text says how, and the tools have said the rest."""


def say(text: str) -> None:
    print(f"quire: {text}", file=sys.stderr, flush=True)


def kernel(page_size: str) -> Path:
    """The kernel of one page size, for example "8k". Raises BuildError when the build makes none."""
    path = DIRECTORY / f"quire-{page_size}.elf"
    if not path.is_file():
        raise BuildError(f"--page-size {page_size}: {DIRECTORY} is configured without it (option page_sizes)")
    return path


def _meson(*arguments: str) -> None:
    done = subprocess.run([MESON, *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        raise BuildError(f"meson {arguments[0]} failed (exit code {done.returncode})")


def _is_sound() -> bool:
    """Whether build/ was configured from these sources, to the end."""
    try:
        info = json.loads((DIRECTORY / "meson-info" / "meson-info.json").read_text(encoding="utf-8"))
        return (
            Path(info["directories"]["source"]) == ROOT
            and Path(info["directories"]["build"]) == DIRECTORY
            and (DIRECTORY / "build.ninja").is_file()
            and (DIRECTORY / "meson-private" / "coredata.dat").is_file()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _configure() -> None:
    setup = ["setup", DIRECTORY.name, "--cross-file", str(CROSS_FILE)]
    if not DIRECTORY.exists() or not any(DIRECTORY.iterdir()):
        say("configuring build/")
        _meson(*setup)
        return
    if not (DIRECTORY / "meson-private").is_dir():
        raise BuildError(f"{DIRECTORY} holds something that is no build directory: move it away")
    say("build/ is broken or from elsewhere: configuring it anew")
    try:
        # Keeps the options that were set in it.
        _meson(*setup, "--wipe")
    except BuildError:
        shutil.rmtree(DIRECTORY)
        _meson(*setup)


def _is_readable() -> bool:
    """Whether Meson can still read its own notes in build/: compiling fails strangely where it cannot."""
    return subprocess.run([MESON, "configure", DIRECTORY.name], cwd=ROOT, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


def _compile() -> int:
    # Ninja keeps one line up to date on a terminal; elsewhere it would print thousands. Standard output is
    # for what the command itself has to say, which another program may read.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    return subprocess.run([NINJA, *quiet], cwd=DIRECTORY, stdin=subprocess.DEVNULL, stdout=sys.stderr,
                          check=False).returncode


@contextmanager
def _alone() -> Iterator[None]:
    """Keeps a second command from building in the same directory at the same time."""
    root = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another command that is building")
            fcntl.flock(root, fcntl.LOCK_EX)
        yield
    finally:
        os.close(root)


def build() -> None:
    """Brings build/ up to date. Raises BuildError; what the compiler said has been shown by then."""
    started = time.monotonic()
    with _alone():
        if not _is_sound():
            _configure()
        if not sys.stderr.isatty():
            say("building")
        code = _compile()
        if code != 0 and not _is_readable():
            _configure()
            code = _compile()
    if code != 0:
        raise BuildError(f"the build failed (ninja's exit code {code})")
    if not sys.stderr.isatty():
        say(f"built in {time.monotonic() - started:.0f} s")


def command(_options: argparse.Namespace) -> int:
    build()
    return 0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "build", allow_abbrev=False,
        description="Configures build/ where that is needed and compiles everything.")
    parser.set_defaults(command=command)
