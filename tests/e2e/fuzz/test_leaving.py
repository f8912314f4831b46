"""Clients stop reading and leave, 200 times: Envoy lives, its memory comes back, and each call ends settled."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from services.kernel.dialect import Dialect
from tests.e2e.fuzz.cases import Case, Direction, Part, Reply
from tests.e2e.fuzz.examples import ANSWERS, STREAMS
from tests.e2e.fuzz.plane import FuzzPlane, run_fuzz_plane, trace_of

pytestmark = pytest.mark.e2e

_CLIENTS = 200
_AT_ONCE = 10
_STOPPED_S = 0.05
"""How long a client does not read before it leaves. Meanwhile its provider fills all buffers."""
_LONG_BYTES = 3_000_000
_KEPT_BYTES_MAX = 8_000_000
"""Envoy may keep this much more than after the first clients. Each of them was owed more than a third of it."""
_READS = (0, 1, 2_000, 100_000)
"""Bytes that a client reads before it stops."""
_WORD = b"hm"


@dataclass(frozen=True, slots=True)
class LongCase(Case):
    """A call with a good answer that is too long for all buffers between its provider and its client."""

    @property
    def model(self) -> str:
        """With and without another target in turn: its head is held."""
        models = self.direction.models
        return models[self.number % len(models)]

    def reply(self, credential: str) -> Reply:
        """One text of the answer is very long, or stands in very many events."""
        assert credential
        provider = self.direction.provider
        if self.part is Part.ANSWER:
            body = json.dumps(ANSWERS[provider], ensure_ascii=False).encode().replace(_WORD, b"x" * _LONG_BYTES)
            pieces = [body]
        else:
            events = STREAMS[provider]
            (at, *_) = (number for number, event in enumerate(events) if _WORD in event)
            long = events[at].replace(_WORD, b"x" * 10_000)
            pieces = [*events[:at], *[long] * (_LONG_BYTES // 10_000), *events[at + 1 :]]
        kind = b"text/event-stream" if self.streams else b"application/json"
        head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\ntransfer-encoding: chunked\r\n\r\n"
        chunks = tuple(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        return Reply(head, (*chunks, b"0\r\n\r\n"), cut=False)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzPlane]:
    with run_fuzz_plane(tmp_path_factory.mktemp("leaving")) as running:
        yield running


async def read_and_leave(plane: FuzzPlane, case: Case, most: int) -> bool:
    """Reads at least `most` bytes, then nothing, and leaves. Returns whether it got a good answer's head."""
    plane.cases[trace_of(case)] = case
    address = urlsplit(plane.gateway.url)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, (str(address.hostname), address.port))
    received = b""
    with contextlib.closing(connection):
        await loop.sock_sendall(connection, plane.message(case))
        while len(received) < most:
            piece = await asyncio.wait_for(loop.sock_recv(connection, 65_536), 15)
            assert piece, f"{case}: the answer ends after {received[-300:]!r}"
            received += piece
        await asyncio.sleep(_STOPPED_S)
        # A reset, so that the other side learns of it at once.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return most < 100 or received.startswith(b"HTTP/1.1 200 ")


async def leave_many(plane: FuzzPlane, numbers: range) -> list[bool]:
    room = asyncio.Semaphore(_AT_ONCE)
    directions = [direction for direction in Direction if direction.client is not Dialect.GEMINI]

    async def one(number: int) -> bool:
        rest, at = divmod(number, len(directions))
        part = (Part.STREAM, Part.ANSWER)[rest % 2]
        async with room:
            return await read_and_leave(plane, LongCase(directions[at], part, number), _READS[rest // 2 % len(_READS)])

    return await asyncio.gather(*map(one, numbers))


def allocated(plane: FuzzPlane) -> int:
    """The bytes that Envoy has in use."""
    return int(json.loads(plane.gateway.ask_envoy("/memory"))["allocated"])


def test_two_hundred_clients_stop_reading_and_leave(plane: FuzzPlane) -> None:
    envoy = plane.gateway.pids()["envoy"]
    assert all(asyncio.run(leave_many(plane, range(40))))
    plane.gateway.settle()
    before = allocated(plane)
    assert all(asyncio.run(leave_many(plane, range(40, _CLIENTS))))
    plane.gateway.settle()
    assert int(plane.gateway.usage()["total"]["calls"]) >= plane.reached() > _CLIENTS * 3 // 4
    deadline = time.monotonic() + 15
    while (kept := allocated(plane) - before) > _KEPT_BYTES_MAX:
        assert time.monotonic() < deadline, f"{kept} bytes are still in use"
        time.sleep(0.1)
    assert plane.gateway.pids()["envoy"] == envoy, "Envoy died"
    assert plane.problems == []
