#!/usr/bin/python3
# Makes the compact form of a Linux allocation trace that the study kernel is given as its initrd.
# SPDX-License-Identifier: BSD-2-Clause
"""Converts ftrace text (plain or .xz) into a replay image; see test/study/qtrace_format.h for the format.

usage: trace_import.py TRACE [-o IMAGE] [--name NAME] [--json]

Exit code 0, or 2 with one line on standard error when the trace is refused. Lost events are no reason to
refuse, but they are said on standard error and stand in the image and in the report. The same trace gives the
same bytes.

Each thing that is alive has a slot, a small number, so that a replay finds it without searching. A freed
slot is the next one given out, so there are as many slots as things were alive at once.
"""

import argparse
import array
import gc
import hashlib
import json
import re
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Optional

from ftrace_text import GFP_REPLAYED, LARGEST_BYTES, PAGE_BYTES, FtraceText, TraceError
from trace_layers import LEFT_OUT, Area, Layers, Object, Part, Request, Separator

MAGIC = b"QTRACE\x1a\n"
VERSION = 1
NAME_BYTES = 32
CACHE_NAME_LENGTH = 29          # leaves the replay room for a prefix of two
MAX_HARTS = 64
CACHE_RECLAIMABLE = 1

HEADER = struct.Struct(f"<8sIIQ{NAME_BYTES}s4I8IQQQ4I")
CACHE = struct.Struct(f"<{NAME_BYTES}s4I")

(CACHE_ALLOC, KMALLOC, OBJECT_FREE, PAGE_ALLOC, PAGE_FREE, AREA_ALLOC, AREA_FREE) = range(7)
OPERATIONS = ("cache_alloc", "kmalloc", "object_free", "page_alloc", "page_free", "area_alloc", "area_free")


@dataclass(frozen=True)
class ImportedTrace:
    """A converted trace: the initrd, and a report of what is fit for JSON."""
    name: str
    harts: int
    image: bytes
    report: dict[str, Any]


def cache_alignment(bytes_req: int, bytes_alloc: int) -> int:
    """The least alignment from 8 to a page that explains why an object takes bytes_alloc; 8 where none does."""
    align = 8
    while align <= PAGE_BYTES:
        if -(-bytes_req // align) * align == bytes_alloc:
            return align
        align *= 2
    return 8


class CacheTable:
    """The caches in order of first use, each with a name of its own that is short enough."""

    def __init__(self, reclaimable: set[tuple[str, int, int]]) -> None:
        self._index: dict[tuple[str, int, int], int] = {}
        self._names: set[str] = set()
        self._reclaimable = reclaimable
        self.records: list[bytes] = []

    def index(self, cache: tuple[str, int, int]) -> int:
        """The cache's place in the table; it gets one if it has none."""
        found = self._index.get(cache)
        return self._add(cache) if found is None else found

    def _add(self, cache: tuple[str, int, int]) -> int:
        name, bytes_req, bytes_alloc = cache
        name = re.sub(r"[^A-Za-z0-9_.:+-]", "_", name)
        unique, count = name[:CACHE_NAME_LENGTH], 1
        while unique in self._names:
            count += 1
            suffix = f"#{count}"
            unique = name[:CACHE_NAME_LENGTH - len(suffix)] + suffix
        self._names.add(unique)
        flags = CACHE_RECLAIMABLE if cache in self._reclaimable else 0
        align = cache_alignment(bytes_req, bytes_alloc)
        self.records.append(CACHE.pack(unique.encode(), bytes_req, align, flags, 0))
        self._index[cache] = len(self.records) - 1
        return self._index[cache]


class ImageBuilder:
    """Steps in trace order become events with slots."""

    def __init__(self, layers: Layers) -> None:
        self.caches = CacheTable(layers.reclaimable_caches)
        self.cpus = sorted({cpu for _, cpu, _ in layers.steps})
        self._hart = {cpu: hart for hart, cpu in enumerate(self.cpus)}
        self.slots = 0
        self._free_slots: list[int] = []
        self.counts = [0] * len(OPERATIONS)
        self.requested = self.requested_peak = 0
        words = array.array("I")
        for is_alloc, cpu, request in layers.steps:
            step = self._alloc if is_alloc else self._free
            words.extend(step(self._hart[cpu], request))
        if sys.byteorder == "big":
            words.byteswap()
        self.events = words.tobytes()

    def _alloc(self, hart: int, request: Request) -> tuple[int, int, int]:
        if self._free_slots:
            request.slot = self._free_slots.pop()
        else:
            request.slot = self.slots
            self.slots += 1
        operation, argument, size, gfp = describe(request)
        if operation == CACHE_ALLOC:
            argument = self.caches.index(request.event.cache)
        self.counts[operation] += 1
        self.requested += size
        self.requested_peak = max(self.requested_peak, self.requested)
        return request.slot, argument, operation | hart << 8 | (gfp & GFP_REPLAYED) << 16

    def _free(self, hart: int, request: Request) -> tuple[int, int, int]:
        operation, _, size, _ = describe(request)
        operation = OBJECT_FREE if operation <= KMALLOC else operation + 1
        self._free_slots.append(request.slot)
        self.counts[operation] += 1
        self.requested -= size
        return request.slot, 0, operation | hart << 8


def describe(request: Request) -> tuple[int, int, int, int]:
    """An allocation's operation, argument (but not of cache_alloc), bytes asked for, and gfp flags."""
    if type(request) is Object:
        event = request.event
        return KMALLOC if event.cache is None else CACHE_ALLOC, event.bytes_req, event.bytes_req, event.gfp
    if type(request) is Part:
        size = PAGE_BYTES << request.order
        return PAGE_ALLOC, size, size, request.block.gfp
    size = request.page_count * PAGE_BYTES
    return AREA_ALLOC, size, size, 0


def convert(path: Path, name: Optional[str] = None) -> ImportedTrace:
    """Reads and converts a trace; its name is that of the file up to the first dot. Raises TraceError."""
    name = path.name.split(".")[0] if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,%d}" % (NAME_BYTES - 1), name):
        raise TraceError(f"{path}: {name!r} is no name for a trace: "
                         f"1 to {NAME_BYTES - 1} letters, digits, - and _")
    collecting = gc.isenabled()
    gc.disable()        # a million small objects and no cycles among them: collections would double the time
    try:
        return convert_parsed(path, name)
    finally:
        if collecting:
            gc.enable()


