# The study as tidy CSV files, one row an observation, and the data dictionary that explains every column.
# SPDX-License-Identifier: BSD-2-Clause
"""Columns that come from a record carry the record's declaration; the derived ones are declared here."""

import csv
import io
from dataclasses import dataclass, fields
from typing import Any, Callable, Iterator

from . import measures
from .measures import Study
from .records import Breakdown, Config, Operation, Result, Run, Sample, json_name

Row = list[Any]


@dataclass(frozen=True)
class Column:
    name: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Table:
    file: str
    row: str
    columns: tuple[Column, ...]
    rows: Callable[[Study], Iterator[Row]]


def _declared(kind: type, names: tuple[str, ...], prefix: str = "", where: str = "") -> tuple[Column, ...]:
    by_name = {json_name(f): f for f in fields(kind)}
    return tuple(Column(prefix + name, metadata["unit"], where + metadata["meaning"])
                 for name in names for metadata in [by_name[name].metadata])


_KEY = _declared(Config, ("trace", "bound", "page_size"))
_CONFIG = ("trace_crc", "harts", "ram_bytes", "managed_bytes", "baseline_free", "metadata", "max_order",
           "empty_cost")
_RESULT = ("events", "failed", "failed_frees", "skipped_frees", "handovers", "largest_order_needed",
           "peak_requested", "peak_held", "peak_event")
_BREAKDOWN = tuple(f.name for f in fields(Breakdown))
_RELATIVE = "over that of the smallest page size, same trace and bound"
_OPERATION = ("class", "count", "failed", "instructions", "min", "max")


def _ratio(value: float) -> str:
    return f"{value:.4f}"


def _key(run: Run) -> Row:
    return [run.config.trace, run.config.bound, run.config.page_size]


def _summary(study: Study) -> Iterator[Row]:
    for run in study.runs():
        row = _key(run) + [getattr(run.config, name) for name in _CONFIG]
        row += [getattr(run.result, name) for name in _RESULT]
        for moment in (run.result.peak, run.result.final):
            row += [getattr(moment, name) for name in _BREAKDOWN]
        row += [measures.operations(run), measures.instructions(run),
                _ratio(measures.instructions_per_operation(run))]
        row += [_ratio(study.ratio(measure, *_key(run)))
                for measure in (measures.instructions_per_operation, measures.peak_held)]
        yield row


def _operations(study: Study) -> Iterator[Row]:
    for run in study.runs():
        for operation in run.operations:
            mean = operation.instructions / operation.count if operation.count else None
            yield _key(run) + [operation.class_, operation.count, operation.failed, operation.instructions,
                               operation.min, operation.max, "" if mean is None else _ratio(mean)]


def _histogram(study: Study) -> Iterator[Row]:
    for run in study.runs():
        for operation in run.operations:
            for power, count in enumerate(operation.log2):
                if count:
                    first = 1 << power if power else 0
                    yield _key(run) + [operation.class_, first, (2 << power) - 1, count]


def _samples(study: Study) -> Iterator[Row]:
    for run in study.runs():
        for sample in run.samples:
            yield _key(run) + [sample.event, sample.requested, sample.held]


def _orders(study: Study) -> Iterator[Row]:
    for run in study.runs():
        for sample in run.samples:
            for order, (free, unusable) in enumerate(zip(sample.free, sample.unusable)):
                yield _key(run) + [sample.event, order, run.config.page_size << order, free, unusable]


TABLES = (
    Table("summary.csv", "one run: a trace at a page size in a bound", _KEY + _declared(Config, _CONFIG)
          + _declared(Result, _RESULT)
          + _declared(Breakdown, _BREAKDOWN, "at_peak_", "when the most was held: ")
          + _declared(Breakdown, _BREAKDOWN, "final_", "after the last event: ")
          + (Column("operations", "operations", "operations of all classes"),
             Column("instructions", "instructions", "instructions of all operations"),
             Column("instructions_per_operation", "instructions", "mean over all operations"),
             Column("instructions_ratio", "", "instructions_per_operation, " + _RELATIVE),
             Column("peak_held_ratio", "", "peak_held, " + _RELATIVE)),
          _summary),
    Table("operations.csv", "one class of operations in one run", _KEY + _declared(Operation, _OPERATION)
          + (Column("mean", "instructions", "instructions over count; empty where there was none"),),
          _operations),
    Table("histogram.csv", "one range of costs of one class in one run, where an operation lies in it",
          _KEY + _declared(Operation, ("class",))
          + (Column("from", "instructions", "least cost in the range"),
             Column("to", "instructions", "greatest cost in the range"),
             Column("count", "operations", "operations whose cost lies in the range")), _histogram),
    Table("samples.csv", "one moment of one run", _KEY + _declared(Sample, ("event", "requested", "held")),
          _samples),
    Table("orders.csv", "one order of the buddy allocator at one moment of one run",
          _KEY + _declared(Sample, ("event",))
          + (Column("order", "", "a block of order n is 2^n kernel pages"),
             Column("block_bytes", "bytes", "size of a block of this order"),
             Column("free_blocks", "blocks", "free blocks of this order, those on per-hart lists included"),
             Column("unusable", "thousandths", "unusable-free-space index: share of free memory in blocks "
                                               "too small for a request of this order")), _orders),
)


def _text(header: tuple[str, ...], rows: Iterator[Row]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def _dictionary() -> Iterator[Row]:
    for table in TABLES:
        for column in table.columns:
            yield [table.file, column.name, column.unit, column.meaning]


def csv_files(study: Study) -> dict[str, str]:
    """File name to text, dictionary.csv among them."""
    files = {table.file: _text(tuple(c.name for c in table.columns), table.rows(study)) for table in TABLES}
    files["dictionary.csv"] = _text(("file", "column", "unit", "meaning"), _dictionary())
    return files
