# The records a study run prints on its console: their fields, and the reader that believes none of them.
# SPDX-License-Identifier: BSD-2-Clause
"""Reads `@study {json}` lines as test/study/README.md defines them.

The fields are declared once, here, with unit and meaning: the reader checks against the declaration, and the
CSV files and their data dictionary are made from it. Whatever is not exactly as declared is refused with the
line it stands on: a study that drops a record it does not understand answers another question than the one
that was asked.
"""

import json
import re
import zlib
from dataclasses import Field, dataclass, field, fields, is_dataclass
from typing import Any, NoReturn

FORMAT = 1
PREFIX = b"@study "
BOUNDS = ("own", "packed")
CLASSES = ("object_alloc", "object_free", "page_alloc", "page_free", "vmap_alloc", "vmap_free")
LOG2_BUCKETS = 32
LONGEST_LINE = 65536
LARGEST_NUMBER = 2**63 - 1

_NAME = r"[A-Za-z0-9_-]{1,31}"
_CRC = r"[0-9a-f]{8}"


class RecordError(Exception):
    """A console that is no record of one complete run; `line` counts from 1, 0 where no line is to blame."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _number(unit: str, meaning: str, low: int = 0) -> Any:
    return field(metadata={"unit": unit, "meaning": meaning, "low": low})


def _text(pattern: str, meaning: str) -> Any:
    return field(metadata={"unit": "", "meaning": meaning, "pattern": re.compile(pattern)})


def _numbers(meaning: str) -> Any:
    return field(metadata={"unit": "", "meaning": meaning})


_SIGNED = -LARGEST_NUMBER


@dataclass(frozen=True)
class Config:
    format: int = _number("", "version of the record format")
    trace: str = _text(_NAME, "name of the trace")
    trace_crc: str = _text(_CRC, "CRC-32 of the converted trace")
    bound: str = _text("own|packed", "own: each page request has pages of its own; packed: they share")
    page_size: int = _number("bytes", "size of a kernel page", low=1)
    mmu_page_size: int = _number("bytes", "what one page-table entry maps", low=1)
    max_order: int = _number("", "largest order of the buddy allocator")
    harts: int = _number("", "harts that replay, one for each CPU of the trace", low=1)
    harts_online: int = _number("", "harts of the machine", low=1)
    ram_bytes: int = _number("bytes", "RAM of the machine", low=1)
    managed_bytes: int = _number("bytes", "RAM that the page allocator manages, free or not", low=1)
    baseline_free: int = _number("bytes", "free memory when the replay starts")
    metadata: int = _number("bytes", "the memmap: one descriptor for each kernel page of RAM")
    events: int = _number("operations", "operations in the converted trace")
    slots: int = _number("", "largest number of things alive at once in the trace")
    caches: int = _number("", "object caches of the trace")
    empty_cost: int = _number("instructions", "what measuring nothing shows; already subtracted")
    options: str = _text(r"[ -~]{0,4096}", "build configuration of the kernel")


@dataclass(frozen=True)
class Sample:
    event: int = _number("operations", "operations carried out so far")
    requested: int = _number("bytes", "what live requests asked for")
    held: int = _number("bytes", "taken from the page allocator since the replay began", low=_SIGNED)
    free: tuple[int, ...] = _numbers("free blocks of each order")
    unusable: tuple[int, ...] = _numbers("unusable-free-space index of each order, in thousandths")


@dataclass(frozen=True)
class Operation:
    class_: str = _text("|".join(CLASSES), "allocation or free of an object, of pages, or of a vmalloc area")
    count: int = _number("operations", "operations carried out, failed ones included")
    failed: int = _number("operations", "allocations that returned nothing")
    instructions: int = _number("instructions", "instructions of all of them, from the call to its return")
    min: int = _number("instructions", "fewest for one of them")
    max: int = _number("instructions", "most for one of them")
    log2: tuple[int, ...] = _numbers("how many took from 2^i to 2^(i+1)-1 instructions")


@dataclass(frozen=True)
class Breakdown:
    requested: int = _number("bytes", "what live requests asked for")
    held: int = _number("bytes", "taken from the page allocator since the replay began", low=_SIGNED)
    waste_page_rounding: int = _number("bytes", "pages of page requests, vmalloc areas and large kmallocs, "
                                                "beyond what was asked for")
    waste_slab_rounding: int = _number("bytes", "objects' size in their slab, beyond what was asked for")
    slab_free: int = _number("bytes", "of slabs, without a live object; slab headers and tails included")
    page_tables: int = _number("bytes", "kernel page tables grown since the replay began", low=_SIGNED)
    other: int = _number("bytes", "the rest of what is held: the allocators' own descriptors", low=_SIGNED)
    live_objects: int = _number("", "live objects")
    live_pages: int = _number("", "live page requests")
    live_areas: int = _number("", "live vmalloc areas")


# What `held` is made of, in the order in which the report stacks it.
PARTS = ("requested", "waste_page_rounding", "waste_slab_rounding", "slab_free", "page_tables", "other")


@dataclass(frozen=True)
class Result:
    trace: str = _text(_NAME, "name of the trace")
    bound: str = _text("own|packed", "as in the configuration")
    page_size: int = _number("bytes", "size of a kernel page", low=1)
    events: int = _number("operations", "operations of the trace that were dealt with")
    failed: int = _number("operations", "allocations that returned nothing, all classes")
    failed_frees: int = _number("operations", "frees left out because their allocation had failed here")
    skipped_frees: int = _number("operations", "frees left out, of what was allocated before the trace")
    handovers: int = _number("", "how often the turn went from one hart to another")
    peak_requested: int = _number("bytes", "most that live requests asked for, over all events")
    peak_held: int = _number("bytes", "most that was held, over all events", low=_SIGNED)
    peak_event: int = _number("operations", "the event after which the most was held")
    largest_order_needed: int = _number("", "largest order that a page request asked for")
    peak: Breakdown = field(metadata={})
    final: Breakdown = field(metadata={})


@dataclass(frozen=True)
class ObjectBreakdown:
    floor: int = _number("bytes", "live objects at the size that each is rounded to")
    floor_pages: int = _number("bytes", "the same, class by class in whole pages")
    held: int = _number("bytes", "slabs and large kmallocs")
    in_slabs: int = _number("bytes", "free objects in slabs", low=_SIGNED)
    in_magazines: int = _number("bytes", "free objects that wait on harts and in depots", low=_SIGNED)
    tails: int = _number("bytes", "what is left over at the end of slabs", low=_SIGNED)
    own: int = _number("bytes", "slabs of magazines", low=_SIGNED)


# What `held` is made of in a replay of objects alone.
OBJECT_PARTS = ("floor", "in_slabs", "in_magazines", "tails", "own")


@dataclass(frozen=True)
class Objects:
    trace: str = _text(_NAME, "name of the trace")
    page_size: int = _number("bytes", "size of a kernel page", low=1)
    events: int = _number("operations", "operations of objects that were carried out")
    failed: int = _number("operations", "allocations that returned nothing")
    peak_floor: int = _number("bytes", "most that live objects took at the size that each is rounded to")
    peak_floor_event: int = _number("operations", "the event after which that was so")
    peak_floor_pages: int = _number("bytes", "most that they took class by class in whole pages")
    peak_held: int = _number("bytes", "most that was held in slabs and large kmallocs")
    peak_held_event: int = _number("operations", "the event after which that was so")
    peak: ObjectBreakdown = field(metadata={})


@dataclass(frozen=True)
class _End:
    records: int = _number("", "records before this one")
    crc: str = _text(_CRC, "CRC-32 of their text")


@dataclass(frozen=True)
class Run:
    """One complete run: a trace at a page size in a bound."""
    config: Config
    samples: tuple[Sample, ...]
    operations: tuple[Operation, ...]
    result: Result


_KINDS: dict[str, type] = {"config": Config, "sample": Sample, "op": Operation, "result": Result,
                         "objects": Objects, "end": _End}
_MAY_FOLLOW = {None: ("config",), "config": ("sample", "objects"), "sample": ("sample", "op"), "op": ("op", "result"),
               "result": ("end",), "objects": ("end",), "end": ()}


def json_name(declared: Field) -> str:
    """The field's name in a record; `class` is a word Python keeps for itself."""
    return declared.name.rstrip("_")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _checked_number(what: str, value: Any, low: int, line: int) -> int:
    if type(value) is not int:
        raise RecordError(line, f"{what} is {_shown(value)}, not an integer")
    if not low <= value <= LARGEST_NUMBER:
        raise RecordError(line, f"{what} is {_shown(value)}, outside {low}..2^63-1")
    return value


