"""A request as the simulated model sees it, the same for every dialect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.simulator.tokens import IMAGE_TOKENS, MESSAGE_TOKENS, tokenize

AUTO = "auto"
REQUIRED = "required"
NEVER = "none"


class BadRequestError(Exception):
    """A mistake that a provider answers with status 400."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    parameters: Mapping[str, Any]
    """JSON schema of its arguments."""


@dataclass(frozen=True, slots=True)
class Breakpoint:
    """Marks the prompt up to here for caching."""

    position: int
    """Tokens from the start of the prompt."""
    one_hour: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """A client's request to a model."""

    model: str
    prompt: tuple[str, ...]
    """All input as tokens, in the provider's reading order."""
    question: str
    """Text of the last message."""
    max_output_tokens: int | None = None
    choices: int = 1
    stream: bool = False
    include_usage: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: str = AUTO
    """`AUTO`, `REQUIRED`, `NEVER`, or the name of a tool."""
    answers_tool: bool = False
    """Whether the last message is a tool's result."""
    schema: Mapping[str, Any] | None = None
    """JSON schema that the answer must satisfy."""
    reasons: bool = False
    caches_by_itself: bool = True
    """Whether the provider caches long prompts on its own, as OpenAI and Gemini do."""
    breakpoints: tuple[Breakpoint, ...] = ()
    texts: tuple[tuple[str, ...], ...] = ()
    """The texts of which vectors are wanted, as tokens. Then there are no choices."""
    as_base64: bool = False
    """How those vectors are written."""


@dataclass(slots=True)
class PromptBuilder:
    """Collects the input of a conversation in reading order."""

    tokens: list[str] = field(default_factory=list)
    breakpoints: list[Breakpoint] = field(default_factory=list)

    def add_text(self, text: str) -> None:
        """Adds text of a message or the definition of a tool."""
        self.tokens.extend(tokenize(text))

    def add_image(self) -> None:
        """Adds an image."""
        self.tokens.extend(["<image>"] * IMAGE_TOKENS)

    def end_message(self, role: str) -> None:
        """Ends a message."""
        self.tokens.extend([f"<{role}>"] * MESSAGE_TOKENS)

    def mark(self, cache_control: object) -> None:
        """Sets a breakpoint if `cache_control` asks for one."""
        if isinstance(cache_control, Mapping):
            self.breakpoints.append(Breakpoint(len(self.tokens), one_hour=cache_control.get("ttl") == "1h"))


def require(condition: object, problem: str) -> None:
    """Refuses the request unless `condition` holds.

    Raises:
        BadRequestError: it does not hold.
    """
    if not condition:
        raise BadRequestError(problem)


def bound(body: Mapping[str, Any], *names: str) -> int | None:
    """Reads the first of these fields that is present, as a bound on output tokens.

    Raises:
        BadRequestError: it is not a positive whole number.
    """
    for name in names:
        value = body.get(name)
        if value is not None:
            require(isinstance(value, int) and not isinstance(value, bool) and value > 0, f"invalid {name}: {value!r}")
            return int(value)
    return None
