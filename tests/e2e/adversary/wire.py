"""A client that sends exactly the bytes it is given, and leaves when it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_S = 60.0
_POLL_S = 0.01
# Small enough that a slow reader really holds up the provider.
_SLOW_READ_BYTES, _SLOW_READ_S = 2_048, 0.02


class Leaving(Enum):
    """When the client hangs up."""

    NEVER = "never"
    BEFORE_BODY_ENDS = "before the body ends"
    AT_ONCE = "as soon as the request is sent"
    ONCE_ASKED = "as soon as a provider has the request"
    AFTER_HEAD = "after the head of the answer"
    AFTER_FIRST_EVENT = "after the first event"
    AFTER_HALF = "after some of the events"
    SLOWLY = "never, but it reads slowly"


@dataclass(frozen=True, slots=True)
class Request:
    """The bytes of a request."""

    path: str
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    """In this order, with repeated names."""
    method: str = "POST"
    version: str = "HTTP/1.1"
    is_asked: Callable[[], bool] = lambda: False
    """With `Leaving.ONCE_ASKED`: whether a provider has it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer, as received."""

    status: int
    """0: none, or the client did not wait for it."""
    body: bytes = b""


async def send(url: str, secret: str, request: Request, leaving: Leaving = Leaving.NEVER) -> Answer:
    """Sends one request over a connection of its own."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            message = _message(address.netloc, secret, request)
            writer.write(message[:-1] if leaving is Leaving.BEFORE_BODY_ENDS else message)
            await writer.drain()
            return await _read(reader, leaving, request.is_asked)
    except (ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        return Answer(0)
    finally:
        _hang_up(writer)


def _message(host: str, secret: str, request: Request) -> bytes:
    names = {name.lower() for name, _ in request.headers}
    headers = [("host", host), ("authorization", f"Bearer {secret}"), ("connection", "close")]
    headers += [("content-type", "application/json")] if "content-type" not in names else []
    if "transfer-encoding" not in names and "content-length" not in names:
        headers.append(("content-length", str(len(request.body))))
    lines = [f"{request.method} {request.path} {request.version}"]
    lines += [f"{name}: {value}" for name, value in (*headers, *request.headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body


async def wait_for_either(ending: Coroutine[Any, Any, Any], is_asked: Callable[[], bool]) -> None:
    """Returns when the answer ends, or when a provider has been asked for it."""
    answer = asyncio.ensure_future(ending)
    while not is_asked():
        done, _ = await asyncio.wait({answer}, timeout=_POLL_S)
        if done:
            break
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, leaving: Leaving, is_asked: Callable[[], bool]) -> Answer:
    if leaving in {Leaving.AT_ONCE, Leaving.BEFORE_BODY_ENDS, Leaving.ONCE_ASKED}:
        if leaving is Leaving.ONCE_ASKED:
            await wait_for_either(reader.read(1), is_asked)
        return Answer(0)
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    if leaving is Leaving.AFTER_HEAD:
        return Answer(status)
    if leaving is Leaving.AFTER_FIRST_EVENT and status == 200:
        return Answer(status, await reader.read(1))
    if leaving is Leaving.AFTER_HALF and status == 200:
        return Answer(status, await _events(reader, 8))
    if leaving is Leaving.SLOWLY:
        return Answer(status, await _sip(reader))
    return Answer(status, await reader.read())


async def _events(reader: asyncio.StreamReader, events: int) -> bytes:
    read = b""
    while read.count(b"data: ") < events and (piece := await reader.read(4_096)):
        read += piece
    return read


async def _sip(reader: asyncio.StreamReader) -> bytes:
    read = b""
    while piece := await reader.read(_SLOW_READ_BYTES):
        read += piece
        await asyncio.sleep(_SLOW_READ_S)
    return read


def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Resets the connection, so that the other side learns of it at once."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
