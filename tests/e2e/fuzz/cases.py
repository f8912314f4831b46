"""Cases of the fuzz: a call, what is damaged in it, and how its provider answers. All follows from a case's name."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from services.kernel.dialect import Dialect
from tests.e2e.fuzz.examples import ANSWERS, FAILURES, INTRUDERS, REQUESTS, STREAMS
from tests.e2e.fuzz.mutations import damaged, damaged_bytes, damaged_events, encoded, split

PATHS = {
    Dialect.OPENAI: "/v1/chat/completions",
    Dialect.ANTHROPIC: "/v1/messages",
    Dialect.GEMINI: "/v1beta/models/{model}:generateContent",
}
_GEMINI_STREAM = "/v1beta/models/{model}:streamGenerateContent?alt=sse"
_TYPES = {False: "application/json", True: "text/event-stream"}
_ODD_TYPES = ("text/html", "application/json", "text/event-stream", "", "TEXT/EVENT-STREAM; a=b", "multipart/mixed")
_ODD_STATUSES = (201, 204, 206, 301, 304, 307, 400, 401, 403, 404, 413, 422, 429, 500, 502, 503, 529, 599, 999)
_GOOD_ONES = 10
"""Each of so many cases is not damaged at all."""


class Direction(StrEnum):
    """The dialect of the client, and the one of its provider."""

    CHAT_TO_MESSAGES = "chat-messages"
    MESSAGES_TO_CHAT = "messages-chat"
    CHAT = "chat"
    MESSAGES = "messages"
    GEMINI = "gemini"

    @property
    def client(self) -> Dialect:
        """The client's dialect."""
        return _DIRECTIONS[self][0]

    @property
    def provider(self) -> Dialect:
        """The provider's."""
        return _DIRECTIONS[self][1]

    @property
    def is_translated(self) -> bool:
        """Whether they differ."""
        return self.client is not self.provider

    @property
    def models(self) -> tuple[str, ...]:
        """The models to ask for: one without and one with another target behind it."""
        name = {Dialect.OPENAI: "gpt", Dialect.ANTHROPIC: "claude", Dialect.GEMINI: "gem"}[self.provider]
        return (name,) if self is Direction.GEMINI else (name, f"{name}-spared")


_DIRECTIONS = {
    Direction.CHAT_TO_MESSAGES: (Dialect.OPENAI, Dialect.ANTHROPIC),
    Direction.MESSAGES_TO_CHAT: (Dialect.ANTHROPIC, Dialect.OPENAI),
    Direction.CHAT: (Dialect.OPENAI, Dialect.OPENAI),
    Direction.MESSAGES: (Dialect.ANTHROPIC, Dialect.ANTHROPIC),
    Direction.GEMINI: (Dialect.GEMINI, Dialect.GEMINI),
}


