"""OpenAI's `POST /v1/responses`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from services.kernel.usage import Usage
from services.simulator.conversation import AUTO, Conversation, PromptBuilder, Tool, bound, require
from services.simulator.model import Reply
from services.simulator.openai_wire import OpenAiWire
from services.simulator.wire import SIMULATED, Answer, Event, call_pieces, sse, text_of, text_pieces

_REASONING_MODELS = ("o1", "o3", "o4", "gpt-5")


class ResponsesWire(OpenAiWire):
    """The Responses API, without anything that it would keep."""

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        model = model or body.get("model") or ""
        given = body.get("input")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        require(isinstance(model, str) and model, "you must provide a model parameter")
        require(isinstance(items, list) and items, "Missing required parameter: 'input'.")
        assert isinstance(items, list)  # noqa: S101  (just required; mypy cannot know)
        prompt = PromptBuilder()
        prompt.add_text(str(body.get("instructions") or ""))
        for tool in body.get("tools") or ():
            prompt.add_text(json.dumps(tool))
        for item in items:
            _add_item(prompt, item)
        return Conversation(
            model=model,
            prompt=tuple(prompt.tokens),
            question=text_of(items[-1].get("content")),
            max_output_tokens=bound(body, "max_output_tokens"),
            stream=body.get("stream") is True,
            tools=tuple(
                Tool(each["name"], each.get("parameters") or {})
                for each in body.get("tools") or ()
                if each.get("type") == "function"
            ),
            tool_choice=_tool_choice(body.get("tool_choice")),
            answers_tool=items[-1].get("type") == "function_call_output",
            schema=_schema(body.get("text")),
            reasons=model.startswith(_REASONING_MODELS),
        )

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns a `response`."""
        (reply,) = answer.replies
        status = "incomplete" if reply.cut else "completed"
        return _head(answer, status, [_item(answer, reply)], usage=answer.usage)

    def events(self, answer: Answer) -> Iterator[Event]:
        """Yields the events of one item, between those of the response."""
        (reply,) = answer.replies
        number = count()

        def event(kind: str, made: int, **more: Any) -> Event:
            document = {"type": kind, "sequence_number": next(number), **more}
            return Event(sse(document, kind), made)

        for kind in ("response.created", "response.in_progress"):
            yield event(kind, 0, response=_head(answer, "in_progress", []))
        item = _item(answer, reply)
        place = {"item_id": item["id"], "output_index": 0}
        yield event("response.output_item.added", 0, output_index=0, item={**item, **_empty(item)})
        if reply.tool_call is not None:
            kind = "response.function_call_arguments"
            for piece, made in call_pieces(reply, reply.tool_call.arguments):
                yield event(f"{kind}.delta", made, **place, delta=piece)
            yield event(f"{kind}.done", reply.output_tokens, **place, arguments=reply.tool_call.arguments)
        else:
            part = {**place, "content_index": 0}
            yield event("response.content_part.added", 0, **part, part=_part(""))
            for piece, made in text_pieces(reply):
                yield event("response.output_text.delta", made, **part, delta=piece, logprobs=[])
            yield event("response.output_text.done", reply.output_tokens, **part, text=reply.text, logprobs=[])
            yield event("response.content_part.done", reply.output_tokens, **part, part=_part(reply.text))
        yield event("response.output_item.done", reply.output_tokens, output_index=0, item=item)
        whole = self.document(answer)
        yield event(f"response.{whole['status']}", reply.output_tokens, response=whole)


def _add_item(prompt: PromptBuilder, item: Mapping[str, Any]) -> None:
    content = item.get("content")
    if content is None:
        prompt.add_text(json.dumps({name: item[name] for name in ("name", "arguments", "output") if name in item}))
    else:
        prompt.add_text(text_of(content))
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "input_image":
            prompt.add_image()
    prompt.end_message(str(item.get("role") or item.get("type")))


def _tool_choice(choice: object) -> str:
    if isinstance(choice, Mapping):
        return str(choice.get("name", AUTO))
    return choice if isinstance(choice, str) else AUTO


def _schema(text: object) -> Mapping[str, Any] | None:
    form = text.get("format") or {} if isinstance(text, Mapping) else {}
    if form.get("type") == "json_object":
        return {}
    schema = form.get("schema")
    return schema if isinstance(schema, Mapping) else None


def _head(answer: Answer, status: str, output: list[dict[str, Any]], usage: Usage | None = None) -> dict[str, Any]:
    asked = answer.conversation
    return {
        "id": f"resp_{SIMULATED}-{answer.number:08d}",
        "object": "response",
        "created_at": answer.created_s,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": None,
        "max_output_tokens": asked.max_output_tokens,
        "model": asked.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "metadata": {},
        "usage": None if usage is None else _usage(usage),
    }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def _item(answer: Answer, reply: Reply) -> dict[str, Any]:
    if reply.tool_call is not None:
        return {
            "id": f"fc_{SIMULATED}-{answer.number:08d}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{SIMULATED}-{answer.number:08d}",
            "name": reply.tool_call.name,
            "arguments": reply.tool_call.arguments,
        }
    return {
        "id": f"msg_{SIMULATED}-{answer.number:08d}",
        "type": "message",
        "status": "incomplete" if reply.cut else "completed",
        "role": "assistant",
        "content": [_part(reply.text)],
    }


def _empty(item: Mapping[str, Any]) -> dict[str, Any]:
    """The members of an item that are empty when it begins."""
    name, nothing = ("arguments", "") if item["type"] == "function_call" else ("content", list[Any]())
    return {"status": "in_progress", name: nothing}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
