#!/usr/bin/python3
# Tests of the trace converter: what it makes of each event, what it leaves out, and what it refuses.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import json
import lzma
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path[1:1] = [str(TOOLS), str(TOOLS / "study")]

from handmade import LINEAR, PAGE, RAM, VMALLOC, Trace, address  # noqa: E402
from qtrace_decode import Event, Image, decode  # noqa: E402
from run.emit import Report  # noqa: E402
from trace_import import ImportedTrace, TraceError, convert, warnings  # noqa: E402

CONVERTER = TOOLS / "study" / "trace_import.py"
TRACES = TOOLS / "study" / "traces"
WAIT, HIGH, ZERO, DMA, DMA32, MOVABLE, RECLAIMABLE = (1 << bit for bit in range(7))
PTR = LINEAR + 0x1000


class Bench:
    """Converts texts by way of files in a folder of its own."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.folder = folder

    def file(self, content: str | bytes, name: str = "made.trace") -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def convert(self, trace: Trace | str, name: str = "made.trace") -> tuple[Image, dict]:
        imported = convert(self.file(trace if isinstance(trace, str) else trace.text(), name))
        return decode(imported.image), imported.report

    def equal(self, what: str, found: object, expected: object) -> None:
        self.report.check(found == expected, f"{what}: {found!r}, expected {expected!r}")

    def refused(self, content: str | bytes, *texts: str, name: str = "made.trace") -> None:
        """The content must be refused with a message that holds the file's path and all of the texts."""
        path = self.file(content, name)
        try:
            convert(path)
        except TraceError as error:
            for text in (str(path), *texts):
                self.report.check(text in str(error), f"{text!r} is not in {str(error)!r}")
        else:
            self.report.check(False, f"accepted, expected {texts!r}")

    def left_out(self, report: dict, **expected: int) -> None:
        self.equal("left out", {key: count for key, count in report["left_out"].items() if count}, expected)


def check_each_event(bench: Bench) -> None:
    """Every event becomes the operation it stands for, on the hart of its CPU, with sizes and flags kept."""
    trace = Trace()
    trace.kmalloc(PTR, 100, 128, "GFP_ATOMIC|__GFP_ZERO", cpu=2)
    trace.cache_alloc(PTR + 128, "cred_jar", 136, 192, "GFP_KERNEL_ACCOUNT", cpu=5)
    trace.pages(0x90000, 3, "GFP_HIGHUSER_MOVABLE|__GFP_COMP", 1)
    trace.pages(0x90008, 0, "GFP_NOFS|__GFP_RECLAIMABLE", 2, comm="a b: c-7 [x]", pid=1234567)
    trace.pages(0x90009, 0, "GFP_DMA32|__GFP_HIGH", 0).pages(0x9000a, 0, "GFP_NOWAIT|GFP_DMA", 4)
    trace.area(VMALLOC, 4).array(PTR + 512, 4)
    trace.event("mm_page_pcpu_drain", "page=ff6000007e000040 pfn=0x1 order=0 migratetype=0")
    trace.event("mm_page_free_batched", "page=ff6000007e000040 pfn=0x90008 order=0")
    trace.kfree(PTR + 128, cpu=2).cache_free(PTR, "odd", cpu=5).pages_free(0x90000, 3).pages_free(0x90008)
    trace.area_free(VMALLOC, cpu=5)
    image, report = bench.convert(trace)
    bench.equal("events", image.events, [
        Event("kmalloc", 0, 100, 1, HIGH | ZERO), Event("cache_alloc", 1, 0, 2, WAIT),
        Event("page_alloc", 2, 8 * PAGE, 0, WAIT | MOVABLE),
        Event("page_alloc", 3, PAGE, 0, WAIT | RECLAIMABLE), Event("page_alloc", 4, PAGE, 0, HIGH | DMA32),
        Event("page_alloc", 5, PAGE, 0, DMA), Event("area_alloc", 6, 4 * PAGE, 0, 0),
        Event("kmalloc", 7, 32, 0, WAIT | ZERO), Event("object_free", 1, 0, 1, 0),
        Event("object_free", 0, 0, 2, 0), Event("page_free", 2, 0, 0, 0), Event("page_free", 3, 0, 0, 0),
        Event("area_free", 6, 0, 2, 0)])
    bench.equal("cpus", report["cpus"], [0, 2, 5])
    bench.equal("trace events", report["trace_events"], 15)
    bench.equal("dropped", report["trace_events_by_name"]["mm_page_free_batched"], 1)
    bench.equal("name", image.name, "made")
    bench.equal("peak", image.requested_peak, 100 + 136 + 32 + (8 + 3 + 4) * PAGE)
    bench.left_out(report)


