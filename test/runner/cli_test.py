#!/usr/bin/python3
# Tests of tools/quire: bad options, a QEMU that will not do, console runs, benchmark rows, honest counting.
# SPDX-License-Identifier: BSD-2-Clause
"""usage: cli_test.py DIRECTORY    (where the fake kernels were built)"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from cli import bench, main as cli_main, running  # noqa: E402, F401 (main, that every fork has it)
from forked import Forked, script  # noqa: E402
from run import qemu  # noqa: E402
from run.emit import Report  # noqa: E402

QUIRE = TOOLS / "quire"
PROGRAM = TOOLS / "cli" / "main.py"
KERNELS = Path(sys.argv[1])
LIMIT_S = 60.0
CALL_LIMIT_S = 150

# What is typed, and the words that the complaint must hold.
BAD_OPTIONS: tuple[tuple[list[str], list[str]], ...] = (
    ([], ["usage"]),
    (["frobnicate"], ["'frobnicate'"]),
    (["run", "--page-size", "12k"], ["--page-size", "'12k'"]),
    (["run", "--page-size", ""], ["--page-size", "''"]),
    (["run", "--harts", "0"], ["--harts", "'0'"]),
    (["run", "--harts", "65"], ["--harts", "'65'"]),
    (["run", "--harts", "-1"], ["--harts", "-1"]),
    (["run", "--harts", "four"], ["--harts", "'four'"]),
    (["run", "--harts", "99999999999999999999"], ["--harts", "'99999999999999999999'"]),
    (["run", "--mem", "63M"], ["--mem", "'63M'"]),
    (["run", "--mem", "256"], ["--mem", "'256'"]),
    (["run", "--mem", "lots"], ["--mem", "'lots'"]),
    (["run", "--mem", "1000000G"], ["--mem", "'1000000G'"]),
    (["run", "--cpu", "rv64 -s"], ["--cpu", "'rv64 -s'"]),
    (["run", "--seed", "-5"], ["--seed", "-5"]),
    (["run", "--seed", "18446744073709551616"], ["--seed", "'18446744073709551616'"]),
    (["run", "--timeout", "0"], ["--timeout", "'0'"]),
    (["run", "--append", "a\nb"], ["--append", "a\\nb"]),
    (["run", "--append", "log=debug -- help", "--", "meminfo"], ["--append", "log=debug -- help"]),
    (["run", "--", "meminfo\npoweroff"], ["meminfo\\npoweroff"]),
    (["run", "--frob"], ["--frob"]),
    (["bench", "--page-size", "4096"], ["--page-size", "'4096'"]),
    (["bench", "page;order"], ["'page;order'"]),
    (["test", "--seed", "x"], ["--seed", "'x'"]),
    (["test", "a,b"], ["'a,b'"]),
    (["build", "everything"], ["everything"]),
    (["setup", "--now"], ["'--now'"]),
)


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUIRE_")}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"} | more


def call(arguments: Sequence[str], program: Path = QUIRE,
         **environment: str) -> subprocess.CompletedProcess[str]:
    """Calls tools/quire as a script would: from elsewhere, without a terminal, with standard input closed."""
    return subprocess.run(["/bin/sh", "-c", 'exec "$0" "$@" <&-', str(program), *arguments], cwd="/",
                          text=True, errors="replace", env=clean_environment(**environment),
                          capture_output=True, timeout=CALL_LIMIT_S, check=False)


def call_forked(arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The same from where the shell has handed over to Python."""
    child = Forked(script(PROGRAM), [str(PROGRAM), *arguments], clean_environment(**environment), Path("/"))
    output, errors = child.communicate(CALL_LIMIT_S)
    code = child.returncode
    return subprocess.CompletedProcess(list(arguments), -1 if code is None else code, output, errors)


def check_bad_options(report: Report) -> None:
    whole: set[str] = set()     # commands that were once called by the shell; what it does itself, it always does
    for arguments, words in BAD_OPTIONS:
        command = arguments[0] if arguments else ""
        is_shells = command not in ("run", "bench", "test", "build")
        done = call(arguments) if is_shells or command not in whole else call_forked(arguments)
        whole.add(command)
        report.check(done.returncode == 2, f"{arguments}: exit code {done.returncode}: {done.stderr}")
        for word in words:
            report.check(word in done.stderr, f"{arguments}: {word} is not in: {done.stderr}")
        report.check("Traceback" not in done.stderr, f"{arguments}: {done.stderr}")


