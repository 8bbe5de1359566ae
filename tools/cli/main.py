#!/usr/bin/python3
# The Python part of tools/quire: reads the command line and does the subcommand.
# SPDX-License-Identifier: BSD-2-Clause

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from cli import bench, build, options, running, stress, study, testing  # noqa: E402
from run import process, qemu  # noqa: E402

EXIT_FAILED, EXIT_USAGE = 1, 2


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="tools/quire", allow_abbrev=False)
    subparsers = top.add_subparsers(dest="subcommand", required=True)
    for module in (build, testing, running, stress, bench):
        module.add_parser(subparsers)
    return top


def main(argv: list[str]) -> int:
    if argv[:1] == ["study"]:
        return study.command(argv[1:])
    commands = ""
    if argv[:1] == ["run"] and "--" in argv:
        split = argv.index("--")
        argv, commands = argv[:split], " ".join(argv[split + 1:])
    parsed = parser().parse_args(argv)
    if commands:
        parsed.commands = options.one_line(commands)
    code: int = parsed.command(parsed)
    return code


if __name__ == "__main__":
    process.leave_by_exception()
    # A kernel may print anything, and the terminal may not know every character.
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr.reconfigure(errors="backslashreplace")
    try:
        sys.exit(main(sys.argv[1:]))
    except (options.UsageError, argparse.ArgumentTypeError) as error:
        build.say(str(error))
        sys.exit(EXIT_USAGE)
    except (build.BuildError, qemu.QemuError) as error:
        build.say(str(error))
        sys.exit(EXIT_FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