def check_slots(bench: Bench) -> None:
    """A freed slot is given out again, so the table is as small as the most that was alive at once."""
    trace = Trace()
    for i in range(4):
        trace.kmalloc(PTR + 64 * i, 64)
    trace.kfree(PTR + 64).kfree(PTR + 128).kmalloc(PTR + 256, 8).kmalloc(PTR + 320, 8).kmalloc(PTR + 384, 8)
    image, _ = bench.convert(trace)
    bench.equal("slots", [event.slot for event in image.events], [0, 1, 2, 3, 1, 2, 2, 1, 4])


def check_caches(bench: Bench) -> None:
    """Alignment follows from the sizes; names are short, plain and unique; a cache without one gets one."""
    trace = Trace()
    long = "a_cache_name_that_is_too_long_to_be_kept"
    made = (("one", 136, 192), ("two", 112, 128), ("one", 24, 24), ("five", 8, 999), (long, 64, 64),
            (long + "2", 64, 64), ('q"\\', 17, 32))
    for i, (name, size, alloc) in enumerate(made):
        trace.cache_alloc(PTR + 1024 * i, name, size, alloc)
    trace.event("kmem_cache_alloc", f"call_site=f+0x1/0x2 [ext4] ptr={PTR + 9000:016x} bytes_req=40 "
                                    "bytes_alloc=48 gfp_flags=GFP_NOWAIT node=0 accounted=false")
    image, _ = bench.convert(trace)
    bench.equal("caches", [(cache.name, cache.object_bytes, cache.align_bytes) for cache in image.caches],
                [("one", 136, 64), ("two", 112, 32), ("one#2", 24, 8), ("five", 8, 8), (long[:29], 64, 8),
                 (long[:27] + "#2", 64, 8), ("q__", 17, 16), ("size-40-48", 40, 16)])


def check_unmatched(bench: Bench) -> None:
    """What the trace did not allocate, or could not, is counted and not replayed."""
    trace = Trace().kfree(PTR).cache_free(PTR + 64, "x").pages_free(5, 0).pages_free(8, 3).area_free(VMALLOC)
    trace.kfree(0).kfree(16).kmalloc(16, 0, 0).kmalloc(0, 8 << 30).pages(0, 4).area(VMALLOC, 3, failed=-16)
    trace.cache_alloc(0, "x", 64).kmalloc(PTR, 64)
    image, report = bench.convert(trace)
    bench.equal("events", image.events, [Event("kmalloc", 0, 64, 0, WAIT)])
    bench.equal("skipped", image.skipped, (2, 2, 1))
    bench.equal("failed", image.failed_allocations, 4)
    bench.left_out(report, failed_allocations=4, zero_size_allocations=1, null_frees=2,
                   unmatched_object_frees=2, unmatched_page_frees=2, unmatched_area_frees=1)


