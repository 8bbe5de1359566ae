#!/usr/bin/python3
# Tests of `tools/quire stress`: verdicts, sweeps, repeats and bad options, with a fake QEMU and made-up kernels.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: stress_cli_test.py"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from cli import build, main as cli_main, stress  # noqa: E402, F401 (main, that every fork has it)
from forked import Forked, script  # noqa: E402
from run import process  # noqa: E402
from run.emit import Report  # noqa: E402

FAKE = Path(__file__).resolve().with_name("fake_stress.py")
LIMIT_S = 150

# A project that makes empty kernels with the names that the real one makes.
MINIATURE = """
project('miniature')
foreach size : ['8k', '4k', '8k-checked']
  custom_target('quire-' + size, output: 'quire-@0@.elf'.format(size), command: ['touch', '@OUTPUT@'],
    build_by_default: true)
endforeach
"""

# What is typed, and the words that the complaint must hold.
BAD_OPTIONS: tuple[tuple[list[str], list[str]], ...] = (
    (["--harts", "0"], ["--harts", "'0'"]),
    (["--harts", "65"], ["--harts", "'65'"]),
    (["--minutes", "0"], ["--minutes", "'0'"]),
    (["--minutes", "0.0"], ["--minutes", "'0.0'"]),
    (["--minutes", "-1"], ["--minutes", "-1"]),
    (["--minutes", "abc"], ["--minutes", "'abc'"]),
    (["--minutes", "nan"], ["--minutes", "'nan'"]),
    (["--minutes", "1440.5"], ["--minutes", "'1440.5'"]),
    (["--minutes", "1e9"], ["--minutes", "'1e9'"]),
    (["--sweep", "0"], ["--sweep", "'0'"]),
    (["--sweep", "-3"], ["--sweep", "-3"]),
    (["--sweep", "many"], ["--sweep", "'many'"]),
    (["--sweep", "2", "--seed", "18446744073709551615"], ["--sweep", "'2'", "18446744073709551615"]),
    (["--repeat", "1"], ["--repeat", "'1'"]),
    (["--repeat", "2", "--sweep", "2"], ["--sweep", "--repeat"]),
    (["--seed", "-5"], ["--seed", "-5"]),
    (["--mem", "lots"], ["--mem", "'lots'"]),
    (["--page-size", "12k"], ["--page-size", "'12k'"]),
    (["--checked", "--page-size", "4k"], ["--page-size", "'4k'", "8k"]),
    (["--append", "seed=4"], ["--append", "'seed=4'", "--seed"]),
    (["--append", "log=debug seconds=4"], ["--append", "'seconds=4'", "--minutes"]),
    (["--append", "mode=test"], ["--append", "'mode=test'"]),
    (["--frob"], ["--frob"]),
    (["more"], ["more"]),
)


@dataclass
class Done:
    """How a call ended."""

    args: Sequence[str]
    returncode: int | None
    stdout: str
    stderr: str


