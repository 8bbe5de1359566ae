# What the study derives from its runs: sums, ratios to the smallest page, and the names things are shown by.
# SPDX-License-Identifier: BSD-2-Clause
"""A study is a full matrix: every trace at every page size in every bound that was asked for.

Everything is compared with the smallest page size of the matrix, the baseline: 4 KB unless it was left out.
The mean over traces is the geometric one, as is proper for ratios: a trace that doubles and one that halves
cancel out.
"""

import math
from dataclasses import dataclass
from typing import Callable, Sequence

from .records import BOUNDS, CLASSES, Run

KIB = 1024
MIB = 1024 * 1024

CLASS_NAMES = {
    "object_alloc": "object alloc", "object_free": "object free", "page_alloc": "page alloc",
    "page_free": "page free", "vmap_alloc": "vmalloc", "vmap_free": "vfree",
}
PART_NAMES = {
    "requested": "requested", "waste_page_rounding": "page rounding", "waste_slab_rounding": "slab rounding",
    "slab_free": "free in slabs", "page_tables": "page tables", "other": "other",
}


class StudyError(Exception):
    """Runs that do not make one study."""


@dataclass(frozen=True)
class TraceSource:
    """Where a trace came from, and what its converter said: `left_out` are descriptions and counts."""
    name: str
    workload: str
    file: str
    sha256: str
    left_out: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]


# What the study was made with, name and value, in the order in which it is shown. No date, path or machine.
Stamp = tuple[tuple[str, str], ...]


def size_name(size_bytes: int) -> str:
    """A power of two as people say it: 4 KB, 1 MB."""
    for unit, name in ((1 << 30, "GB"), (MIB, "MB"), (KIB, "KB")):
        if size_bytes >= unit and size_bytes % unit == 0:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} B"


def peak_held(run: Run) -> int:
    return run.result.peak_held


def instructions(run: Run) -> int:
    return sum(operation.instructions for operation in run.operations)


def operations(run: Run) -> int:
    return sum(operation.count for operation in run.operations)


def instructions_per_operation(run: Run) -> float:
    return instructions(run) / max(1, operations(run))


def class_cost(run: Run, class_: str) -> float | None:
    """Mean instructions of one operation of the class; None where the trace has none."""
    operation = run.operations[CLASSES.index(class_)]
    return operation.instructions / operation.count if operation.count else None


def internal_waste(run: Run) -> int:
    """Bytes at the peak that rounding up wastes: to whole pages and to the slabs' object sizes."""
    return run.result.peak.waste_page_rounding + run.result.peak.waste_slab_rounding


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(math.log(value) for value in values) / len(values))


class Study:
    """The runs by trace, bound and page size, complete and in a fixed order."""

    def __init__(self, runs: Sequence[Run], sources: Sequence[TraceSource], stamp: Stamp) -> None:
        self.sources = tuple(sources)
        self.stamp = stamp
        self.traces = tuple(source.name for source in sources)
        self.page_sizes = tuple(sorted({run.config.page_size for run in runs}))
        self.bounds = tuple(bound for bound in BOUNDS if any(run.config.bound == bound for run in runs))
        self._runs = {(run.config.trace, run.config.bound, run.config.page_size): run for run in runs}
        self._check(len(runs))

    def _check(self, given: int) -> None:
        if not self._runs:
            raise StudyError("a study of no runs")
        cells = [(t, b, p) for t in self.traces for b in self.bounds for p in self.page_sizes]
        if given != len(cells) or set(cells) != set(self._runs):
            raise StudyError(f"{given} runs do not fill a matrix of {len(self.traces)} traces, "
                             f"{len(self.bounds)} bounds and {len(self.page_sizes)} page sizes")
        for cell in cells:
            run, first = self._runs[cell], self._runs[cell[0], self.bounds[0], self.page_sizes[0]]
            name = f"trace {cell[0]}, {cell[1]}, {size_name(cell[2])} pages"
            for what in ("trace_crc", "events", "harts", "ram_bytes"):
                here, there = getattr(run.config, what), getattr(first.config, what)
                if here != there:
                    raise StudyError(f"{name}: {what} is {here}, and {there} in the trace's first run")
            if run.result.peak_held <= 0:
                raise StudyError(f"{name}: nothing is ever held")
            if instructions(run) <= 0:
                raise StudyError(f"{name}: nothing is ever executed")

    @property
    def baseline(self) -> int:
        return self.page_sizes[0]

    @property
    def larger(self) -> tuple[int, ...]:
        return self.page_sizes[1:]

    @property
    def ram_bytes(self) -> int:
        return next(iter(self._runs.values())).config.ram_bytes

    def run(self, trace: str, bound: str, page_size: int) -> Run:
        return self._runs[trace, bound, page_size]

    def runs(self) -> list[Run]:
        """All runs: by trace as asked for, then by page size, then by bound."""
        return [self.run(t, b, p) for t in self.traces for p in self.page_sizes for b in self.bounds]

    def shown_bounds(self, trace: str, page_size: int) -> list[tuple[str, str]]:
        """The bounds to give a row each, with a label: runs that are the same in every figure share one."""
        runs = [self.run(trace, bound, page_size) for bound in self.bounds]
        figures = [(run.operations, run.result.peak, run.result.final) for run in runs]
        if len(runs) > 1 and figures[0] == figures[1]:
            return [(self.bounds[0], "both")]
        return [(bound, bound) for bound in self.bounds]

    def ratio(self, measure: Callable[[Run], float], trace: str, bound: str, page_size: int) -> float:
        """The measure at this page size over that at the baseline, same trace and bound."""
        return measure(self.run(trace, bound, page_size)) / measure(self.run(trace, bound, self.baseline))

    def mean_ratio(self, measure: Callable[[Run], float], bound: str, page_size: int) -> float:
        return geometric_mean([self.ratio(measure, trace, bound, page_size) for trace in self.traces])

    def failed(self, page_size: int | None = None) -> int:
        return sum(run.result.failed for run in self.runs() if page_size in (None, run.config.page_size))

    def metadata(self, page_size: int) -> int:
        """Bytes of the memmap: the same for all traces, as RAM is."""
        return self.run(self.traces[0], self.bounds[0], page_size).config.metadata
