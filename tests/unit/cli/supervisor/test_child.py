from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from services.cli.supervisor.child import Backoff, Child, ChildSpec, StartError

_SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
_STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def _spec(folder: Path, program: str, name: str = "stand-in") -> ChildSpec:
    return ChildSpec(
        name=name,
        command=lambda: (sys.executable, "-c", program),
        environ={"PATH": os.environ["PATH"]},
        working_dir=folder,
        log=folder / f"{name}.log",
        orphan_signal=signal.SIGKILL,
    )


async def _at_once() -> bool:
    return True


def _logs(path: Path, text: str) -> Callable[[], Awaitable[bool]]:
    def is_there() -> bool:
        return path.exists() and text in path.read_text()

    async def ready() -> bool:
        return await asyncio.to_thread(is_there)

    return ready


def test_a_killed_process_is_back_within_a_second(tmp_path: Path) -> None:
    async def scenario() -> None:
        reports: list[str] = []
        child = Child(_spec(tmp_path, _SLEEPER), reports.append)
        await child.start()
        await child.wait_until(_at_once, 10)
        first = child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        killed = time.monotonic()
        while child.pid in {first, None}:
            await asyncio.sleep(0.01)
            assert time.monotonic() - killed < 1
        assert reports == ["stand-in ended (signal SIGKILL), starts again in 0.1 s"]
        await child.stop(5)
        assert child.pid is None

    asyncio.run(scenario())


def test_a_stopped_process_stays_down_and_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        reports: list[str] = []
        child = Child(_spec(tmp_path, _STUBBORN), reports.append)
        await child.start()
        await child.wait_until(_logs(tmp_path / "stand-in.log", "up"), 10)
        await child.stop(0.3)
        assert child.pid is None
        assert reports == ["stand-in did not end within 0 s: killed"]

    asyncio.run(scenario())


def test_a_process_can_be_stopped_while_it_waits_for_its_next_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        child = Child(_spec(tmp_path, "raise SystemExit(3)"), lambda _line: None)
        await child.start()
        await child.wait_until(_at_once, 10)
        started = time.monotonic()
        while child.restarts < 2:
            await asyncio.sleep(0.01)
            assert time.monotonic() - started < 5
        await asyncio.wait_for(child.stop(5), 2)
        assert child.pid is None

    asyncio.run(scenario())


def test_a_death_during_the_start_is_reported_with_the_last_lines_of_the_log(tmp_path: Path) -> None:
    async def scenario() -> None:
        child = Child(_spec(tmp_path, "print('no such setting'); raise SystemExit(2)"), lambda _line: None)
        await child.start()
        with pytest.raises(StartError, match=r"ended while it started(.|\n)*no such setting"):
            await child.wait_until(_logs(tmp_path / "stand-in.log", "never"), 10)
        await child.stop(5)

    asyncio.run(scenario())


def test_a_process_that_is_not_ready_in_time_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        child = Child(_spec(tmp_path, _SLEEPER), lambda _line: None)
        await child.start()
        with pytest.raises(StartError, match="was not ready within 0 s"):
            await child.wait_until(_logs(tmp_path / "stand-in.log", "never"), 0.2)
        await child.stop(5)

    asyncio.run(scenario())


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    async def scenario() -> None:
        spec = ChildSpec("ghost", lambda: ("/nonexistent",), {}, tmp_path, tmp_path / "ghost.log", signal.SIGKILL)
        child = Child(spec, lambda _line: None)
        with pytest.raises(StartError, match="ghost cannot be started"):
            await child.start()
        await child.stop(1)

    asyncio.run(scenario())


def test_waits_double_up_to_ten_seconds_and_begin_anew_after_a_steady_minute() -> None:
    backoff = Backoff()
    delays = [backoff.next_delay_s(0) for _ in range(9)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    assert backoff.next_delay_s(61) == 0.1


def test_a_child_that_no_call_waits_for_yields_the_processor_to_its_siblings(tmp_path: Path) -> None:
    """Niceness counts within a session only, where Linux shares the processor out by sessions (`sched_autogroup`)."""

    async def scenario() -> None:
        children = [
            Child(replace(_spec(tmp_path, _SLEEPER, name), niceness=niceness), lambda _line: None)
            for name, niceness in (("on-the-way", 0), ("beside", 5))
        ]
        for child in children:
            await child.start()
            await child.wait_until(_logs(child.spec.log, "up"), 10)
        pids = [child.pid for child in children]
        assert None not in pids
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert [os.getpriority(os.PRIO_PROCESS, pid) - own for pid in pids if pid] == [0, 5]
        assert {os.getsid(pid) for pid in pids if pid} == {os.getsid(0)}
        # Ctrl-C in a terminal does not reach them: it is for the supervisor's group.
        assert [os.getpgid(pid) for pid in pids if pid] == pids
        for child in children:
            await child.stop(5)

    asyncio.run(scenario())


_ORPHAN_MAKER = """
import asyncio, os, signal, sys
from pathlib import Path
from services.cli.supervisor.child import Child, ChildSpec

async def main():
    folder = Path(sys.argv[1])
    program = "import time; time.sleep(600)"
    spec = ChildSpec("orphan", lambda: (sys.executable, "-c", program), {}, folder, folder / "log", signal.SIGKILL)
    child = Child(spec, lambda _: None)
    await child.start()
    print(child.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _ORPHAN_MAKER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert supervisor.stdout is not None
    orphan = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.communicate(timeout=10)
    deadline = time.monotonic() + 5
    while _is_running(orphan):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
