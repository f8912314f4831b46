"""The cheapest provider that still answers as one: constant bytes, one process, no protocol library.

Answers `POST` in the dialect of its path, or with a stream of 100 chunks when the request asks for a stream; OpenAI's
ends with a usage chunk when the body asks for that. The long model streams 200 chunks. The slow model takes `SLOW_S`,
the others no time. Run as a process of its own; prints its port.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import json
import select
import socket
import time
from typing import Any

CHUNKS = 100
LONG_CHUNKS = 200
LONG_MODEL = "bench-long"
SLOW_MODEL = "bench-slow"
SLOW_S = 0.073
RECEIVE_BYTES = 262_144
PATH_BYTES_MAX = 512
_COMMON = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench-model"}
_USAGE = {"prompt_tokens": 500, "completion_tokens": 100, "total_tokens": 600}
_TEXT = "word "
_MESSAGE = {"id": "msg_bench", "type": "message", "role": "assistant", "model": "bench-model"}
_READ = {"input_tokens": 400, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0}


def openai_answer() -> bytes:
    """A chat completion of 100 tokens."""
    message = {"role": "assistant", "content": _TEXT * CHUNKS}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]
    return _whole({**_COMMON, "object": "chat.completion", "choices": choices, "usage": _USAGE})


def openai_stream(*, with_usage: bool, chunks: int = CHUNKS) -> bytes:
    """The same as server-sent events."""
    common = {**_COMMON, "object": "chat.completion.chunk"}
    deltas = [{"index": 0, "delta": {"content": _TEXT}, "finish_reason": None} for _ in range(chunks - 1)]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    events = [_event({**common, "choices": [delta]}) for delta in [*deltas, last]]
    if with_usage:
        events.append(_event({**common, "choices": [], "usage": _USAGE}))
    return _streamed([*events, b"data: [DONE]\n\n"])


def anthropic_answer() -> bytes:
    """A message of 100 tokens."""
    content = [{"type": "text", "text": _TEXT * CHUNKS}]
    return _whole({**_MESSAGE, "content": content, "stop_reason": "end_turn", "usage": {**_READ, "output_tokens": 100}})


def anthropic_stream(chunks: int = CHUNKS) -> bytes:
    """The same as server-sent events, which come with their type on a line of its own."""
    delta = {"type": "text_delta", "text": _TEXT}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**_MESSAGE, "content": [], "usage": {**_READ, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for _ in range(chunks - 5)),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 100}},
        {"type": "message_stop"},
    ]
    return _streamed([f"event: {event['type']}\n".encode() + _event(event) for event in events])


def gemini_answer() -> bytes:
    """An answer of 100 tokens."""
    return _whole(_gemini(_TEXT * CHUNKS, CHUNKS))


def gemini_stream() -> bytes:
    """The same as server-sent events, each with the usage so far. Gemini ends its lines with carriage returns."""
    events = [_event(_gemini(_TEXT, tokens)) for tokens in range(1, CHUNKS + 1)]
    return _streamed([event.replace(b"\n", b"\r\n") for event in events])


def _gemini(text: str, tokens: int) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 500,
            "candidatesTokenCount": tokens,
            "totalTokenCount": 500 + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 500}],
        },
        "modelVersion": "bench-model",
        "responseId": "bench",
    }


def _whole(document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _streamed(events: list[bytes]) -> bytes:
    """One HTTP chunk for each event."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n"


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _says(name: bytes, body: bytes) -> bool:
    """Whether a member is true."""
    return name + b":true" in body or name + b": true" in body


class Answers:
    """All answers, made once."""

    def __init__(self) -> None:
        self._openai = openai_answer()
        self._openai_streams = {asked: openai_stream(with_usage=asked) for asked in (False, True)}
        self._long = (openai_stream(with_usage=True, chunks=LONG_CHUNKS), anthropic_stream(LONG_CHUNKS))
        self._anthropic = (anthropic_answer(), anthropic_stream())
        self._gemini = (gemini_answer(), gemini_stream())

    def to(self, path: bytes, body: bytes) -> bytes:
        """The answer to a request."""
        if b":generateContent" in path or b":streamGenerateContent" in path:
            return self._gemini[b":stream" in path]
        streams = _says(b'"stream"', body)
        if streams and b'"%b"' % LONG_MODEL.encode() in body:
            return self._long[path.endswith(b"/messages")]
        if path.endswith(b"/messages"):
            return self._anthropic[streams]
        return self._openai_streams[_says(b'"include_usage"', body)] if streams else self._openai


class Peer:
    """One connection of a client."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = connection
        self.unsent = b""
        self.waits = False
        self._received = bytearray()

    def requests(self) -> list[tuple[bytes, bytes]]:
        """Reads what is there; the paths and bodies of the requests that are complete.

        Raises:
            ConnectionError: the client closed.
        """
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError
        self._received += data
        requests: list[tuple[bytes, bytes]] = []
        while True:
            path = bytes(self._received[:PATH_BYTES_MAX]).partition(b"HTTP/1.1")[0].strip()
            body = self._take()
            if body is None:
                return requests
            requests.append((path, body))

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


class Provider:
    """Answers on a listener until the process is ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._answers = Answers()
        self._slow = f'"{SLOW_MODEL}"'.encode()
        self._epoll = select.epoll()
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        self._peers: dict[int, Peer] = {}
        self._later: list[tuple[float, int, Peer, bytes]] = []
        """Answers by the moment that they are due."""

    def run(self) -> None:
        """Never returns."""
        while True:
            timeout_s = max(0.0, self._later[0][0] - time.perf_counter()) if self._later else None
            # epoll rounds its timeout up to whole milliseconds; select on the epoll itself does not.
            select.select([self._epoll.fileno()], [], [], timeout_s)
            for number, event in self._epoll.poll(0):
                if number == self._listener.fileno():
                    self._accept()
                else:
                    self._serve(self._peers[number], event)
            while self._later and self._later[0][0] <= time.perf_counter():
                _, number, peer, answer = heapq.heappop(self._later)
                peer.unsent += answer
                # It may have left meanwhile.
                if self._peers.get(number) is peer:
                    self._serve(peer, select.EPOLLOUT)

    def _accept(self) -> None:
        peer = Peer(self._listener.accept()[0])
        self._peers[peer.socket.fileno()] = peer
        self._epoll.register(peer.socket.fileno(), select.EPOLLIN)

    def _serve(self, peer: Peer, event: int) -> None:
        number = peer.socket.fileno()
        try:
            for path, body in peer.requests() if event & ~select.EPOLLOUT else ():
                answer = self._answers.to(path, body)
                if self._slow in body:
                    heapq.heappush(self._later, (time.perf_counter() + SLOW_S, number, peer, answer))
                else:
                    peer.unsent += answer
            _flush(self._epoll, peer)
        except OSError:
            del self._peers[number]
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
    Provider(listener).run()


if __name__ == "__main__":
    main()
