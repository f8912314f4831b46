"""The answers of the billing providers, in each dialect: whole ones and streams, with what they say about usage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.e2e.adversary.bills import Bill

_WORD = "word "
_MOST_WORDS = 2_000


def document(dialect: str, bill: Bill, *, usage: bool) -> dict[str, Any]:
    """A whole answer."""
    text = _WORD * min(bill.output_tokens, _MOST_WORDS)
    answer: dict[str, Any]
    if dialect == "openai":
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        answer = {"id": "c-1", "object": "chat.completion", "created": 1, "model": "gpt-4o", "choices": [choice]}
        return answer | _openai_rest(bill, usage=usage)
    if dialect == "anthropic":
        answer = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4"}
        answer |= {"content": [{"type": "text", "text": text}], "stop_reason": "end_turn", "stop_sequence": None}
        return answer | ({"usage": _anthropic_usage(bill)} if usage else {})
    candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
    return {"candidates": [candidate], "modelVersion": "gemini-2.5-pro"} | (
        {"usageMetadata": _gemini_usage(bill)} if usage else {}
    )


def events(dialect: str, bill: Bill, pieces: int, *, usage: bool) -> Iterator[bytes]:
    """A stream, in that many pieces of text and an end. What it says of usage is right at its end."""
    if dialect == "openai":
        return _openai_events(bill, pieces, usage=usage)
    return (
        _anthropic_events(bill, pieces, usage=usage)
        if dialect == "anthropic"
        else _gemini_events(bill, pieces, usage=usage)
    )


def _openai_rest(bill: Bill, *, usage: bool) -> dict[str, Any]:
    rest: dict[str, Any] = {"service_tier": bill.asked.tier} if bill.asked.tier else {}
    return rest | ({"usage": _openai_usage(bill)} if usage else {})


def _openai_usage(bill: Bill) -> dict[str, Any]:
    asked = bill.asked
    return {
        "prompt_tokens": asked.input,
        "completion_tokens": bill.output_tokens,
        "total_tokens": asked.input + bill.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": min(asked.audio, asked.input)},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": bill.output_tokens if asked.speaks else 0,
        },
    }


def _anthropic_usage(bill: Bill) -> dict[str, Any]:
    asked = bill.asked
    written = asked.input if asked.writes_cache else 0
    usage: dict[str, Any] = {
        "input_tokens": asked.input - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": 0,
        "output_tokens": bill.output_tokens,
    }
    if written:
        hour = written if asked.writes_cache_1h else 0
        usage["cache_creation"] = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
    if asked.tier:
        usage["service_tier"] = asked.tier
    if asked.searches:
        usage["server_tool_use"] = {"web_search_requests": asked.searches}
    return usage


def _gemini_usage(bill: Bill) -> dict[str, Any]:
    asked = bill.asked
    spoken = min(asked.audio, asked.input)
    details = [{"modality": "TEXT", "tokenCount": asked.input - spoken}]
    if spoken:
        details.append({"modality": "AUDIO", "tokenCount": spoken})
    return {
        "promptTokenCount": asked.input,
        "candidatesTokenCount": bill.output_tokens,
        "totalTokenCount": asked.input + bill.output_tokens,
        "promptTokensDetails": details,
    }


def _pieces(bill: Bill, pieces: int) -> list[str]:
    each = max(1, min(bill.asked.all_output, _MOST_WORDS) // pieces)
    return [_WORD * each] * pieces


def _openai_events(bill: Bill, pieces: int, *, usage: bool) -> Iterator[bytes]:
    frame = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o"}
    for text in _pieces(bill, pieces):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        yield _data({**frame, "choices": [choice]})
    yield _data({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        yield _data({**frame, "choices": [], **_openai_rest(bill, usage=True)})
    yield b"data: [DONE]\n\n"


def _anthropic_events(bill: Bill, pieces: int, *, usage: bool) -> Iterator[bytes]:
    started = _anthropic_usage(bill) | {"output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4", "content": []}
    yield _named("message_start", {"message": message | ({"usage": started} if usage else {})})
    yield _named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
    for text in _pieces(bill, pieces):
        yield _named("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": text}})
    yield _named("content_block_stop", {"index": 0})
    end: dict[str, Any] = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    yield _named("message_delta", end | ({"usage": {"output_tokens": bill.output_tokens}} if usage else {}))
    yield _named("message_stop", {})


def _gemini_events(bill: Bill, pieces: int, *, usage: bool) -> Iterator[bytes]:
    for number, text in enumerate(_pieces(bill, pieces), 1):
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
        if number == pieces:
            candidate["finishReason"] = "STOP"
        piece: dict[str, Any] = {"candidates": [candidate], "modelVersion": "gemini-2.5-pro"}
        yield _data(piece | ({"usageMetadata": _gemini_usage(bill)} if usage else {}))


def _data(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def _named(kind: str, document: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **document})}\n\n".encode()
