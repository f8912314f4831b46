"""Dialects: the protocols that clients and providers speak."""

from __future__ import annotations

from enum import StrEnum


class Dialect(StrEnum):
    """A protocol, named after the vendor that made it."""

    OPENAI = "openai"
    """`POST /v1/chat/completions`."""
    ANTHROPIC = "anthropic"
    """`POST /v1/messages`."""
    GEMINI = "gemini"
    """`POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`, also under `/v1`."""


def dialect_of_path(path: str) -> Dialect:
    """Returns the dialect in which to answer a request for `path`, even if no endpoint is there.

    OpenAI and Anthropic share only `/v1/models`. Its caller looks at the `anthropic-version` header.
    """
    bare = path.split("?", 1)[0]
    if bare.startswith("/v1/messages"):
        return Dialect.ANTHROPIC
    if bare.startswith("/v1beta/") or (bare.startswith("/v1/models/") and ":" in bare):
        return Dialect.GEMINI
    return Dialect.OPENAI
