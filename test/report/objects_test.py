#!/usr/bin/python3
# Tests of the study of objects alone: the model of SLUB by hand, the command with a stand-in for QEMU, bad input.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / "tools"
sys.path[1:1] = [str(TOOLS / "study"), str(TOOLS), str(HERE.parent / "convert"), str(HERE.parent / "runner")]

import synthetic  # noqa: E402
from handmade import LINEAR, Trace  # noqa: E402
from report.records import RecordError, read_objects, read_run  # noqa: E402
from run.emit import Report  # noqa: E402
from slub_model import Cache, cpu_partial_objects, kmalloc_class, slab_order  # noqa: E402
from study_test import Bench  # noqa: E402

MODEL = TOOLS / "study" / "slub_model.py"
PTR = LINEAR + 0x100000


def run_model(folder: Path, text: str, *arguments: str) -> subprocess.CompletedProcess:
    path = folder / "made.trace"
    path.write_text(text, encoding="ascii")
    return subprocess.run([sys.executable, str(MODEL), str(path), *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)


def two_cpus() -> Trace:
    """17 objects of 256 bytes on one CPU, one on another, and one beyond all classes; the 17 go, 16 come anew."""
    trace = Trace()
    for i in range(17):
        trace.kmalloc(PTR + 256 * i, 200, 256)
    trace.kmalloc(PTR + 0x8000, 200, 256, cpu=1).kmalloc(PTR + 0x10000, 70000, 131072, cpu=1)
    for i in range(17):
        trace.kfree(PTR + 256 * i, cpu=1)
    for i in range(16):
        trace.kmalloc(PTR + 256 * i, 200, 256)
    return trace


def model(report: Report, folder: Path) -> None:
    with report.case("objects_slub_lays_slabs_out"):
        # On a machine with four CPUs; order and objects are those of its /proc/slabinfo.
        for size, order, objects in ((64, 0, 64), (192, 0, 21), (256, 0, 16), (512, 1, 16), (576, 2, 28),
                                     (1024, 2, 16), (1088, 3, 30), (2048, 3, 16), (4096, 3, 8), (8192, 3, 4)):
            found = slab_order(size, 4, 4096)
            report.check((found, (4096 << found) // size) == (order, objects), f"{size} bytes: order {found}")
    with report.case("objects_slub_has_its_classes_and_limits"):
        report.check([kmalloc_class(size) for size in (1, 65, 97, 129, 193, 8192)] == [8, 96, 128, 192, 256, 8192],
                     "another class")
        limits = [cpu_partial_objects(size, 4096) for size in (255, 256, 1023, 1024, 4095, 4096)]
        report.check(limits == [120, 52, 52, 24, 24, 6], f"partial slabs for {limits} objects")
    with report.case("objects_slub_keeps_what_its_lists_hold"):
        taken = [0]
        cache = Cache(256, 4, 4096, taken)
        slabs = [cache.alloc(0) for _ in range(1000)]
        report.check(taken[0] == 63 * 4096, f"{taken[0]} bytes for 1000 objects")
        for slab in slabs:
            cache.free(slab, 0)
        # 62 full slabs come onto the CPU's list, which seven times eight leave: 6 stay there, 5 on the node's list,
        # and the CPU's own.
        report.check(taken[0] == 12 * 4096, f"{taken[0]} bytes without an object")
    with report.case("objects_slub_on_a_trace_made_by_hand"):
        done = run_model(folder, two_cpus().text(), "--page-size", "4096", "--page-size", "8192")
        held = json.loads(done.stdout)["held"]
        report.check(held == {"4096": 3 * 4096 + 131072, "8192": 2 * 8192 + 131072}, f"{held}")
    with report.case("objects_slub_refuses_bad_input"):
        for text, arguments, says in (
                (two_cpus().text(), ("--page-size", "5000"), "'5000' is none of 4096"),
                (two_cpus().text(), ("--pages", "4096"), "unrecognized arguments"),
                ("no trace\n", (), "malformed line"), ("", (), "holds no event")):
            done = run_model(folder, text, *arguments)
            report.check(done.returncode == 2 and not done.stdout, f"exit code {done.returncode} for {says!r}")
            report.check(says in done.stderr and "Traceback" not in done.stderr, f"{done.stderr} is not {says!r}")


def refuses(report: Report, records: list[dict], says: str) -> None:
    try:
        read_objects(synthetic.console(records))
        report.check(False, f"believed, though {says!r}")
    except RecordError as error:
        report.check(says in str(error), f"{error} is not {says!r}")


def believed(report: Report) -> None:
    trace = synthetic.Trace("made", "0123abcd", 2, 600, 50_000)
    with report.case("objects_records_are_believed_only_when_consistent"):
        config, objects = synthetic.object_records(trace, 4096)
        peak = objects["peak"]
        report.check(read_objects(synthetic.console([config, objects]))[1].peak_held == 181_920, "another peak")
        for changed, says in (
                ({"peak": {**peak, "tails": 1}}, "its parts add up to"), ({"peak_held": 1}, "peak_held is 1"),
                ({"peak_floor": 5}, "above peak_floor, 5"), ({"events": 601}, "events is 601"),
                ({"page_size": 8192}, "page_size is 8192"), ({"trace": "other"}, "trace is other")):
            refuses(report, [config, {**objects, **changed}], says)
        refuses(report, synthetic.records(trace, "own", 4096), "not of objects alone")
        try:
            read_run(synthetic.console([config, objects]))
            report.check(False, "objects alone are taken for a whole trace")
        except RecordError as error:
            report.check("objects alone" in str(error), str(error))


def command(report: Report, bench: Bench) -> None:
    with report.case("objects_command_prints_and_writes_one_table"):
        out, _ = bench.run("--objects", "--traces", bench.trace, "--page-sizes", "8k", "4k", "--out", "objects")
        rows = (bench.folder / "objects" / "objects.csv").read_text().splitlines()
        report.check([row.split(",")[:6] for row in rows[1:]] == [
            ["tiny", "4096", "100000", "102400", "181920", "81.9"],
            ["tiny", "8192", "100000", "106496", "263840", "163.8"]], f"{rows}")
        report.check("81.9 %" in out and "163.8 %" in out and "8 KB" in out, out)
        report.check([path.name for path in (bench.folder / "objects").iterdir()] == ["objects.csv"], "other files")
    with report.case("objects_command_refuses_and_fails_as_the_study_does"):
        (bench.folder / "mine").mkdir()
        (bench.folder / "mine" / "letter").write_text("mine")
        _, said = bench.run("--objects", "--traces", bench.trace, "--out", "mine", exit_code=2)
        report.check("which no study wrote" in said, said)
        _, said = bench.run("--objects", "--traces", "nothing", exit_code=2)
        report.check("'nothing' is no file" in said, said)
        for how, says in (("unfinished", "incomplete"), ("other_trace", "trace another"), ("panic", "it panicked")):
            _, said = bench.run("--objects", "--traces", bench.trace, "--page-sizes", "8k", "--out", "failed", how=how,
                                exit_code=1)
            report.check(says in said, said)
        report.check((bench.folder / "mine" / "letter").read_text() == "mine", "a stranger's file was touched")
        report.check(not (bench.folder / "failed").exists(), "a failed study left a table")


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        model(report, Path(folder))
        believed(report)
        bench_folder = Path(folder) / "bench"
        bench_folder.mkdir()
        command(report, Bench(report, bench_folder))
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
