"""What a client of a dialect may be given: documents and streams of its dialect, and nothing beside them.

For translated calls the lists are complete: each member of an answer that is not named here is foreign. Only the values
of a few members are the model's own and so may be anything: texts, and the input of a tool.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from services.kernel.dialect import Dialect


class ForeignError(AssertionError):
    """Something that is not of the client's dialect."""


Check = Callable[[Any, str], None]


def _fail(at: str, value: Any) -> None:
    raise ForeignError(f"{at or 'the document'}: {str(value)[:300]!r}")


def _text(value: Any, at: str) -> None:
    if not isinstance(value, str):
        _fail(at, value)


def _count(value: Any, at: str) -> None:
    if type(value) is not int or value < 0:
        _fail(at, value)


def _object(value: Any, at: str) -> None:
    if not isinstance(value, dict):
        _fail(at, value)


def _one_of(*allowed: Any) -> Check:
    def check(value: Any, at: str) -> None:
        if not any(type(value) is type(each) and value == each for each in allowed):
            _fail(at, value)

    return check


def _list(inside: Check, most: int | None = None) -> Check:
    def check(value: Any, at: str) -> None:
        if not isinstance(value, list) or (most is not None and len(value) > most):
            _fail(at, value)
        for number, each in enumerate(value):
            inside(each, f"{at}[{number}]")

    return check


