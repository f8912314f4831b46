"""A supervised process: started, watched, restarted when it dies, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.cli.problems import Refused
from services.cli.supervisor.forking import end_with_this_process
from services.cli.supervisor.log_file import CappedLog

_FIRST_DELAY_S = 0.1
_MAX_DELAY_S = 10.0
_STEADY_AFTER_S = 60.0
_READ_BYTES = 64 * 1024
_TAIL_LINES = 12
_POLL_S = 0.05


class StartError(Refused):
    """A process did not come up. The text includes the last lines of its log."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """The process to run."""

    name: str
    command: Callable[[], Sequence[str]]
    """Called for each start: a restarted Envoy gets a new epoch."""
    environ: Mapping[str, str]
    working_dir: Path
    log: Path
    orphan_signal: signal.Signals
    """The signal that the kernel sends it when the supervisor dies."""
    niceness: int = 0
    """How far its scheduling priority is below the supervisor's, as for `nice`."""


class Backoff:
    """Delays between restarts: 0.1 s, doubling to 10 s, and reset after a steady minute."""

    def __init__(self) -> None:
        self._delay_s = _FIRST_DELAY_S

    def next_delay_s(self, ran_s: float) -> float:
        """Returns the delay after a run of `ran_s` seconds."""
        if ran_s >= _STEADY_AFTER_S:
            self._delay_s = _FIRST_DELAY_S
        delay_s = self._delay_s
        self._delay_s = min(self._delay_s * 2, _MAX_DELAY_S)
        return delay_s


class Child:
    """A supervised process."""

    def __init__(self, spec: ChildSpec, report: Callable[[str], None]) -> None:
        self.spec = spec
        self.restarts = 0
        self._report = report
        self._log = CappedLog(spec.log)
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = False
        self._has_been_ready = False
        self._died = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def start(self) -> None:
        """Starts the process. Once it has been ready for the first time, it is kept running.

        Raises:
            StartError: the program cannot be executed.
        """
        self._log.forget_tail()
        process = await self._spawn()
        self._watcher = asyncio.create_task(self._keep_running(process), name=f"watch {self.spec.name}")

    async def wait_until(self, is_ready: Callable[[], Awaitable[bool]], timeout_s: float) -> None:
        """Waits until it is ready for the first time. A death before that is final.

        Raises:
            StartError: it died, or was not ready in time.
        """
        deadline = time.monotonic() + timeout_s
        while not await is_ready():
            if self._died.is_set():
                raise StartError(self._failure("ended while it started"))
            if time.monotonic() > deadline:
                raise StartError(self._failure(f"was not ready within {timeout_s:.0f} s"))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._died.wait(), _POLL_S)
        self._has_been_ready = True

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal if it runs."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def stop(self, timeout_s: float) -> None:
        """Asks it to end, kills it if it does not, and starts it no more."""
        self._stopping = True
        if self._watcher is None:
            self._log.close()
            return
        if self.pid is None:
            # It died and waits for its next start, which must not happen.
            self._watcher.cancel()
        self.signal(signal.SIGTERM)
        done, _ = await asyncio.wait([self._watcher], timeout=timeout_s)
        if not done:
            self._report(f"{self.spec.name} did not end within {timeout_s:.0f} s: killed")
            self.signal(signal.SIGKILL)
            await asyncio.wait([self._watcher])
        self._log.close()

    def kill(self) -> None:
        """Ends it at once, without a chance to finish anything."""
        self._stopping = True
        self.signal(signal.SIGKILL)

    async def _keep_running(self, process: asyncio.subprocess.Process) -> None:
        backoff = Backoff()
        while True:
            started_s = time.monotonic()
            await self._pump(process)
            code = await process.wait()
            self._died.set()
            if self._stopping or not self._has_been_ready:
                return
            delay_s = backoff.next_delay_s(time.monotonic() - started_s)
            self._report(f"{self.spec.name} ended ({_ending(code)}), starts again in {delay_s:.1f} s")
            await asyncio.sleep(delay_s)
            if self._stopping:
                return
            process = await self._spawn_again(backoff)
            self.restarts += 1

    async def _spawn_again(self, backoff: Backoff) -> asyncio.subprocess.Process:
        while True:
            try:
                return await self._spawn()
            except StartError as error:
                delay_s = backoff.next_delay_s(0)
                self._report(f"{error}; next try in {delay_s:.1f} s")
                await asyncio.sleep(delay_s)

    async def _spawn(self) -> asyncio.subprocess.Process:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command(),
                cwd=self.spec.working_dir,
                env=dict(self.spec.environ),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # Ctrl-C in a terminal is for the supervisor, which then stops its children in order. A session of its
                # own would do that too, but Linux gives each session an equal part of the CPU, whatever its niceness.
                process_group=0,
                # Other users of the machine may read nothing that it creates.
                umask=0o077,
                preexec_fn=end_with_this_process(self.spec.orphan_signal, self.spec.niceness),
            )
        except OSError as error:
            raise StartError(f"{self.spec.name} cannot be started: {error}") from error
        return self._process

    async def _pump(self, process: asyncio.subprocess.Process) -> None:
        """Copies its output into the log until it ends."""
        if process.stdout is None:
            return
        while chunk := await process.stdout.read(_READ_BYTES):
            self._log.write(chunk)

    def _failure(self, what: str) -> str:
        tail = self._log.tail(_TAIL_LINES)
        if words := _last_words(tail):
            return f"{self.spec.name} {what}: {words}"
        return f"{self.spec.name} {what}; its log is {self.spec.log}" + (f", and ends with:\n{tail}" if tail else "")


def _last_words(tail: str) -> str:
    """Returns why a service ended, if its last line says so. A traceback is easier to read in its log."""
    try:
        line = json.loads(tail.rpartition("\n")[2])
    except ValueError:
        return ""
    is_sentence = isinstance(line, dict) and line.get("level") == "error" and "exception" not in line
    return str(line.get("message", "")) if is_sentence else ""


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
