"""Just enough HTTP/2, with prior knowledge, to open a stream and to reset it: RFC 9113 and RFC 7541."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from urllib.parse import urlsplit

from tests.e2e.adversary.wire import Leaving, Request, wait_for_either

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS = 0, 1, 3, 4
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_FRAME_BYTES_MAX = 16_384
_CANCEL = struct.pack(">I", 8)
_TIMEOUT_S = 20.0


async def send_http2(url: str, secret: str, request: Request, leaving: Leaving) -> None:
    """Sends one request and resets its stream when it is time to leave."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    with contextlib.closing(writer), contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
        async with asyncio.timeout(_TIMEOUT_S):
            head = {
                ":method": "POST",
                ":scheme": "http",
                ":path": request.path,
                ":authority": address.netloc,
                "authorization": f"Bearer {secret}",
                "content-type": "application/json",
            }
            writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
            writer.write(_frame(_HEADERS, _END_HEADERS, 1, b"".join(map(_field, head.items()))))
            for at in range(0, len(request.body), _FRAME_BYTES_MAX):
                last = at + _FRAME_BYTES_MAX >= len(request.body)
                writer.write(_frame(_DATA, _END_STREAM if last else 0, 1, request.body[at : at + _FRAME_BYTES_MAX]))
            await writer.drain()
            if leaving is Leaving.ONCE_ASKED:
                await wait_for_either(_wait(reader, writer, leaving), request.is_asked)
            else:
                await _wait(reader, writer, leaving)
            writer.write(_frame(_RESET, 0, 1, _CANCEL))
            await writer.drain()


async def _wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, leaving: Leaving) -> None:
    """Returns when the client leaves, or the stream is over."""
    until = _HEADERS if leaving is Leaving.AFTER_HEAD else _DATA
    while True:
        head = await reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
        await reader.readexactly(size)
        if kind == _SETTINGS and not flags & _ACK:
            writer.write(_frame(_SETTINGS, _ACK, 0, b""))
        if kind in {until, _RESET} or (kind in {_HEADERS, _DATA} and flags & _END_STREAM):
            return


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _field(field: tuple[str, str]) -> bytes:
    """A header that enters no table, its strings as they are."""
    return b"\0" + b"".join(_length(len(text)) + text.encode() for text in field)


def _length(length: int) -> bytes:
    if length < 127:
        return bytes([length])
    rest, coded = length - 127, bytearray([127])
    while rest >= 128:
        coded.append(rest % 128 + 128)
        rest //= 128
    return bytes([*coded, rest])
