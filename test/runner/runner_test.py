#!/usr/bin/python3
# Tests of the test runner: every way a run can go wrong must be told, and a good run must pass.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: runner_test.py DIRECTORY    (where the fake kernels were built)"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from forked import Forked  # noqa: E402
from run import cases, patterns, qemu, result, tap_run  # noqa: E402
from run.emit import Report  # noqa: E402

RUNNER = TOOLS / "run" / "tap_run.py"
KERNELS = Path(sys.argv[1])
# Seconds. On a busy machine even a kernel that is going to hang takes a while to say its first line; one that must say
# nothing before the limit has less.
MUTE, HANG, LONG = "2", "15", "60"
# Of those that are not going to hang; the others only wait.
TRIALS_AT_ONCE = 3
TRIAL_LIMIT_S = 120


@dataclass
class Trial:
    """One run of the runner, and what it must say: (passed, failed, skipped), kinds of faults, texts."""

    name: str
    arguments: list[str]
    counts: tuple[int, int, int]
    faults: set[str] = field(default_factory=set)
    says: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def hangs(self) -> bool:
        return HANG in self.arguments or MUTE in self.arguments


@dataclass
class Outcome:
    exit: int
    output: str
    record: result.Result | None


def kernel(behaviour: str) -> str:
    return str(KERNELS / f"fake_{behaviour}.elf")


def boots(name: str, behaviour: str, counts: tuple[int, int, int], faults: set[str], says: list[str],
          limit: str = LONG, environment: dict[str, str] | None = None, extra: tuple[str, ...] = ()) -> Trial:
    arguments = ["--timeout", limit, *extra, "--kernel", kernel(behaviour)]
    return Trial(name, arguments, counts, faults, says, environment or {})


def expects(name: str, behaviour: str, ends: list[str], failed: int, says: list[str],
            limit: str = LONG) -> Trial:
    arguments = ["--timeout", limit, "--kernel", kernel(behaviour), *ends]
    return Trial(name, arguments, (1 - failed, failed, 0), set(), says)


def shell(name: str, text: str, counts: tuple[int, int, int], faults: set[str], says: list[str],
          limit: str = LONG) -> Trial:
    return Trial(name, ["--timeout", limit, "--host", "/bin/sh", "-c", text], counts, faults, says)


def kernel_trials() -> list[Trial]:
    missing = ["# beta never reported", "not ok 2 - beta", "not ok 3 - gamma"]
    return [
        boots("good_run_passes", "good", (3, 0, 0), set(),
              ["# seed 1", "ok 1 - gamma", "ok 2 - alpha", "ok 3 - beta", "1..3"]),
        boots("skip_is_counted_apart", "skip", (2, 0, 1), set(), ["ok 2 - beta # SKIP needs 2 harts"]),
        boots("failing_case_fails", "failing", (2, 1, 0), set(),
              ["# beta.c:7: expected 1, got 2", "not ok 2 - beta"]),
        boots("panic_fails", "panic", (1, 3, 0), {"panic"},
              [*missing, "# console: panic: page fault at 0x0"]),
        boots("panic_text_fails_with_exit_0", "panic_exit_0", (3, 1, 0), {"panic"}, ["panic on hart 1"]),
        boots("panic_code_fails_without_a_text", "panic_mute", (3, 1, 0), {"panic"}, ["exit code 3"]),
        boots("hang_fails", "hang", (1, 3, 0), {"hang"}, missing, HANG),
        boots("hang_after_the_plan_fails", "hang_complete", (3, 1, 0), {"hang"}, [], HANG),
        boots("silence_fails_at_the_limit", "silent_hang", (0, 4, 0), {"silence"},
              ["not ok 1 - alpha"], MUTE),
        boots("silence_fails_with_exit_0", "silent", (0, 4, 0), {"silence"},
              ["last line: 'fake kernel boots'"]),
        boots("header_alone_fails", "header_only", (0, 4, 0), {"silence"}, []),
        boots("early_exit_0_fails", "early_exit", (2, 2, 0), {"early-exit"},
              ["2 of 3 cases", "not ok 3 - gamma"]),
        boots("exit_1_without_a_failure_fails", "exit_1", (3, 1, 0), {"exit-code"}, ["exit code 1"]),
        boots("exit_0_with_a_failure_is_told", "exit_0_failing", (2, 2, 0), {"exit-code"}, ["exit code 0"]),
        boots("case_missing_from_the_plan_fails", "missing", (2, 3, 0), {"plan", "missing"},
              ["not ok 3 - beta"]),
        boots("case_unknown_to_the_elf_fails", "unknown", (4, 2, 0), {"plan", "unknown"}, ["delta"]),
        boots("duplicate_fails", "duplicate", (3, 2, 0), {"plan", "duplicate"}, ["more than once: beta"]),
        boots("disorder_fails", "disorder", (3, 1, 0), {"order"}, ["3 - beta"]),
        boots("no_plan_fails", "no_plan", (3, 1, 0), {"plan"}, ["no plan line"]),
        boots("no_symbols_fails", "no_cases", (0, 1, 0), {"no-cases"}, ["ktest_case_"]),
        boots("garbage_fails", "garbage", (3, 1, 0), {"garbage"}, ["# console: \\x01\\xff what is this?"]),
        boots("garbage_without_a_line_end_fails", "garbage_last", (3, 1, 0), {"garbage"}, ["unfinished"]),
        boots("restart_fails", "restart", (3, 3, 0), {"duplicate", "order", "garbage"}, ["TAP version 14"]),
        boots("filter_is_honoured", "good", (3, 2, 0), {"plan", "unknown"}, ["filter=alp*"],
              environment={"QUIRE_FILTER": "alp*"}),
        boots("own_filter_is_honoured", "good", (3, 2, 0), {"plan", "unknown"}, ["filter=alp*"],
              extra=("--filter", "alp*")),
        boots("filter_that_is_the_runs_name_means_all", "good", (3, 0, 0), set(), [],
              environment={"QUIRE_FILTER": "trial*"}),
        boots("seed_reaches_qemu_and_the_kernel", "exit_1", (3, 1, 0), {"exit-code"},
              ["-seed 7", "'mode=test seed=7'"], environment={"QUIRE_SEED": "7"}),
    ]


