# The options that several subcommands share, and what counts as a proper value for each.
# SPDX-License-Identifier: BSD-2-Clause

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from run import patterns

PAGE_SIZES = ("4k", "8k", "16k", "64k")
MOST_HARTS = 64
MOST_MINUTES = 24 * 60
LEAST_MEMORY_M, MOST_MEMORY_M = 64, 16 * 1024

_MEMORY = re.compile(r"(\d{1,9})([MmGg])")
_CPU = re.compile(r"[A-Za-z0-9_.,=-]+")


class UsageError(Exception):
    """The command line is no good for a reason that shows late; the text names the option and the value."""


def page_size(text: str) -> str:
    if text.lower() not in PAGE_SIZES:
        raise argparse.ArgumentTypeError(f"'{text}' is none of {' '.join(PAGE_SIZES)}")
    return text.lower()


def harts(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MOST_HARTS:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 to {MOST_HARTS}")
    return int(text)


def memory(text: str) -> str:
    found = _MEMORY.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is no size such as 256M or 2G")
    size_m = int(found.group(1)) * (1024 if found.group(2) in "Gg" else 1)
    if not LEAST_MEMORY_M <= size_m <= MOST_MEMORY_M:
        raise argparse.ArgumentTypeError(
            f"'{text}' is not from {LEAST_MEMORY_M}M to {MOST_MEMORY_M // 1024}G")
    return text.upper()


def seed(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 1 << 64:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 to 2^64 - 1")
    return int(text)


def seconds(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of seconds above 0")
    return float(text)


def minutes(text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text) or not 0 < float(text) <= MOST_MINUTES:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of minutes above 0 and up to {MOST_MINUTES}")
    return float(text)


def at_least(least: int) -> Callable[[str], int]:
    """What reads a whole number that is not below `least`."""
    def count(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {least} to 999999")
        return int(text)
    return count


def cpu(text: str) -> str:
    if not _CPU.fullmatch(text):
        raise argparse.ArgumentTypeError(f"'{text}' is no CPU such as rv64,svnapot=on")
    return text


def one_line(text: str) -> str:
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not one line of printable text")
    return text


def pattern(text: str) -> str:
    try:
        patterns.widen(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def add_machine(parser: argparse.ArgumentParser, default_page_size: str, default_harts: int) -> None:
    """Adds the options that choose a kernel and the board it runs on."""
    add = parser.add_argument
    add("--page-size", type=page_size, default=default_page_size, metavar="SIZE",
        help=f"kernel page size: {' '.join(PAGE_SIZES)} (default {default_page_size})")
    add("--harts", type=harts, default=default_harts, metavar="N",
        help=f"number of harts, 1 to {MOST_HARTS} (default {default_harts})")
    add("--mem", type=memory, default="256M", metavar="SIZE",
        help=f"RAM, {LEAST_MEMORY_M}M to {MOST_MEMORY_M // 1024}G (default 256M)")
    add("--cpu", type=cpu, metavar="CPU", help="QEMU's -cpu, for example rv64,svnapot=on")
    add("--append", type=one_line, default="", metavar="ARGS",
        help="more boot arguments, for example 'log=debug'")
    add("--seed", type=seed, metavar="N", help="fixes everything that is drawn by lot")
