"""What several contract tests start: Redis for counters, and the services that the command line talks to."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.quota.adapters.held_journal import HeldJournal
from services.quota.adapters.redis_counters import RedisCounters
from services.quota.adapters.redis_session import LocalRecords
from tests.worlds.cli import Cli
from tests.worlds.counter_store_notes import MemorySnapshots, open_doubts
from tests.worlds.redis_process import RedisProcess
from tests.worlds.stand_in_services import StandIn, stand_in_services


@pytest.fixture
def services() -> Iterator[StandIn]:
    with stand_in_services() as state:
        yield state


@pytest.fixture
def cli(services: StandIn, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(services, capsys)


@pytest.fixture
def own_redis() -> Iterator[RedisProcess]:
    """A Redis that the test may hurt."""
    with RedisProcess() as process:
        yield process


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., RedisCounters]]:
    """Opens stores that are closed after the test. Those with one tag share their counters."""
    numbers = itertools.count(1)
    with contextlib.ExitStack() as stack:

        def folder_of(tag: str) -> Path:
            folder = tmp_path / tag
            folder.mkdir(exist_ok=True)
            return folder

        def open_store(
            redis: RedisProcess, tag: str, notes: MemorySnapshots | None = None, *, fresh: bool = True
        ) -> RedisCounters:
            journal = HeldJournal(folder_of(tag), next(numbers))
            doubts = stack.enter_context(open_doubts(folder_of(tag)))
            local = LocalRecords(notes or MemorySnapshots(), journal, doubts, fresh=fresh)
            store = RedisCounters(redis.url, tag, local)
            return stack.enter_context(contextlib.closing(store))

        yield open_store
