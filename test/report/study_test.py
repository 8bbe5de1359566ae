#!/usr/bin/python3
# Tests of the whole study with a stand-in for QEMU: options, failures of every kind, and what is left behind.
# SPDX-License-Identifier: BSD-2-Clause
from __future__ import annotations

import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = HERE.parents[1] / "tools"
sys.path[1:1] = [str(TOOLS / "study"), str(TOOLS), str(HERE.parent / "convert"), str(HERE.parent / "runner")]

import report.page  # noqa: E402, F401 (brings in what draws, once for all studies)
import study  # noqa: E402
from forked import Forked  # noqa: E402
from handmade import LINEAR, Trace  # noqa: E402
from run.emit import Report  # noqa: E402

STUDY = TOOLS / "study" / "study.py"
FAKE_QEMU = HERE / "fake_qemu.py"
CHILD_LIMIT_S = 250
PAGE_SIZES = ("4k", "8k", "16k", "64k")
ONE_RUN = ("--page-sizes", "8k", "--bounds", "own")
FILES = {"index.html", "summary.csv", "operations.csv", "histogram.csv", "samples.csv", "orders.csv",
         "dictionary.csv"}


def small_trace(rounds: int) -> Trace:
    """Objects and pages on two CPUs, half of them freed."""
    trace = Trace()
    for i in range(rounds):
        trace.kmalloc(LINEAR + 0x100000 + 256 * i, 100 + i % 100, cpu=i % 2)
        trace.cache_alloc(LINEAR + 0x900000 + 256 * i, "filp", 232, 256, cpu=i % 2)
        trace.pages(0x90000 + i, migratetype=1, gfp="GFP_HIGHUSER_MOVABLE", cpu=i % 2)
        if i % 2:
            trace.kfree(LINEAR + 0x100000 + 256 * i, cpu=0)
    return trace


class Bench:
    """A folder with kernels, traces and room for reports, and the study run in it."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.folder = folder
        self.build = folder / "build"
        self.scratch = folder / "scratch"
        self.trace = folder / "tiny.trace"
        self.build.mkdir()
        self.scratch.mkdir()
        self.trace.write_text(small_trace(40).text())
        # An object file will do: the study only asks for the compiler's name in it.
        made = folder / "kernel.o"
        subprocess.run(["gcc", "-x", "c", "-c", os.devnull, "-o", str(made)], check=True)
        for size in PAGE_SIZES:
            shutil.copy(made, self.build / f"quire-{size}.elf")

    def _environment(self, how: str, qemu: Path) -> dict[str, str]:
        return {**os.environ, "FAKE_QEMU": how, "QUIRE_QEMU": str(qemu), "TMPDIR": str(self.scratch)}

    def start(self, *arguments: object, how: str = "good", qemu: Path = FAKE_QEMU, cwd: Path | None = None) -> Forked:
        return Forked(study.main, [str(STUDY), "--build", str(self.build), *map(str, arguments)],
                      self._environment(how, qemu), cwd or self.folder)

    def run(self, *arguments: object, exit_code: int = 0, **options: object) -> tuple[str, str]:
        """Runs the study; its exit code must be this one. Returns its output and its complaints."""
        child = self.start(*arguments, **options)
        output, errors = child.communicate(CHILD_LIMIT_S)
        self._check_end(child.returncode, exit_code, errors)
        return output, errors

    def run_command(self, *arguments: object, exit_code: int = 0) -> tuple[str, str]:
        """The same with a program of its own, as a user starts it."""
        done = subprocess.run([sys.executable, str(STUDY), "--build", str(self.build), *map(str, arguments)],
                              env=self._environment("good", FAKE_QEMU), cwd=self.folder, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=CHILD_LIMIT_S, check=False)
        self._check_end(done.returncode, exit_code, done.stderr)
        return done.stdout, done.stderr

    def _check_end(self, code: int | None, expected: int, errors: str) -> None:
        self.report.check(code == expected, f"exit code {code}, not {expected}; it said: {errors}")
        self.report.check("Traceback" not in errors, errors)
        self.nothing_left()

    def nothing_left(self) -> None:
        left = [path.name for path in self.scratch.iterdir()]
        left += [path.name for path in self.folder.iterdir() if path.name.startswith(".")]
        self.report.check(not left, f"left behind: {left}")
        self.report.check(self.all_end(), f"still running: {self.processes()}")

    def all_end(self) -> bool:
        """Waits for what still runs a kernel: a signal that comes while one is being started leaves it to the system,
        which kills it when the study has ended, and so a moment later."""
        deadline = time.monotonic() + 60
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.05)
        return not self.processes()

    def any_starts(self, child: Forked) -> bool:
        """Waits until a kernel runs."""
        deadline = time.monotonic() + 60
        while not self.processes() and time.monotonic() < deadline and child.returncode is None:
            time.sleep(0.05)
        return bool(self.processes())

    def processes(self) -> list[str]:
        """The command lines of what still runs a kernel of this bench."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(self.build) in line and "-kernel" in line:
                found.append(line)
        return found

    def contents(self, out: str) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.folder / out).iterdir()}


