"""The shape of one attack, and how its bodies are written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.e2e.adversary.wire import Request

MODEL, MARK = "@MODEL@", "@MARK@"
"""Placeholders in a body or path for values that differ from call to call."""
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": f"/v1beta/models/{MODEL}:generateContent",
}
SHORT = 10
"""Output tokens that an attack admits to: $0.002 of its $2.00."""
NEARLY = 8_000
"""Output tokens that are nearly the whole limit, $1.60: at a higher price they exceed it."""
LONG_TEXT = "all of this is text. " * 1_500
"""31,500 bytes: $3.15 of text. An image is held at most at $1.00."""
PIXELS = "iVBORw0KGgo" + "A" * 5_000

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to make a provider bill more than the gateway thinks; or an honest call that looks like one."""

    name: str
    """A sentence."""
    dialect: str
    body: str | bytes
    headers: Headers = ()
    path: str = ""
    encoding: str = "utf-8"

    @property
    def title(self) -> str:
        """Distinguishes it from all others."""
        return f"{self.dialect}: {self.name}"

    def request(self, model: str, mark: str) -> Request:
        """The request of one call."""
        path = (self.path or PATHS[self.dialect]).replace(MODEL, model)
        if isinstance(self.body, bytes):
            body = self.body.replace(MODEL.encode(), model.encode()).replace(MARK.encode(), mark.encode())
        else:
            body = self.body.replace(MODEL, model).replace(MARK, mark).encode(self.encoding, "surrogatepass")
        return Request(path, body, self.headers)


def chat(*parts: Any, **members: Any) -> str:
    """A body in OpenAI's dialect: `parts` of its one message, and members at the top."""
    content = [{"type": "text", "text": MARK}, *parts] if parts else MARK
    return _dumped({"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": SHORT} | members)


def chat_after(*messages: Mapping[str, Any], **members: Any) -> str:
    """The same with messages that went before."""
    said = [*messages, {"role": "user", "content": MARK}]
    return _dumped({"model": MODEL, "messages": said, "max_tokens": SHORT} | members)


def claude(*blocks: Any, **members: Any) -> str:
    """A body in Anthropic's dialect."""
    content = [{"type": "text", "text": MARK}, *blocks] if blocks else MARK
    return _dumped({"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": SHORT} | members)


def claude_after(*messages: Mapping[str, Any], **members: Any) -> str:
    """The same with messages that went before."""
    said = [*messages, {"role": "user", "content": MARK}]
    return _dumped({"model": MODEL, "messages": said, "max_tokens": SHORT} | members)


def gemini(*parts: Any, config: Any = None, **members: Any) -> str:
    """A body in Gemini's dialect. `config`: the members of generationConfig."""
    body = {"contents": [{"role": "user", "parts": [{"text": MARK}, *parts]}]}
    settings = {"maxOutputTokens": SHORT} if config is None else config
    return _dumped(body | {"generationConfig": settings} | members)


def raw(text: str, *pairs: tuple[str, str]) -> str:
    """`text` with members written by hand, as name and value in JSON, at its end."""
    return text[:-1] + "".join(f",{name}:{value}" for name, value in pairs) + "}"


def _dumped(body: Mapping[str, Any]) -> str:
    return json.dumps({name: value for name, value in body.items() if value is not ABSENT}, ensure_ascii=False)


ABSENT: Sequence[Any] = ("absent",)
"""As a value: leaves a member out that would be there."""
