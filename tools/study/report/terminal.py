# The study as tables on a terminal: per trace and page size, normalised to the smallest page.
# SPDX-License-Identifier: BSD-2-Clause

import textwrap
from typing import Sequence

from . import answer, measures
from .answer import times
from .measures import CLASS_NAMES, KIB, Study, size_name
from .records import CLASSES, Run

_GAP = "  "
_TEXT_WIDTH = 110


def _aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Rows as lines; the first `left` columns to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [_GAP.join(cell.ljust(width) if i < left else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]


def _kib(value: int) -> str:
    return f"{round(value / KIB):,}"


def _memory_row(study: Study, run: Run, label: str) -> list[str]:
    key = run.config.trace, run.config.bound, run.config.page_size
    peak, final = run.result.peak, run.result.final
    return [size_name(run.config.page_size), label,
            f"{measures.instructions_per_operation(run):.1f}",
            times(study.ratio(measures.instructions_per_operation, *key)),
            _kib(run.result.peak_held), times(study.ratio(measures.peak_held, *key)),
            _kib(peak.waste_page_rounding), _kib(peak.waste_slab_rounding), _kib(peak.slab_free),
            _kib(peak.page_tables), _kib(run.config.metadata), _kib(final.requested), _kib(final.held),
            f"{run.result.failed:,}"]


def _memory(study: Study, trace: str) -> list[str]:
    first = study.run(trace, study.bounds[0], study.baseline)
    base = "x " + size_name(study.baseline).replace(" ", "")
    rows = [["page", "bound", "instr/op", base, "peak held", base, "page round", "slab round", "slab free",
             "tables", "memmap", "final req", "final held", "failed"]]
    for size in study.page_sizes:
        rows += [_memory_row(study, study.run(trace, bound, size), label)
                 for bound, label in study.shown_bounds(trace, size)]
    heading = (f"{trace}: {measures.operations(first):,} operations on {first.config.harts} harts, at most "
               f"{_kib(first.result.peak_requested)} KiB requested")
    return [heading, *("  " + line for line in _aligned(rows, 2)), ""]


def _classes(study: Study) -> list[str]:
    rows = [["trace", "page", "bound", *CLASS_NAMES.values(), "all"]]
    for trace in study.traces:
        for size in study.page_sizes:
            for bound, label in study.shown_bounds(trace, size):
                run = study.run(trace, bound, size)
                costs = [measures.class_cost(run, class_) for class_ in CLASSES]
                rows.append([trace, size_name(size), label,
                             *("-" if cost is None else f"{cost:.1f}" for cost in costs),
                             f"{measures.instructions_per_operation(run):.1f}"])
    return ["Instructions per operation, by class", *("  " + line for line in _aligned(rows, 3)), ""]


def tables(study: Study) -> str:
    """A block a trace, the classes, and the answer last, where the eye ends up."""
    lines = ["Memory in KiB, when most was held and after the last event; the memmap comes on top.", ""]
    for trace in study.traces:
        lines += _memory(study, trace)
    lines += _classes(study)
    lines.append(answer.question(study))
    for sentence in answer.sentences(study):
        lines += textwrap.wrap(sentence, _TEXT_WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"
