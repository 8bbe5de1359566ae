#!/usr/bin/python3
# The page-size study: replays kernel allocation traces at every page size, and writes tables and a report.
# SPDX-License-Identifier: BSD-2-Clause
"""What do 4, 8, 16 and 64 KB pages cost and save?

Boots a kernel for every trace, page size and bound, has it replay the trace on its own allocators, and
compares. The kernels must have been built. Exit code: 0 good, 1 a run failed, 2 bad input. A study that fails
leaves the report of the one before as it is."""

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(1, str(ROOT / "tools"))

import matrix  # noqa: E402
import objects  # noqa: E402
from cli import options as values  # noqa: E402
from matrix import InputError, MatrixError  # noqa: E402
from report.csvfiles import TABLES, csv_files  # noqa: E402
from report.measures import KIB, Study, StudyError  # noqa: E402
from report.records import BOUNDS  # noqa: E402
from report.terminal import tables  # noqa: E402
from run import process, qemu  # noqa: E402

TRACES = ROOT / "tools" / "study" / "traces"
SUFFIXES = (".trace.xz", ".trace")
OUT = ROOT / "report" / "page-size"
MEMORY = "2G"
RUN_LIMIT_S = 300.0
OBJECTS_OUT = ROOT / "report" / "objects"
FILES = {"index.html", "dictionary.csv", *(table.file for table in TABLES)}

# The table of workloads in the traces' README is for people first; the report quotes it.
_WORKLOAD = re.compile(r"^\| `([A-Za-z0-9_-]+)` \| ([^|]+?) \|", re.MULTILINE)


