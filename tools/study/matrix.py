# The runs of the study: traces are converted, and a kernel is booted for every cell of the matrix.
# SPDX-License-Identifier: BSD-2-Clause

import json
import platform
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Callable, Iterable, Sequence

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from jobs import Ended, Job, run_all
from report.measures import Stamp, TraceSource, size_name
from report.records import Config, RecordError, Run, read_run
from run import qemu
from trace_layers import LEFT_OUT

CONVERTER = Path(__file__).resolve().parent / "trace_import.py"
CONVERSION_LIMIT_S = 120
OBJECTS = "objects"               # of a cell: objects alone, in no bound
_TAIL_LINES = 20
_SHOWN_COLUMNS = 160
_EXIT_MEANINGS = {
    "its exit code is 1": "a test or a command failed", "its exit code is 2": "it refused its input",
    "its exit code is 3": "it panicked, or memory did not come back",
}
_PRODUCER = re.compile(rb"(?:GNU \w+|GCC:(?: \([^)]*\))?) [0-9][0-9A-Za-z.]*|\w+ version [0-9][0-9A-Za-z.]*")
_OPENSBI = re.compile(rb"^OpenSBI (v[0-9A-Za-z.+-]{1,40})\r?$", re.MULTILINE)

Say = Callable[[str], None]


class MatrixError(Exception):
    """A conversion or a run failed; the text names it, says how, and shows the end of what it printed."""


class InputError(Exception):
    """What was given cannot be used; the text names the thing and the value."""


@dataclass(frozen=True)
class Setup:
    """What all runs have in common."""
    qemu: qemu.Qemu
    kernels: dict[int, Path]        # by page size in bytes
    mem: str
    seed: int
    at_once: int
    limit_s: float


@dataclass(frozen=True)
class Image:
    """A converted trace: what the kernel is given, and the converter's account of it."""
    source: TraceSource
    path: Path
    crc: str
    harts: int
    events: int
    requested_peak: int


@dataclass(frozen=True)
class Cell:
    """One run to be made."""
    image: Image
    page_size: int
    bound: str                      # or OBJECTS

    @property
    def name(self) -> str:
        return f"{self.image.source.name}, {size_name(self.page_size)} pages, {self.bound}"

    @property
    def arguments(self) -> str:
        """What the kernel is told of the run."""
        return "only=objects" if self.bound == OBJECTS else f"bound={self.bound}"


def _printable(text: bytes) -> str:
    return "".join(c if c.isprintable() or c == "\t" else "?" for c in text.decode("utf-8", "replace"))


def _excerpt(lines: Sequence[bytes], first: int) -> list[str]:
    """Lines as they may be shown on a terminal, numbered from `first`."""
    shown = [_printable(line) for line in lines]
    return [f"{number:6} | {line[:_SHOWN_COLUMNS]}{'...' if len(line) > _SHOWN_COLUMNS else ''}"
            for number, line in enumerate(shown, first)]


def failure(job: Job, complaint: str, line: int = 0) -> MatrixError:
    """What went wrong with a job and what it printed: around the line to blame, else at the end."""
    text = [f"{job.name}: {complaint}"]
    for path, what in ((job.output, "console"), (job.errors, "standard error")):
        printed = path.read_bytes().split(b"\n")
        end = line + 2 if line and path == job.output else len(printed)
        start = max(0, end - (6 if line else _TAIL_LINES))
        if any(printed):
            text += [f"its {what}, lines {start + 1} to {min(end, len(printed))}:"]
            text += _excerpt(printed[start:end], start + 1)
    return MatrixError("\n".join(text if len(text) > 1 else [*text, "it printed nothing"]))


def _image(job: Job, path: Path, workload: str) -> Image:
    """What the converter said, as an Image. It is ours, but a missing field must not end in a traceback."""
    try:
        said = json.loads(job.output.read_bytes())
        left_out = tuple((LEFT_OUT[key], said["left_out"][key]) for key in LEFT_OUT if said["left_out"][key])
        warnings = tuple(line.partition("warning: ")[2] for line in job.errors.read_text().splitlines())
        source = TraceSource(said["name"], workload, said["source"], said["source_sha256"], left_out,
                             warnings)
        return Image(source, path, said["image_crc32"], said["harts"], said["events"], said["requested_peak"])
    except (ValueError, KeyError, TypeError) as error:
        raise failure(job, f"its report is not understood: {error!r}") from error


def convert(traces: Sequence[Path], workloads: dict[str, str], work: Path, at_once: int,
            say: Say) -> list[Image]:
    """Converts the traces into `work`, in their order. Raises InputError where a trace is refused."""
    images: dict[str, Image] = {}

    def ended(ending: Ended) -> None:
        job = ending.job
        if ending.complaint:
            refusal = [_printable(line) for line in job.errors.read_bytes().splitlines()]
            raise InputError("\n".join(refusal) or f"{job.name}: {ending.complaint}")
        images[job.output.stem] = _image(job, work / f"{job.output.stem}.qtrace", workloads.get(job.name, ""))
        for warning in images[job.output.stem].source.warnings:
            say(f"warning: trace {job.name}: {warning}")

    names = [trace.name.split(".")[0] for trace in traces]
    converter = (sys.executable, str(CONVERTER), "--json", "-o")
    run_all([Job(name, (*converter, str(work / f"{place}.qtrace"), str(trace)), work / f"{place}.json",
                 CONVERSION_LIMIT_S)
             for place, (name, trace) in enumerate(zip(names, traces))], at_once, ended)
    return [images[str(place)] for place in range(len(traces))]


