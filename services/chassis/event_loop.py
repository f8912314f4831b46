"""An asyncio loop in its own thread, which a process starts and stops like its other parts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TypeVar

T = TypeVar("T")


class EventLoop:
    """Runs coroutines. Code on the loop needs no lock: other threads hand work over with `call`."""

    def __init__(self, name: str = "event loop") -> None:
        self.name = name
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)  # noqa: TID251  (a loop of asyncio)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    def start(self) -> None:
        """Returns once the loop runs."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Cancels what is left on the loop, and ends it."""
        if self._loop is not None and self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        """Runs a coroutine on the loop and returns its result, or raises its error. Call it from any other thread."""
        if self._loop is None:
            coroutine.close()
            raise RuntimeError(f"the {self.name} does not run")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def call(self, function: Callable[[], T]) -> T:
        """Calls a function on the loop and returns its result, or raises its error. Call it from any other thread."""

        async def called() -> T:
            return function()

        return self.run(called())

    def _run(self) -> None:
        asyncio.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        await self._ending.wait()
