"""Recurring work of a process, each kind in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import grpc

from services.kernel.errors import SpendgateError, Unavailable

_STOP_WAIT_MS = 30_000
_STREAM_RETRY_MS = (100, 2_000)
_STREAM_STOP_WAIT_MS = 5_000

_log = logging.getLogger("spendgate.loops")


def _nothing() -> None:
    """The interrupt of a round that never needs one."""


class Stopping(NamedTuple):
    """How a loop ends while a round runs."""

    interrupt: Callable[[], None] = _nothing
    """Aborts, from another thread, a round that waits for something outside."""
    wait_ms: int = _STOP_WAIT_MS
    """How long `Loop.stop` waits for the current round."""


_PATIENTLY = Stopping()


class Loop:
    """Calls `do` at an interval, and at once when woken, until it is stopped.

    A failed round is logged and retried after a growing pause. The log reports once that rounds fail, once for each new
    reason, and once that they work again.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[], int | None],
        *,
        every_ms: int,
        at_once: bool = False,
        retry_ms: tuple[int, int] | None = None,
        stopping: Stopping = _PATIENTLY,
    ) -> None:
        """Creates the loop without starting it.

        Args:
            name: Name of the loop in the log, and of its thread.
            do: Runs one round. Returns the milliseconds to pause after it, or None for `every_ms`.
            every_ms: The pause between two rounds.
            at_once: Whether the first round comes without a pause before it.
            retry_ms: The first and the longest pause after failures; each failure doubles it. None: `every_ms`.
            stopping: How it ends while a round runs.
        """
        self.name = name
        self._do = do
        self._every_ms = every_ms
        self._at_once = at_once
        self._first_retry_ms, self._longest_retry_ms = retry_ms or (every_ms, every_ms)
        self._interrupt, self._stop_wait_ms = stopping
        self._changed = threading.Condition()
        self._stopping = self._woken = self._hurried = False
        self._reason = ""
        """Why the last round failed. Empty while rounds succeed."""
        self._retry_ms = self._first_retry_ms
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)  # noqa: TID251  (the one that all loops share)

    @property
    def is_stopping(self) -> bool:
        """Whether a long round should end early."""
        return self._stopping

    def start(self) -> None:
        """Starts the thread; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the loop after its current round."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._interrupt()
        if self._thread.is_alive():
            self._thread.join(self._stop_wait_ms / 1_000)
            if self._thread.is_alive():
                _log.warning("%s is still in the middle of a round and is left behind", self.name)

    def wake(self) -> None:
        """Ends the current pause, or skips the next one. A pause after a failure stays."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def hurry(self) -> None:
        """Like `wake`, and also ends a pause after a failure."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    def note_success(self) -> None:
        """Reports success within a long round, so that the next failure counts as the first."""
        if self._reason:
            _log.info("%s: works again", self.name)
        self._reason = ""
        self._retry_ms = self._first_retry_ms

    def run_round(self) -> int:
        """Runs one round on the loop's thread. Returns the pause after it, in milliseconds."""
        try:
            pause_ms = self._do()
        except SpendgateError as error:
            return self._failed(str(error), error=None)
        except Exception as error:  # noqa: BLE001  (whatever it was, the next round may succeed)
            return self._failed(repr(error), error=error)
        self.note_success()
        return self._every_ms if pause_ms is None else pause_ms

    def _run(self) -> None:
        pause_ms = 0 if self._at_once else self._every_ms
        while self._wait(pause_ms):
            pause_ms = self.run_round()

    def _wait(self, pause_ms: int) -> bool:
        """Waits. Returns whether there is another round."""
        with self._changed:
            self._changed.wait_for(self._is_awaited, pause_ms / 1_000)
            self._woken = self._hurried = False
            return not self._stopping

    def _is_awaited(self) -> bool:
        return self._stopping or self._hurried or (self._woken and not self._reason)

    def _failed(self, reason: str, *, error: Exception | None) -> int:
        pause_ms, self._retry_ms = self._retry_ms, min(2 * self._retry_ms, self._longest_retry_ms)
        if reason != self._reason:
            # Only an unforeseen error needs its traceback.
            _log.warning("%s: failed, and is tried again until it works: %s", self.name, reason, exc_info=error)
        self._reason = reason
        return pause_ms


class Stream(Protocol):
    """A gRPC call whose answers are read one by one."""

    def __iter__(self) -> Iterator[Any]:
        """Yields the answers until the peer ends the stream.

        Raises:
            grpc.RpcError: the stream broke.
        """
        ...

    def cancel(self) -> bool:
        """Ends the stream from our side. Callable from any thread."""
        ...


class StreamLoop:
    """Keeps a stream to another service open: each round of its loop reads one stream to its end.

    `open_stream` opens it, `take` gets each answer. A `SpendgateError` or `ValueError` from `take` breaks the stream.
    """

    def __init__(self, name: str, open_stream: Callable[[], Stream], take: Callable[[Any], None]) -> None:
        self.name = name
        self._open_stream = open_stream
        self._take = take
        self._swapping = threading.Lock()
        self._stream: Stream | None = None
        self._ended_by_us = False
        self._loop = Loop(
            name,
            self._read_one,
            every_ms=_STREAM_RETRY_MS[0],
            at_once=True,
            retry_ms=_STREAM_RETRY_MS,
            stopping=Stopping(self._end, _STREAM_STOP_WAIT_MS),
        )

    def start(self) -> None:
        """Starts the thread; returns at once."""
        self._loop.start()

    def stop(self) -> None:
        """Ends the stream and the thread."""
        self._loop.stop()

    def reopen(self) -> None:
        """Ends the current stream, or the pause after it, so that the next one opens at once."""
        self._end()
        self._loop.hurry()

    def _read_one(self) -> None:
        has_answered = False
        try:
            for answer in self._opened():
                self._take(answer)
                has_answered = True
                self._loop.note_success()
        except (grpc.RpcError, SpendgateError, ValueError) as error:
            if not self._ended_by_us:
                raise Unavailable(_text(error)) from error
        else:
            if not has_answered and not self._ended_by_us:
                raise Unavailable("the stream ended without an answer")

    def _opened(self) -> Stream:
        with self._swapping:
            self._ended_by_us = self._loop.is_stopping
            self._stream = self._open_stream()
            if self._ended_by_us:
                self._stream.cancel()
            return self._stream

    def _end(self) -> None:
        with self._swapping:
            self._ended_by_us = True
            if self._stream is not None:
                self._stream.cancel()


def _text(error: Exception) -> str:
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        return f"{error.code()}: {error.details()}"
    return str(error)
