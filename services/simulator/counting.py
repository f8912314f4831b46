"""Calls that cost nothing: Anthropic's count_tokens, Gemini's `:countTokens`, OpenAI's moderations.

The simulated answers have no choices and no prompt, so nothing is billed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.simulator.anthropic_wire import AnthropicWire
from services.simulator.conversation import Conversation, require
from services.simulator.gemini_wire import GeminiWire
from services.simulator.openai_wire import OpenAiWire
from services.simulator.wire import Answer


class AnthropicCounting(AnthropicWire):
    """`POST /v1/messages/count_tokens`."""

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request, which has no bound on output."""
        asked = super().conversation(model, {"max_tokens": 1, **body})
        return replace(asked, choices=0, stream=False, texts=(asked.prompt,), prompt=(), breakpoints=())

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns the size of the prompt."""
        return {"input_tokens": len(answer.conversation.texts[0])}


class GeminiCounting(GeminiWire):
    """`:countTokens`."""

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        asked = super().conversation(model, body)
        return replace(asked, choices=0, texts=(asked.prompt,), prompt=(), caches_by_itself=False)

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns the size of the prompt."""
        return {"totalTokens": len(answer.conversation.texts[0])}


class Moderations(OpenAiWire):
    """`POST /v1/moderations`. It flags nothing."""

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        require(body.get("input"), "Missing required parameter: 'input'.")
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        named = str(body.get("model") or model)
        return Conversation(
            named, (), "", choices=0, caches_by_itself=False, texts=tuple((str(each),) for each in texts)
        )

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns a result for each text."""
        results = [
            {"flagged": False, "categories": {}, "category_scores": {}, "category_applied_input_types": {}}
            for _ in answer.conversation.texts
        ]
        return {"id": f"modr-{answer.number}", "model": answer.conversation.model, "results": results}
