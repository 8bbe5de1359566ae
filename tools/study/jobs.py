# Runs many programs, some at a time, each with its output in a file, a time limit and a limit of output.
# SPDX-License-Identifier: BSD-2-Clause
"""One thread waits for all of them. Whatever ends `run_all` early, no program outlives it: they are killed as
process groups, and setpriv has the host's kernel kill them should this process be killed outright."""

import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

OUTPUT_LIMIT_BYTES = 32 * 1024 * 1024
_POLL_S = 0.25


@dataclass(frozen=True)
class Job:
    """A program to run. Its standard output goes to the file `output`, its standard error beside it."""
    name: str
    argv: tuple[str, ...]
    output: Path
    limit_s: float

    @property
    def errors(self) -> Path:
        return self.output.with_suffix(".err")


@dataclass(frozen=True)
class Ended:
    """How a job ended: in words what is wrong with that, or None where it exited with 0."""
    job: Job
    complaint: str | None


class _Running:
    """A started job. Its pidfd becomes readable when the program ends."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.deadline = time.monotonic() + job.limit_s
        with open(job.output, "wb") as out, open(job.errors, "wb") as errors:
            self.process = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", "--", *job.argv), stdin=subprocess.DEVNULL, stdout=out,
                stderr=errors, process_group=0)
        self.pidfd = os.pidfd_open(self.process.pid)

    def kill(self) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def complaint(self) -> str | None:
        """None while the job is within its limits."""
        if self.job.output.stat().st_size > OUTPUT_LIMIT_BYTES:
            return f"it printed more than {OUTPUT_LIMIT_BYTES} bytes"
        if time.monotonic() >= self.deadline:
            return f"it did not end within {self.job.limit_s:g} s"
        return None

    def close(self) -> None:
        os.close(self.pidfd)


def _ending(running: _Running) -> Ended:
    code = running.process.wait()
    if code < 0:
        return Ended(running.job, f"it was ended by signal {-code}")
    return Ended(running.job, f"its exit code is {code}" if code else None)


def run_all(jobs: Sequence[Job], at_once: int, on_end: Callable[[Ended], None]) -> None:
    """Runs all jobs in their order, `at_once` at a time; `on_end` may raise to give the rest up."""
    waiting = list(reversed(jobs))
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                while waiting and len(selector.get_map()) < at_once:
                    running = _Running(waiting.pop())
                    selector.register(running.pidfd, selectors.EVENT_READ, running)
                ended = {key.data: _ending(key.data) for key, _ in selector.select(_POLL_S)}
                for running in [key.data for key in selector.get_map().values() if key.data not in ended]:
                    complaint = running.complaint()
                    if complaint:
                        running.kill()
                        ended[running] = Ended(running.job, complaint)
                for running, ending in ended.items():
                    selector.unregister(running.pidfd)
                    running.close()
                    on_end(ending)
        finally:
            for key in list(selector.get_map().values()):
                key.data.kill()
                key.data.close()
