"""OpenAI's older `POST /v1/completions`, which servers of one's own still speak."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from services.simulator.conversation import Conversation, bound, require
from services.simulator.openai_wire import OpenAiWire
from services.simulator.tokens import tokenize
from services.simulator.wire import SIMULATED, Answer, Event, sse, text_pieces

# OpenAI's own, where a request has no bound.
_DEFAULT_TOKENS = 16


class CompletionsWire(OpenAiWire):
    """Text in, text out. Each prompt of a list gets an answer."""

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        model, given = model or body.get("model") or "", body.get("prompt")
        require(isinstance(model, str) and model, "you must provide a model parameter")
        require(given, "Missing required parameter: 'prompt'.")
        is_many = isinstance(given, list) and not isinstance(given[0], int)
        prompts = given if isinstance(given, list) and is_many else [given]
        texts = tuple(
            tokenize(each) if isinstance(each, str) else tuple(map(str, list(each or ()))) for each in prompts
        )
        return Conversation(
            model=model,
            prompt=tuple(token for text in texts for token in text),
            question=str(prompts[-1]),
            max_output_tokens=bound(body, "max_tokens") or _DEFAULT_TOKENS,
            choices=len(prompts) * max(int(body.get("n") or 1), int(body.get("best_of") or 1)),
            stream=body.get("stream") is True,
            include_usage=(body.get("stream_options") or {}).get("include_usage") is True,
            caches_by_itself=False,
        )

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns a `text_completion`."""
        choices = [
            {"index": index, "text": reply.text, "logprobs": None, "finish_reason": "length" if reply.cut else "stop"}
            for index, reply in enumerate(answer.replies)
        ]
        document = {**_head(answer), "choices": choices}
        if answer.usage is not None:
            document["usage"] = _usage(answer)
        return document

    def events(self, answer: Answer) -> Iterator[Event]:
        """Yields pieces. With `include_usage` each says `usage: null` before an extra one."""
        head = {**_head(answer), **({"usage": None} if answer.conversation.include_usage else {})}
        made = 0
        for index, reply in enumerate(answer.replies):
            for text, made_of_reply in text_pieces(reply):
                choice = {"index": index, "text": text, "logprobs": None, "finish_reason": None}
                yield Event(sse({**head, "choices": [choice]}), made + made_of_reply)
            made += reply.output_tokens
            choice = {"index": index, "text": "", "logprobs": None, "finish_reason": "length" if reply.cut else "stop"}
            yield Event(sse({**head, "choices": [choice]}), made)
        if answer.conversation.include_usage and answer.usage is not None:
            yield Event(sse({**head, "choices": [], "usage": _usage(answer)}), made)
        yield Event(b"data: [DONE]\n\n", made)


def _head(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"cmpl-{SIMULATED}-{answer.number:08d}",
        "object": "text_completion",
        "created": answer.created_s,
        "model": answer.conversation.model,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    assert answer.usage is not None  # noqa: S101  (its callers looked)
    return {
        "prompt_tokens": answer.usage.input_tokens,
        "completion_tokens": answer.usage.output_tokens,
        "total_tokens": answer.usage.total_tokens,
    }
