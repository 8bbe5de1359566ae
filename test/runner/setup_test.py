#!/usr/bin/python3
# Tests of tools/setup on machines that are made up: a PATH of fake dpkg-query, id, sudo and apt-get.
# SPDX-License-Identifier: BSD-2-Clause

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

from run.emit import Report  # noqa: E402

SETUP = TOOLS / "setup"
LACKING = ("qemu-system-misc", "meson")


@dataclass
class FakeMachine:
    """A directory that stands for the machine's PATH. All of Debian is installed but LACKING."""

    path: Path

    @property
    def log(self) -> Path:
        return self.path / "log"

    @property
    def state(self) -> Path:
        return self.path / "installed"

    def put(self, name: str, body: str) -> None:
        program = self.path / name
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", str(SETUP), *arguments], env={"PATH": str(self.path)}, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)

    def logged(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []


def machine(directory: Path, name: str, user: int, lacking: tuple[str, ...] = LACKING) -> FakeMachine:
    fake = FakeMachine(directory / name)
    fake.path.mkdir()
    for tool in ("sed", "env", "cat"):
        (fake.path / tool).symlink_to(shutil.which(tool) or tool)
    # A package that was removed but for its configuration ("rc") is still listed, and is not installed.
    is_lacking = " || ".join(f'[ "$package" = {package} ]' for package in lacking) or "false"
    fake.put("dpkg-query", f"""
shift 3
for package in "$@"; do
    if [ ! -e {fake.state} ] && {{ {is_lacking}; }}; then
        [ "$package" = meson ] && echo "$package rc "
    else
        echo "$package ii "
    fi
done""")
    fake.put("id", f"echo {user}")
    return fake


def with_apt(fake: FakeMachine, install: str) -> FakeMachine:
    fake.put("apt-get", f"""
echo "apt-get $*" >>{fake.log}
case " $* " in *' install '*) {install} ;; esac""")
    return fake


def check_names_all(report: Report, said: str) -> None:
    for package in LACKING:
        report.check(package in said, f"it does not name {package}: {said}")
    report.check("python3-numpy" not in said, f"it names a package that is installed: {said}")


def check_no_way_in(report: Report, directory: Path) -> None:
    """Neither root nor sudo: without sudo at all, and with a sudo that refuses."""
    for name in ("no_sudo", "refused"):
        fake = machine(directory, name, user=1000)
        if name == "refused":
            fake.put("sudo", "exit 1")
        done = fake.run()
        report.check(done.returncode == 1, f"{name}: exit code {done.returncode}")
        check_names_all(report, done.stderr)
        command = "apt-get update && apt-get install --no-install-recommends qemu-system-misc meson"
        report.check(command in done.stderr, f"{name}: not the command to use: {done.stderr}")


def check_installs(report: Report, directory: Path) -> None:
    """As root, and by way of sudo."""
    for name, user in (("root", 0), ("sudo", 1000)):
        fake = machine(directory, name, user)
        with_apt(fake, f">{fake.state}")
        if user:
            fake.put("sudo", f'echo "sudo $*" >>{fake.log}; [ "$1" = -n ] && exit 0; exec "$@"')
        done = fake.run()
        report.check(done.returncode == 0, f"{name}: exit code {done.returncode}: {done.stderr}")
        asked = [line for line in fake.logged() if line.startswith("apt-get")]
        report.check(len(asked) == 2 and asked[0].endswith(" update"), f"{name}: it did {asked}")
        install = "install -y --no-install-recommends qemu-system-misc meson"
        report.check(asked[-1].endswith(install), f"{name}: it did {asked}")
        by_sudo = any(line.startswith("sudo env") for line in fake.logged())
        report.check(by_sudo == bool(user), f"{name}: {fake.logged()}")


def check_failed_install(report: Report, directory: Path) -> None:
    """An apt-get that fails, and one that only says it succeeded."""
    for name, install in (("fails", "exit 100"), ("lies", "exit 0")):
        done = with_apt(machine(directory, name, user=0), install).run()
        report.check(done.returncode == 1, f"{name}: exit code {done.returncode}")
        check_names_all(report, done.stderr.splitlines()[-1])


def main() -> int:
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with report.case("setup_without_root_or_sudo_names_packages_and_command"):
            check_no_way_in(report, directory)
        with report.case("setup_installs_as_root_or_by_sudo"):
            check_installs(report, directory)
        with report.case("setup_tells_a_failed_install"):
            check_failed_install(report, directory)
        with report.case("setup_check_installs_nothing"):
            fake = with_apt(machine(directory, "check", user=0), "exit 0")
            done = fake.run("--check")
            report.check(done.returncode == 1 and fake.logged() == [], f"{done.returncode}, {fake.logged()}")
            check_names_all(report, done.stderr)
        with report.case("setup_is_silent_when_nothing_is_missing"):
            done = machine(directory, "complete", user=1000, lacking=()).run()
            silent = done.returncode == 0 and done.stdout + done.stderr == ""
            report.check(silent, f"{done.returncode}: {done.stdout}{done.stderr}")
        with report.case("setup_on_another_system_names_what_it_needs"):
            fake = machine(directory, "other", user=0)
            (fake.path / "dpkg-query").unlink()
            done = fake.run()
            report.check(done.returncode == 1, f"exit code {done.returncode}")
            report.check("no Debian" in done.stderr and "qemu-system-misc" in done.stderr, done.stderr)
        with report.case("setup_refuses_an_unknown_option"):
            done = machine(directory, "option", user=0).run("--chek")
            refused = done.returncode == 2 and "'--chek'" in done.stderr
            report.check(refused, f"{done.returncode}: {done.stderr}")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
