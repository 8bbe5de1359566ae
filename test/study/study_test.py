#!/usr/bin/python3
# Tests of the replay in a real kernel: what it counts in a trace made by hand, and what it refuses.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: study_test.py KERNEL"""

from __future__ import annotations

import struct
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "tools"), str(ROOT / "tools" / "study"), str(ROOT / "test" / "convert")]

from handmade import LINEAR, PAGE, VMALLOC, Trace  # noqa: E402
from qtrace_decode import decode  # noqa: E402
from report import records  # noqa: E402
from run import process, qemu  # noqa: E402
from run.emit import Report  # noqa: E402
from trace_import import ImportedTrace, convert  # noqa: E402

EXIT_OK, EXIT_FAILED, EXIT_BAD_INPUT = 0, 1, 2
LIMIT_S = 60.0
PTR = LINEAR + 0x100000


@dataclass
class Outcome:
    exit: int
    console: str


class Bench:
    """Boots the kernel with images; keeps them in a folder of its own."""

    def __init__(self, report: Report, kernel: Path, folder: Path) -> None:
        self.report = report
        self.folder = folder
        self.machine = qemu.Machine(kernel, harts=3, mem="128M", icount=True, seed=1)
        self.qemu = qemu.find().path

    def import_trace(self, trace: Trace) -> ImportedTrace:
        path = self.folder / "made.trace"
        path.write_text(trace.text(), encoding="ascii")
        return convert(path)

    def boot(self, image: bytes | None, arguments: str = "", **machine: object) -> Outcome:
        initrd = None
        if image is not None:
            initrd = self.folder / "made.image"
            initrd.write_bytes(image)
        append = qemu.boot_arguments("study", extra=arguments)
        lines: list[str] = []
        command = qemu.command(self.qemu, replace(self.machine, initrd=initrd, append=append, **machine))
        ended = process.run_lines(command, LIMIT_S, lines.append)
        self.report.check(not ended.timed_out, "no end within the time limit")
        return Outcome(ended.exit, "".join(line + "\n" for line in lines))

    def replay(self, image: bytes, bound: str = "own", **machine: object) -> records.Run:
        outcome = self.boot(image, f"bound={bound}", **machine)
        if not self.report.check(outcome.exit == EXIT_OK, f"exit code {outcome.exit}"):
            self.report.check(False, outcome.console[-2000:])
        return records.read_run(outcome.console.encode())

    def refused(self, image: bytes | None, says: str, exit_code: int = EXIT_BAD_INPUT, arguments: str = "",
                **machine: object) -> None:
        outcome = self.boot(image, arguments, **machine)
        self.equal(f"exit code for {says!r}", outcome.exit, exit_code)
        if not self.report.check(says in outcome.console, f"the console does not say {says!r}"):
            self.report.check(False, outcome.console[-300:])
        self.report.check("@study" not in outcome.console, f"records though {says!r}")

    def equal(self, what: str, found: object, expected: object) -> None:
        self.report.check(found == expected, f"{what}: {found!r}, expected {expected!r}")


def sealed(image: bytes) -> bytes:
    """The image with the CRC that it should have."""
    return image[:-4] + struct.pack("<I", zlib.crc32(image[:-4]))


def with_word(image: bytes, at: int, value: int, size: int = 4) -> bytes:
    """The image with a number changed, sealed."""
    return sealed(image[:at] + value.to_bytes(size, "little") + image[at + size:])


def mixed_trace() -> Trace:
    """Something of everything, on three CPUs; some of it lives on."""
    trace = Trace()
    for i in range(40):
        trace.cache_alloc(PTR + 256 * i, "filp", 232, 256, cpu=i % 3)
        trace.pages(0x90000 + i, 0, "GFP_HIGHUSER_MOVABLE", 1, cpu=i % 3)
    trace.kmalloc(PTR + 0x8000, 100, 128, "GFP_ATOMIC|__GFP_ZERO", cpu=1)
    trace.kmalloc(PTR + 0x10000, 70000, 131072)
    trace.pages(0xa0000, 5, "GFP_KERNEL|__GFP_ZERO", cpu=2)
    for i in range(4):
        trace.area(VMALLOC + 0x100000 * i, 5, cpu=i % 3)
        trace.array(PTR + 0x9000 + 64 * i, 5, cpu=i % 3)
    for i in range(0, 40, 2):
        trace.cache_free(PTR + 256 * i, "filp", cpu=(i + 1) % 3).pages_free(0x90000 + i, cpu=(i + 1) % 3)
    trace.area_free(VMALLOC, cpu=2).area_free(VMALLOC + 0x200000, cpu=1)
    return trace.kfree(PTR + 0x8000).kfree(PTR + 0x4f0000).pages_free(0x777)