def good_studies(report: Report, bench: Bench) -> None:
    with report.case("study_command_writes_all_files_and_shows_the_answer"):
        output, errors = bench.run_command("--traces", bench.trace, "--out", "first", "--jobs", "1")
        report.check(set(bench.contents("first")) == FILES, f"{set(bench.contents('first')) ^ FILES}")
        report.check("What do 4, 8, 16 and 64 KB pages cost and save?" in output, output)
        report.check("8 of 8 runs" in errors and "\033" not in errors, errors)
    with report.case("study_command_gives_the_same_bytes_again"):
        elsewhere, second = bench.folder / "elsewhere", bench.folder / "second"
        elsewhere.mkdir()
        shutil.copytree(bench.folder / "first", second)
        (second / "index.html").write_text("old")
        (second / "orders.csv").unlink()
        bench.run("--traces", bench.trace, "--out", second, "--jobs", "3", cwd=elsewhere)
        for name, content in bench.contents("first").items():
            report.check(bench.contents("second").get(name) == content, f"{name} differs")
    with report.case("study_command_replaces_an_older_report"):
        report.check((second / "index.html").read_text() != "old", "the old page is still there")
        report.check(bench.contents("second") == bench.contents("first"), "the report is another one")
    with report.case("study_command_writes_no_date_path_or_machine"):
        for name, content in bench.contents("first").items():
            text = content.decode()
            for place in (str(bench.folder), str(HERE.parents[1]), "/tmp", "/usr", "/home"):
                report.check(place not in text, f"{name} holds {place}")
            found = re.search(r"\b20\d\d-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b|\b"
                              + re.escape(platform.node()) + r"\b", text)
            report.check(not found, f"{name} holds {found and found[0]}")
    with report.case("study_command_stamps_what_it_was_made_with"):
        text = bench.contents("first")["index.html"].decode()
        for word in ("QEMU 7.2.22", "OpenSBI v1.1", "GCC: ", "kernel_stack=16k", "tiny.trace", "2G"):
            report.check(word in text, f"{word} is not stamped")
    with report.case("study_command_tells_lost_events"):
        lossy = bench.folder / "lossy.trace"
        lines = small_trace(20).text().splitlines(keepends=True)
        lossy.write_text("".join([*lines[:-9], "CPU:1 [LOST 17 EVENTS]\n", *lines[-9:]]))
        _, errors = bench.run("--traces", lossy, "--out", "lossy", *ONE_RUN)
        report.check("warning: trace lossy" in errors and "17" in errors, errors)
        report.check(b"17 reported by 1 LOST" in bench.contents("lossy")["index.html"], "the page is silent")
    with report.case("study_command_lists_its_choices"):
        output, _ = bench.run("--list")
        report.check(all(word in output for word in ("boot", "pressure", "64k", "built", "packed")), output)


def failing_runs(report: Report, bench: Bench) -> None:
    ways = {
        "panic": ("its exit code is 3", "panicked", "page fault at 0x0"),
        "refused": ("its exit code is 2", "refused its input"),
        "silent": ("the console holds no record", "printed nothing"),
        "unfinished": ("incomplete", "ends after record result"),
        "cut": ("console line",),
        "altered": ("console line", "object_alloc"),
        "mixed": ("console line", "does not begin its line", "a warning from another hart"),
        "flood": ("printed more than",),
        "other_trace": ("the run says trace another, but tiny was asked for",),
        "other_peak": ("peak_requested",),
    }
    before = bench.contents("first")
    for how, texts in ways.items():
        with report.case(f"study_command_fails_when_a_run_is_{how}"):
            output, errors = bench.run("--traces", bench.trace, "--out", "first", *ONE_RUN, how=how,
                                       exit_code=1)
            for text in ("tiny, 8 KB pages, own", *texts):
                report.check(text in errors, f"{text!r} is not in: {errors}")
            report.check("\033" not in errors, "the console's escapes reach the terminal")
            report.check(output == "" and bench.contents("first") == before, "the report before has changed")
    with report.case("study_command_fails_when_a_run_hangs"):
        _, errors = bench.run("--traces", bench.trace, "--out", "first", "--timeout", "1.5", how="hang",
                              exit_code=1)
        report.check("did not end within 1.5 s" in errors, errors)
        report.check(bench.contents("first") == before, "the report before has changed")
    for number, exit_code in ((signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGINT, 130)):
        with report.case(f"study_command_ends_its_kernels_on_{signal.Signals(number).name.lower()}"):
            child = bench.start("--traces", bench.trace, "--out", "first", how="hang")
            report.check(bench.any_starts(child), "no kernel was started")
            child.send_signal(number)
            child.communicate(CHILD_LIMIT_S)
            report.check(child.returncode == exit_code, f"exit code {child.returncode}, not {exit_code}")
            bench.nothing_left()
    with report.case("study_command_ends_its_kernels_when_killed"):
        child = bench.start("--traces", bench.trace, "--out", "first", how="hang")
        report.check(bench.any_starts(child), "no kernel was started")
        child.send_signal(signal.SIGKILL)
        child.communicate(CHILD_LIMIT_S)
        report.check(bench.all_end(), f"still running: {bench.processes()}")
        for path in bench.scratch.iterdir():    # nobody was left to remove it
            shutil.rmtree(path)