def check_split_frees(bench: Bench) -> None:
    """A block that is freed in parts is one request for each part and each aligned rest, always exact."""
    trace = Trace().pages(0x100, 3).pages_free(0x105).pages_free(0x106, 1).kmalloc(PTR, 8).pages_free(0x101)
    image, report = bench.convert(trace)
    sizes = [event.argument // PAGE for event in image.events if event.op == "page_alloc"]
    bench.equal("parts", sizes, [1, 1, 2, 1, 1, 2])
    bench.equal("freed", [event.slot for event in image.events if event.op == "page_free"], [4, 5, 1])
    bench.equal("split", report["split_blocks"], 1)
    # A free of more than was allocated at once: both blocks, and a frame between them that was not seen.
    trace = Trace().pages(0x100).pages(0x102, 1).pages_free(0x100, 2).pages(0x200, 1).pages_free(0x201)
    image, report = bench.convert(trace)
    bench.equal("events", [(event.op, event.slot) for event in image.events],
                [("page_alloc", 0), ("page_alloc", 1), ("page_free", 0), ("page_free", 1), ("page_alloc", 1),
                 ("page_alloc", 0), ("page_free", 0)])
    bench.left_out(report)


def slab_trace() -> Trace:
    """A slab page with two objects, one of order 2, a large kmalloc, and requests that look alike."""
    slab = "GFP_KERNEL|__GFP_NOWARN|__GFP_NORETRY"
    trace = Trace().pages(0x90000, 0, slab).cache_alloc(address(0x90000), "filp", 256, 256)
    trace.pages(0x90001, 0, slab).cache_alloc(address(0x90000, 256), "filp", 256, 256)
    trace.pages(0x90004, 2, slab + "|__GFP_COMP|__GFP_RECLAIMABLE", 2)
    trace.cache_alloc(address(0x90005, 64), "dentry", 192, 192, "GFP_KERNEL|__GFP_RECLAIMABLE")
    trace.pages(0x90010, 2, "GFP_KERNEL|__GFP_COMP", pid=2).kmalloc(address(0x90010), 9000, 16384, pid=2)
    return trace


def check_slab_layer(bench: Bench) -> None:
    """Pages with objects in them are slab's or a large kmalloc's, whatever their flags; others requests."""
    trace = slab_trace().kfree(address(0x90010)).pages_free(0x90010, 2).pages_free(0x90001)
    trace.cache_free(address(0x90000), "filp").cache_free(address(0x90000, 256), "filp").pages_free(0x90000)
    trace.pages(0x90020, 2).cache_alloc(address(0x90020), "filp", 256, 256)     # no new peak
    image, report = bench.convert(trace)
    bench.equal("pages", [event for event in image.events if event.op == "page_alloc"],
                [Event("page_alloc", 1, PAGE, 0, WAIT)])
    bench.left_out(report, slab_page_allocations=4, slab_page_frees=2)
    bench.equal("flags", [cache.flags for cache in image.caches], [0, 1])
    bench.equal("peak", (report["slab_peak_bytes"], report["slab_peak_object_bytes"]),
                (9 * PAGE, 256 + 256 + 192 + 16384))
    bench.equal("contradictions", report["contradictions"], 0)


def check_contradictions(bench: Bench) -> None:
    """A slab with objects of two caches, or freed with live objects, shows that something is wrong."""
    trace = slab_trace().cache_alloc(address(0x90000, 512), "other", 64, 64).pages_free(0x90004, 2)
    _, report = bench.convert(trace)
    bench.equal("contradictions", report["contradictions"], 2)
    bench.report.check(any("2 contradictions" in text for text in warnings(report)), "no warning")


def check_linear_map(bench: Bench) -> None:
    """The offset is the one most slabs agree on; where nothing shows it, no page is taken for slab's."""
    trace = slab_trace()
    for i in range(2):      # two tasks that happen to allocate an object after pages of their own
        trace.pages(0xa0000 + i, pid=7).kmalloc(address(0x80300 + 17 * i), 8, pid=7)
    _, report = bench.convert(trace)
    bench.equal("votes", report["linear_map_votes"], 2)
    bench.equal("slab pages", report["left_out"]["slab_page_allocations"], 3)
    movable = Trace().pages(0x90000, 0, "GFP_HIGHUSER_MOVABLE", 1).kmalloc(address(0x90000), 8)
    _, report = bench.convert(movable)
    bench.equal("votes", report["linear_map_votes"], 0)
    bench.report.check(any("linear map" in text for text in warnings(report)), "no warning")


def check_vmalloc_layer(bench: Bench) -> None:
    """An area with an array of pages is replayed with its pages, and its page frees are left out."""
    high = "GFP_KERNEL|__GFP_HIGHMEM|__GFP_NOWARN"
    # The bulk allocator's pages do not show; what comes after the area is a request.
    trace = Trace().area(VMALLOC, 2).pages(0x500).array(PTR, 2)
    trace.pages(0x501, 0, "GFP_KERNEL").kmalloc(PTR + 64, 8).pages(0x502, 0, high)
    # An interrupt comes between; the last page is one more than the area has.
    trace.area(VMALLOC + 0x10000, 3, pid=2).kmalloc(PTR + 96, 8, pid=2, flags="..h..")
    trace.array(PTR + 128, 3, pid=2).pages(0x601, 0, high, pid=2).pages(0x602, 1, high, pid=2)
    trace.pages(0x604, 0, high, pid=2)
    # An ioremap.
    trace.area(VMALLOC + 0x20000, 1).kmalloc(PTR + 192, 64)
    # Another task's free comes between; the last one is not the area's any more.
    trace.area_free(VMALLOC, pid=9).pages_free(0x700, pid=9).pages_free(0x500, pid=1)
    trace.pages_free(0x701, pid=9).pages_free(0x702, pid=9)
    trace.area_free(VMALLOC + 0x10000).pages_free(0x601).pages_free(0x602).pages_free(0x603)
    trace.pages_free(0x703)
    trace.area_free(VMALLOC + 0x20000)
    image, report = bench.convert(trace)
    bench.equal("areas", areas(image), [2, 3])
    bench.equal("area frees", sum(event.op == "area_free" for event in image.events), 2)
    bench.equal("requests", sum(event.op == "page_alloc" for event in image.events), 4)
    bench.left_out(report, vmalloc_page_allocations=2, vmalloc_page_frees=5, unmatched_page_frees=2,
                   areas_without_pages=1, area_frees_without_pages=1)
    # What an interrupt frees, or the task after its next object, is not the area's.
    trace = Trace().area(VMALLOC, 4).array(PTR, 4).area_free(VMALLOC).pages_free(0x6ff, flags="..s..")
    trace.pages_free(0x700).pages_free(0x701).kfree(PTR).pages_free(0x702)
    bench.left_out(bench.convert(trace)[1], vmalloc_page_frees=2, unmatched_page_frees=2)
    # The idle tasks of two CPUs are not one task.
    trace = Trace().area(VMALLOC, 2, pid=0).kmalloc(PTR + 64, 8, pid=0, cpu=1).array(PTR, 2, pid=0)
    bench.equal("areas of an idle task", areas(bench.convert(trace)[0]), [2])


def areas(image: Image) -> list[int]:
    """The pages of each area that is replayed."""
    return [event.argument // PAGE for event in image.events if event.op == "area_alloc"]


def check_nested_area(bench: Bench) -> None:
    """An array larger than a page is an area of its own; both are replayed."""
    trace = Trace().area(VMALLOC, 600).kmalloc(PTR, 64, site="__get_vm_area_node+0x1/0x2")
    trace.area(VMALLOC + 0x400000, 2).array(PTR + 64, 2)
    trace.pages(0x800, 0, "GFP_KERNEL|__GFP_HIGHMEM|__GFP_NOWARN").kfree(PTR)
    trace.area(VMALLOC + 0x500000, 600).area(VMALLOC + 0x900000, 3).array(PTR + 256, 3)
    image, report = bench.convert(trace)
    bench.equal("areas", areas(image), [600, 2, 3])
    bench.left_out(report, vmalloc_page_allocations=1, areas_without_pages=1)


def check_tables(bench: Bench) -> None:
    """Zeroed pages right after an area that enters fresh regions are its tables, no more than these need."""
    zeroed, region = "GFP_KERNEL|__GFP_ZERO", 1 << 21
    trace = Trace().area(VMALLOC, 2).array(PTR, 2)
    for pfn in range(0x900, 0x906):       # four levels, and two pages too many
        trace.pages(pfn, 0, zeroed)
    trace.area(VMALLOC + 8 * PAGE, 2).array(PTR + 64, 2).pages(0x910, 0, zeroed)        # the same region
    trace.area(VMALLOC + region, 2).array(PTR + 128, 2).pages(0x920, 0, zeroed + "|__GFP_ACCOUNT")
    trace.pages(0x921, 0, zeroed).pages_free(0x921)
    trace.area(VMALLOC + 2 * region, 2).array(PTR + 192, 2).kmalloc(PTR + 256, 8).pages(0x930, 0, zeroed)
    image, report = bench.convert(trace)
    bench.equal("requests", sum(event.op == "page_alloc" for event in image.events), 5)
    bench.left_out(report, table_page_allocations=5, table_page_frees=1)


def check_lost(bench: Bench) -> None:
    """Lost events are in the image and the report, and said to the user; the trace is still converted."""
    trace = Trace().kmalloc(PTR, 64)
    trace.lines += ["CPU:3 [LOST 12 EVENTS]", "CPU:1 [LOST EVENTS]"]
    trace.kmalloc(PTR, 32)
    head = "# entries-in-buffer/entries-written: 2/32   #P:4\n"
    image, report = bench.convert(trace.text(head))
    bench.equal("lost", image.lost_events, 42)
    lost = [report[key] for key in ("lost_events", "lost_overwritten", "lost_reported", "lost_lines")]
    bench.equal("report", lost, [42, 30, 12, 2])
    bench.equal("events", [event.op for event in image.events], ["kmalloc", "object_free", "kmalloc"])
    bench.equal("implied", report["implied_frees"], 1)
    done = run_converter(str(bench.file(trace.text(head))))
    bench.equal("exit code", done.returncode, 0)
    for text in ("30 overwritten", "12 reported by 2 LOST lines", "1 addresses given out again"):
        bench.report.check(text in done.stderr, f"{text!r} is not in {done.stderr!r}")


def check_implied_frees(bench: Bench) -> None:
    """Frames and areas that are given out again were freed before."""
    trace = Trace().pages(0x100, 1).pages(0x101).area(VMALLOC, 1).array(PTR, 1)
    image, report = bench.convert(trace.area(VMALLOC, 2).array(PTR + 8, 2))
    bench.equal("events", [(event.op, event.argument) for event in image.events], [
        ("page_alloc", PAGE), ("page_alloc", PAGE), ("page_free", 0), ("page_alloc", PAGE),
        ("area_alloc", PAGE), ("kmalloc", 8), ("area_free", 0), ("area_alloc", 2 * PAGE), ("kmalloc", 16)])
    bench.equal("implied", report["implied_frees"], 2)


def check_malformed(bench: Bench) -> None:
    """A line that is wrong in any part is refused, with its number."""
    good = Trace().kmalloc(PTR, 64).pages(0x100).area(VMALLOC, 2).kfree(PTR).pages_free(0x100)
    good.area_free(VMALLOC).cache_alloc(PTR, "filp", 256).cache_free(PTR, "filp")
    text = good.text()
    bench.convert(text)
    for line, before, after, says in (
        (3, "kmalloc: call", "kmalloc:call", "malformed line"),
        (3, "[000]", "[0x0]", "malformed line"),
        (3, "            init-1", "init-1", "malformed line"),
        (3, "0.000003:", "0,000003:", "malformed line"),
        (3, "kmalloc:", "kmaloc:", "event 'kmaloc' is not"),
        (3, "kmalloc:", "sched_switch:", "event 'sched_switch' is not"),
        (3, "bytes_req=64", "bytes_req=-64", "malformed fields of kmalloc"),
        (3, "bytes_req=64", "bytes_req=65", "bytes_req=65 bytes_alloc=64 cannot be"),
        (3, "bytes_req=64", "bytes_req=0", "bytes_req=0 bytes_alloc=64 cannot be"),
        (3, "bytes_alloc=64", f"bytes_alloc={1 << 32}", "cannot be"),
        (3, "bytes_req=64 ", "", "malformed fields of kmalloc"),
        (3, "GFP_KERNEL", "GFP_KERNEL|GFP_WRONG", "unknown gfp flag 'GFP_WRONG'"),
        (3, "GFP_KERNEL", "0xcc0", "unknown gfp flag '0xcc0'"),
        (3, "accounted=false", "accounted=false more=1", "malformed fields of kmalloc"),
        (3, f"ptr={PTR:016x}", "ptr=00000000a7b1c2d3", "hashed"),
        (3, f"ptr={PTR:016x}", "ptr=ff6", "malformed fields of kmalloc"),
        (4, "pfn=0x100", "pfn=0xg", "malformed fields of mm_page_alloc"),
        (4, "pfn=0x100", "pfn=0x100000000000", "pfn 0x100000000000 is no"),
        (4, "order=0", "order=11", "order 11 is larger than 10"),
        (4, "pfn=0x100 order=0", "pfn=0x101 order=1", "pfn 0x101 is no page frame number of a block"),
        (4, "migratetype=0", "migratetype=x", "malformed fields of mm_page_alloc"),
        (5, "va_start: 18383", "va_start: 0xff", "malformed fields of alloc_vmap_area"),
        (5, "size=12288", "size=12287", "size=12287 is no range"),
        (5, "size=12288", "size=0", "size=0 is no range"),
        (5, f"{VMALLOC}", "4096", "va_start: 4096"),
        (5, f"{VMALLOC}", f"{(1 << 64) - PAGE}", "is no range"),
        (6, "0.000012:", "0.000001:", "time goes back from 0.000009 to 0.000001"),
        (6, "ptr=", "pointer=", "malformed fields of kfree"),
        (7, "order=0", "order=", "malformed fields of mm_page_free"),
        (8, "va_start=0x", "va_start=", "malformed fields of free_vmap_area_noflush"),
        (9, "name=filp", "name=", "malformed fields of kmem_cache_alloc"),
        (10, "\n", "\n\n", "line 11: malformed line"),
        (10, "name=filp\n", "name=fi", "the file ends within this line"),
        (10, "name=filp\n", "name=f\udcffp\n", "byte 0xff is not text"),
        (2, "#\n", "# entries-in-buffer/entries-written: 7\n", "malformed header"),
        (2, "#\n", "# entries-in-buffer/entries-written: 9/8   #P:4\n", "but only 8 written"),
        (2, "#\n", "CPU:0 [LOST -1 EVENTS]\n", "malformed line"),
    ):
        lines = text.splitlines(keepends=True)
        bench.report.check(before in lines[line - 1], f"the test is wrong: no {before!r} in line {line}")
        lines[line - 1] = lines[line - 1].replace(before, after, 1)
        # Input is decoded ahead of the lines, so the number is then that of the last good line at most.
        number = "line " if "not text" in says or "line 11" in says else f"line {line}: "
        bench.refused("".join(lines).encode(errors="surrogateescape"), number, says)


def check_whole_files(bench: Bench) -> None:
    """A file that is truncated, damaged, empty, missing or shorter than it says is refused."""
    text = slab_trace().text()
    packed = lzma.compress(text.encode())
    bench.convert(slab_trace())
    same = convert(bench.file(packed, "made.xz")).image == convert(bench.file(text)).image
    bench.report.check(same, "other bytes from .xz than from the plain text")
    for length in (0, 1, 20, len(packed) // 2, len(packed) - 1):
        bench.refused(packed[:length], "not a whole .xz file", name="made.xz")
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 1
    bench.refused(bytes(damaged), "not a whole .xz file", name="made.xz")
    bench.refused(packed, "not text")
    bench.refused("", "holds no event")
    bench.refused("# tracer: nop\n", "holds no event")
    bench.refused(Trace().kfree(PTR).text(), "nothing in it can be replayed")
    head = "# entries-in-buffer/entries-written: 10/10   #P:4\n"
    count = len(slab_trace().lines)
    bench.refused(slab_trace().text(head), f"the header promises 10 events, the file holds {count}")
    bench.refused(text, "is no name for a trace", name="-.trace"[1:])
    for path, says in ((bench.folder / "absent.trace", "No such file"), (bench.folder, "Is a directory")):
        try:
            convert(path, "name")
            bench.report.check(False, f"{path} was accepted")
        except TraceError as error:
            bench.report.check(says in str(error), f"{says!r} is not in {str(error)!r}")


def run_converter(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(CONVERTER), *arguments], stdin=subprocess.DEVNULL, text=True,
                          capture_output=True, timeout=60, check=False)


def check_command(bench: Bench) -> None:
    """The command writes what the module makes, and reports; refusing, it exits with 2 and says one line."""
    path, image = bench.file(slab_trace().text()), bench.folder / "made.image"
    done = run_converter(str(path), "-o", str(image), "--name", "other", "--json")
    bench.equal("exit code and errors", (done.returncode, done.stderr), (0, ""))
    bench.equal("image", image.read_bytes(), convert(path, "other").image)
    bench.equal("report", json.loads(done.stdout), convert(path, "other").report)
    done = run_converter(str(path))
    bench.report.check("5 operations" in done.stdout, done.stdout)
    image.unlink()
    done = run_converter(str(bench.file("rubbish\n")), "-o", str(image))
    bench.equal("exit code", done.returncode, 2)
    message = re.fullmatch(r"trace_import: .*made.trace: line 1: malformed line: 'rubbish'\n", done.stderr)
    bench.report.check(message is not None, done.stderr)
    bench.report.check(not image.exists() and done.stdout == "", "it left something behind")
    bench.equal("no folder", run_converter(str(path), "-o", str(bench.folder / "no" / "x")).returncode, 2)
    bench.equal("no arguments", run_converter().returncode, 2)


# What another program counted when the traces were recorded: lines by event, objects' peak and final size,
# page allocations (slab's included), failed allocations, frees of objects that came before the trace.
PUBLISHED = {
    "boot": ({"kmem_cache_alloc": 20814, "kmem_cache_free": 6726, "kmalloc": 4305, "kfree": 2982,
              "mm_page_alloc": 2574, "mm_page_alloc_zone_locked": 2523, "mm_page_free": 1208,
              "mm_page_free_batched": 717, "alloc_vmap_area": 83, "free_vmap_area_noflush": 12,
              "mm_page_alloc_extfrag": 4},
             (5119891, 5093131), 2574, 0, 4),
    "pressure": ({"mm_page_alloc": 35044, "mm_page_free": 34105, "kmem_cache_alloc": 34035,
                  "mm_page_pcpu_drain": 32945, "mm_page_alloc_zone_locked": 32823,
                  "mm_page_free_batched": 32738, "kmem_cache_free": 32175, "kfree": 2449, "kmalloc": 2264,
                  "mm_page_alloc_extfrag": 6, "free_vmap_area_noflush": 5, "alloc_vmap_area": 4},
                 (916440, 302240), 34070, 487 + 974, 180),
}


def check_published(bench: Bench, name: str) -> None:
    """A recorded trace converts to what is published about it, twice to the same bytes."""
    path = TRACES / f"{name}.trace.xz"
    imported: ImportedTrace = convert(path)
    image, report = decode(imported.image), imported.report
    by_name, objects, blocks, failed, unmatched = PUBLISHED[name]
    bench.equal("events", report["trace_events_by_name"], by_name)
    bench.equal("bytes requested by objects", image.requested(("cache_alloc", "kmalloc")), objects)
    layers = ("slab", "vmalloc", "table")
    bench.equal("blocks", sum(event.op == "page_alloc" for event in image.events) +
                sum(report["left_out"][f"{layer}_page_allocations"] for layer in layers), blocks)
    bench.equal("failed", image.failed_allocations, failed)
    bench.equal("unmatched", image.skipped[0], unmatched)
    bench.equal("harts, lost, split, implied, contradictions",
                (image.harts, *(report[key] for key in ("lost_events", "split_blocks", "implied_frees",
                                                        "contradictions"))), (4, 0, 0, 0, 0))
    readme = (TRACES / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{name}` \|.*\| ([\d,]+) \| ([\d,]+) \|$", readme, re.MULTILINE)
    numbers = [int(text.replace(",", "")) for text in row.groups()] if row else []
    bench.equal("README.md", numbers, [report["trace_events"], image.requested_peak])
    bench.equal("list of warnings", list(warnings(report)), [])
    bench.report.check(imported.image == convert(path).image, "not the same bytes again")


CASES: dict[str, Callable[[Bench], None]] = {
    "each_event_becomes_its_operation": check_each_event,
    "slots_are_reused": check_slots,
    "caches_have_names_and_alignment": check_caches,
    "unmatched_and_failed_are_counted": check_unmatched,
    "split_blocks_are_exact": check_split_frees,
    "slab_pages_are_left_out": check_slab_layer,
    "contradictions_are_reported": check_contradictions,
    "linear_map_is_found_by_vote": check_linear_map,
    "vmalloc_pages_are_left_out": check_vmalloc_layer,
    "nested_areas_are_recognised": check_nested_area,
    "page_tables_are_left_out": check_tables,
    "lost_events_are_reported": check_lost,
    "missing_frees_are_put_in": check_implied_frees,
    "malformed_lines_are_refused": check_malformed,
    "broken_files_are_refused": check_whole_files,
    "command_line_works": check_command,
    "boot_is_as_published": lambda bench: check_published(bench, "boot"),
    "pressure_is_as_published": lambda bench: check_published(bench, "pressure"),
}


def main() -> int:
    assert address(0x80200) == LINEAR and RAM == 0x80200 * PAGE
    report = Report()
    for name, check in CASES.items():
        with tempfile.TemporaryDirectory() as folder, report.case(f"convert_{name}"):
            check(Bench(report, Path(folder)))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
