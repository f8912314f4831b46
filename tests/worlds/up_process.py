"""`spendgate up` as a process whose two outputs are kept apart, for tests of how it starts and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.worlds.gateway import COMMAND
from tests.worlds.ports import free_port

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 45.0


@dataclass
class UpProcess:
    """A running `spendgate up`."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    data_dir: Path
    listen: str
    admin: str

    def wait_ready(self) -> None:
        """Returns when the line is there."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while "ready" not in self.out.read_text():
            assert self.process.poll() is None, f"it ended with {self.process.poll()}:\n{self.err.read_text()}"
            assert time.monotonic() < deadline, self.err.read_text()
            time.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=STOP_TIMEOUT_S)

    def children(self) -> list[int]:
        """Process ids of everything that it started."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def start_up(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    data_dir: Path | None = None,
    listen: str | None = None,
    admin: str | None = None,
) -> Iterator[UpProcess]:
    """Starts it; kills it in the end if it still runs."""
    listen, admin = listen or f"127.0.0.1:{free_port()}", admin or f"127.0.0.1:{free_port()}"
    data_dir = data_dir or folder / "data"
    command = [str(COMMAND), "up", "--data-dir", str(data_dir), "--listen", listen, "--admin-listen", admin, *arguments]
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("SPENDGATE_", "OTEL_"))}
    variables |= environment or {}
    out, err = folder / "up.out", folder / "up.err"
    with out.open("wb") as out_file, err.open("wb") as err_file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out_file,
            stderr=err_file,
            env=variables,
        )
    try:
        yield UpProcess(process, out, err, data_dir, listen, admin)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def is_running(pid: int) -> bool:
    """Whether the process exists and is not merely waiting to be collected."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_gone(pids: list[int], timeout_s: float) -> list[int]:
    """Those that still run after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while (left := [pid for pid in pids if is_running(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