def _checked(declared: Field, what: str, value: Any, line: int) -> Any:
    if declared.type is int:
        return _checked_number(what, value, declared.metadata["low"], line)
    if declared.type is str:
        if type(value) is not str or not declared.metadata["pattern"].fullmatch(value):
            raise RecordError(line, f"{what} is {_shown(value)}, which it cannot be")
        return value
    if is_dataclass(declared.type):
        return _built(declared.type, what + ".", value, line)
    if type(value) is not list:
        raise RecordError(line, f"{what} is {_shown(value)}, not an array")
    return tuple(_checked_number(f"{what}[{i}]", number, 0, line) for i, number in enumerate(value))


def _built(kind: type, what: str, given: Any, line: int) -> Any:
    """An object of the dataclass `kind` from a JSON object: all the declared fields, and no others."""
    if type(given) is not dict:
        raise RecordError(line, f"{what.rstrip('.')} is {_shown(given)}, not an object")
    declared = {json_name(f): f for f in fields(kind)}
    for name in given:
        if name not in declared:
            raise RecordError(line, f"unknown field {_shown(what + name)}")
    for name in declared:
        if name not in given:
            raise RecordError(line, f"field {_shown(what + name)} is missing")
    return kind(**{f.name: _checked(f, what + name, given[name], line) for name, f in declared.items()})


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text} is not an integer")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a field is given twice")
    return dict(pairs)


