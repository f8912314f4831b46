from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from services.chassis.event_loop import EventLoop


@pytest.fixture
def events() -> Iterator[EventLoop]:
    loop = EventLoop("the loop of this test")
    loop.start()
    yield loop
    loop.stop()


def test_everything_on_it_runs_on_one_thread_that_is_not_the_callers(events: EventLoop) -> None:
    async def whose() -> str:
        return threading.current_thread().name

    assert {events.run(whose()), events.call(lambda: threading.current_thread().name)} == {"the loop of this test"}


def test_what_fails_on_it_fails_for_the_caller_and_does_not_end_it(events: EventLoop) -> None:
    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        events.call(fail)
    assert events.call(lambda: 7) == 7


def test_a_stop_cancels_what_is_left_and_may_be_said_twice(events: EventLoop) -> None:
    ended: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    kept: list[asyncio.Task[None]] = []
    events.call(lambda: kept.append(asyncio.get_running_loop().create_task(waits())))
    events.call(lambda: None)
    events.stop()
    events.stop()
    assert ended == ["cleaned up"]


def test_it_says_so_when_it_does_not_run() -> None:
    loop = EventLoop()
    with pytest.raises(RuntimeError, match="the event loop does not run"):
        loop.call(lambda: None)
    loop.stop()