def _members(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    allowed = {**required, **(optional or {})}

    def check(value: Any, at: str) -> None:
        _object(value, at)
        if not required.keys() <= value.keys() <= allowed.keys():
            _fail(at, value)
        for name, inside in value.items():
            allowed[name](inside, f"{at}.{name}")

    return check


def _by_type(kinds: Mapping[str, Mapping[str, Check]]) -> Check:
    checks = {kind: _members({"type": _one_of(kind), **members}) for kind, members in kinds.items()}

    def check(value: Any, at: str) -> None:
        if not isinstance(value, dict) or value.get("type") not in checks:
            _fail(at, value)
        checks[value["type"]](value, at)

    return check


def _or_none(check: Check) -> Check:
    return lambda value, at: None if value is None else check(value, at)


_THOUGHTS = _list(_by_type({"thinking": {"thinking": _text, "signature": _text}, "redacted_thinking": {"data": _text}}))
_CHAT_USAGE = _members(
    {
        "prompt_tokens": _count, "completion_tokens": _count, "total_tokens": _count,
        "prompt_tokens_details": _members({"cached_tokens": _count, "cache_write_tokens": _count}),
    },
    {"completion_tokens_details": _members({"reasoning_tokens": _count})},
)  # fmt: skip
_FINISH = _one_of("stop", "length", "tool_calls", "content_filter")
_COMPLETION = _members(
    {
        "id": _text, "object": _one_of("chat.completion"), "created": _count, "model": _text, "usage": _CHAT_USAGE,
        "choices": _list(
            _members(
                {
                    "index": _one_of(0), "finish_reason": _FINISH, "logprobs": _one_of(None),
                    "message": _members(
                        {"role": _one_of("assistant"), "content": _or_none(_text), "refusal": _one_of(None)},
                        {
                            "reasoning_content": _text, "thinking_blocks": _THOUGHTS,
                            "tool_calls": _list(
                                _members(
                                    {
                                        "id": _text, "type": _one_of("function"),
                                        "function": _members({"name": _text, "arguments": _text}),
                                    }
                                )
                            ),
                        },
                    ),
                }
            ),
            most=1,
        ),
    }
)  # fmt: skip
_CHUNK = _members(
    {
        "id": _text, "object": _one_of("chat.completion.chunk"), "created": _count, "model": _text,
        "choices": _list(
            _members(
                {
                    "index": _one_of(0), "finish_reason": _or_none(_FINISH),
                    "delta": _members(
                        {},
                        {
                            "role": _one_of("assistant"), "content": _text, "reasoning_content": _text,
                            "thinking_blocks": _THOUGHTS,
                            "tool_calls": _list(
                                _members(
                                    {"index": _count, "function": _members({}, {"name": _text, "arguments": _text})},
                                    {"id": _text, "type": _one_of("function")},
                                )
                            ),
                        },
                    ),
                }
            ),
            most=1,
        ),
    },
    {"usage": _CHAT_USAGE},
)  # fmt: skip
_STOP = _one_of("end_turn", "max_tokens", "tool_use", "refusal")
_MESSAGES_USAGE = _members(
    {
        "input_tokens": _count, "output_tokens": _count, "cache_creation_input_tokens": _count,
        "cache_read_input_tokens": _count,
    }
)  # fmt: skip
_BLOCKS: dict[str, dict[str, Check]] = {
    "text": {"text": _text},
    "thinking": {"thinking": _text, "signature": _text},
    "tool_use": {"id": _text, "name": _text, "input": _object},
}
_MESSAGE_HEAD: dict[str, Check] = {
    "id": _text, "type": _one_of("message"), "role": _one_of("assistant"), "model": _text,
    "stop_sequence": _one_of(None),
}  # fmt: skip
_MESSAGE = _members(
    {**_MESSAGE_HEAD, "content": _list(_by_type(_BLOCKS)), "stop_reason": _STOP, "usage": _MESSAGES_USAGE}
)
_DELTA = _by_type(
    {
        "text_delta": {"text": _text},
        "thinking_delta": {"thinking": _text},
        "input_json_delta": {"partial_json": _text},
    }
)
_EVENT = _by_type(
    {
        "message_start": {
            "message": _members(
                {
                    **_MESSAGE_HEAD, "content": _list(_text, most=0), "stop_reason": _one_of(None),
                    "usage": _members({"input_tokens": _count, "output_tokens": _count}),
                }
            )
        },
        "ping": {},
        "content_block_start": {"index": _count, "content_block": _by_type(_BLOCKS)},
        "content_block_delta": {"index": _count, "delta": _DELTA},
        "content_block_stop": {"index": _count},
        "message_delta": {
            "delta": _members({"stop_reason": _STOP, "stop_sequence": _one_of(None)}), "usage": _MESSAGES_USAGE
        },
        "message_stop": {},
    }
)  # fmt: skip
_ERRORS: dict[Dialect, Check] = {
    Dialect.OPENAI: _members(
        {
            "error": _members(
                {"message": _text, "type": _text, "param": _or_none(_text), "code": _or_none(_text)},
                {"details": _object},
            )
        }
    ),
    Dialect.ANTHROPIC: _members(
        {
            "type": _one_of("error"),
            "error": _members({"type": _text, "message": _text}, {"details": _object}),
            "request_id": _text,
        }
    ),
    Dialect.GEMINI: _members(
        {"error": _members({"code": _count, "message": _text, "status": _text}, {"details": _list(_object)})}
    ),
}
_DOCUMENTS = {Dialect.OPENAI: _COMPLETION, Dialect.ANTHROPIC: _MESSAGE}


def assert_is_document(dialect: Dialect, body: bytes) -> None:
    """Whether a body is a good answer of the dialect."""
    _DOCUMENTS[dialect](_parse(body), "")


def assert_is_error(dialect: Dialect, body: bytes) -> None:
    """Whether a body is an error of the dialect."""
    _ERRORS[dialect](_parse(body), "")


def assert_is_stream(dialect: Dialect, body: bytes, *, is_whole: bool) -> bool:
    """Whether a body is a stream of the dialect. Returns whether it ends well, and not in an error.

    What comes in a stream stands in events, each a line of data behind the name that the dialect gives it, and in
    comments that say nothing. A stream has one end, its last event. If the connection broke it has none.
    """
    *events, rest = body.split(b"\n\n")
    if rest:
        _fail("the last event", rest)
    ends: list[bool] = []
    begun: list[dict[str, Any]] = []
    for event in filter(lambda each: each != b": ping", events):
        if ends:
            _fail("behind the end", event)
        end = _take_chunk(event) if dialect is Dialect.OPENAI else _take_message_event(event, begun)
        ends += [end] if end is not None else []
    if is_whole and not ends:
        _fail("the end", body[-300:])
    return bool(ends) and ends[0]


def _take_chunk(event: bytes) -> bool | None:
    """How the stream ends with this event; None: it goes on."""
    data = _data_of(event)
    if data == b"[DONE]":
        return True
    document = _parse(data)
    if isinstance(document, dict) and "error" in document:
        _ERRORS[Dialect.OPENAI](document, "")
        return False
    _CHUNK(document, "")
    return None


def _take_message_event(event: bytes, begun: list[dict[str, Any]]) -> bool | None:
    """As `_take_chunk`. `begun` has the block that is open."""
    name, _, line = event.partition(b"\n")
    document = _parse(_data_of(line))
    if name == b"event: error":
        _ERRORS[Dialect.ANTHROPIC](document, "")
        return False
    _EVENT(document, "")
    kind = document["type"]
    if name != b"event: " + kind.encode():
        _fail("the name of an event", event)
    if kind == "content_block_start":
        if begun:
            _fail("a block in a block", event)
        begun.append(document)
    elif kind in {"content_block_delta", "content_block_stop"} and (
        not begun or begun[0]["index"] != document["index"]
    ):
        _fail("a part of no block", event)
    elif kind in {"message_delta", "message_stop"} and begun:
        _fail("an end within a block", event)
    if kind == "content_block_stop":
        begun.clear()
    return True if kind == "message_stop" else None


def _data_of(line: bytes) -> bytes:
    if not line.startswith(b"data: ") or b"\n" in line or b"\r" in line:
        _fail("an event", line)
    return line[len(b"data: ") :]


def _parse(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=lambda word: _fail("a number", word))
    except (ValueError, RecursionError) as error:
        raise ForeignError(f"no JSON ({error}): {text[:300]!r}") from error
