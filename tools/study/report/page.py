# The study as one HTML page that needs nothing but itself.
# SPDX-License-Identifier: BSD-2-Clause

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import answer, csvfiles, measures
from .answer import mib, times
from .measures import CLASS_NAMES, KIB, Study, size_name
from .plots_balance import balance
from .plots_cost import classes, tails
from .plots_free import fragmentation
from .plots_memory import bookkeeping, memory, waste
from .records import CLASSES, Run
from .style import Figure

_TEMPLATES = Path(__file__).resolve().parent / "templates"
_FIGURES: tuple[Callable[[Study], Figure], ...] = (memory, waste, bookkeeping, classes, tails, fragmentation)


@dataclass(frozen=True)
class ResultRow:
    """One run, or two that are the same, as the tables show it; `classes` in the order of CLASSES."""
    run: Run
    bound: str
    opens_group: bool
    instructions: str
    instructions_ratio: str
    held_ratio: str
    classes: list[str]
    free_blocks: list[int | None]


def _block_sizes(study: Study) -> list[int]:
    """Every block size that some run's allocator knows, in bytes."""
    return sorted({run.config.page_size << order
                   for run in study.runs() for order in range(run.config.max_order + 1)})


def _row(study: Study, trace: str, size: int, bound: str, label: str, opens_group: bool) -> ResultRow:
    run = study.run(trace, bound, size)
    costs = [measures.class_cost(run, class_) for class_ in CLASSES]
    blocks = {size << order: count for order, count in enumerate(run.samples[-1].free)}
    return ResultRow(
        run, label, opens_group, f"{measures.instructions_per_operation(run):.1f}",
        times(study.ratio(measures.instructions_per_operation, trace, bound, size)),
        times(study.ratio(measures.peak_held, trace, bound, size)),
        ["–" if cost is None else f"{cost:.1f}" for cost in costs],
        [blocks.get(block) for block in _block_sizes(study)])


def _rows(study: Study, trace: str) -> list[ResultRow]:
    return [_row(study, trace, size, bound, label, place == 0)
            for size in study.page_sizes
            for place, (bound, label) in enumerate(study.shown_bounds(trace, size))]


def _kib(value: int) -> str:
    return f"{round(value / KIB):,}"


def _unbroken(text: str) -> str:
    """The text with its numbers kept on one line with their units."""
    return re.sub(r"(?<=\d) (?=%|KB|MB|GB|MiB)", "\u00a0", text)


def html(study: Study) -> str:
    """The whole page. The same study gives the same text."""
    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters.update(size=size_name, kib=_kib, mib=mib, count="{:,}".format, joined=answer.joined,
                               unbroken=_unbroken)
    drawn = [draw(study) for draw in _FIGURES]
    return environment.get_template("page.html.j2").render(
        study=study, question=answer.question(study), sentences=answer.sentences(study),
        key_rows=answer.key_rows(study), bound_names=answer.BOUND_NAMES,
        balance=balance(study) if study.larger else None, figures={figure.name: figure for figure in drawn},
        rows={trace: _rows(study, trace) for trace in study.traces},
        base={trace: study.run(trace, study.bounds[0], study.baseline) for trace in study.traces},
        class_names=list(CLASS_NAMES.values()), block_sizes=_block_sizes(study), tables=csvfiles.TABLES)
