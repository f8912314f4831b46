"""Good requests, answers and streams of each dialect: what the damages start from."""

from __future__ import annotations

import json
from typing import Any

from services.kernel.dialect import Dialect
from tests.e2e.fuzz.mutations import CANARY

_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
_SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
_USED = {
    "input_tokens": 9, "output_tokens": 7, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 2,
    "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1},
}  # fmt: skip
_CHAT_USED = {
    "prompt_tokens": 14, "completion_tokens": 7, "total_tokens": 21, "prompt_tokens_details": {"cached_tokens": 3},
}  # fmt: skip

_CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{_PIXEL}", "detail": "low"}},
                ],
            },
            {
                "role": "assistant", "content": None,
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"place":"x"}'}},
                    {"id": "call_2", "type": "function", "function": {"name": "find", "arguments": "{}"}},
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "12 °C"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "rain"}]},
        ],
        "tools": [{"type": "function", "function": {"name": "find", "description": "Finds.", "parameters": _SCHEMA}}],
        "tool_choice": {"type": "function", "function": {"name": "find"}},
        "parallel_tool_calls": False, "max_completion_tokens": 60, "temperature": 0.5, "stop": ["end", "stop"],
        "seed": 5, "user": "somebody",
    },
    {
        "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4000, "reasoning_effort": "low", "top_p": 0.9,
        "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": _SCHEMA, "strict": True}},
    },
]  # fmt: skip
_MESSAGES: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 50},
    {
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PIXEL}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {"place": "x"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result", "tool_use_id": "toolu_1", "is_error": True,
                        "content": [{"type": "text", "text": "12 °C"}],
                    },
                ],
            },
        ],
        "tools": [{"name": "find", "description": "Finds.", "input_schema": _SCHEMA}],
        "tool_choice": {"type": "tool", "name": "find", "disable_parallel_tool_use": True},
        "max_tokens": 60, "temperature": 0.5, "stop_sequences": ["end"], "metadata": {"user_id": "somebody"},
    },
    {
        "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5000,
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"format": {"type": "json_schema", "schema": _SCHEMA}},
    },
]  # fmt: skip
_GEMINIS: list[dict[str, Any]] = [
    {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 50}},
    {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [{"text": "What?"}, {"inlineData": {"mimeType": "image/png", "data": _PIXEL}}],
            },
            {"role": "model", "parts": [{"functionCall": {"name": "find", "args": {"place": "x"}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "find", "response": {"found": "12 °C"}}}]},
        ],
        "tools": [{"functionDeclarations": [{"name": "find", "parameters": _SCHEMA}]}],
        "generationConfig": {"maxOutputTokens": 60, "temperature": 0.5, "stopSequences": ["end"], "topK": 3},
    },
]  # fmt: skip
REQUESTS = {Dialect.OPENAI: _CHATS, Dialect.ANTHROPIC: _MESSAGES, Dialect.GEMINI: _GEMINIS}

_COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt",
    "choices": [
        {
            "index": 0, "finish_reason": "tool_calls", "logprobs": None,
            "message": {
                "role": "assistant", "content": 'It is "cold" \u00e9.', "refusal": None, "reasoning_content": "hm",
                "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"place":"x"}'}},
                ],
            },
        },
    ],
    "usage": _CHAT_USED,
}  # fmt: skip
_MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "tool_use",
    "stop_sequence": None,
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "text", "text": 'It is "cold" \u00e9.'},
        {"type": "tool_use", "id": "toolu_1", "name": "find", "input": {"place": "x"}},
    ],
    "usage": _USED,
}  # fmt: skip
_GENERATED = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "cold"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 14, "candidatesTokenCount": 7, "totalTokenCount": 21},
    "modelVersion": "g", "responseId": "r",
}  # fmt: skip
ANSWERS: dict[Dialect, dict[str, Any]] = {
    Dialect.OPENAI: _COMPLETION,
    Dialect.ANTHROPIC: _MESSAGE,
    Dialect.GEMINI: _GENERATED,
}


def _event(document: Any, name: str = "") -> bytes:
    data = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
    return (f"event: {name}\n" if name else "").encode() + f"data: {data}\n\n".encode()


def _chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt"}
    return _event({**head, "choices": [choice], **more})


def _named(kind: str, **members: Any) -> bytes:
    return _event({"type": kind, **members}, kind)


def _call(**members: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, **members}]}


STREAMS: dict[Dialect, list[bytes]] = {
    Dialect.OPENAI: [
        _chunk({"role": "assistant", "content": ""}),
        _chunk({"reasoning_content": "hm"}),
        _chunk({"content": "It is "}),
        _chunk({"content": '"cold" é.'}),
        _chunk(_call(id="call_1", type="function", function={"name": "find", "arguments": ""})),
        _chunk(_call(function={"arguments": '{"place":'})),
        _chunk(_call(function={"arguments": '"x"}'})),
        _chunk({}, "tool_calls"),
        _event(
            {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt", "choices": [],
             "usage": _CHAT_USED}
        ),
        _event("[DONE]"),
    ],
    Dialect.ANTHROPIC: [
        _named("message_start", message={**_MESSAGE, "content": [], "stop_reason": None}),
        _named("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}),
        _named("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "hm"}),
        _named("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "c2ln"}),
        _named("content_block_stop", index=0),
        _named("ping"),
        _named("content_block_start", index=1, content_block={"type": "text", "text": ""}),
        _named("content_block_delta", index=1, delta={"type": "text_delta", "text": 'It is "cold" é.'}),
        _named("content_block_stop", index=1),
        _named("content_block_start", index=2,
               content_block={"type": "tool_use", "id": "toolu_1", "name": "find", "input": {}}),
        _named("content_block_delta", index=2, delta={"type": "input_json_delta", "partial_json": '{"place":"x"}'}),
        _named("content_block_stop", index=2),
        _named("message_delta", delta={"stop_reason": "tool_use", "stop_sequence": None}, usage={"output_tokens": 7}),
        _named("message_stop"),
    ],
    Dialect.GEMINI: [
        _event({**_GENERATED, "candidates": [{"content": {"parts": [{"text": "co"}], "role": "model"}, "index": 0}]}),
        _event(_GENERATED),
    ],
}  # fmt: skip
"""Each event with the empty line that ends it."""
FAILURES: dict[Dialect, dict[str, Any]] = {
    Dialect.OPENAI: {"error": {"message": "The engine is lost.", "type": "server_error", "param": None, "code": None}},
    Dialect.ANTHROPIC: {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    Dialect.GEMINI: {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}},
}
INTRUDERS: list[bytes] = [
    b": comment\n\n", b"\n\n\n", b"retry: 10\n\n", b"id: 7\n\n", b"event: nothing\n\n", b"data\n\n", b"data:\n\n",
    _event(CANARY), _event(CANARY, CANARY), _event({"type": CANARY}, CANARY), _event({CANARY: CANARY}),
    _event([CANARY]),
    f"{CANARY}\n\n".encode(), f"{CANARY}: {CANARY}\n\n".encode(), f": {CANARY}\n\n".encode(), b"data: [DONE]\n\n",
    *(_event(failure) for failure in FAILURES.values()),
    *(_event(failure, "error") for failure in FAILURES.values()),
    *(event for stream in STREAMS.values() for event in stream),
]  # fmt: skip
