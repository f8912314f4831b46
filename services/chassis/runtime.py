"""The life of a service: what it starts, in which order, and what it closes.

    opened --> servers start --> loops start      ... a signal ...      loops stop --> servers stop --> closed
                                 in the listed order                    in reverse

If a step fails, every part started before it is stopped, and everything that was opened is closed.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self

_log = logging.getLogger("spendgate.runtime")


class Part(Protocol):
    """A server or a loop. It has its own threads, so `start` and `stop` return."""

    @property
    def name(self) -> str:
        """Its name in the log."""
        ...

    def start(self) -> None:
        """Returns once it runs."""
        ...

    def stop(self) -> None:
        """Returns when its current work is finished or safe. May be called even if `start` failed."""
        ...


class Closers:
    """What a service has opened. Closes in reverse order.

    If the block fails it closes everything, so a half-built service leaves nothing open:

        with Closers() as closers:
            engine = open_engine(path)
            closers.add("the database", engine.dispose)
            ...
            return Runtime(servers=..., loops=..., closers=closers)
    """

    def __init__(self) -> None:
        self._closes: list[tuple[str, Callable[[], object]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.close()

    def add(self, name: str, close: Callable[[], object]) -> None:
        """Registers `close` for the end. `name` is used in the log."""
        self._closes.append((name, close))

    def close(self) -> None:
        """Closes everything that is still open, the last first."""
        while self._closes:
            _attempt(*self._closes.pop(), failed="could not be closed")


class Runtime:
    """A service that is built and not yet started."""

    def __init__(
        self,
        *,
        servers: Sequence[Part],
        loops: Sequence[Part],
        closers: Closers,
        stopping: threading.Event | None = None,
    ) -> None:
        """`stopping` is set before any part stops, so that streams and long rounds end by themselves."""
        self._parts = (*servers, *loops)
        self._closers = closers
        self._stopping = stopping or threading.Event()
        self._begun: list[Part] = []

    def start(self) -> None:
        """Starts servers and loops in order. If one fails, stops the others and raises its error."""
        for part in self._parts:
            self._begun.append(part)
            try:
                part.start()
            except BaseException:
                _log.error("%s could not be started; what runs is stopped", part.name)
                self.stop()
                raise

    def stop(self) -> None:
        """Stops every started part, the last first, and closes everything. Logs failures and continues."""
        self._stopping.set()
        while self._begun:
            part = self._begun.pop()
            _attempt(part.name, part.stop, failed="could not be stopped")
        self._closers.close()


def _attempt(name: str, step: Callable[[], object], *, failed: str) -> None:
    try:
        step()
    except Exception:  # noqa: BLE001  (the steps after it must have their turn)
        _log.exception("%s %s", name, failed)
