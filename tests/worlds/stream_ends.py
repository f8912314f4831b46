"""Streams of providers that end in every way that was seen or can be thought of, in each dialect."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

CONTENT = "once upon a time"
_ANTHROPIC_START: dict[str, Any] = {
    "id": "m", "type": "message", "role": "assistant", "model": "x", "content": [], "stop_reason": None,
    "stop_sequence": None, "usage": {"input_tokens": 11, "output_tokens": 1},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """One stream."""

    dialect: str
    name: str
    body: bytes
    is_whole: bool
    """The client has all that it asked for, and may be told so."""
    error: str = ""
    """What the line says, if it is not whole."""
    choices: int = 1

    def __str__(self) -> str:
        return f"{self.dialect}: {self.name}"


def event(document: dict[str, Any] | str, name: str = "", end: str = "\n") -> str:
    """One event, with a line end of this kind."""
    data = document if isinstance(document, str) else json.dumps(document)
    return (f"event: {name}{end}" if name else "") + f"data: {data}{end}{end}"


def openai(text: str, finish: str | None = None, index: int = 0, **more: Any) -> str:
    """A chunk of a chat."""
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "model": "x", "choices": [choice], **more})


def anthropic(kind: str, **more: Any) -> str:
    """An event of a message."""
    return event({"type": kind, **more}, kind)


def gemini(text: str, finish: str | None = None, index: int = 0, **more: Any) -> str:
    """A chunk of an answer."""
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "index": index}
    return event({"candidates": [candidate | ({"finishReason": finish} if finish else {})], **more})


DONE = event("[DONE]")
USAGE = event({"id": "c", "choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 9, "total_tokens": 20}})
_OPENAI = openai("") + openai(CONTENT) + openai(" and") + openai(" more")
_ANTHROPIC = (
    anthropic("message_start", message=_ANTHROPIC_START)
    + anthropic("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + anthropic("ping")
    + anthropic("content_block_delta", index=0, delta={"type": "text_delta", "text": CONTENT})
    + anthropic("content_block_delta", index=0, delta={"type": "text_delta", "text": " and more"})
    + anthropic("content_block_stop", index=0)
)
_STOPPED = anthropic(
    "message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 9}
)
_STOP = anthropic("message_stop")
_GEMINI = gemini(CONTENT) + gemini(" and") + gemini(" more")
_OPENAI_ERROR = {"error": {"message": "The engine is lost.", "type": "server_error", "code": None}}
_ANTHROPIC_ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
_GEMINI_ERROR = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
# Longer than what is held.
_LONG = "y" * 20_000

WHOLE = {
    "openai": {
        "all there is": _OPENAI + openai("", "stop") + USAGE + DONE,
        "no DONE": _OPENAI + openai("", "stop") + USAGE,
        "no DONE and no usage": _OPENAI + openai("", "stop"),
        "its reason beside its last content": _OPENAI + openai(" here.", "length"),
        "its reason beside usage and content": _OPENAI + openai(" here.", "stop", usage={"completion_tokens": 9}),
        "DONE and no reason": _OPENAI + DONE,
        "DONE without its empty line": _OPENAI + openai("", "stop") + "data: [DONE]",
        "comments": ": hello\n\n" + _OPENAI + ": ping\n\n" + openai("", "stop") + ": bye\n\n" + DONE,
        "an error that is null": _OPENAI + openai(" here.", "stop", error=None),
        "talk of an error": openai('so "error": {"a": 1} and \'finish_reason": "stop"\'') + openai("", "stop") + DONE,
    },
    "anthropic": {
        "all there is": _ANTHROPIC + _STOPPED + _STOP,
        "comments": ": hello\n\n" + _ANTHROPIC + ": ping\n\n" + _STOPPED + _STOP,
    },
    "gemini": {
        "all there is": _GEMINI + gemini(" here.", "STOP", usageMetadata={"promptTokenCount": 11}),
        "no usage": _GEMINI + gemini(" here.", "MAX_TOKENS"),
        "its reason in an event of its own": _GEMINI + event({"candidates": [{"finishReason": "STOP", "index": 0}]}),
        "a prompt that was refused": event({"promptFeedback": {"blockReason": "SAFETY"}}),
        "its last usage after its reason": _GEMINI + gemini("", "STOP") + event({"usageMetadata": {}}),
    },
}  # fmt: skip
EARLY = "ended_early"
BROKEN: dict[str, dict[str, tuple[str, str]]] = {
    "openai": {
        "nothing": ("", EARLY),
        "nothing but a comment": (": hello\n\n", EARLY),
        "no end": (_OPENAI, EARLY),
        "its end within an event": (_OPENAI + openai("", "stop")[:40], EARLY),
        "its end within a long event": (_OPENAI + openai(_LONG)[:-100], EARLY),
        "usage so far and no end": (_OPENAI + openai(" and", usage={"prompt_tokens": 9}), EARLY),
        "an empty reason": (_OPENAI + openai("", ""), EARLY),
        "an error": (_OPENAI + event(_OPENAI_ERROR), "server_error"),
        "an error and DONE": (_OPENAI + event(_OPENAI_ERROR) + DONE, "server_error"),
        "an error and then more": (_OPENAI + event(_OPENAI_ERROR) + openai("!", "stop") + DONE, "server_error"),
        "an error with a name": (_OPENAI + event(_OPENAI_ERROR, "error") + DONE, "server_error"),
        "an error that is no JSON": (_OPENAI + event("Internal Server Error", "error") + DONE, "unnamed"),
        "an error that is a text": (_OPENAI + event({"error": "model crashed"}) + DONE, "unnamed"),
        "an error with a number": (_OPENAI + event({"error": {"code": 502, "message": "x"}}) + DONE, "unnamed"),
        "an error within a chunk": (
            _OPENAI + openai("", "error", error={"code": 502, "message": "Provider disconnected"}) + DONE, "unnamed",
        ),
        "a long error": (_OPENAI + event({"error": {"message": _LONG, "code": "x"}}) + DONE, "x"),
        "nothing but an error": (event(_OPENAI_ERROR), "server_error"),
    },
    "anthropic": {
        "nothing": ("", EARLY),
        "no end": (_ANTHROPIC, EARLY),
        "no message_stop": (_ANTHROPIC + _STOPPED, EARLY),
        "its end within message_stop": (_ANTHROPIC + _STOPPED + _STOP[:30], EARLY),
        "an error": (_ANTHROPIC + event(_ANTHROPIC_ERROR, "error"), "overloaded_error"),
        "an error and then message_stop": (_ANTHROPIC + event(_ANTHROPIC_ERROR, "error") + _STOP, "overloaded_error"),
        "an error without a name": (_ANTHROPIC + event(_ANTHROPIC_ERROR) + _STOPPED + _STOP, "overloaded_error"),
        "an error of the other dialect": (_ANTHROPIC + event(_OPENAI_ERROR) + _STOP, "server_error"),
        "an error that is no JSON": (_ANTHROPIC + event("Internal Server Error", "error") + _STOP, "unnamed"),
    },
    "gemini": {
        "nothing": ("", EARLY),
        "no end": (_GEMINI, EARLY),
        "its end within an event": (_GEMINI + gemini(" here.", "STOP")[:-9], EARLY),
        "usage so far and no end": (_GEMINI + gemini(" and", usageMetadata={"promptTokenCount": 11}), EARLY),
        "an error": (_GEMINI + event(_GEMINI_ERROR), "UNAVAILABLE"),
        "an error and then more": (_GEMINI + event(_GEMINI_ERROR) + gemini("!", "STOP"), "UNAVAILABLE"),
        "an error within a chunk": (_GEMINI + gemini("", None, error={"message": "x"}), "unnamed"),
    },
}  # fmt: skip
SEVERAL = (
    StreamEnd(
        "openai", "one of two answers ended", (_OPENAI + openai("", "stop", 1)).encode(),
        is_whole=False, error=EARLY, choices=2,
    ),
    StreamEnd(
        "openai", "both answers ended", (_OPENAI + openai("", "stop", 1) + openai(".", "stop")).encode(),
        is_whole=True, choices=2,
    ),
    StreamEnd(
        "gemini", "one of two answers ended", (_GEMINI + gemini("", "STOP", 1)).encode(),
        is_whole=False, error=EARLY, choices=2,
    ),
)  # fmt: skip
STREAM_ENDS = (
    *(StreamEnd(dialect, name, body.encode(), True) for dialect, each in WHOLE.items() for name, body in each.items()),
    *(
        StreamEnd(dialect, name, body.encode(), False, error)
        for dialect, each in BROKEN.items()
        for name, (body, error) in each.items()
    ),
    *SEVERAL,
)
