"""Processes under measurement: where they run, what they cost, how large they are. Linux only: it reads /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_CLOCK_OF_SCHEDULER = 2
_ROLES = ("quota", "router", "ledger")


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """What is started inside runs on this core only; None pins nothing."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def start(
    arguments: Sequence[str | Path],
    *,
    core: int | None,
    log: Path,
    cwd: Path = ROOT,
    environ: dict[str, str] | None = None,
    says_nothing: bool = False,
) -> subprocess.Popen[str]:
    """Starts a process with its standard output as a pipe and its errors in `log`.

    `says_nothing`: nobody reads its standard output, which goes to `log` as well.
    """
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with pinned(core), log.open("a") as errors:
        return subprocess.Popen(
            [str(argument) for argument in arguments],
            cwd=cwd,
            env=variables | (environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=errors if says_nothing else subprocess.PIPE,
            stderr=errors,
            text=True,
        )


def start_module(name: str, *, core: int | None, log: Path) -> tuple[subprocess.Popen[str], int]:
    """Starts one of our modules that prints the port it listens on.

    Raises:
        RuntimeError: it ended without one; its log says why.
    """
    process = start([sys.executable, "-m", name], core=core, log=log)
    line = process.stdout.readline() if process.stdout else ""
    if not line.strip().isdecimal():
        stop(process)
        raise RuntimeError(f"{name} did not start, see {log}:\n{log.read_text()[-2000:]}")
    return process, int(line)


def stop(process: subprocess.Popen[str], timeout_s: float = 60.0) -> None:
    """Asks it to end, and kills it if it does not."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, that a process has used in all its threads, ended ones included."""
    # The CPU clock of another process, as clock_getcpuclockid(3) composes its id: /proc/<pid>/stat counts in 10 ms.
    return time.clock_gettime_ns((~pid << 3) | _CLOCK_OF_SCHEDULER) / 1e9


def resident_mib(pid: int) -> float:
    """Memory that a process occupies."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def family_cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its descendants that still run."""
    return _over_family(cpu_s, pid)


def family_mib(pid: int) -> float:
    """Memory of a process and its descendants. What several of them share counts once."""
    return _over_family(_proportional_mib, pid)


def _over_family(measured: Callable[[int], float], pid: int) -> float:
    total = measured(pid)
    for child in _children(pid):
        # It may have ended meanwhile.
        with suppress(OSError):
            total += measured(child)
    return total


def _proportional_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def family(pid: int) -> dict[str, int]:
    """The processes of a running gateway by role: "envoy", "quota", "router", "ledger", and "supervisor" itself."""
    roles = {"supervisor": pid}
    for child in _children(pid):
        command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        role = next((role for role in _ROLES if f"services.{role}" in command or f"spendgate-{role}" in command), None)
        if role is None and "bootstrap" in command:
            role = "envoy"
        if role is not None:
            roles[role] = child
    return roles


def _children(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found + [grandchild for child in found for grandchild in _children(child)]


class StolenTime:
    """Time that the machine's host gave to others, from now on."""

    def __init__(self) -> None:
        self._began = _ticks()

    def share(self) -> float:
        """The part of all time, 0 to 1."""
        (began, stolen_then), (now, stolen_now) = self._began, _ticks()
        return (stolen_now - stolen_then) / max(1, now - began)


def _ticks() -> tuple[int, int]:
    """Ticks of all cores since the machine started, and those of them that were stolen."""
    # proc(5): user, nice, system, idle, iowait, irq, softirq, steal; guest times are in user and nice already.
    ticks = [int(number) for number in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[7]