def other_trials() -> list[Trial]:
    good = "echo TAP version 14; echo 1..2; echo ok 1 - one; echo ok 2 - two"
    refusing = ["--expect-exit", "2"]
    trials = [
        expects("expected_exit_passes", "refusing", [*refusing, "--expect-text", "harts=99"], 0, ["exit_2"]),
        expects("wrong_exit_fails", "refusing", ["--expect-exit", "0"], 1, ["exit code 2, expected 0"]),
        expects("absent_text_fails", "refusing", [*refusing, "--expect-text", "pages=3"], 1, ["'pages=3'"]),
        expects("unexpected_panic_fails", "panic_exit_0", ["--expect-exit", "0"], 1,
                ["unexpected panic on hart 1"]),
        expects("expected_panic_passes", "bench_panic",
                ["--expect-exit", "3", "--expect-text", "^panic: free"], 0, []),
        expects("hang_for_an_exit_fails", "silent_hang", refusing, 1, ["no end within"], MUTE),
        shell("host_program_passes", good, (2, 0, 0), set(), []),
        shell("host_without_a_header_passes", "echo ok 1 - one; echo 1..1", (1, 0, 0), set(), []),
        shell("host_exit_code_fails", f"{good}; exit 1", (2, 1, 0), {"exit-code"}, []),
        shell("host_death_fails", f"{good}; kill -SEGV $$", (2, 1, 0), {"killed"}, ["signal 11"]),
        shell("host_silence_fails", ":", (0, 1, 0), {"silence"}, []),
        shell("host_early_exit_fails", "echo 1..2; echo ok 1 - one", (1, 2, 0), {"early-exit"},
              ["case 2 of the plan"]),
        shell("host_empty_plan_fails", "echo 1..0", (0, 1, 0), {"plan"}, ["no case was run"]),
        shell("host_todo_fails", "echo 'ok 1 - one # TODO later'; echo 1..1", (0, 3, 0),
              {"early-exit", "garbage"}, []),
        shell("host_flood_is_stopped", "echo 1..1; exec yes \"# $(printf %01000d 0)\"", (0, 2, 0), {"flood"}, []),
        shell("host_stderr_is_shown", f"{good}; echo ouch >&2; exit 1", (2, 1, 0), {"exit-code"},
              ["# stderr: ouch"]),
        shell("deaf_program_is_killed", "trap '' TERM INT HUP; echo 1..1; while :; do sleep 1; done",
              (0, 2, 0), {"hang"}, [], HANG),
        shell("pipe_left_open_is_no_hang", f"{good}; sleep 30 & exit 0", (2, 0, 0), set(), []),
        Trial("absent_program_fails", ["--host", "/nonexistent/program"], (0, 1, 0), {"start"},
              ["/nonexistent"]),
        Trial("absent_kernel_fails", ["--kernel", "/nonexistent/kernel"], (0, 1, 0), {"start"},
              ["/nonexistent"]),
        Trial("missing_qemu_fails", ["--kernel", kernel("good")], (0, 4, 0), {"qemu"},
              ["QUIRE_QEMU=/nonexistent/qemu", "not ok 1 - alpha"], {"QUIRE_QEMU": "/nonexistent/qemu"}),
        Trial("qemu_off_path_fails", ["--kernel", kernel("good")], (0, 4, 0), {"qemu"},
              ["no qemu-system-riscv64 on PATH"], {"PATH": "/nonexistent"}),
        Trial("missing_qemu_fails_an_expected_exit", ["--kernel", kernel("good"), "--expect-exit", "0"],
              (0, 2, 0), {"qemu"}, ["/nonexistent/qemu"], {"QUIRE_QEMU": "/nonexistent/qemu"}),
        Trial("refused_cpu_fails", ["--cpu", "nonesuch", "--kernel", kernel("good")], (0, 4, 0), {"silence"},
              ["# stderr: ", "nonesuch"]),
    ]
    return trials


