"""The cheapest provider that still answers as one: constant bytes, one process, no protocol library.

Answers `POST` with a chat completion, or with a stream of 100 chunks when the body asks for a stream; the stream ends
with a usage chunk when the body asks for that. Run as a process of its own; prints its port.
"""

from __future__ import annotations

import contextlib
import gc
import json
import select
import socket
from typing import Any

CHUNKS = 100
RECEIVE_BYTES = 262_144
_COMMON = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench-model"}
_USAGE = {"prompt_tokens": 500, "completion_tokens": 100, "total_tokens": 600}


def whole_answer() -> bytes:
    """A chat completion of 100 tokens."""
    message = {"role": "assistant", "content": "word " * CHUNKS}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    body = json.dumps({**_COMMON, "object": "chat.completion", "choices": choices, "usage": _USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def streamed_answer(*, with_usage: bool) -> bytes:
    """The same as server-sent events, one HTTP chunk for each."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    deltas = [{"index": 0, "delta": {"content": "word "}, "finish_reason": None} for _ in range(CHUNKS - 1)]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [_event(choices=[delta]) for delta in [*deltas, last]]
    if with_usage:
        events.append(_event(choices=[], usage=_USAGE))
    events.append(b"data: [DONE]\n\n")
    return head + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


def _event(**fields: Any) -> bytes:
    return b"data: " + json.dumps({**_COMMON, "object": "chat.completion.chunk", **fields}).encode() + b"\n\n"


class Peer:
    """One connection of a client."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.unsent = b""
        self.waits = False
        self._received = bytearray()

    def requests(self) -> list[bytes]:
        """Reads what is there; the bodies of the requests that are complete.

        Raises:
            ConnectionError: the client closed.
        """
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError
        self._received += data
        bodies = []
        while (body := self._take()) is not None:
            bodies.append(body)
        return bodies

    def _take(self) -> bytes | None:
        end_of_head = self._received.find(b"\r\n\r\n")
        if end_of_head < 0:
            return None
        start = end_of_head + 4
        head = bytes(self._received[:end_of_head]).lower()
        if b"transfer-encoding: chunked" in head:
            return self._take_chunked(start)
        mark = head.find(b"content-length:")
        length = int(head[mark + 15 :].split(b"\r\n", 1)[0]) if mark >= 0 else 0
        if len(self._received) < start + length:
            return None
        body = bytes(self._received[start : start + length])
        del self._received[: start + length]
        return body

    def _take_chunked(self, start: int) -> bytes | None:
        # Good enough to look for `"stream": true`: the chunk heads stay in.
        end = self._received.find(b"0\r\n\r\n", start)
        if end < 0 or end + 5 != len(self._received):
            return None
        body = bytes(self._received[start:end])
        self._received.clear()
        return body


def serve(listener: socket.socket) -> None:
    """Answers until the process is ended."""
    whole = whole_answer()
    streamed = {True: streamed_answer(with_usage=True), False: streamed_answer(with_usage=False)}
    epoll = select.epoll()
    epoll.register(listener.fileno(), select.EPOLLIN)
    peers: dict[int, Peer] = {}
    while True:
        for number, event in epoll.poll():
            if number == listener.fileno():
                peer = Peer(listener.accept()[0])
                peers[peer.socket.fileno()] = peer
                epoll.register(peer.socket.fileno(), select.EPOLLIN)
                continue
            peer = peers[number]
            try:
                if not event & ~select.EPOLLOUT:
                    _flush(epoll, peer)
                    continue
                for body in peer.requests():
                    asks_usage = b'"include_usage":true' in body or b'"include_usage": true' in body
                    asks_stream = b'"stream":true' in body or b'"stream": true' in body
                    peer.unsent += streamed[asks_usage] if asks_stream else whole
                _flush(epoll, peer)
            except OSError:
                del peers[number]
                peer.socket.close()


def _flush(epoll: select.epoll, peer: Peer) -> None:
    waited = peer.waits
    with contextlib.suppress(BlockingIOError):
        while peer.unsent:
            peer.unsent = peer.unsent[peer.socket.send(peer.unsent) :]
    peer.waits = bool(peer.unsent)
    if peer.waits != waited:
        epoll.modify(peer.socket.fileno(), select.EPOLLIN | (select.EPOLLOUT if peer.waits else 0))


def main() -> None:
    """Listens on a free port and prints it."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)  # noqa: T201  (whoever started us waits for it)
    gc.disable()
    serve(listener)


if __name__ == "__main__":
    main()
