# The study of objects alone: what they hold above the floor that their sizes set, beside what SLUB would hold.
# SPDX-License-Identifier: BSD-2-Clause

import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Sequence

import matrix
from jobs import Ended, Job, run_all
from matrix import OBJECTS, Cell, Image, InputError, Setup
from report.measures import size_name
from report.records import RecordError, read_objects

MODEL = Path(__file__).resolve().parent / "slub_model.py"
MODEL_LIMIT_S = 300
CSV_FILE = "objects.csv"


@dataclass(frozen=True)
class Row:
    """A trace at a page size; sizes in bytes. Those after `slub` say why that much is held, at the peak of it."""
    trace: str
    page_size: int
    floor: int
    floor_pages: int
    held: int
    held_over_percent: str
    slub: int
    slub_over_percent: str
    peak_floor: int
    peak_in_slabs: int
    peak_in_magazines: int
    peak_tails: int
    peak_own: int
    traced_slab_pages: int


def _over(size: int, floor: int) -> str:
    """How many percent it is above the floor."""
    return f"{100 * size / floor - 100:.1f}" if floor else ""


def model_slub(traces: Sequence[Path], page_sizes: Sequence[int], work: Path, at_once: int) -> list[dict]:
    """The model's answer for each trace, in their order. Raises InputError, MatrixError."""
    answers: dict[Path, dict] = {}
    sizes = [word for size in page_sizes for word in ("--page-size", str(size))]
    jobs = [Job(f"SLUB, {trace.name}", (sys.executable, str(MODEL), str(trace), *sizes), work / f"slub{place}.json",
                MODEL_LIMIT_S) for place, trace in enumerate(traces)]

    def ended(ending: Ended) -> None:
        if ending.complaint:
            raise matrix.failure(ending.job, ending.complaint)
        answers[ending.job.output] = json.loads(ending.job.output.read_bytes())

    run_all(jobs, at_once, ended)
    return [answers[job.output] for job in jobs]


def run_objects(setup: Setup, images: Sequence[Image], traces: Sequence[Path], work: Path,
                say: matrix.Say) -> list[Row]:
    """The rows, by trace and page size. Raises InputError, MatrixError."""
    sizes = sorted(setup.kernels)
    rows: list[Row] = []
    say(f"SLUB's model of {len(traces)} traces")
    slub = {image.source.name: answer
            for image, answer in zip(images, model_slub(traces, sizes, work, setup.at_once))}

    def take(cell: Cell, console: bytes) -> None:
        config, objects = read_objects(console)
        matrix.check_config(config, cell)
        if objects.failed:
            raise RecordError(0, f"{objects.failed} allocations failed")
        peak, answer = objects.peak, slub[objects.trace]
        held = answer["held"][str(cell.page_size)]
        rows.append(Row(
            objects.trace, cell.page_size, objects.peak_floor, objects.peak_floor_pages, objects.peak_held,
            _over(objects.peak_held, objects.peak_floor), held, _over(held, objects.peak_floor), peak.floor,
            peak.in_slabs, peak.in_magazines, peak.tails, peak.own, answer["traced_slab_peak"]))

    matrix.boot_all(setup, matrix.cells(images, sizes, [OBJECTS]), work, take, say)
    order = {image.source.name: place for place, image in enumerate(images)}
    return sorted(rows, key=lambda row: (order[row.trace], row.page_size))


def csv_text(rows: Sequence[Row]) -> str:
    """One line a row, under the names of the fields."""
    names = [field.name for field in fields(Row)]
    lines = [",".join(names)] + [",".join(str(getattr(row, name)) for name in names) for row in rows]
    return "".join(line + "\n" for line in lines)


def table(rows: Sequence[Row]) -> str:
    """The table for people."""
    lines = ["Objects at their peak: the floor of their rounded sizes, what is held, and what SLUB (a model) would.",
             "Why: parts of what is held when it is most, in % of the floor.", "",
             f"{'trace':10} {'pages':>6} {'floor':>10} {'held':>10} {'over':>8} {'SLUB':>10} {'over':>8}   "
             f"{'slabs':>7} {'magaz.':>7} {'tails':>7} {'own':>7}"]
    for row in rows:
        why = "".join(f" {_share(part, row.floor):>7}" for part in (
            row.peak_in_slabs, row.peak_in_magazines, row.peak_tails, row.peak_own))
        lines.append(f"{row.trace:10} {size_name(row.page_size):>6} {row.floor:10} {row.held:10} "
                     f"{row.held_over_percent + ' %':>8} {row.slub:10} {row.slub_over_percent + ' %':>8}  {why}")
    return "\n".join(lines) + "\n"


def _share(part: int, floor: int) -> str:
    return f"{100 * part / floor:.1f}" if floor else ""
