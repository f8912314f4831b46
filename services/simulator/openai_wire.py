"""OpenAI's `POST /v1/chat/completions`, which other vendors' compatible endpoints speak as well."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from services.kernel.usage import Usage
from services.simulator.conversation import (
    AUTO,
    Conversation,
    PromptBuilder,
    Tool,
    bound,
    require,
)
from services.simulator.model import Reply
from services.simulator.wire import SIMULATED, Answer, Event, call_pieces, sse, text_of, text_pieces

_REASONING_MODELS = ("o1", "o3", "o4", "gpt-5", "gemini-2.5", "gemini-3")
_ERROR_TYPES = {400: "invalid_request_error", 401: "invalid_request_error", 404: "invalid_request_error"}
_ERROR_CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}


class OpenAiWire:
    """OpenAI's dialect.

    Args:
        caches: whether long prompts are cached unasked. Anthropic's compatible endpoint does not.
        lists_errors: whether an error comes inside a list, as from Gemini's compatible endpoint.
    """

    stream_media_type = "text/event-stream; charset=utf-8"

    def __init__(self, *, caches: bool = True, lists_errors: bool = False) -> None:
        self._caches = caches
        self._lists_errors = lists_errors

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        model = model or body.get("model") or ""
        messages = body.get("messages")
        require(isinstance(model, str) and model, "you must provide a model parameter")
        require(isinstance(messages, list) and messages, "Missing required parameter: 'messages'.")
        assert isinstance(messages, list)  # noqa: S101  (just required; mypy cannot know)
        tools = tuple(_tool(each) for each in body.get("tools") or ())
        prompt = PromptBuilder()
        for tool in body.get("tools") or ():
            prompt.add_text(json.dumps(tool))
        for message in messages:
            _add_message(prompt, message)
        return Conversation(
            model=model,
            prompt=tuple(prompt.tokens),
            question=text_of(messages[-1].get("content")),
            max_output_tokens=bound(body, "max_completion_tokens", "max_tokens"),
            choices=int(body.get("n") or 1),
            stream=body.get("stream") is True,
            include_usage=(body.get("stream_options") or {}).get("include_usage") is True,
            tools=tools,
            tool_choice=_tool_choice(body.get("tool_choice")),
            answers_tool=messages[-1].get("role") == "tool",
            schema=_schema(body.get("response_format")),
            reasons=model.startswith(_REASONING_MODELS) and body.get("reasoning_effort") not in {"none", "minimal"},
            caches_by_itself=self._caches,
        )

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns a `chat.completion`."""
        choices = [
            {"index": index, "message": _message(answer, reply), "logprobs": None, "finish_reason": _finish(reply)}
            for index, reply in enumerate(answer.replies)
        ]
        document = {**_head(answer, "chat.completion"), "choices": choices}
        if answer.usage is not None:
            document["usage"] = _usage(answer.usage)
        return document

    def events(self, answer: Answer) -> Iterator[Event]:
        """Yields `chat.completion.chunk`s. With `include_usage` each says `usage: null` before an extra one."""
        head = _head(answer, "chat.completion.chunk")
        wants_usage = answer.conversation.include_usage
        if wants_usage:
            head["usage"] = None
        made = 0
        for index, reply in enumerate(answer.replies):
            for delta, finish, made_of_reply in _deltas(answer, reply):
                choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
                yield Event(sse({**head, "choices": [choice]}), made + made_of_reply)
            made += reply.output_tokens
        if wants_usage and answer.usage is not None:
            yield Event(sse({**head, "choices": [], "usage": _usage(answer.usage)}), made)
        yield Event(b"data: [DONE]\n\n", made)

    def failure(self, status: int, message: str) -> Any:
        """Returns OpenAI's error envelope."""
        kind = _ERROR_TYPES.get(status, "requests" if status == 429 else "server_error")
        error = {"error": {"message": message, "type": kind, "param": None, "code": _ERROR_CODES.get(status)}}
        return [error] if self._lists_errors else error


def _add_message(prompt: PromptBuilder, message: Mapping[str, Any]) -> None:
    content = message.get("content")
    prompt.add_text(text_of(content))
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "image_url":
            prompt.add_image()
    for call in message.get("tool_calls") or ():
        prompt.add_text(json.dumps(call.get("function")))
    prompt.end_message(str(message.get("role")))


def _tool(document: Mapping[str, Any]) -> Tool:
    function = document.get("function") or {}
    require(function.get("name"), "Missing required parameter: 'tools[0].function.name'.")
    return Tool(function["name"], function.get("parameters") or {})


def _tool_choice(choice: object) -> str:
    if isinstance(choice, Mapping):
        return str((choice.get("function") or {}).get("name", AUTO))
    return choice if isinstance(choice, str) else AUTO


def _schema(response_format: object) -> Mapping[str, Any] | None:
    if not isinstance(response_format, Mapping):
        return None
    if response_format.get("type") == "json_schema":
        schema = (response_format.get("json_schema") or {}).get("schema")
        return schema if isinstance(schema, Mapping) else {}
    return {} if response_format.get("type") == "json_object" else None


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.number:08d}",
        "object": kind,
        "created": answer.created_s,
        "model": answer.conversation.model,
        "service_tier": "default",
        "system_fingerprint": SIMULATED,
    }


def _message(answer: Answer, reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if reply.tool_call is not None:
        message["content"] = None
        message["tool_calls"] = [_call(answer, reply.tool_call.name, reply.tool_call.arguments)]
    return message


def _call(answer: Answer, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{answer.number:08d}", "type": "function", "function": function}


def _deltas(answer: Answer, reply: Reply) -> Iterator[tuple[dict[str, Any], str | None, int]]:
    thought = reply.reasoning_tokens
    yield {"role": "assistant", "content": None if reply.tool_call else "", "refusal": None}, None, thought
    if reply.tool_call is not None:
        name, arguments = reply.tool_call.name, reply.tool_call.arguments
        yield {"tool_calls": [{"index": 0, **_call(answer, name, "")}]}, None, thought
        for part, made in call_pieces(reply, arguments):
            yield {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, None, made
    for text, made in text_pieces(reply):
        yield {"content": text}, None, made
    yield {}, _finish(reply), reply.output_tokens


def _finish(reply: Reply) -> str:
    if reply.cut:
        return "length"
    return "tool_calls" if reply.tool_call else "stop"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }
