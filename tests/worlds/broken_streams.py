"""Streams that break midway, in each dialect: the figures before the break, and the right result after it.

Each provider reports figures from its first event on: Anthropic the input; Gemini, and a server of OpenAI's dialect
that counts along, all usage so far.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

LONG_BYTES = 20_000
"""Of an event that the meter does not hold."""
HUGE_BYTES = 1_200_000
EARLY = "ended_early"
_TEXT = "once upon a time "


@dataclass(frozen=True, slots=True)
class BrokenStream:
    """One stream, and the right content of its line."""

    dialect: str
    name: str
    body: bytes
    state: str
    tokens: tuple[int, int]
    """Input and output."""
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.dialect}: {self.name}"


def _event(document: dict[str, Any], end: str = "\n\n") -> bytes:
    return (f"data: {json.dumps(document)}" + end).encode()


def _openai(text: str, tokens: int, finish: str | None = None) -> dict[str, Any]:
    usage = {"prompt_tokens": 11, "completion_tokens": tokens, "total_tokens": 11 + tokens}
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}], "usage": usage}


def _anthropic(text: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}


def _gemini(text: str, tokens: int, finish: str | None = None) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    usage = {"promptTokenCount": 11, "candidatesTokenCount": tokens, "totalTokenCount": 11 + tokens}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], "usageMetadata": usage}


@dataclass(frozen=True, slots=True)
class _Dialect:
    name: str
    head: bytes
    told: tuple[int, int]
    """By the head."""
    content: dict[str, Any]
    """An event that is neither the first nor the last."""
    failure: dict[str, Any]
    error: str
    tail: bytes
    """Tells 11 tokens of input and 9 of output."""


_DIALECTS = (
    _Dialect(
        "openai", _event(_openai("Well, ", 2)), (11, 2), _openai(_TEXT, 6),
        {"error": {"message": "The engine is lost.", "type": "server_error", "code": None}}, "server_error",
        _event(_openai("the end.", 9, "stop")) + b"data: [DONE]\n\n",
    ),
    _Dialect(
        "anthropic",
        _event({"type": "message_start", "message": {"usage": {"input_tokens": 11, "output_tokens": 2}}}), (11, 2),
        _anthropic(_TEXT),
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded_error",
        _event(_anthropic("the end."))
        + _event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}})
        + _event({"type": "message_stop"}),
    ),
    _Dialect(
        "gemini", _event(_gemini("Well, ", 2)), (11, 2), _gemini(_TEXT, 6),
        {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}, "UNAVAILABLE",
        _event(_gemini("the end.", 9, "STOP")),
    ),
)  # fmt: skip


def _long(dialect: _Dialect, size: int, end: str) -> bytes:
    """An event of content of this length, over several lines."""
    lines = json.dumps(dialect.content, indent=1).replace(_TEXT, _TEXT + "y" * size).split("\n")
    return "".join(f"data: {line}{end}" for line in lines).encode() + end.encode()


def _streams(dialect: _Dialect) -> list[BrokenStream]:
    whole = _event(dialect.content)
    ending = {
        "an error": (_event(dialect.failure), dialect.error),
        "an error with the name of its event": (b"event: error\n" + _event(dialect.failure), dialect.error),
        "half an event": (_event(_anthropic("x"))[:40], EARLY),
        "half an event of its own": (whole[: len(whole) // 2], EARLY),
        "half of a long event": (_long(dialect, LONG_BYTES, "\n")[:-2_000], EARLY),
    }
    between = {
        "an event that is no JSON": b"data: {oops, 'usage': 7\n\n",
        "an event that has brackets too many": b'data: {"choices":[]]]}}}\n\ndata: ]\n\n',
        "an event that has brackets too few": b'data: {"a":[[[{"b":"c\n\n',
        "an event that is no UTF-8": b'data: {"text":"\xff\xfe\xc3("}\n\n',
        "content that is no UTF-8": whole.replace(b"once", b"\xf0\x9f\xed\xa0\x80"),
        "a long event with carriage returns": _long(dialect, LONG_BYTES, "\r\n"),
        "an event of more than a megabyte": _long(dialect, HUGE_BYTES, "\n"),
    }
    streams = [
        BrokenStream(dialect.name, f"ends in {what}", dialect.head + body, "open", dialect.told, error)
        for what, (body, error) in ending.items()
    ]
    return streams + [
        BrokenStream(dialect.name, f"has {what} amid", dialect.head + body + dialect.tail, "whole", (11, 9))
        for what, body in between.items()
    ]


BROKEN_STREAMS = tuple(stream for dialect in _DIALECTS for stream in _streams(dialect))