def rounding(page: int, bound: str) -> int:
    """What the mixed trace's live page requests, areas and large kmalloc must waste at its end."""
    part = 1 if bound == "own" else page // PAGE
    # The single requests that live are the odd ones; request i is the (i // 3)th of its hart.
    pages = {(i % 3, i // 3 // part) for i in range(1, 40, 2)}
    areas = 2 * -(-5 * PAGE // page) * page
    return len(pages) * page - 20 * PAGE + areas - 10 * PAGE + 131072 - 70000


def check_counts(bench: Bench) -> None:
    """Operations by class, bytes asked for, and what lives at the end are the trace's, in both bounds."""
    imported = bench.import_trace(mixed_trace())
    wanted = imported.report["operations"]
    for bound in records.BOUNDS:
        run = bench.replay(imported.image, bound)
        counts = {operation.class_: operation.count for operation in run.operations}
        bench.equal("counts", counts, {
            "object_alloc": wanted["cache_alloc"] + wanted["kmalloc"], "object_free": wanted["object_free"],
            "page_alloc": wanted["page_alloc"], "page_free": wanted["page_free"],
            "vmap_alloc": wanted["area_alloc"], "vmap_free": wanted["area_free"]})
        result, page = run.result, run.config.page_size
        bench.equal("peak requested", result.peak_requested, imported.report["requested_peak"])
        bench.equal("final requested", result.final.requested, imported.report["requested_final"])
        bench.equal("alive", (result.final.live_objects, result.final.live_pages, result.final.live_areas),
                    (20 + 1 + 4, 21, 2))
        harts = [event.hart for event in decode(imported.image).events]
        bench.equal("handovers", result.handovers, sum(a != b for a, b in zip(harts, harts[1:])))
        bench.equal("skipped, failed", (result.skipped_frees, result.failed, result.failed_frees), (2, 0, 0))
        bench.equal("harts", (run.config.harts, run.config.harts_online), (3, 3))
        bench.equal("crc", run.config.trace_crc, imported.report["image_crc32"])
        bench.equal("samples", [sample.event for sample in run.samples], list(range(run.config.events + 1)))
        peak = max(run.samples, key=lambda sample: sample.held)
        bench.equal("peak", (result.peak_held, result.peak_event), (peak.held, peak.event))
        bench.equal(f"page rounding, {bound}", result.final.waste_page_rounding, rounding(page, bound))
        cheapest = min(operation.min for operation in run.operations)
        bench.report.check(cheapest > 20 or bound == "packed", "an operation for nothing")


def objects_trace() -> Trace:
    """Objects of a cache, of a class and beyond all classes, freed on other CPUs; pages that do not count."""
    trace = Trace()
    for i in range(40):
        trace.cache_alloc(PTR + 256 * i, "filp", 232, 256, cpu=i % 3).pages(0x90000 + i, cpu=i % 3)
    trace.kmalloc(PTR + 0x8000, 100, 128).kmalloc(PTR + 0x10000, 70000, 131072, cpu=1)
    for i in range(0, 40, 2):
        trace.cache_free(PTR + 256 * i, "filp", cpu=(i + 1) % 3)
    return trace.kmalloc(PTR + 0x9000, 8, 8, cpu=2)


def check_objects(bench: Bench) -> None:
    """Objects alone: the floor is their sizes in classes, and held is their slabs, exactly so without magazines."""
    image = bench.import_trace(objects_trace()).image
    for arguments in ("", " objects=none"):
        outcome = bench.boot(image, "only=objects" + arguments)
        bench.equal("exit code", outcome.exit, EXIT_OK)
        config, objects = records.read_objects(outcome.console.encode())
        page = config.page_size
        filp_pages = -(-40 // (page // 256 - (page // 256 > 64)))
        bench.equal("operations", (objects.events, objects.failed), (40 + 2 + 20 + 1, 0))
        bench.equal("floor", objects.peak_floor, 40 * 256 + 128 + 131072)
        # Highest either before the frees, or after them with a class more.
        in_pages = max(-(-40 * 256 // page) + 1, -(-20 * 256 // page) + 2) * page + 131072
        bench.equal("floor in pages", objects.peak_floor_pages, in_pages)
        least = filp_pages * page + page + 131072
        if arguments:
            bench.equal("when the floor was highest", objects.peak_floor_event, 82)
            bench.equal("magazines", (objects.peak.in_magazines, objects.peak.own), (0, 0))
            bench.equal("held", objects.peak_held, least + page)
        else:
            bench.report.check(objects.peak_held > least and objects.peak.own > 0, "magazines for nothing")
            bench.report.check(objects.peak.in_magazines > 0, "nothing waits in magazines")
    bench.refused(image, "only", arguments="only=pages")


def check_repeats(bench: Bench) -> None:
    """The same run gives the same bytes; with 4 KB pages, both bounds are the same run."""
    image = bench.import_trace(mixed_trace()).image
    first, again = bench.boot(image, "bound=packed"), bench.boot(image, "bound=packed")
    bench.report.check(first.console == again.console, "another console the second time")
    own, packed = bench.replay(image), records.read_run(first.console.encode())
    if own.config.page_size == PAGE:
        bench.equal("operations", own.operations, packed.operations)
        bench.equal("samples", own.samples, packed.samples)
    else:
        bench.report.check(packed.result.peak_held < own.result.peak_held, "sharing pages saves nothing")


def check_exhaustion(bench: Bench) -> None:
    """Where RAM does not suffice, allocations fail and are counted; so are the frees that come to nothing."""
    trace = Trace()
    for i in range(40):
        trace.pages(0x100000 + 1024 * i, 10).kmalloc(PTR + i, 8)
    for i in range(40):
        trace.pages_free(0x100000 + 1024 * i, 10)
    run = bench.replay(bench.import_trace(trace).image)
    failed = next(operation.failed for operation in run.operations if operation.class_ == "page_alloc")
    bench.report.check(5 <= failed <= 20, f"{failed} of 40 blocks of 4 MB failed with 128 MB")
    bench.equal("failed frees", run.result.failed_frees, failed)
    bench.equal("held", run.result.peak_held // (4 << 20), 40 - failed)


def check_highmem(bench: Bench) -> None:
    """A trace that lies in HIGHMEM, half of the machine, is read and replayed like any other."""
    imported = bench.import_trace(mixed_trace())
    outcome = bench.boot(imported.image, "zones=dma:4M,normal:60M,highmem")
    bench.equal("exit code", outcome.exit, EXIT_OK)
    bench.report.check(" HIGHMEM " in outcome.console, "no HIGHMEM")
    result = records.read_run(outcome.console.encode()).result
    bench.equal("peak requested", result.peak_requested, imported.report["requested_peak"])
    bench.equal("failed", (result.failed, result.failed_frees), (0, 0))
    bench.refused(imported.image[:100], "initrd: 100 bytes are too few", arguments="zones=dma:4M,normal:60M,highmem")


def check_refused_images(bench: Bench) -> None:
    """An image that is absent, truncated, longer than it says or changed is refused by name."""
    imported = bench.import_trace(mixed_trace())
    image, size = imported.image, len(imported.image)
    bench.refused(None, "initrd: there is none")
    bench.refused(image[:100], "initrd: 100 bytes are too few")
    bench.refused(image[:-12], f"initrd: total_bytes {size}, but {size - 12} bytes were loaded")
    bench.refused(image + bytes(12), f"initrd: total_bytes {size}, but {size + 12} bytes were loaded")
    bench.refused(b"\x1f\x8b" + image[2:], "initrd: magic")
    bench.refused(image[:200] + bytes([image[200] ^ 4]) + image[201:], "initrd: CRC-32")
    bench.refused(with_word(image, 8, 2), "initrd: version 2, this kernel reads version 1")
    bench.refused(with_word(image, 16, 1 << 40, 8), f"initrd: total_bytes {1 << 40}")
    bench.refused(with_word(image, 68, 0xffffffff), "event_count 4294967295 make")
    bench.refused(with_word(image, 64, 0), "initrd: slot_count 0")
    bench.refused(with_word(image, 104, 1, 8), "initrd: requested_peak 1 ")
    bench.refused(with_word(image, size - 4 - 12, 0x7fffffff), "slot 2147483647")
    bench.refused(image, "initrd: hart_count 3, this machine has 2", harts=2)
    bench.refused(image, "bound", arguments="bound=loose")


CASES: dict[str, Callable[[Bench], None]] = {
    "counts_what_the_trace_does": check_counts,
    "counts_objects_alone": check_objects,
    "repeats_to_the_byte": check_repeats,
    "counts_what_fails": check_exhaustion,
    "reads_what_lies_in_highmem": check_highmem,
    "refuses_bad_images": check_refused_images,
}


def main() -> int:
    report = Report()
    for name, check in CASES.items():
        with tempfile.TemporaryDirectory() as folder, report.case(f"study_{name}"):
            check(Bench(report, Path(sys.argv[1]), Path(folder)))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
