"""A pattern for long streams: requests come in at any time, and a writer wakes when something may be due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

_log = logging.getLogger("spendgate.router.stream")

T = TypeVar("T")


class Wakeup:
    """Wakes the writer of a stream. Several wakes while it is busy count as one."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._open = True

    def wake(self) -> None:
        """Signals that something may be due."""
        self._woken.set()

    def close(self) -> None:
        """Signals that the peer has ended the stream."""
        self._open = False
        self._woken.set()

    async def wait(self) -> bool:
        """Waits for the next wake. Returns False when the stream has ended."""
        await self._woken.wait()
        self._woken.clear()
        return self._open


@asynccontextmanager
async def reading(
    requests: AsyncIterator[T],
    receive: Callable[[T], None],
    subscribe: Callable[[Callable[[], None]], Callable[[], None]],
) -> AsyncIterator[Wakeup]:
    """Passes `requests` to `receive`. The writer wakes after each of them, and when the subscription fires."""
    wakeup = Wakeup()
    unsubscribe = subscribe(wakeup.wake)

    async def read() -> None:
        try:
            async for request in requests:
                receive(request)
                wakeup.wake()
        except Exception:  # noqa: BLE001  (the stream ends, the log says why)
            _log.exception("a stream is closed")
        finally:
            wakeup.close()

    reader = asyncio.create_task(read())
    try:
        yield wakeup
    finally:
        unsubscribe()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
