"""Keeps a stream to another service open: opens it again after it broke, with a growing pause in between."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import grpc

from services.kernel.errors import SpendgateError

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0
_JOIN_S = 5.0

_log = logging.getLogger("spendgate.quota")


class Stream(Protocol):
    """A call of gRPC whose answers are read one by one."""

    def __iter__(self) -> Iterator[Any]:
        """The answers, until the peer ends the stream.

        Raises:
            grpc.RpcError: the stream broke.
        """
        ...

    def cancel(self) -> bool:
        """Ends the stream from our side, from any thread."""
        ...


class StreamLoop:
    """Runs one stream in a thread of its own.

    `open_stream` opens it, `take` gets each answer; a `SpendgateError` or `ValueError` from `take` breaks the stream.
    """

    def __init__(self, name: str, open_stream: Callable[[], Stream], take: Callable[[Any], None]) -> None:
        self._name = name
        self._open_stream = open_stream
        self._take = take
        self._stopping = False
        self._no_pause = threading.Event()
        self._swapping = threading.Lock()
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the stream and the thread."""
        self._stopping = True
        self.reopen()
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)

    def reopen(self) -> None:
        """Ends the stream at hand, or the pause after it, so that another is opened at once."""
        with self._swapping:
            self._no_pause.set()
            if self._stream is not None:
                self._stream.cancel()

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        told = False
        while not self._stopping:
            try:
                for answer in self._opened():
                    self._take(answer)
                    pause_s, told = _FIRST_PAUSE_S, False
            except (grpc.RpcError, SpendgateError, ValueError) as error:
                # Once for each outage: a peer that is down for an hour is not worth a line a second.
                if not told and not self._no_pause.is_set():
                    _log.warning("%s broke, trying again: %s", self._name, _text(error))
                    told = True
            self._no_pause.wait(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _opened(self) -> Stream:
        with self._swapping:
            self._no_pause.clear()
            self._stream = self._open_stream()
            return self._stream


def _text(error: Exception) -> str:
    if isinstance(error, grpc.RpcError) and isinstance(error, grpc.Call):
        return f"{error.code()}: {error.details()}"
    return str(error)