def bad_input(report: Report, bench: Bench) -> None:
    def refused(name: str, *arguments: object, texts: tuple[str, ...], **options: object) -> None:
        with report.case(f"study_command_refuses_{name}"):
            output, errors = bench.run(*arguments, exit_code=2, **options)
            for text in texts:
                report.check(text in errors, f"{text!r} is not in: {errors}")
            report.check(output == "" and not (bench.folder / "none").exists(), "something was written")

    out = ("--out", "none")
    tiny = ("--traces", bench.trace)
    refused("an_unknown_trace", "--traces", "bot", *out, texts=("'bot'", "boot"))
    refused("a_folder_for_a_trace", "--traces", bench.build, *out, texts=(str(bench.build),))
    refused("a_trace_given_twice", "--traces", bench.trace, bench.trace, *out, texts=("'tiny'",))
    refused("an_unknown_page_size", *tiny, "--page-sizes", "4k", "12k", *out, texts=("'12k'",))
    refused("an_unknown_bound", *tiny, "--bounds", "tight", *out, texts=("'tight'",))
    refused("an_odd_memory_size", *tiny, "--mem", "2T", *out, texts=("'2T'",))
    refused("no_jobs_at_all", *tiny, "--jobs", "0", *out, texts=("'0'",))
    refused("a_timeout_of_nothing", *tiny, "--timeout", "0", *out, texts=("'0'",))
    refused("an_option_cut_short", *tiny, "--page", "4k", *out, texts=("--page",))
    refused("a_missing_qemu", *tiny, *out, qemu=bench.folder / "no-qemu", texts=("QEMU not found", "no-qemu"))
    refused("a_missing_kernel", *tiny, *out, "--build", bench.scratch, texts=("quire-4k.elf is missing",))
    torn = bench.folder / "torn.trace"
    torn.write_text(small_trace(3).text().replace("bytes_req=100", "bytes_req=many"))
    refused("a_malformed_trace_with_its_line", "--traces", torn, *out, texts=("torn.trace", "line 3", "many"))
    half = bench.folder / "half.trace.xz"
    half.write_bytes((TOOLS / "study" / "traces" / "boot.trace.xz").read_bytes()[:5000])
    refused("half_a_compressed_trace", "--traces", half, *out, texts=("half.trace.xz", "breaks off"))
    hostile = bench.folder / "a\033[2Jb.trace"
    hostile.write_text(small_trace(3).text())
    refused("a_hostile_name", "--traces", hostile, *out, texts=("is no name for a trace",))
    precious = bench.folder / "precious"
    precious.mkdir()
    (precious / "letter.txt").write_text("dear")
    refused("to_replace_what_it_did_not_write", *tiny, "--out", precious, texts=("letter.txt",))
    refused("to_replace_a_file", *tiny, "--out", precious / "letter.txt", texts=("letter.txt",))
    report.check((precious / "letter.txt").read_text() == "dear", "it was replaced")
    fake = bench.folder / "fake-build"
    fake.mkdir()
    (fake / "quire-4k.elf").write_text("no kernel")
    refused("a_kernel_that_is_none", *tiny, *out, "--page-sizes", "4k", "--build", fake,
            texts=("quire-4k.elf",))


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="study-test-") as name:
        yield Path(name)


def main() -> int:
    report = Report()
    with folder() as place:
        bench = Bench(report, place)
        good_studies(report, bench)
        failing_runs(report, bench)
        bad_input(report, bench)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
