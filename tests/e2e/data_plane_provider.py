"""Providers that answer as a test tells them: HTTP/1.1 on plain asyncio, so that each write is one on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """A request as a provider saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider sends."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    chunks: tuple[bytes | float, ...] = ()
    """Sent one by one in place of `body`; a number is a pause in seconds."""
    delay_s: float = 0
    """Before the head."""
    cut: bool = False
    """The connection breaks after the chunks instead of ending well."""
    interim: bytes = b""
    """Sent as it is before the head: an answer with a status of 100 to 199."""


def sse(*events: str) -> Answer:
    """A stream of events, each one write."""
    return Answer(headers={"content-type": "text/event-stream"}, chunks=tuple(event.encode() for event in events))


class Provider:
    """An HTTP/1.1 server that answers as it is told."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.answer: Callable[[Received], Answer] = lambda _: Answer()
        self.written = 0
        """Bytes of chunks that the kernel took, in all."""
        self.hang_up = False
        """Closes the connection instead of answering."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                request = await _read_request(reader)
                self.received.append(request)
                if self.hang_up:
                    break
                answer = self.answer(request)
                await asyncio.sleep(answer.delay_s)
                await self._write(writer, answer)
                if answer.cut:
                    break

    async def _write(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        headers = {"content-type": "application/json"} | dict(answer.headers)
        headers |= {"transfer-encoding": "chunked"} if answer.chunks else {"content-length": str(len(answer.body))}
        writer.write(answer.interim + f"HTTP/1.1 {answer.status} X\r\n".encode())
        writer.write("".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode("latin-1") + b"\r\n")
        if not answer.chunks:
            writer.write(answer.body)
        for chunk in answer.chunks:
            if isinstance(chunk, float):
                await asyncio.sleep(chunk)
                continue
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            await writer.drain()
            self.written += len(chunk)
            # A write of its own on the wire, not glued to the next.
            await asyncio.sleep(0)
        if answer.chunks and not answer.cut:
            writer.write(b"0\r\n\r\n")
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {}
    for line in head[1:]:
        name, _, value = line.partition(": ")
        if name:
            headers[name.lower()] = value
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, path, headers, body)
