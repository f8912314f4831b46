"""Requests for vectors: OpenAI's `POST /v1/embeddings`, Gemini's `:embedContent` and `:batchEmbedContents`.

Their answers are simulated too: a vector follows from a digest of its tokens, and says nothing of what they mean.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.simulator.conversation import Conversation, require
from services.simulator.gemini_wire import GeminiWire
from services.simulator.openai_wire import OpenAiWire
from services.simulator.tokens import tokenize
from services.simulator.wire import Answer, Event

_DIMENSIONS = 8
_MOST_INPUTS = 2_048


class OpenAiVectors(OpenAiWire):
    """`POST /v1/embeddings`."""

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        model = model or body.get("model") or ""
        require(isinstance(model, str) and model, "you must provide a model parameter")
        texts = _texts(body.get("input"))
        require(0 < len(texts) <= _MOST_INPUTS, "Missing required parameter: 'input'.")
        return _asked(model, texts, as_base64=body.get("encoding_format") == "base64")

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns a list of vectors."""
        asked = answer.conversation
        data = [
            {"object": "embedding", "index": index, "embedding": _written(_vector(text), as_base64=asked.as_base64)}
            for index, text in enumerate(asked.texts)
        ]
        document: dict[str, Any] = {"object": "list", "data": data, "model": asked.model}
        if answer.usage is not None:
            tokens = answer.usage.input_tokens
            document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return document

    def events(self, answer: Answer) -> Iterator[Event]:
        """There are none."""
        raise AssertionError(answer.number)


class GeminiVectors(GeminiWire):
    """`:embedContent`, and with `batch` `:batchEmbedContents`."""

    def __init__(self, *, batch: bool) -> None:
        super().__init__()
        self._batch = batch

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request."""
        requests = body.get("requests") if self._batch else [body]
        require(isinstance(requests, list) and requests, "* BatchEmbedContentsRequest.requests: is not specified")
        assert isinstance(requests, list)  # noqa: S101  (just required; mypy cannot know)
        for request in requests:
            named = request.get("model")
            is_absent = named is None and not self._batch
            require(is_absent or named == f"models/{model}", f"model {named!r} is not that of the path")
        return _asked(model, tuple(_tokens_of(request.get("content") or {}) for request in requests))

    def document(self, answer: Answer) -> dict[str, Any]:
        """Returns one vector, or a list of vectors."""
        vectors = [{"values": _vector(text)} for text in answer.conversation.texts]
        document: dict[str, Any] = {"embeddings": vectors} if self._batch else {"embedding": vectors[0]}
        if answer.usage is not None:
            document["usageMetadata"] = {"promptTokenCount": answer.usage.input_tokens}
        return document

    def events(self, answer: Answer) -> Iterator[Event]:
        """There are none."""
        raise AssertionError(answer.number)


def _asked(model: str, texts: tuple[tuple[str, ...], ...], *, as_base64: bool = False) -> Conversation:
    prompt = tuple(token for text in texts for token in text)
    return Conversation(model, prompt, question="", choices=0, caches_by_itself=False, texts=texts, as_base64=as_base64)


def _texts(given: object) -> tuple[tuple[str, ...], ...]:
    """The texts of an input, as tokens: a text, tokens, or a list of either."""
    if isinstance(given, str):
        return (tokenize(given),)
    require(isinstance(given, list) and given, "Missing required parameter: 'input'.")
    assert isinstance(given, list)  # noqa: S101  (just required; mypy cannot know)
    if all(isinstance(each, int) for each in given):
        return (tuple(map(str, given)),)
    return tuple(tokenize(each) if isinstance(each, str) else tuple(map(str, each)) for each in given)


def _tokens_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(token for part in content.get("parts") or () for token in tokenize(part.get("text") or ""))


def _vector(tokens: Sequence[str]) -> list[float]:
    digest = hashlib.sha256("\0".join(tokens).encode()).digest()
    return [(byte - 128) / 128 for byte in digest[:_DIMENSIONS]]


def _written(vector: list[float], *, as_base64: bool) -> list[float] | str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if as_base64 else vector
