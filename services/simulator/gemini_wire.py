"""Gemini's `models/{model}:generateContent` and `:streamGenerateContent`, v1beta and v1.

A stream is a growing JSON array, or server-sent events with `?alt=sse`. Every piece repeats the usage so far. Thoughts
are counted separately from the candidates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from services.kernel.usage import REASONING, Usage
from services.simulator.conversation import AUTO, NEVER, REQUIRED, Conversation, PromptBuilder, Tool, bound, require
from services.simulator.model import Reply
from services.simulator.wire import SIMULATED, Answer, Event, text_of, text_pieces

_REASONING_MODELS = ("gemini-2.5", "gemini-3")
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_TOOL_MODES = {"ANY": REQUIRED, "NONE": NEVER, "AUTO": AUTO}


class GeminiWire:
    """The dialect of one of its three endpoints."""

    def __init__(self, *, stream: bool = False, as_sse: bool = False) -> None:
        self._stream = stream
        self._as_sse = as_sse
        self.stream_media_type = "text/event-stream" if as_sse else "application/json; charset=UTF-8"

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        contents = body.get("contents")
        require(isinstance(contents, list) and contents, "* GenerateContentRequest.contents: contents is not specified")
        assert isinstance(contents, list)  # noqa: S101  (just required; mypy cannot know)
        settings = body.get("generationConfig") or {}
        declarations = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()]
        prompt = PromptBuilder()
        if body.get("systemInstruction"):
            _add_parts(prompt, body["systemInstruction"])
        for declaration in declarations:
            prompt.add_text(json.dumps(declaration))
        for content in contents:
            _add_parts(prompt, content)
        last = contents[-1].get("parts") or []
        return Conversation(
            model=model,
            prompt=tuple(prompt.tokens),
            question=text_of(last),
            max_output_tokens=bound(settings, "maxOutputTokens"),
            choices=int(settings.get("candidateCount") or 1),
            stream=self._stream,
            tools=tuple(_tool(each) for each in declarations),
            tool_choice=_tool_choice(body.get("toolConfig")),
            answers_tool=any("functionResponse" in part for part in last),
            schema=_schema(settings),
            reasons=_reasons(model, settings),
        )

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns a complete `GenerateContentResponse`."""
        candidates = [
            {"content": {"parts": _parts(reply), "role": "model"}, "finishReason": _finish(reply), "index": index}
            for index, reply in enumerate(answer.replies)
        ]
        return {"candidates": candidates, **_tail(answer)}

    def events(self, answer: Answer) -> Iterator[Event]:
        """Yields `GenerateContentResponse`s, each with a piece of the text."""
        pieces = list(_pieces(answer))
        for at, (piece, made) in enumerate(pieces):
            if self._as_sse:
                # Google frames its events with CRLF.
                yield Event(f"data: {json.dumps(piece, ensure_ascii=False)}\r\n\r\n".encode(), made)
            else:
                lead = "[" if at == 0 else ",\r\n"
                end = "\n]" if at == len(pieces) - 1 else "\n"
                yield Event(f"{lead}{json.dumps(piece, ensure_ascii=False, indent=2)}{end}".encode(), made)

    def failure(self, status: int, message: str) -> dict[str, Any]:
        """Returns Google's error envelope."""
        return {"error": {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN")}}


def _add_parts(prompt: PromptBuilder, content: Mapping[str, Any]) -> None:
    for part in content.get("parts") or ():
        if "inlineData" in part or "fileData" in part:
            prompt.add_image()
        elif "text" in part:
            prompt.add_text(part["text"])
        else:
            prompt.add_text(json.dumps(part))
    prompt.end_message(str(content.get("role")))


def _tool(declaration: Mapping[str, Any]) -> Tool:
    return Tool(declaration["name"], declaration.get("parametersJsonSchema") or declaration.get("parameters") or {})


def _tool_choice(tool_config: object) -> str:
    calling = tool_config.get("functionCallingConfig") or {} if isinstance(tool_config, Mapping) else {}
    names = calling.get("allowedFunctionNames")
    return str(names[0]) if names else _TOOL_MODES.get(str(calling.get("mode")), AUTO)


def _schema(settings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    schema = settings.get("responseJsonSchema") or settings.get("responseSchema")
    if isinstance(schema, Mapping):
        return schema
    return {} if settings.get("responseMimeType") == "application/json" else None


def _reasons(model: str, settings: Mapping[str, Any]) -> bool:
    budget = (settings.get("thinkingConfig") or {}).get("thinkingBudget")
    return model.startswith(_REASONING_MODELS) and budget != 0


def _parts(reply: Reply) -> list[dict[str, Any]]:
    if reply.tool_call is not None:
        return [{"functionCall": {"name": reply.tool_call.name, "args": json.loads(reply.tool_call.arguments)}}]
    return [{"text": reply.text}]


def _pieces(answer: Answer) -> Iterator[tuple[dict[str, Any], int]]:
    before = 0
    for index, reply in enumerate(answer.replies):
        whole = (_parts(reply)[0], reply.output_tokens)
        parts: list[tuple[dict[str, Any], int]] = [({"text": text}, made) for text, made in text_pieces(reply)]
        parts = parts if parts and reply.tool_call is None else [whole]
        for at, (part, made) in enumerate(parts):
            candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": index}
            is_last = at == len(parts) - 1
            if is_last:
                candidate["finishReason"] = _finish(reply)
            so_far = None if is_last and index == len(answer.replies) - 1 else before + made
            yield {"candidates": [candidate], **_tail(answer, so_far)}, before + made
        before += reply.output_tokens


def _finish(reply: Reply) -> str:
    return "MAX_TOKENS" if reply.cut else "STOP"


def _tail(answer: Answer, so_far: int | None = None) -> dict[str, Any]:
    """`so_far` is the number of output tokens made; None: all."""
    tail: dict[str, Any] = {
        "modelVersion": answer.conversation.model,
        "responseId": f"{SIMULATED}-{answer.number:08d}",
    }
    if answer.usage is not None:
        usage = answer.usage
        if so_far is not None and so_far < usage.output_tokens:
            # Thoughts come first.
            meters = {**usage.meters, REASONING: min(usage.reasoning_tokens, so_far)}
            usage = replace(usage, output_tokens=so_far, meters=meters)
        tail["usageMetadata"] = _usage(usage)
    return tail


def _usage(usage: Usage) -> dict[str, Any]:
    document: dict[str, Any] = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": usage.output_tokens - usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": usage.input_tokens}],
    }
    if usage.cached_input_tokens:
        document["cachedContentTokenCount"] = usage.cached_input_tokens
    if usage.reasoning_tokens:
        document["thoughtsTokenCount"] = usage.reasoning_tokens
    return document