def fake_qemu(directory: Path, name: str, body: str) -> str:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def qemu_trials(directory: Path) -> list[Trial]:
    old = fake_qemu(directory, "old", "echo 'QEMU emulator version 6.2.0 (Debian 1:6.2)'")
    mute = fake_qemu(directory, "mute", "echo 'hello'")
    kernel_of = ["--kernel", kernel("good")]
    return [
        Trial("old_qemu_fails", kernel_of, (0, 4, 0), {"qemu"}, ["6.2.0", "7.0"], {"QUIRE_QEMU": old}),
        Trial("mute_qemu_fails", kernel_of, (0, 4, 0), {"qemu"}, ["tells no version", "hello"],
              {"QUIRE_QEMU": mute}),
    ]


def start(trial: Trial, results: Path) -> Forked:
    environment = {"PATH": os.environ["PATH"], "QUIRE_RESULTS": str(results), **trial.environment}
    return Forked(tap_run.main, [str(RUNNER), "--name", f"trial.{trial.name}", *trial.arguments], environment,
                  Path("/"))


def end(child: Forked, trial: Trial, results: Path) -> Outcome:
    output, errors = child.communicate(TRIAL_LIMIT_S)
    code = child.returncode
    return Outcome(-1 if code is None else code, output + errors, result.load(results, f"trial.{trial.name}"))


def verify(report: Report, trial: Trial, outcome: Outcome) -> None:
    passed, failed, skipped = trial.counts
    lines = outcome.output.splitlines()
    report.check(outcome.exit == (1 if failed else 0), f"exit code {outcome.exit}")
    for text in trial.says:
        report.check(any(text in line for line in lines), f"it does not say {text!r}")
    report.check(lines[0] == "TAP version 14", "its first line is not the header")
    report.check(lines[-1] == f"1..{passed + failed + skipped}", f"its last line is {lines[-1]!r}")
    say_ok = [line for line in lines if line.startswith("ok ")]
    say_not_ok = [line for line in lines if line.startswith("not ok ")]
    report.check(len(say_ok) == passed + skipped, f"{len(say_ok)} lines say ok")
    report.check(len(say_not_ok) == failed, f"{len(say_not_ok)} lines say not ok")
    strange = [line for line in lines[1:-1] if not line.startswith(("ok ", "not ok ", "# "))]
    report.check(not strange, f"not clean TAP: {strange}")
    if report.check(outcome.record is not None, "it left no record") and outcome.record:
        counts = (outcome.record.passed, outcome.record.failed, outcome.record.skipped)
        kinds = {fault.kind for fault in outcome.record.faults}
        report.check(counts == trial.counts, f"its record counts {counts}, not {trial.counts}")
        report.check(kinds == trial.faults, f"its faults are {sorted(kinds)}, not {sorted(trial.faults)}")


