"""What the three dialects share: an answer, and the interface by which a provider renders it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from services.kernel.usage import Usage
from services.simulator.conversation import Conversation
from services.simulator.model import Reply

SIMULATED = "simulated-by-spendgate"
"""Marks every answer as not made by a model."""
# Tokens per event of a stream.
_EVENT_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished call, ready to be written in any dialect."""

    number: int
    """Number of the request at this provider. Ids are derived from it."""
    created_s: int
    conversation: Conversation
    replies: tuple[Reply, ...]
    usage: Usage | None
    """None: the provider reports no usage."""


class Event(NamedTuple):
    """One event of a stream."""

    data: bytes
    """Complete with its framing."""
    made: int
    """Output tokens that the model had made by then, over all choices."""


class Wire(Protocol):
    """The dialect of one endpoint."""

    stream_media_type: str

    def conversation(self, model: str, body: Mapping[str, Any]) -> Conversation:
        """Reads a request. `model` comes from the path, if the dialect has it there.

        Raises:
            BadRequestError: the vendor would refuse it.
        """
        ...

    def document(self, answer: Answer) -> Any:
        """Returns the answer as one JSON value."""
        ...

    def events(self, answer: Answer) -> Iterator[Event]:
        """Yields the answer as the events of a stream."""
        ...

    def failure(self, status: int, message: str) -> Any:
        """Returns the vendor's error as a JSON value."""
        ...


def text_pieces(reply: Reply) -> Iterator[tuple[str, int]]:
    """Yields the visible text in the pieces of a stream, each with the output tokens made by then."""
    for start in range(0, len(reply.tokens), _EVENT_TOKENS):
        end = min(start + _EVENT_TOKENS, len(reply.tokens))
        yield "".join(reply.tokens[start:end]), reply.reasoning_tokens + end


def call_pieces(reply: Reply, arguments: str) -> Iterator[tuple[str, int]]:
    """Does the same for the arguments of a tool call, in two pieces."""
    half = len(arguments) // 2
    yield arguments[:half], (reply.reasoning_tokens + reply.output_tokens) // 2
    yield arguments[half:], reply.output_tokens


def sse(document: Any, event: str = "") -> bytes:
    """Encodes one server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(document, ensure_ascii=False)}\n\n".encode()


def text_of(content: object) -> str:
    """Returns the text of a message's content in any dialect: a string, or a list of parts with and without text."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(
            part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)
        )
    return ""