class Progress:
    """Says how far the study is: on a terminal in one line that changes, else in lines."""

    def __init__(self) -> None:
        self._rewrites = sys.stderr.isatty()

    def step(self, text: str) -> None:
        """Something that the next step may replace."""
        if self._rewrites:
            width = shutil.get_terminal_size().columns - 1
            print("\r\033[K" + text[:width], end="", file=sys.stderr, flush=True)
        else:
            print("study:", text, file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Something that stays."""
        self.clear()
        print("study:", text, file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._rewrites:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def known_traces() -> dict[str, Path]:
    """The project's own traces by name."""
    return {path.name.removesuffix(suffix): path
            for suffix in SUFFIXES for path in sorted(TRACES.glob("*" + suffix))}


def workloads() -> dict[str, str]:
    """What each of the project's traces was recorded from, for those that their README describes."""
    try:
        text = (TRACES / "README.md").read_text(encoding="utf-8")
    except OSError:
        return {}
    return {name: workload.replace("`", "") for name, workload in _WORKLOAD.findall(text)}


def chosen_traces(given: Sequence[str]) -> list[Path]:
    """The files of the traces given by name or path, by default all of the project's. Raises InputError."""
    known = known_traces()
    chosen: dict[str, Path] = {}
    for text in given or known:
        path = known.get(text, Path(text))
        if not path.is_file():
            raise InputError(f"trace {text!r} is no file, and none of the project's: {' '.join(known)}")
        name = path.name.split(".")[0]
        if name in chosen:
            raise InputError(f"trace {text!r}: there is already one of the name {name!r}")
        chosen[name] = path
    if not chosen:
        raise InputError(f"there is no trace in {TRACES.relative_to(ROOT)}/")
    return list(chosen.values())


def built_kernels(build: Path, names: Sequence[str]) -> dict[int, Path]:
    """The kernels of these page sizes, by page size in bytes. Raises InputError."""
    kernels = {int(name.removesuffix("k")) * KIB: build / f"quire-{name}.elf" for name in names}
    for kernel in kernels.values():
        if not kernel.is_file():
            raise InputError(f"kernel {kernel} is missing: `tools/quire build` makes it")
        matrix.compilers(kernel)
    return kernels


def check_replaceable(out: Path, names: set[str]) -> None:
    """Only what an earlier study wrote, files of these names, is ever replaced. Raises InputError."""
    if not out.exists():
        return
    foreign = sorted({path.name for path in out.iterdir()} - names) if out.is_dir() else [out.name]
    if foreign:
        raise InputError(f"--out {out} holds {foreign[0]!r}, which no study wrote: it is not replaced")


def report_files(study: Study) -> dict[str, str]:
    """The report, by names of files."""
    from report.page import html    # brings in what draws, and nobody should wait for that to learn of a typo

    return {**csv_files(study), "index.html": html(study)}


def write_report(files: dict[str, str], out: Path) -> None:
    """Writes all files beside `out` and puts them in its place at once."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        for name, text in files.items():
            (new / name).write_text(text, encoding="utf-8", newline="")
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def work_directory() -> Iterator[Path]:
    """Where converted traces and consoles are while the study runs."""
    with tempfile.TemporaryDirectory(prefix="quire-study-") as name:
        yield Path(name)


def make_setup(options: argparse.Namespace) -> matrix.Setup:
    """Raises InputError, QemuError."""
    kernels = built_kernels(options.build, options.page_sizes)
    return matrix.Setup(qemu.find(), kernels, options.mem, options.seed, options.jobs, options.timeout)


def run_objects(options: argparse.Namespace, progress: Progress) -> list[objects.Row]:
    """The study of objects alone. Raises InputError, MatrixError, QemuError."""
    traces = chosen_traces(options.traces)
    check_replaceable(options.out, {objects.CSV_FILE})
    setup = make_setup(options)
    with work_directory() as work:
        progress.step(f"converting {len(traces)} traces")
        images = matrix.convert(traces, workloads(), work, options.jobs, progress.say)
        return objects.run_objects(setup, images, traces, work, progress.step)


def run_study(options: argparse.Namespace, progress: Progress) -> Study:
    """Everything up to the report. Raises InputError, MatrixError, StudyError, QemuError."""
    traces = chosen_traces(options.traces)
    check_replaceable(options.out, FILES)
    setup = make_setup(options)
    kernels = setup.kernels
    with work_directory() as work:
        progress.step(f"converting {len(traces)} traces")
        images = matrix.convert(traces, workloads(), work, options.jobs, progress.say)
        cells = matrix.cells(images, sorted(kernels), list(dict.fromkeys(options.bounds)))
        progress.step(f"0 of {len(cells)} runs")
        runs, firmware = matrix.run_matrix(setup, cells, work, progress.step)
    return Study(runs, [image.source for image in images], matrix.stamp(setup, runs, firmware))


def show_choices(build: Path) -> None:
    described = workloads()
    print("traces:")
    for name, path in known_traces().items():
        print(f"  {name:10} {path.stat().st_size // KIB:6,} KiB  {described.get(name, '')}"[:110].rstrip())
    print("page sizes:")
    for name in values.PAGE_SIZES:
        print(f"  {name:10} {'built' if (build / f'quire-{name}.elf').is_file() else 'not built'}")
    print(f"bounds:\n  {' '.join(BOUNDS)}")


def count_of_jobs(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 1 to 999")
    return int(text)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/quire study", description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--traces", nargs="+", default=[], metavar="TRACE",
        help="names (see --list) or files of ftrace text, plain or .xz (default: all of the project's)")
    add("--page-sizes", nargs="+", type=values.page_size, default=list(values.PAGE_SIZES), metavar="SIZE",
        help=f"of {' '.join(values.PAGE_SIZES)} (default all); the others are compared with the smallest")
    add("--bounds", nargs="+", choices=BOUNDS, default=list(BOUNDS),
        help="how 4 KB requests become larger pages: each its own, or neighbours packed (default both)")
    add("--objects", action="store_true",
        help="objects alone: what they hold above the floor of their sizes, beside Linux's SLUB (a model)")
    add("--mem", type=values.memory, default=MEMORY, metavar="SIZE",
        help=f"RAM of every run (default {MEMORY})")
    add("--jobs", type=count_of_jobs, default=len(os.sched_getaffinity(0)), metavar="N",
        help="runs at a time (default: one for each core)")
    add("--seed", type=values.seed, default=1, metavar="N", help="fixes everything drawn by lot (default 1)")
    add("--timeout", type=values.seconds, default=RUN_LIMIT_S, metavar="S",
        help=f"seconds that one run may take (default {RUN_LIMIT_S:g})")
    add("--out", type=Path, metavar="DIR",
        help=f"where the report goes (default {OUT.relative_to(ROOT)}, or {OBJECTS_OUT.relative_to(ROOT)})")
    add("--build", type=Path, default=ROOT / "build", metavar="DIR",
        help="where the kernels are (default build)")
    add("--list", action="store_true", help="only list traces, page sizes and bounds")
    options = parser.parse_args(argv)
    options.out = (options.out or (OBJECTS_OUT if options.objects else OUT)).resolve()
    return options


def main() -> int:
    options = parse()
    if options.list:
        show_choices(options.build)
        return 0
    process.leave_by_exception()
    progress = Progress()
    try:
        if options.objects:
            rows = run_objects(options, progress)
            shown, files = objects.table(rows), {objects.CSV_FILE: objects.csv_text(rows)}
        else:
            study = run_study(options, progress)
            progress.step("writing the report")
            shown, files = tables(study), report_files(study)
        write_report(files, options.out)
        progress.clear()
    except (InputError, qemu.QemuError) as error:
        progress.say(str(error))
        return 2
    except (MatrixError, StudyError, OSError) as error:
        progress.say(str(error))
        return 1
    except KeyboardInterrupt:
        progress.say("interrupted")
        return 130
    try:
        print(shown, end="", flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    relative = os.path.relpath(options.out)
    shown_file = objects.CSV_FILE if options.objects else "index.html"
    progress.say(f"the report is {options.out if relative.startswith('..') else relative}/{shown_file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
