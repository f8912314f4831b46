"""Anthropic's `POST /v1/messages`, version 2023-06-01.

Input is reported in three disjoint parts (uncached, written, read), and a stream reports it at its start.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.kernel.usage import Usage
from services.simulator.conversation import AUTO, NEVER, REQUIRED, Conversation, PromptBuilder, Tool, bound, require
from services.simulator.model import Reply
from services.simulator.wire import SIMULATED, Answer, Event, call_pieces, sse, text_of, text_pieces

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_THOUGHT = "The question is answered from what is known."
_SIGNATURE = "c2ltdWxhdGVk"
_TOOL_CHOICES = {"any": REQUIRED, "none": NEVER, "auto": AUTO}


class AnthropicWire:
    """Anthropic's dialect."""

    stream_media_type = "text/event-stream; charset=utf-8"

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request. The provider reads tools first, then the system text, then the messages."""
        model = model or body.get("model") or ""
        messages = body.get("messages")
        require(isinstance(model, str) and model, "model: Field required")
        require(isinstance(messages, list) and messages, "messages: Field required")
        require(body.get("max_tokens"), "max_tokens: Field required")
        assert isinstance(messages, list)  # noqa: S101  (just required; mypy cannot know)
        prompt = PromptBuilder()
        for tool in body.get("tools") or ():
            prompt.add_text(json.dumps({name: value for name, value in tool.items() if name != "cache_control"}))
            prompt.mark(tool.get("cache_control"))
        if body.get("system"):
            _add_content(prompt, body["system"])
            prompt.end_message("system")
        for message in messages:
            _add_content(prompt, message.get("content"))
            prompt.end_message(str(message.get("role")))
        last = messages[-1].get("content")
        return Conversation(
            model=model,
            prompt=tuple(prompt.tokens),
            question=text_of(last),
            max_output_tokens=bound(body, "max_tokens"),
            stream=body.get("stream") is True,
            tools=tuple(Tool(tool["name"], tool.get("input_schema") or {}) for tool in body.get("tools") or ()),
            tool_choice=_tool_choice(body.get("tool_choice")),
            answers_tool=isinstance(last, list) and any(part.get("type") == "tool_result" for part in last),
            schema=_schema(body),
            reasons=(body.get("thinking") or {}).get("type") in {"enabled", "adaptive"},
            caches_by_itself=False,
            breakpoints=tuple(prompt.breakpoints),
        )

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns a `message`."""
        reply = answer.replies[0]
        document = {**_head(answer), "content": _blocks(answer, reply), "stop_reason": _stop_reason(reply)}
        if answer.usage is not None:
            document["usage"] = _usage(answer.usage)
        return document

    def events(self, answer: Answer) -> Iterator[Event]:
        """Yields `message_start` to `message_stop`."""
        reply = answer.replies[0]
        start = {**_head(answer), "content": [], "stop_reason": None}
        if answer.usage is not None:
            start["usage"] = {**_usage(answer.usage), "output_tokens": 1}
        yield _event("message_start", 0, message=start)
        for index, block in enumerate(_blocks(answer, reply)):
            yield from _block_events(index, block, reply)
        end: dict[str, Any] = {"delta": {"stop_reason": _stop_reason(reply), "stop_sequence": None}}
        if answer.usage is not None:
            end["usage"] = {name: value for name, value in _usage(answer.usage).items() if name != "service_tier"}
        yield _event("message_delta", reply.output_tokens, **end)
        yield _event("message_stop", reply.output_tokens)

    def failure(self, status: int, message: str) -> dict[str, Any]:
        """Returns Anthropic's error envelope."""
        kind = _ERROR_TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": f"req_{SIMULATED}"}


def _add_content(prompt: PromptBuilder, content: object) -> None:
    if isinstance(content, str):
        prompt.add_text(content)
        return
    for part in content if isinstance(content, list) else ():
        kind = part.get("type")
        if kind == "image":
            prompt.add_image()
        elif kind == "tool_use":
            prompt.add_text(json.dumps([part.get("name"), part.get("input")]))
        elif kind == "tool_result":
            prompt.add_text(text_of(part.get("content")))
        else:
            prompt.add_text(text_of([part]))
        prompt.mark(part.get("cache_control"))


def _tool_choice(choice: object) -> str:
    if not isinstance(choice, Mapping):
        return AUTO
    return str(choice.get("name")) if choice.get("type") == "tool" else _TOOL_CHOICES.get(str(choice.get("type")), AUTO)


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    schema = form.get("schema") if form.get("type") == "json_schema" else None
    return schema if isinstance(schema, Mapping) else None


def _head(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.number:08d}",
        "type": "message",
        "role": "assistant",
        "model": answer.conversation.model,
        "stop_sequence": None,
        "system_fingerprint": SIMULATED,
    }


def _blocks(answer: Answer, reply: Reply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if reply.reasoning_tokens:
        blocks.append({"type": "thinking", "thinking": _THOUGHT, "signature": _SIGNATURE})
    if reply.tokens:
        blocks.append({"type": "text", "text": reply.text})
    if reply.tool_call is not None:
        arguments = json.loads(reply.tool_call.arguments)
        name = reply.tool_call.name
        blocks.append({"type": "tool_use", "id": f"toolu_{answer.number:08d}", "name": name, "input": arguments})
    return blocks


def _block_events(index: int, block: Mapping[str, Any], reply: Reply) -> Iterator[Event]:
    empty: dict[str, dict[str, Any]] = {
        "thinking": {"thinking": "", "signature": ""},
        "text": {"text": ""},
        "tool_use": {"input": {}},
    }
    thought = reply.reasoning_tokens
    made = 0 if block["type"] == "thinking" else thought
    yield _event("content_block_start", made, index=index, content_block={**block, **empty[block["type"]]})
    if index == 0:
        yield _event("ping", made)
    deltas: list[tuple[dict[str, Any], int]]
    if block["type"] == "thinking":
        deltas = [
            ({"type": "thinking_delta", "thinking": block["thinking"]}, thought),
            ({"type": "signature_delta", "signature": block["signature"]}, thought),
        ]
    elif block["type"] == "text":
        deltas = [({"type": "text_delta", "text": text}, made) for text, made in text_pieces(reply)]
    else:
        pieces = [("", thought), *call_pieces(reply, json.dumps(block["input"]))]
        deltas = [({"type": "input_json_delta", "partial_json": part}, made) for part, made in pieces]
    for delta, made in deltas:
        yield _event("content_block_delta", made, index=index, delta=delta)
    yield _event("content_block_stop", made, index=index)


def _event(kind: str, made: int, **fields: Any) -> Event:
    return Event(sse({"type": kind, **fields}, event=kind), made)


def _stop_reason(reply: Reply) -> str:
    if reply.cut:
        return "max_tokens"
    return "tool_use" if reply.tool_call else "end_turn"


def _usage(usage: Usage) -> dict[str, Any]:
    written_5m, written_1h = usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
    return {
        "input_tokens": usage.input_tokens - usage.cached_input_tokens - written_5m - written_1h,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": written_5m,
            "ephemeral_1h_input_tokens": written_1h,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
        "service_tier": "standard",
    }