def check_help(report: Report, directory: Path) -> None:
    linked = directory / "linked"
    linked.symlink_to(QUIRE)
    for arguments, words in (
        (["help"], ["study", "test", "run", "stress", "bench", "build", "setup"]),
        (["--help"], ["study", "test", "run", "stress", "bench", "build", "setup"]),
        (["run", "--help"], ["--page-size", "--harts", "--mem", "--append", "--cpu", "--icount", "--seed"]),
        (["test", "--help"], ["--suite", "--seed", "PATTERN"]),
        (["stress", "--help"], ["--minutes", "--harts", "--seed", "--icount", "--sweep", "--repeat", "--checked"]),
        (["bench", "-h"], ["--page-size", "--harts", "--json", "PATTERN"]),
        (["build", "--help"], ["build/"]),
        (["setup", "--help"], ["--check"]),
    ):
        done = call(arguments, linked)
        report.check(done.returncode == 0, f"{arguments}: exit code {done.returncode}: {done.stderr}")
        for word in words:
            report.check(word in done.stdout, f"{arguments}: {word} is not in: {done.stdout}")


def check_closed(report: Report) -> None:
    """No standard input, output or error at all: the exit code must still come out."""
    for arguments, expected in ((["help"], 0), (["run", "--help"], 0), (["run", "--harts", "0"], 2)):
        done = subprocess.run(["/bin/sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', str(QUIRE), *arguments],
                              env=clean_environment(), timeout=CALL_LIMIT_S, check=False)
        report.check(done.returncode == expected, f"{arguments}: exit code {done.returncode}")


def check_qemu(report: Report, directory: Path) -> None:
    old = directory / "old-qemu"
    old.write_text("#!/bin/sh\necho 'QEMU emulator version 6.2.0 (Debian)'\n", encoding="utf-8")
    old.chmod(0o755)
    for arguments in (["run", "--", "help"], ["stress"], ["bench"], ["study"], ["test"]):
        for program, words in ((str(old), ["too old", "6.2.0", "7.0"]),
                               ("/nonexistent/qemu", ["/nonexistent/qemu"])):
            done = (call if arguments == ["test"] else call_forked)(arguments, QUIRE_QEMU=program)
            said = done.stdout + done.stderr
            report.check(done.returncode == 1, f"{arguments}: exit code {done.returncode}: {said}")
            for word in words:
                report.check(word in said, f"{arguments}: {word} is not in: {said}")
            if arguments == ["test"]:
                last = said.splitlines()[-1]
                report.check(last == "0 passed, 1 failed, 0 skipped", f"the last line of: {said}")


def boot(behaviour: str, limit_s: float = LIMIT_S) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    machine = qemu.Machine(kernel=KERNELS / f"fake_{behaviour}.elf")
    with redirect_stdout(out), redirect_stderr(err):
        code = running.boot(qemu.find(), machine, limit_s, subprocess.DEVNULL)
    return code, out.getvalue(), err.getvalue()


def check_run(report: Report) -> None:
    for behaviour, expected in (("good", 0), ("exit_1", 1), ("refusing", 2), ("bench_panic", 3)):
        code, out, _ = boot(behaviour)
        report.check(code == expected, f"{behaviour}: exit code {code}")
        for word in ("OpenSBI", "Platform", "____"):
            report.check(word not in out, f"the banner is in: {out}")
    code, out, _ = boot("refusing")
    report.check(out == "boot argument harts=99: at most 8\n", f"not the kernel's own words alone: {out!r}")
    code, _, err = boot("silent_hang", limit_s=2.0)
    report.check(code == running.EXIT_TIME_LIMIT and "within 2 s" in err, f"hang: exit code {code}: {err}")


def check_banner(report: Report) -> None:
    shown: list[str] = []
    banner = running.BannerFilter(shown.append)
    for line in ("", "OpenSBI v1.1", "   ____  _____", r" | |\_'(_)", "", "Platform Name             : virt",
                 "", "Boot HART MEDELEG         : 0xb509", "", "Quire, 8 KB pages", "",
                 "Boot HART MEDELEG         : mine"):
        banner.feed(line)
    report.check(shown == ["Quire, 8 KB pages", "", "Boot HART MEDELEG         : mine"], f"with one: {shown}")
    shown.clear()
    bare = running.BannerFilter(shown.append)
    for line in ("Quire", "OpenSBI v1.1"):
        bare.feed(line)
    report.check(shown == ["Quire", "OpenSBI v1.1"], f"without a banner: {shown}")


def check_poweroff(report: Report) -> None:
    for typed, meant in (
        ("meminfo", "meminfo; poweroff"),
        ("meminfo; poweroff", "meminfo; poweroff"),
        ("poweroff", "poweroff"),
        (" meminfo ;; slabinfo; ", "meminfo; slabinfo; poweroff"),
        ("poweroff; help", "poweroff; help; poweroff"),
    ):
        made = running.with_poweroff(typed)
        report.check(made == meant, f"{typed!r} is made {made!r}")


def measure(behaviour: str, wanted: Sequence[str] = (), as_json: bool = False,
            runs: int = 1) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    machine = qemu.Machine(kernel=KERNELS / f"fake_{behaviour}.elf", icount=True, seed=1)
    with redirect_stdout(out), redirect_stderr(err):
        code = bench.measure(qemu.find(), [machine] * runs, LIMIT_S, wanted, as_json)
    return code, out.getvalue(), err.getvalue()


def check_bench(report: Report) -> None:
    code, out, err = measure("bench")
    report.check(code == 0 and err == "", f"table: exit code {code}: {err}")
    lines = out.splitlines()
    report.check([line.split() for line in lines] == [
        ["name", "page", "size", "harts", "min", "p50", "p99", "max", "mean"],
        ["bench.empty", "4096", "1", "0", "0", "41", "1200", "31.5"],
        ["page.order0.pair", "4096", "1", "0", "31", "41", "1200", "31.5"]], f"table: {out}")
    report.check(len({len(line) for line in lines}) == 1, f"not aligned: {out}")
    code, out, err = measure("bench", ["page.*"], as_json=True)
    rows = [json.loads(line) for line in out.splitlines()]
    order0 = {"name": "page.order0.pair", "page_size": 4096, "harts": 1, "ops": 10000,
              "min": 0, "p50": 31, "p99": 41, "max": 1200, "mean": 31.5}
    report.check(code == 0 and rows[1] == order0, f"JSON: {out}")
    code, out, _ = measure("bench", ["page"], as_json=True, runs=2)
    report.check(code == 0 and len(out.splitlines()) == 2 * len(rows), f"two machines: {code}: {out}")
    code, _, err = measure("bench", ["page", "nonesuch"])
    report.check(code == 2 and "'nonesuch'" in err and "'page'" not in err, f"nonesuch: {code}: {err}")
    for behaviour, expected, word in (("bench_broken", 1, "not JSON"), ("bench_panic", 3, "free list"),
                                      ("good", 1, "measured nothing"), ("refusing", 2, "harts=99")):
        code, _, err = measure(behaviour)
        report.check(code == expected and word in err, f"{behaviour}: exit code {code}: {err}")


def check_rows(report: Report) -> None:
    good = {"name": "a", "page_size": 4096, "harts": 1, "ops": 1,
            "min": 0, "p50": 0, "p99": 0, "max": 0, "mean": 0.5}
    bench.parse_row("@bench " + json.dumps(good))
    more = good | {"name": "b", "shared_locks": 0.0312, "ram_mb": 512}
    bench.parse_row("@bench " + json.dumps(more))
    lines = bench.table([good, more])
    report.check(lines[0].split()[-4:] == ["RAM", "(MB)", "shared", "locks"] and lines[1].split()[-1] == "0.5" and
                 lines[2].split()[-2:] == ["512", "0.0312"] and len({len(line) for line in lines}) == 1, f"{lines}")
    bad: list[object] = [good | {"ops": 0}, good | {"name": ""}, good | {"p50": "1"}, good | {"p50": True},
                         good | {"more": 1}, good | {"ram_mb": "1"},
                         {key: good[key] for key in good if key != "max"}, [good], "a"]
    for row in bad:
        try:
            bench.parse_row("@bench " + json.dumps(row))
            report.check(False, f"taken for a row: {row}")
        except bench.RowError:
            pass


MINIATURE = """
project('miniature')
runner = files('tools/run/tap_run.py')
py3 = find_program('/usr/bin/python3')
foreach name, text : {
  'good': 'echo 1..3; echo ok 1 - a_x; echo ok 2 - b_x; echo "ok 3 - c_x # SKIP why"',
  'bad': 'echo 1..2; echo ok 1 - d; echo "# d.c:7: no"; echo not ok 2 - e; exit 1',
  'cut': 'echo 1..2; echo ok 1 - f',
}
  test(name, py3, suite: name == 'good' ? 'fine' : 'ill', protocol: 'tap',
    args: [runner, '--timeout', '30', '--name', name, '--host', '/bin/sh', '-c', text])
endforeach
test('killed', py3, suite: 'ill', protocol: 'tap',
  args: [runner, '--name', 'killed', '--host', '/bin/sh', '-c', 'kill -KILL $PPID; sleep 1'])
test('stray', py3, suite: 'ill', args: ['-c', 'pass'])
test('long', py3, suite: 'soak', protocol: 'tap',
  args: [runner, '--name', 'long', '--host', '/bin/sh', '-c', 'echo 1..1; echo ok 1 - long'])
"""


def miniature(directory: Path) -> Path:
    """A project with the same tools and a few made-up tests; returns its tools/quire."""
    root = directory / "miniature"
    for part in ("quire", "setup", "cli", "run", "cross"):
        source, target = TOOLS / part, root / "tools" / part
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (root / "meson.build").write_text(MINIATURE, encoding="utf-8")
    return root / "tools" / "quire"


def check_counting(report: Report, quire: Path) -> None:
    done = call(["test"], quire)
    lines = done.stdout.splitlines()
    report.check(done.returncode == 1, f"exit code {done.returncode}: {done.stderr}")
    # good 2 + 1 skipped; bad 1 + 1 failed; cut 1 + a case and a fault; killed 1 failed; stray 1 failed.
    report.check(lines[-1] == "4 passed, 5 failed, 1 skipped", f"counted: {done.stdout}{done.stderr}")
    for text in ("not ok: e", "d.c:7: no", "early-exit", "FAILED killed: it left no record", "FAILED stray"):
        report.check(any(text in line for line in lines), f"{text} is not in: {done.stdout}")
    for arguments, code, counted in (
        (["--suite", "fine"], 0, "2 passed, 0 failed, 1 skipped"),
        (["--suite", "soak"], 0, "1 passed, 0 failed, 0 skipped"),
        (["good", "--seed", "3"], 0, "2 passed, 0 failed, 1 skipped"),
    ):
        done = call(["test", *arguments], quire)
        report.check(done.returncode == code and done.stdout.splitlines()[-1] == counted,
                     f"{arguments}: exit code {done.returncode}: {done.stdout}{done.stderr}")
    for arguments, word in ((["--suite", "none"], "'none'"), (["good", "nonesuch"], "'nonesuch'")):
        done = call(["test", *arguments], quire)
        report.check(done.returncode == 2 and word in done.stderr, f"{arguments}: {done.stderr}")


def check_mending(report: Report, quire: Path) -> None:
    """A build directory that is broken is configured anew; one that is none of ours is left alone."""
    root = quire.parents[1]
    build = root / "build"
    (build / "meson-private" / "coredata.dat").write_bytes(b"broken")
    (root / "meson.build").touch()
    done = call(["build"], quire)
    report.check(done.returncode == 0, f"broken notes: exit code {done.returncode}: {done.stderr}")
    (build / "build.ninja").unlink()
    done = call(["build"], quire)
    report.check(done.returncode == 0, f"half configured: exit code {done.returncode}: {done.stderr}")
    moved = root.with_name("moved")
    root.rename(moved)
    done = call(["build"], moved / "tools" / "quire")
    report.check(done.returncode == 0, f"moved: exit code {done.returncode}: {done.stderr}")
    shutil.rmtree(moved / "build")
    (moved / "build").mkdir()
    (moved / "build" / "diary").write_text("mine\n", encoding="utf-8")
    done = call(["build"], moved / "tools" / "quire")
    report.check(done.returncode == 1 and (moved / "build" / "diary").exists(), f"not ours: {done.stderr}")
    shutil.rmtree(moved / "build")
    (moved / "meson.build").write_text("project('miniature')\nerror('no way')\n", encoding="utf-8")
    done = call(["test"], moved / "tools" / "quire")
    report.check(done.returncode == 1 and done.stdout.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"
                 and "no way" in done.stderr, f"failed build: {done.stdout}{done.stderr}")


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with report.case("cli_bad_option_is_named_and_exits_2"):
            check_bad_options(report)
        with report.case("cli_help_tells_the_options"):
            check_help(report, directory)
        with report.case("cli_works_with_everything_closed"):
            check_closed(report)
        with report.case("cli_missing_or_old_qemu_is_told"):
            check_qemu(report, directory)
        with report.case("cli_run_passes_the_exit_code_on"):
            check_run(report)
        with report.case("cli_run_hides_the_firmwares_banner_only"):
            check_banner(report)
        with report.case("cli_run_ends_with_poweroff"):
            check_poweroff(report)
        with report.case("cli_bench_prints_rows"):
            check_bench(report)
        with report.case("cli_bench_refuses_bad_rows"):
            check_rows(report)
        quire = miniature(directory)
        with report.case("cli_test_counts_honestly"):
            check_counting(report, quire)
        with report.case("cli_build_mends_its_directory"):
            check_mending(report, quire)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
