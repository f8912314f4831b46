"""Providers that answer as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.worlds.http_server import HttpServer, Received


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
    raw: bytes = b""
    """Sent as it is in place of everything else, before the connection ends well."""
    interim: bytes = b""
    """Sent as it is before the head: an answer with a status of 100 to 199."""


def sse(*events: str) -> Answer:
    """A stream of events, each one write."""
    return Answer(headers={"content-type": "text/event-stream"}, chunks=tuple(event.encode() for event in events))


@dataclass(eq=False)
class Provider(HttpServer):
    """A server that answers as it is told."""

    received: list[Received] = field(default_factory=list)
    answer: Callable[[Received], Answer] = lambda _: Answer()
    written: int = 0
    """The total bytes of chunks that the kernel took."""
    hang_up: bool = False
    """Closes the connection instead of answering."""

    async def respond(self, request: Received, writer: asyncio.StreamWriter) -> bool:
        """Keeps the request, and answers it."""
        self.received.append(request)
        if self.hang_up:
            return False
        answer = self.answer(request)
        await asyncio.sleep(answer.delay_s)
        if answer.raw:
            writer.write(answer.raw)
            await writer.drain()
            return False
        await self._write(writer, answer)
        return not answer.cut

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