def convert_parsed(path: Path, name: str) -> ImportedTrace:
    """What convert does once the name is good."""
    text = FtraceText(path)
    layers = Separator(list(text.events())).run()
    for _, _, thing in layers.steps:
        if type(thing) is Area and thing.page_count * PAGE_BYTES > LARGEST_BYTES:
            raise TraceError(f"{path}: a vmalloc area of {thing.page_count} pages is too large")
    builder = ImageBuilder(layers)
    if not layers.steps:
        raise TraceError(f"{path}: nothing in it can be replayed")
    if len(builder.cpus) > MAX_HARTS:
        raise TraceError(f"{path}: {len(builder.cpus)} CPUs, a replay takes at most {MAX_HARTS}")
    left_out = layers.left_out
    lost = text.overwritten + text.lost_reported
    total = HEADER.size + CACHE.size * len(builder.caches.records) + len(builder.events) + 4
    header = HEADER.pack(
        MAGIC, VERSION, HEADER.size, total, name.encode(),
        len(builder.cpus), len(builder.caches.records), builder.slots, len(layers.steps), *builder.counts, 0,
        builder.requested_peak, builder.requested, lost,
        left_out["unmatched_object_frees"], left_out["unmatched_page_frees"],
        left_out["unmatched_area_frees"], left_out["failed_allocations"])
    image = b"".join([header, *builder.caches.records, builder.events])
    crc = zlib.crc32(image)
    report = {
        "name": name,
        "source": path.name,
        "source_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "image_bytes": total,
        "image_crc32": f"{crc:08x}",
        "trace_events": text.event_count,
        "trace_events_by_name": dict(sorted(text.by_name.items())),
        "lost_events": lost,
        "lost_overwritten": text.overwritten,
        "lost_reported": text.lost_reported,
        "lost_lines": text.lost_lines,
        "cpus": builder.cpus,
        "harts": len(builder.cpus),
        "caches": len(builder.caches.records),
        "slots": builder.slots,
        "events": len(layers.steps),
        "operations": dict(zip(OPERATIONS, builder.counts)),
        "requested_peak": builder.requested_peak,
        "requested_final": builder.requested,
        "left_out": {key: left_out[key] for key in LEFT_OUT},
        "implied_frees": layers.implied_frees,
        "split_blocks": layers.split_blocks,
        "linear_map_votes": layers.linear_map_votes,
        "slab_peak_bytes": layers.slab_peak_bytes,
        "slab_peak_object_bytes": layers.slab_peak_object_bytes,
        "contradictions": layers.contradictions,
    }
    return ImportedTrace(name, len(builder.cpus), image + struct.pack("<I", crc), report)


def warnings(report: dict[str, Any]) -> Iterator[str]:
    """What a user must know before trusting a replay of the trace."""
    if report["lost_events"] or report["lost_lines"]:
        yield (f"events are missing: {report['lost_overwritten']} overwritten in the ring buffer, "
               f"{report['lost_reported']} reported by {report['lost_lines']} LOST lines")
    if report["implied_frees"]:
        yield f"{report['implied_frees']} addresses given out again without a free; the free is put in before"
    if report["contradictions"]:
        yield f"{report['contradictions']} contradictions in telling slab pages from page requests"
    if not report["linear_map_votes"]:
        yield "the trace does not show the linear map's offset: the slab allocator's pages are not recognised"


def summary(report: dict[str, Any]) -> str:
    """The report for a person."""
    lines = [f"{report['name']}: {report['trace_events']} trace events, {report['events']} operations on "
             f"{report['harts']} harts, {report['caches']} caches, at most {report['slots']} things alive"]
    lines += [f"  {count:8}  {operation}" for operation, count in report["operations"].items()]
    lines.append(f"  {report['requested_peak']:8}  bytes requested at the peak, "
                 f"{report['requested_final']} at the end")
    lines.append("  left out:")
    lines += [f"  {count:8}  {LEFT_OUT[key]}" for key, count in report["left_out"].items() if count]
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(allow_abbrev=False,
                                     description="Converts ftrace text of allocations into a replay image.")
    parser.add_argument("trace", type=Path, help="text of /sys/kernel/tracing/trace, plain or .xz")
    parser.add_argument("-o", "--output", type=Path, help="where the image goes; without it: only check")
    parser.add_argument("--name", help="the trace's name (default: the file's name up to the first dot)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args()
    try:
        imported = convert(options.trace, options.name)
        if options.output:
            options.output.write_bytes(imported.image)
    except (TraceError, OSError) as error:
        print(f"trace_import: {error}", file=sys.stderr)
        return 2
    for warning in warnings(imported.report):
        print(f"trace_import: {options.trace}: warning: {warning}", file=sys.stderr)
    print(json.dumps(imported.report, indent=1) if options.json else summary(imported.report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