class Miniature:
    """A project with the same tools, empty kernels and a fake QEMU."""

    def __init__(self, directory: Path):
        self.root = directory / "miniature"
        self._log = directory / "log"
        for part in ("cli", "run", "cross"):
            shutil.copytree(TOOLS / part, self.root / "tools" / part, ignore=shutil.ignore_patterns("__pycache__"))
        for part in ("quire", "setup"):
            shutil.copy2(TOOLS / part, self.root / "tools" / part)
        (self.root / "meson.build").write_text(MINIATURE, encoding="utf-8")

    def _environment(self, how: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QUIRE_")}
        self._log.write_text("", encoding="utf-8")
        return kept | {"PYTHONDONTWRITEBYTECODE": "1", "QUIRE_QEMU": str(FAKE), "FAKE_STRESS": how,
                       "FAKE_STRESS_LOG": str(self._log)}

    def stress_command(self, arguments: Sequence[str]) -> Done:
        """Calls the project's own `quire stress` as a script would."""
        done = subprocess.run([self.root / "tools" / "quire", "stress", *arguments], cwd="/", text=True,
                              errors="replace", stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S,
                              check=False, env=self._environment(""))
        return Done(arguments, done.returncode, done.stdout, done.stderr)

    def stress(self, arguments: Sequence[str], how: str = "") -> Done:
        """The same without the shell, for this project, with a QEMU that ends in this way (fake_stress.py)."""
        program = TOOLS / "cli" / "main.py"
        child = Forked(script(program), [str(program), "stress", *arguments], self._environment(how), Path("/"))
        output, errors = child.communicate(LIMIT_S)
        return Done(arguments, child.returncode, output, errors)

    @contextmanager
    def built_here(self) -> Iterator[None]:
        """What the forks build, and boot, is this project."""
        own = build.ROOT, build.DIRECTORY, build.CROSS_FILE
        build.ROOT, build.DIRECTORY = self.root, self.root / "build"
        build.CROSS_FILE = self.root / build.CROSS_FILE.relative_to(own[0])
        yield
        build.ROOT, build.DIRECTORY, build.CROSS_FILE = own

    def booted(self) -> list[str]:
        """The command lines that the fake QEMU was given in the last call."""
        return self._log.read_text(encoding="utf-8").splitlines()


def check_exit(report: Report, done: Done, code: int, *words: str) -> None:
    said = done.stdout + done.stderr
    report.check(done.returncode == code, f"{done.args}: exit code {done.returncode}, expected {code}: {said}")
    report.check("Traceback" not in said, said)
    for word in words:
        report.check(word in said, f"{done.args}: {word!r} is not in: {said}")


def check_good(report: Report, project: Miniature) -> None:
    done = project.stress_command(["--minutes", "0.05", "--seed", "7"])
    check_exit(report, done, 0)
    lines = done.stdout.splitlines()
    report.check(len(lines) == 4 and all(line.startswith("stress") for line in lines),
                 f"not three seconds and the verdict: {done.stdout}")
    report.check(lines[-1].startswith("stress: passed: 300 operations in 3 s, seed 7"), f"the last: {lines[-1]}")
    (booted,) = project.booted()
    for words in ("mode=stress seed=7 seconds=3", "-smp 4 ", "-m 256M", "-seed 7", "/quire-8k.elf"):
        report.check(words in booted, f"{words} is not in: {booted}")
    for words in ("-icount", "slice_us", "jitter_us"):
        report.check(words not in booted, f"{words} is in: {booted}")


def check_arguments(report: Report, project: Miniature) -> None:
    for arguments, words in (
        ([], ["seconds=60"]),
        (["--minutes", "0.5"], ["seconds=30"]),
        (["--minutes", "0.001"], ["seconds=1"]),
        (["--harts", "8", "--mem", "1G", "--cpu", "rv64,sstc=false"], ["-smp 8 ", "-m 1G", "-cpu rv64,sstc=false"]),
        (["--page-size", "4k"], ["/quire-4k.elf"]),
        (["--checked"], ["/quire-8k-checked.elf"]),
        (["--checked", "--page-size", "8k"], ["/quire-8k-checked.elf"]),
        (["--icount"], ["-icount shift=0,sleep=off", "slice_us=20 jitter_us=30"]),
        (["--icount", "--append", "jitter_us=7"], ["slice_us=20 jitter_us=7"]),
        (["--append", "log=debug"], ["log=debug"]),
    ):
        check_exit(report, project.stress(arguments), 0)
        (booted,) = project.booted()
        for word in words:
            report.check(word in booted, f"{arguments}: {word} is not in: {booted}")
        report.check(booted.count("jitter_us") <= 1, f"{arguments}: jitter_us twice in: {booted}")


def check_seed(report: Report, project: Miniature) -> None:
    seeds = set()
    for _ in range(2):
        done = project.stress(["--minutes", "0.02"])
        check_exit(report, done, 0)
        said = next(line for line in done.stderr.splitlines() if line.startswith("quire: seed "))
        seed = said.removeprefix("quire: seed ")
        report.check(f"seed={seed} " in project.booted()[0], f"{said}, but booted with {project.booted()[0]}")
        seeds.add(seed)
    report.check(len(seeds) == 2, f"the same seed was drawn twice: {seeds}")


def check_bad_ends(report: Report, project: Miniature) -> None:
    for how, code, words in (
        ("failed", 1, ["stress: FAILED: the ledger holds 3 pages too many"]),
        ("failed_well", 1, ["quire: FAILED: the ledger holds 3 pages too many"]),
        ("panic", 3, ["panic on hart 2: free list is corrupt\n  backtrace\n    buddy_free+0x10"]),
        ("mute_panic", 3, ["stress    1 s:"]),
        ("refused", 2, ["cannot start: harts=64 is above 8"]),
        ("unfinished", 1, ["exit code 0, but the last line is: stress    1 s"]),
        ("talkative", 1, ["the last line is: one word more"]),
        ("passed_badly", 1, ["exit code 1"]),
        ("killed", 137, ["QEMU died of signal 9"]),
    ):
        done = project.stress(["--minutes", "0.01", "--seed", "7", "--checked"], how)
        check_exit(report, done, code, *words)
        again = "tools/quire stress --harts 4 --checked --mem 256M --minutes 0.01 --seed 7"
        report.check(again in done.stderr, f"{how}: {again} is not in: {done.stderr}")


def check_hang(report: Report) -> None:
    """The limit is a minute and more, so a hang is judged here and not waited for."""
    console = ["stress    1 s: 100 operations (+100)"]
    ended = process.Ended(exit=-9, timed_out=True, flooded=False, seconds=63.0, stderr=())
    code, text = stress.judge(console, ended)
    report.check(code == 124 and "63 s" in text and console[0] in text, f"hang: {code}, {text}")
    code, text = stress.judge([*console, "panic on hart 0: stuck"], ended)
    report.check(code == 3 and "stuck" in text, f"a panic that hangs: {code}, {text}")
    code, text = stress.judge([], ended)
    report.check(code == 124 and "nothing" in text, f"silence: {code}, {text}")
    flooded = process.Ended(exit=-9, timed_out=False, flooded=True, seconds=1.0, stderr=())
    report.check(stress.judge(console, flooded)[0] == 1, "a flood is no failure")
    for seconds in (1, 60, 3600):
        race, icount = stress.limit_s(seconds, icount=False), stress.limit_s(seconds, icount=True)
        report.check(seconds * 3 + 60 <= race < icount, f"limits for {seconds} s: {race} and {icount}")


def check_whole_hang(report: Report, project: Miniature) -> None:
    """The whole command gives up on a kernel that does not end."""
    patient = stress.limit_s
    limits: Iterator[float] = iter([])
    stress.limit_s = lambda seconds, icount: next(limits)
    try:
        limits = iter([1.0])
        done = project.stress(["--minutes", "0.01", "--seed", "7"], "hang")
        check_exit(report, done, 124, "no end within 1 s", "--seed 7")
        limits = iter([60.0, 1.0])
        done = project.stress(["--minutes", "0.01", "--seed", "7", "--sweep", "2"], "hang:8")
        check_exit(report, done, 1, "seed 7: passed", "seed 8: FAILED: no end within 1 s")
    finally:
        stress.limit_s = patient


def check_sweep(report: Report, project: Miniature) -> None:
    done = project.stress(["--sweep", "3", "--seed", "40", "--harts", "8"])
    check_exit(report, done, 0)
    report.check(done.stdout.splitlines() == [
        *(f"seed {seed}: passed, 300 operations, digest 0x{seed * 0x1234567:016x}" for seed in (40, 41, 42)),
        "3 seeds: 3 passed, 0 failed"], f"good: {done.stdout}")
    booted = project.booted()
    report.check(len(booted) == 3 and all("-icount" in line and "seconds=3 " in line for line in booted)
                 and "-seed 42" in booted[2], f"booted: {booted}")

    done = project.stress(["--sweep", "3", "--seed", "40", "--harts", "8", "--append", "log=debug"], "panic:41")
    check_exit(report, done, 1, "seed 40: passed", "seed 41: FAILED: panic on hart 2: free list is corrupt",
               "    |     buddy_free+0x10", "seed 42: passed", "3 seeds: 2 passed, 1 failed: 41")
    report.check("OpenSBI" not in done.stdout, f"the banner is in: {done.stdout}")
    bad = project.booted()[1]
    again = [line.partition(": ")[2] for line in done.stdout.splitlines() if "the same again" in line]
    report.check(len(again) == 1, f"not one command for one failure: {done.stdout}")
    program, command, *arguments = shlex.split(again[0])
    report.check((program, command) == ("tools/quire", "stress"), f"no command: {again}")
    check_exit(report, project.stress(arguments, "panic:41"), 3)
    report.check(project.booted() == [bad], f"the replay booted {project.booted()} and not {bad}")


def check_repeat(report: Report, project: Miniature) -> None:
    done = project.stress(["--repeat", "3", "--seed", "5"])
    check_exit(report, done, 0)
    same = f"passed, 300 operations, digest 0x{5 * 0x1234567:016x}"
    report.check(done.stdout.splitlines() == [*(f"run {n}: result 1: {same}" for n in (1, 2, 3)),
                                              "3 runs of seed 5, distinct results: 1"], f"good: {done.stdout}")
    report.check(len(set(project.booted())) == 1 and "-icount" in project.booted()[0], f"{project.booted()}")
    # The verdicts agree; only a line of the console does not.
    done = project.stress(["--repeat", "3", "--seed", "5"], "unsteady")
    check_exit(report, done, 1, "run 3: result 3: passed", "distinct results: 3", "  1: a clock says ",
               "  2: a clock says ", "tools/quire stress --icount")
    done = project.stress(["--repeat", "2", "--seed", "5"], "failed")
    check_exit(report, done, 1, "the ledger holds 3", "distinct results: 1")
    check_exit(report, project.stress(["--repeat", "2", "--seed", "5"], "panic"), 3, "distinct results: 1")


def check_bad_options(report: Report, project: Miniature) -> None:
    for arguments, words in BAD_OPTIONS:
        done = project.stress(arguments)
        check_exit(report, done, 2, *words)
        report.check(not project.booted(), f"{arguments}: a kernel was booted")


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        project = Miniature(Path(name))
        checks: dict[str, Callable[[Report, Miniature], None]] = {
            "stress_cli_good_run_shows_its_lines": check_good,
            "stress_cli_options_reach_the_machine": check_arguments,
            "stress_cli_seed_is_drawn_and_told": check_seed,
            "stress_cli_bad_ends_have_their_exit_codes": check_bad_ends,
            "stress_cli_hang_is_judged": lambda report, _: check_hang(report),
            "stress_cli_hang_is_ended": check_whole_hang,
            "stress_cli_sweep_replays_what_failed": check_sweep,
            "stress_cli_repeat_wants_equal_consoles": check_repeat,
            "stress_cli_bad_option_is_named_and_exits_2": check_bad_options,
        }
        with project.built_here():
            for case, check in checks.items():
                with report.case(case):
                    check(report, project)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