def run_trials(report: Report, results: Path) -> None:
    """Those that hang first and all at once, some of the others beside them; verified in their order."""
    trials = [*kernel_trials(), *other_trials(), *qemu_trials(results)]
    waiting = sorted(enumerate(trials), key=lambda item: not item[1].hangs)
    running: dict[int, tuple[int, Forked]] = {}
    outcomes: dict[int, Outcome] = {}

    def at_work() -> int:
        return sum(not trials[place].hangs for place, _ in running.values())

    while waiting or running:
        while waiting and (waiting[0][1].hangs or at_work() < TRIALS_AT_ONCE):
            place, trial = waiting.pop(0)
            child = start(trial, results)
            running[child.sentinel] = place, child
        for ready in connection.wait(list(running)):
            assert isinstance(ready, int)
            place, child = running.pop(ready)
            outcomes[place] = end(child, trials[place], results)
    for place, trial in enumerate(trials):
        with report.case(f"runner_{trial.name}"):
            verify(report, trial, outcomes[place])


def check_record(report: Report, results: Path) -> None:
    plain = json.loads((results / "trial.good_run_passes.json").read_text(encoding="utf-8"))
    report.check(plain["run"] == "trial.good_run_passes", "no name of the run")
    names = [case["name"] for case in plain["cases"]]
    report.check(names == ["gamma", "alpha", "beta"], f"not the cases in order: {names}")
    config = plain["config"]
    report.check(config["harts"] == 1 and config["mem"] == "256M" and config["qemu"] != "", f"{config}")
    report.check(plain["exit"] == 0 and plain["seconds"] > 0, "no end and no time")
    report.check(result.load(results, "trial.of_nothing") is None, "a record of a run that never was")


def check_interruption(report: Report, results: Path) -> None:
    """A runner that is told to end takes its program along, and leaves no record."""
    marker = results / "pid"
    runner = subprocess.Popen(
        [sys.executable, str(RUNNER), "--name", "interrupted", "--host", "/bin/sh", "-c",
         f"echo $$ >{marker}; echo 1..1; exec sleep 300"],
        env={"PATH": os.environ["PATH"], "QUIRE_RESULTS": str(results)}, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    marked = ""
    while not marked and time.monotonic() < deadline:
        time.sleep(0.05)
        marked = marker.read_text(encoding="utf-8").strip() if marker.exists() else ""
    program = int(marked)
    runner.terminate()
    report.check(runner.wait(60) != 0, "it exited with 0")
    report.check(not Path(f"/proc/{program}").exists(), "its program lives on")
    report.check(result.load(results, "interrupted") is None, "it left a record")


def check_command_line(report: Report) -> None:
    machine = qemu.Machine(kernel=Path("k.elf"), harts=4, mem="1G", icount=True, seed=3, append="mode=test")
    line = " ".join(qemu.command("qemu", machine))
    report.check(line == "qemu -M virt -m 1G -smp 4 -display none -monitor none -serial stdio -no-reboot "
                         "-kernel k.elf -icount shift=0,sleep=off -seed 3 -append mode=test", line)
    for expected, made in (
        ("mode=test", qemu.boot_arguments("test")),
        ("mode=test seed=1 filter=a,b* log=debug",
         qemu.boot_arguments("test", seed=1, filters=["a", "b*"], extra="log=debug")),
        ("seed=2 mode=shell -- meminfo; poweroff",
         qemu.boot_arguments("test", seed=1, extra="seed=2 mode=shell -- meminfo; poweroff")),
        ("mode=shell -- help", qemu.boot_arguments("shell", commands="help")),
    ):
        report.check(expected == made, f"boot arguments {made!r}, not {expected!r}")


def check_patterns(report: Report) -> None:
    for pattern, name, chosen in (
        ("page", "page", True),
        ("page", "page.clear", True),
        ("page", "pagecache_reads", False),
        ("buddy", "buddy_merges", True),
        ("kernel", "kernel-8k", True),
        ("page.order0", "page.order0.pair", True),
        ("page.order1", "page.order10.pair", False),
        ("*.pair", "page.order0.pair", True),
        ("?ab", "slab", False),
    ):
        matched = patterns.matches(name, patterns.widen(pattern))
        report.check(matched == chosen, f"pattern {pattern} and {name}: {matched}")


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory)
        run_trials(report, results)
        with report.case("runner_record_holds_the_run"):
            check_record(report, results)
        with report.case("runner_interrupted_takes_its_program_along"):
            check_interruption(report, results)
    with report.case("runner_names_the_cases_of_an_elf_file"):
        names = cases.names_in(Path(kernel("good")))
        report.check(names == ["alpha", "beta", "gamma"], f"it names {names}")
    with report.case("runner_builds_the_command_line"):
        check_command_line(report)
    with report.case("runner_patterns_match_names_and_what_is_below"):
        check_patterns(report)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