class Part(StrEnum):
    """What is damaged."""

    REQUEST = "request"
    ANSWER = "answer"
    STREAM = "stream"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a provider writes."""

    head: bytes
    pieces: tuple[bytes, ...]
    """Each a write of its own."""
    cut: bool
    """The connection ends after them."""


@dataclass(frozen=True, slots=True)
class Case:
    """One call."""

    direction: Direction
    part: Part
    number: int

    def __str__(self) -> str:
        return f"{self.direction}/{self.part}/{self.number}"

    @property
    def is_good(self) -> bool:
        """Whether nothing is damaged."""
        return self.number % _GOOD_ONES == 0

    @property
    def model(self) -> str:
        """The model that is asked for."""
        models = self.direction.models
        return models[self.number // _GOOD_ONES % len(models)]

    def random(self, purpose: str) -> Random:
        """Random numbers for one purpose."""
        return Random(f"{self}/{purpose}")

    @property
    def streams(self) -> bool:
        """Whether the client asks for a stream. A damaged request may say something else."""
        return self.part is Part.STREAM or (self.part is Part.REQUEST and self.random("streams").random() < 0.5)

    def request(self) -> tuple[str, bytes]:
        """The path, and the body."""
        random, client = self.random("request"), self.direction.client
        path = (_GEMINI_STREAM if self.streams and client is Dialect.GEMINI else PATHS[client]).format(model=self.model)
        body: dict[str, Any] = dict(random.choice(REQUESTS[client]))
        if client is not Dialect.GEMINI:
            body = {"model": self.model, **body, **({"stream": True} if self.streams else {})}
        if client is Dialect.OPENAI and self.streams and random.random() < 0.5:
            body["stream_options"] = {"include_usage": True}
        if self.part is not Part.REQUEST or self.is_good:
            return path, encoded(body)
        return path, damaged(body, random)

    def reply(self, credential: str) -> Reply:
        """The damaged answer of the first provider. If it is an error it quotes the provider's credential."""
        random = self.random("reply")
        if self.is_good:
            return good_reply(self.direction.provider, self.streams, random)
        status = random.choice(_ODD_STATUSES) if random.random() < 0.15 else 200
        if status >= 400:
            failure = json.loads(json.dumps(FAILURES[random.choice(list(Dialect))]).replace("The ", f"{credential} "))
            failure["error"]["message"] += f" (with {credential})"
            body = damaged(failure, random) if random.random() < 0.7 else encoded(failure)
        elif self.streams:
            events = STREAMS[self.direction.provider]
            body = b"".join(damaged_events(events, INTRUDERS, random))
        else:
            whole = ANSWERS[self.direction.provider]
            body = damaged(whole, random)
        if random.random() < 0.05:
            body = damaged_bytes(body, random)
        kind = _TYPES[self.streams and status < 400]
        return _framed(status, kind, body, credential, random)


def good_reply(dialect: Dialect, streams: bool, random: Random) -> Reply:
    """A whole answer in pieces."""
    body = b"".join(STREAMS[dialect]) if streams else encoded(ANSWERS[dialect])
    return Reply(
        _head(200, {"content-type": _TYPES[streams], "transfer-encoding": "chunked"}), _chunks(body, random), False
    )


def error_reply(dialect: Dialect) -> Reply:
    """What a provider says to a request that it cannot read."""
    body = encoded(FAILURES[dialect])
    return Reply(_head(400, {"content-type": "application/json", "content-length": str(len(body))}), (body,), False)


def _head(status: int, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def _chunks(body: bytes, random: Random) -> tuple[bytes, ...]:
    return (*(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in split(body, random)), b"0\r\n\r\n")


def _framed(status: int, kind: str, body: bytes, credential: str, random: Random) -> Reply:
    """Puts an answer on the wire, at times in an odd way."""
    headers = {"content-type": random.choice(_ODD_TYPES) if random.random() < 0.05 else kind}
    if random.random() < 0.04:
        headers["content-encoding"] = random.choice(("gzip", "identity", "br"))
        body = gzip.compress(body) if random.random() < 0.5 else body
    if random.random() < 0.1:
        name = random.choice(
            ("set-cookie", "x-api-key", "authorization", "x-spendgate-cost", "x-request-id", "x-debug")
        )
        headers[name] = credential
    if random.random() < 0.02:
        headers["x-long"] = "x" * random.choice((10_000, 70_000))
    oddity = random.random()
    if oddity < 0.75:
        headers["transfer-encoding"] = "chunked"
        pieces = _chunks(body, random)
        # Ends early, between or within the chunks.
        cut = random.random() < 0.1
        if cut:
            pieces = pieces[: random.randrange(len(pieces))]
        elif random.random() < 0.03:
            pieces = (*pieces[:-1], random.choice((b"zz\r\n", b"-1\r\n", b"fffffffff\r\n", b"\r\n")))
            cut = True
        return Reply(_head(status, headers), pieces, cut)
    if oddity < 0.9:
        length = len(body) + (random.choice((-1, 1, 100)) if random.random() < 0.2 else 0)
        headers["content-length"] = str(length)
        return Reply(_head(status, headers), split(body, random), length != len(body))
    # Its end is that of the connection.
    return Reply(_head(status, headers | {"connection": "close"}), split(body, random), True)