def _decoded(text: bytes, line: int) -> dict[str, Any]:
    try:
        value = json.loads(text.decode("ascii"), parse_float=_no_float, parse_constant=_no_float,
                           object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise RecordError(line, f"malformed record: {error}") from None
    if type(value) is not dict or type(value.get("kind")) is not str or value["kind"] not in _KINDS:
        raise RecordError(line, f"record of unknown kind: {_shown(value)}")
    return value


def _require(holds: bool, line: int, message: str) -> None:
    if not holds:
        raise RecordError(line, message)


def _check_config(config: Config, line: int) -> None:
    _require(config.format == FORMAT, line, f"record format {config.format}; known is format {FORMAT}")
    for what in ("page_size", "mmu_page_size"):
        value = getattr(config, what)
        _require(value & (value - 1) == 0, line, f"{what} {value} is not a power of two")
    _require(config.max_order < 64, line, f"max_order {config.max_order} is above 63")
    _require(config.baseline_free <= config.managed_bytes <= config.ram_bytes, line,
             f"baseline_free {config.baseline_free}, managed_bytes {config.managed_bytes} and "
             f"ram_bytes {config.ram_bytes} do not rise in this order")


def _check_sample(sample: Sample, before: Sample | None, config: Config, line: int) -> None:
    if before is None:
        _require(sample.event == 0, line, f"the first sample is of event {sample.event}, not 0")
    else:
        _require(before.event < sample.event <= config.events, line,
                 f"sample of event {sample.event} after {before.event}, in a trace of {config.events}")
    for what in ("free", "unusable"):
        given = len(getattr(sample, what))
        wanted = config.max_order + 1
        _require(given == wanted, line, f"{what} has {given} orders, not {wanted}")
    for order, index in enumerate(sample.unusable):
        _require(index <= 1000, line, f"unusable[{order}] is {index}, above 1000")


def _check_operation(operation: Operation, position: int, line: int) -> None:
    name, count, buckets = operation.class_, operation.count, len(operation.log2)
    wanted = CLASSES[position] if position < len(CLASSES) else "no further one"
    _require(name == wanted, line, f"class {name} where {wanted} belongs")
    _require(operation.failed <= count, line, f"{name}: {operation.failed} failed of {count}")
    _require(buckets == LOG2_BUCKETS, line, f"{name}: log2 has {buckets} entries, not {LOG2_BUCKETS}")
    _require(sum(operation.log2) == count, line,
             f"{name}: log2 adds up to {sum(operation.log2)}, not {count}")
    _require(count * operation.min <= operation.instructions <= count * operation.max, line,
             f"{name}: {operation.instructions} instructions for {count} operations of {operation.min} to "
             f"{operation.max}")


def _check_result(run: Run, line: int) -> None:
    config, result = run.config, run.result
    for what in ("trace", "bound", "page_size", "events"):
        given, configured = getattr(result, what), getattr(config, what)
        _require(given == configured, line, f"{what} is {given} here and {configured} in the configuration")
    _require(run.samples[-1].event == config.events, line,
             f"the last sample is of event {run.samples[-1].event}, not of the last, {config.events}")
    counted = sum(operation.count for operation in run.operations)
    _require(counted + result.failed_frees == result.events, line,
             f"{counted} operations and {result.failed_frees} failed_frees are not {result.events} events")
    failed = sum(operation.failed for operation in run.operations)
    _require(failed == result.failed, line, f"failed is {result.failed}, but the classes add up to {failed}")
    for what in ("peak", "final"):
        breakdown = getattr(result, what)
        parts = sum(getattr(breakdown, part) for part in PARTS)
        _require(breakdown.held == parts, line,
                 f"{what}.held is {breakdown.held}, but its parts add up to {parts}")
    _require(result.peak.held == result.peak_held, line,
             f"peak_held is {result.peak_held}, but peak.held is {result.peak.held}")
    for what, most in (("held", result.peak_held), ("requested", result.peak_requested)):
        sampled = max(getattr(sample, what) for sample in run.samples)
        _require(sampled <= most, line, f"peak_{what} is {most}, but a sample shows {sampled}")


def _check_objects(config: Config, objects: Objects, line: int) -> None:
    for what in ("trace", "page_size"):
        given, configured = getattr(objects, what), getattr(config, what)
        _require(given == configured, line, f"{what} is {given} here and {configured} in the configuration")
    for what in ("events", "peak_floor_event", "peak_held_event"):
        given = getattr(objects, what)
        _require(given <= config.events, line, f"{what} is {given}, in a trace of {config.events}")
    peak, parts = objects.peak, sum(getattr(objects.peak, part) for part in OBJECT_PARTS)
    _require(peak.held == parts, line, f"peak.held is {peak.held}, but its parts add up to {parts}")
    _require(objects.peak_held == peak.held, line, f"peak_held is {objects.peak_held}, but peak.held is {peak.held}")
    for what in ("floor", "floor_pages"):
        most, then = getattr(objects, f"peak_{what}"), getattr(peak, what)
        _require(then <= most, line, f"peak.{what} is {then}, above peak_{what}, {most}")
    for what, low, high in (("peak_floor", objects.peak_floor, objects.peak_floor_pages),
                            ("peak.floor", peak.floor, peak.floor_pages)):
        _require(low <= high, line, f"{what} is {low}, above {what}_pages, {high}")


class _Reader:
    """Takes the records one by one and knows what may come next."""

    def __init__(self) -> None:
        self.last: str | None = None
        self.taken = 0
        self.crc = 0
        self.config: Config | None = None
        self.samples: list[Sample] = []
        self.operations: list[Operation] = []
        self.result: Result | None = None
        self.objects: Objects | None = None

    def take(self, text: bytes, line: int) -> None:
        given = _decoded(text, line)
        kind = given.pop("kind")
        if kind not in _MAY_FOLLOW[self.last]:
            place = "first" if self.last is None else f"after {self.last}"
            raise RecordError(line, f"record {kind} comes {place}")
        record = _built(_KINDS[kind], "", given, line)
        if isinstance(record, Config):
            _check_config(record, line)
            self.config = record
        elif isinstance(record, Sample):
            _check_sample(record, self.samples[-1] if self.samples else None, self.config, line)
            self.samples.append(record)
        elif isinstance(record, Operation):
            _check_operation(record, len(self.operations), line)
            self.operations.append(record)
        elif isinstance(record, Result):
            _require(len(self.operations) == len(CLASSES), line,
                     f"{len(self.operations)} classes of operations, not {len(CLASSES)}")
            self.result = record
            _check_result(self.run(), line)
        elif isinstance(record, Objects):
            _check_objects(self.config, record, line)
            self.objects = record
        else:
            _require(record.records == self.taken, line,
                     f"{record.records} records announced, {self.taken} arrived")
            _require(record.crc == f"{self.crc:08x}", line,
                     f"the records' CRC is {self.crc:08x}, not {record.crc} as announced")
        self.last = kind
        self.taken += 1
        self.crc = zlib.crc32(text + b"\n", self.crc)

    def run(self) -> Run:
        return Run(self.config, tuple(self.samples), tuple(self.operations), self.result)


def _read(console: bytes) -> _Reader:
    """What a console shows. RecordError where it does not show one complete, consistent run."""
    reader = _Reader()
    line = 0
    for line, text in enumerate(console.split(b"\n"), 1):
        text = text.rstrip(b"\r")
        if PREFIX.rstrip() not in text:
            continue
        if len(text) > LONGEST_LINE:
            raise RecordError(line, f"record of {len(text)} bytes; the longest allowed has {LONGEST_LINE}")
        if not text.startswith(PREFIX):
            raise RecordError(line, "a record that does not begin its line")
        reader.take(text[len(PREFIX):], line)
    if reader.last is None:
        raise RecordError(0, "the console holds no record")
    if reader.last != "end":
        raise RecordError(line, f"the console ends after record {reader.last}: the run is incomplete")
    return reader


def read_run(console: bytes) -> Run:
    """The run that a console shows. RecordError where it does not show one of a whole trace."""
    reader = _read(console)
    if reader.result is None:
        raise RecordError(0, "the run is of objects alone")
    return reader.run()


def read_objects(console: bytes) -> tuple[Config, Objects]:
    """The run of objects alone that a console shows. RecordError where it does not show one."""
    reader = _read(console)
    if reader.objects is None:
        raise RecordError(0, "the run is not of objects alone")
    return reader.config, reader.objects
