from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.cli.problems import Misuse
from services.cli.supervisor.messenger import Messenger, MessengerLost
from tests.worlds.up_process import wait_gone

_LOADED = """
import sys
import services.cli.main, services.cli.commands.up
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"grpc", "google", "spendgate", "ruamel"}))
"""
_LEFT_ALONE = """
import asyncio, os
from services.cli.supervisor.messenger import Messenger

async def main():
    async with Messenger(os.environ) as messenger:
        await messenger.is_serving("nobody.sock")
        print(messenger.pid, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


def _with_messenger(do: Callable[[Messenger], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Messenger(os.environ) as messenger:
            await do(messenger)

    asyncio.run(run())


def test_a_process_that_runs_for_months_loads_nothing_that_only_the_messenger_needs() -> None:
    loaded = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, check=True, timeout=30, text=True)
    assert loaded.stdout.split() == []


def test_mistakes_of_a_configuration_arrive_as_they_are_one_line_each(tmp_path: Path) -> None:
    file = tmp_path / "spendgate.yaml"
    file.write_text("version: 1\nprovider: {}\nmodel: {}\n")

    async def load(messenger: Messenger) -> None:
        with pytest.raises(Misuse) as mistakes:
            await messenger.load(file)
        lines = str(mistakes.value).splitlines()
        assert [line.partition(": ")[0] for line in lines[-2:]] == [f"{file}:2:1", f"{file}:3:1"]
        # After a refusal it does the next errand.
        assert not await messenger.is_serving("nobody.sock")

    _with_messenger(load)


def test_services_that_do_not_answer_are_not_yet_ready(tmp_path: Path) -> None:
    nobody = str(tmp_path / "nobody.sock")

    async def ask(messenger: Messenger) -> None:
        assert not await messenger.is_serving(nobody)
        assert not await messenger.is_configured(nobody, [nobody], "local-1")
        assert not await messenger.is_booked(nobody)

    _with_messenger(ask)


def test_a_messenger_that_died_says_so_and_the_next_one_works() -> None:
    async def run() -> None:
        messenger = Messenger(os.environ)
        async with messenger:
            assert not await messenger.is_serving("nobody.sock")
            os.kill(messenger.pid or 0, signal.SIGKILL)
            with pytest.raises(MessengerLost, match="ended during 'is_booked'"):
                await messenger.is_booked("nobody.sock")
        async with messenger:
            assert not await messenger.is_serving("nobody.sock")
        assert messenger.pid is None

    asyncio.run(run())


def test_a_messenger_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen([sys.executable, "-c", _LEFT_ALONE], stdout=subprocess.PIPE, text=True) as started:
        messenger = int(started.stdout.readline() if started.stdout else "")
        assert "services.cli.supervisor" in Path(f"/proc/{messenger}/cmdline").read_text()
        started.kill()
    assert wait_gone([messenger], timeout_s=5.0) == []