def cells(images: Iterable[Image], page_sizes: Sequence[int], bounds: Sequence[str]) -> list[Cell]:
    """The matrix, longest runs first, so that none of them is left for the end."""
    ordered = sorted(images, key=lambda image: -image.events)
    return [Cell(image, size, bound) for image in ordered for size in page_sizes for bound in bounds]


def _job(setup: Setup, cell: Cell, output: Path) -> Job:
    machine = qemu.Machine(
        kernel=setup.kernels[cell.page_size], harts=cell.image.harts, mem=setup.mem, icount=True,
        seed=setup.seed, initrd=cell.image.path,
        append=qemu.boot_arguments("study", seed=setup.seed, extra=cell.arguments))
    return Job(cell.name, tuple(qemu.command(setup.qemu.path, machine)), output, setup.limit_s)


def check_config(config: Config, cell: Cell) -> None:
    """The run is the one that was asked for. Raises RecordError."""
    bound = config.bound if cell.bound == OBJECTS else cell.bound
    for what, given, wanted in (
            ("trace", config.trace, cell.image.source.name), ("bound", config.bound, bound),
            ("page_size", config.page_size, cell.page_size), ("trace_crc", config.trace_crc, cell.image.crc),
            ("events", config.events, cell.image.events), ("harts", config.harts, cell.image.harts)):
        if given != wanted:
            raise RecordError(0, f"the run says {what} {given}, but {wanted} was asked for")


def _check_against(run: Run, cell: Cell) -> None:
    check_config(run.config, cell)
    if not run.result.failed and run.result.peak_requested != cell.image.requested_peak:
        raise RecordError(0, f"peak_requested is {run.result.peak_requested} though no allocation failed; "
                             f"that of the trace is {cell.image.requested_peak}")


def boot_all(setup: Setup, chosen: Sequence[Cell], work: Path, take: Callable[[Cell, bytes], None],
             say: Say) -> None:
    """Makes all runs and has their consoles taken, which may raise RecordError. MatrixError at the first bad one."""
    by_output = {work / f"run{place}.console": cell for place, cell in enumerate(chosen)}
    done = 0

    def ended(ending: Ended) -> None:
        nonlocal done
        job = ending.job
        if ending.complaint:
            meaning = _EXIT_MEANINGS.get(ending.complaint)
            raise failure(job, ending.complaint + (f": {meaning}" if meaning else ""))
        try:
            take(by_output[job.output], job.output.read_bytes())
        except RecordError as error:
            where = f"console line {error.line}: " if error.line else ""
            raise failure(job, f"{where}{error}", error.line) from error
        done += 1
        say(f"{done} of {len(chosen)} runs: {job.name}")

    run_all([_job(setup, cell, output) for output, cell in by_output.items()], setup.at_once, ended)


def run_matrix(setup: Setup, chosen: Sequence[Cell], work: Path, say: Say) -> tuple[list[Run], str]:
    """Makes all runs; returns them and the firmware's version. Raises MatrixError at the first bad one."""
    runs: list[Run] = []
    firmware: set[str] = set()

    def take(cell: Cell, console: bytes) -> None:
        run = read_run(console)
        _check_against(run, cell)
        runs.append(run)
        firmware.update(found.decode() for found in _OPENSBI.findall(console))

    boot_all(setup, chosen, work, take, say)
    return runs, " and ".join(sorted(firmware)) or "unknown"


@cache
def compilers(kernel: Path) -> set[str]:
    """What the kernel's debugging information, or else its comment, says made it. Raises InputError."""
    try:
        with open(kernel, "rb") as file:
            elf = ELFFile(file)
            comment = elf.get_section_by_name(".comment")
            said = comment.data().split(b"\0") if comment else []
            if elf.has_dwarf_info():
                units = [unit.get_top_DIE().attributes for unit in elf.get_dwarf_info().iter_CUs()]
                said = [unit["DW_AT_producer"].value for unit in units if "DW_AT_producer" in unit]
    except (OSError, ELFError) as error:
        raise InputError(f"kernel {kernel.name}: {error}") from error
    # A producer goes on with the options that it was given, which differ from file to file.
    return {found[0].decode() for found in map(_PRODUCER.match, said) if found}


def _kernel_options(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """The kernels' configurations but for the bound, each with the page sizes that were configured so."""
    sizes: dict[str, set[int]] = {}
    for run in runs:
        words = [word for word in run.config.options.split() if word != f"bound={run.config.bound}"]
        sizes.setdefault(" ".join(words), set()).add(run.config.page_size)
    ordered = sorted(sizes.items(), key=lambda item: min(item[1]))
    return [("kernel, " + ", ".join(map(size_name, sorted(built))), options) for options, built in ordered]


def stamp(setup: Setup, runs: Sequence[Run], firmware: str) -> Stamp:
    """What the study was made with."""
    harts = max(run.config.harts_online for run in runs)
    return (
        *_kernel_options(runs),
        ("built with", ", ".join(sorted(set().union(*map(compilers, setup.kernels.values())))) or "unknown"),
        ("machine", f"QEMU {setup.qemu.version}, virt, {setup.mem} RAM, {harts} harts"),
        ("clock", "1 ns for each instruction: -icount shift=0,sleep=off"),
        ("firmware", f"OpenSBI {firmware}"),
        ("seed", str(setup.seed)),
        ("drawn with", f"Python {platform.python_version()}, matplotlib {version('matplotlib')}"))
