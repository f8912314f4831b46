"""The simulated model. It answers at once, and the same question always gets the same answer.

* "Answer in 100 tokens" gets exactly 100 tokens of text. Otherwise the question determines the length.
* A tool is called if tools are sent and the question names one, or if `tool_choice` demands it.
* With a JSON schema, the answer is a document that satisfies it.
* A reasoning model first spends tokens on thought. The client's bound cuts off everything beyond it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.simulator.conversation import NEVER, REQUIRED, Conversation, Tool
from services.simulator.tokens import count_tokens, tokenize

_LENGTH = re.compile(r"\bin (\d{1,6}) tokens\b")
_SAYING = tokenize(
    " The budget holds because every call is reserved before it is sent, priced when it ends and settled exactly once;"
    " what was reserved and not used goes back, and the ledger adds up to the last nano dollar."
)
_SHORTEST_ANSWER = 12
_ANSWER_SPREAD = 48
REASONING_TOKENS = 64
_SCHEMA_DEPTH = 16


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a function to be called."""

    name: str
    arguments: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice."""

    tokens: tuple[str, ...] = ()
    """The visible text."""
    tool_call: ToolCall | None = None
    reasoning_tokens: int = 0
    cut: bool = False
    """The client's bound cut it off."""

    @property
    def text(self) -> str:
        """All visible text."""
        return "".join(self.tokens)

    @property
    def output_tokens(self) -> int:
        """The tokens that the provider charges as output."""
        call = count_tokens(self.tool_call.name + " " + self.tool_call.arguments) if self.tool_call else 0
        return self.reasoning_tokens + len(self.tokens) + call


def answer(conversation: Conversation) -> Reply:
    """Answers a conversation."""
    limit = conversation.max_output_tokens
    reasoning = REASONING_TOKENS if conversation.reasons else 0
    if limit is not None and limit <= reasoning:
        return Reply(reasoning_tokens=limit, cut=True)
    tool = _tool_to_call(conversation)
    if tool is not None:
        arguments = json.dumps(example_of(tool.parameters))
        return Reply(tool_call=ToolCall(tool.name, arguments), reasoning_tokens=reasoning)
    tokens = _text_of(conversation)
    room = len(tokens) if limit is None else limit - reasoning
    return Reply(tokens=tokens[:room], reasoning_tokens=reasoning, cut=len(tokens) > room)


def _tool_to_call(conversation: Conversation) -> Tool | None:
    choice = conversation.tool_choice
    if not conversation.tools or choice == NEVER or conversation.answers_tool:
        return None
    if choice == REQUIRED:
        return conversation.tools[0]
    for tool in conversation.tools:
        if tool.name == choice or tool.name in conversation.question:
            return tool
    return None


def _text_of(conversation: Conversation) -> tuple[str, ...]:
    if conversation.schema is not None:
        return tokenize(json.dumps(example_of(conversation.schema)))
    asked = _LENGTH.search(conversation.question)
    if asked:
        length = int(asked[1])
    else:
        digest = hashlib.sha256(conversation.question.encode()).digest()
        length = _SHORTEST_ANSWER + digest[0] % _ANSWER_SPREAD
    text = tuple(itertools.islice(itertools.cycle(_SAYING), length))
    return (text[0].lstrip(), *text[1:]) if text else ()


def example_of(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """Returns a small value that satisfies a JSON schema, or Gemini's variant with types in capitals."""
    root = schema if root is None else root
    if depth > _SCHEMA_DEPTH:
        return None
    for narrowed in ("$ref", "anyOf", "oneOf"):
        if schema.get(narrowed):
            found = _resolve(schema[narrowed], root) if narrowed == "$ref" else schema[narrowed][0]
            return example_of(found, root, depth + 1)
    if "const" in schema or schema.get("enum"):
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema.get("type", "object")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: example_of(part, root, depth + 1) for name, part in properties.items()}
    if kind == "array":
        return [example_of(schema.get("items") or {"type": "string"}, root, depth + 1)]
    return {"string": "simulated", "integer": 7, "number": 1.5, "boolean": True}.get(kind)


def _resolve(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step, {}) if step else found
    return found if isinstance(found, Mapping) else {}
