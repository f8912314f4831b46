"""Finds the module that writes the answers of a dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.kernel.dialect import Dialect
from services.quota.transport.dialects import anthropic, gemini, openai
from services.quota.transport.dialects.answer import HttpAnswer
from services.quota.transport.dialects.wording import Wording


class Envelope(Protocol):
    """The answers that every dialect has. `request_id` is Envoy's; empty if there is none."""

    def refuse(self, wording: Wording, request_id: str) -> HttpAnswer:
        """A refusal."""
        ...

    def list_models(self, models: Sequence[str], request_id: str) -> HttpAnswer:
        """The models that a key may use."""
        ...

    def show_model(self, model: str, request_id: str) -> HttpAnswer:
        """One of these models."""
        ...


_ENVELOPES: dict[Dialect, Envelope] = {
    Dialect.OPENAI: openai,
    Dialect.ANTHROPIC: anthropic,
    Dialect.GEMINI: gemini,
}


def envelope_of(dialect: Dialect) -> Envelope:
    """The envelope of a dialect."""
    return _ENVELOPES[dialect]
