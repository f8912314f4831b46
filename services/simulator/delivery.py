"""How an answer travels: at its pace, and with the faults on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.simulator.faults import Fault, FaultKind
from services.simulator.wire import Event

_SERVER = "spendgate-simulator"
# Long enough for a reader to see two separate pieces.
_SPLIT_GAP_S = 0.002


class ConnectionCut(Exception):  # noqa: N818  (no error: the server breaks the connection when it sees it)
    """Breaks the connection in the middle of an answer."""


class Document(Response):
    """A whole JSON value."""

    media_type = "application/json"

    def __init__(
        self,
        document: Any,
        wait_s: float = 0.0,
        fault: Fault | None = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(orjson.dumps(document), status, {"server": _SERVER, **(headers or {})})
        self._wait_s = wait_s
        self._cut = fault is not None and fault.kind is FaultKind.CUT

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        if not self._cut:
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = bytes(self.body)
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        raise ConnectionCut


class Pace(NamedTuple):
    """The speed of a stream."""

    wait_s: float
    """Until its head is sent."""
    event_gap_s: float


async def _hang_up(receive: Receive) -> None:
    """Returns when the client has hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass


class Stream(Response):
    """Sends events one after the other.

    `bill` is called once with the number of output tokens made: all, or those until the client hung up if it `stops`.
    """

    def __init__(
        self,
        events: Iterator[Event],
        media_type: str,
        pace: Pace,
        fault: Fault | None,
        *,
        bill: Callable[[int], None],
        stops: bool,
    ) -> None:
        super().__init__(None, 200, {"server": _SERVER, "cache-control": "no-cache"}, media_type)
        del self.headers["content-length"]
        self._events = events
        self._pace = pace
        self._fault = fault
        self._bill = bill
        self._stops = stops

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  (the ASGI interface)
        """Sends them."""
        gone = asyncio.ensure_future(_hang_up(receive))
        made = 0
        try:
            await self._pause(self._pace.wait_s, gone)
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for index, event in enumerate(self._events):
                await self._interfere(index, gone)
                if self._stops and gone.done():
                    return
                made = event.made
                for piece in self._pieces(event.data):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                    # Lets this piece leave before the next is written, as a real provider's would.
                    await self._pause(max(self._pace.event_gap_s, _SPLIT_GAP_S if piece is not event.data else 0), gone)
            if self._fault is not None and self._fault.kind is FaultKind.LATE_END:
                await self._pause(self._fault.delay_ms / 1000, gone)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._bill(made)

    async def _interfere(self, index: int, gone: asyncio.Future[None]) -> None:
        if self._fault is None or index != self._fault.after_events:
            return
        if self._fault.kind is FaultKind.STALL:
            await self._pause(self._fault.delay_ms / 1000, gone)
        if self._fault.kind is FaultKind.CUT:
            raise ConnectionCut

    async def _pause(self, seconds: float, gone: asyncio.Future[None]) -> None:
        """Ends early when the client hangs up, because then nobody is left to wait."""
        if seconds and not gone.done():
            await asyncio.wait([gone], timeout=seconds)
        else:
            await asyncio.sleep(0)

    def _pieces(self, event: bytes) -> tuple[bytes, ...]:
        if self._fault is None or self._fault.kind is not FaultKind.SPLIT:
            return (event,)
        middle = len(event) // 2
        return event[:middle], event[middle:]
