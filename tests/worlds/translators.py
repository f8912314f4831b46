"""Envoy's translators in LuaJIT, with bodies and streams as Python has them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.router.domain.translation import TRANSLATIONS
from tests.worlds.lua_scripts import load_module, new_runtime, plain, table, wire

LUA = new_runtime()
_TRANSLATORS = {
    (one.client, one.operation, one.provider): load_module(f"translate/{one.name}", LUA) for one in TRANSLATIONS
}
_ANSWERS = load_module("translate/answers", LUA)
_ERRORS = load_module("translate/errors", LUA)
_TRY = LUA.eval(
    """
    function(write, ...)
      local results = { pcall(write, ...) }
      if results[1] then return results[2], results[3], nil end
      local problem = results[2]
      if type(problem) ~= "table" then error(problem, 0) end
      return nil, problem.message, problem.parameter
    end
    """
)
TARGETS: dict[str, dict[str, Any]] = {
    "anthropic": {
        "model": "claude",
        "output_bound": 64_000,
        "thinking": "budget",
        "structured": "native",
        "sampling": True,
    },
    "openai": {
        "model": "gpt",
        "output_bound": 64_000,
        "output_bound_name": "max_completion_tokens",
        "thinking": "effort",
        "sampling": True,
        "asks_for_usage": True,
    },
}


class RefusedError(Exception):
    """The translator's refusal."""

    def __init__(self, message: str, parameter: str | None) -> None:
        super().__init__(message)
        self.parameter = parameter


class Request:
    """A request as its provider gets it."""

    def __init__(self, text: str, known: dict[str, Any]) -> None:
        self.text = text
        self.body: dict[str, Any] = json.loads(text)
        ignored = known.get("ignored")
        self.ignored = set(ignored.split(",")) if ignored else set()
        self.forced = known.get("forced")
        self.known = known


def translate(body: dict[str, Any], provider: str, *, ascii_only: bool = False, **target: Any) -> Request:
    """The request that a provider of this dialect gets for a chat of the other. Raises RefusedError."""
    client = Dialect.OPENAI if provider == Dialect.ANTHROPIC else Dialect.ANTHROPIC
    return _translate((client, Operation.CHAT, Dialect(provider)), body, ascii_only=ascii_only, **target)


def translate_responses(body: dict[str, Any], provider: str, *, ascii_only: bool = False, **target: Any) -> Request:
    """The request that a provider of this dialect gets for one of Responses. Raises RefusedError."""
    return _translate((Dialect.OPENAI, Operation.RESPOND, Dialect(provider)), body, ascii_only=ascii_only, **target)


def _translate(direction: Any, body: dict[str, Any], *, ascii_only: bool, **target: Any) -> Request:
    text = wire(json.dumps(body, ensure_ascii=ascii_only))
    facts = table(LUA, TARGETS[direction[2]] | target)
    written, known, parameter = _TRY(_TRANSLATORS[direction].write, text, facts)
    if written is None:
        raise RefusedError(plain(known), parameter and plain(parameter))
    return Request(plain(written), plain(known))


CLIENTS = {
    "openai": ("chat_to_messages", "openai"),
    "anthropic": ("messages_to_chat", "anthropic"),
    "responses": ("responses_to_chat", "openai"),
    "responses of messages": ("responses_to_messages", "openai"),
}
"""The direction and the dialect of each kind of client. Those of Responses have two kinds of providers."""


def answer(body: Any, client: str, **call: Any) -> dict[str, Any] | None:
    """The answer that a client of this kind gets; None if the provider's is not one."""
    text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    found = _ANSWERS.whole(wire(text), _call(client, call))
    written = found[0] if isinstance(found, tuple) else found
    return None if written is None else json.loads(plain(written))


def answer_of_bytes(text: bytes, client: str) -> bytes | None:
    """The same, for a text that may be no UTF-8."""
    found = _ANSWERS.whole(text.decode("latin-1"), _call(client, {}))
    written = found[0] if isinstance(found, tuple) else found
    return None if written is None else written.encode("latin-1")


def stream(pieces: Iterable[bytes], client: str, *, ends: bool = True, **call: Any) -> bytes:
    """The bytes that a client of this kind gets for the pieces of a provider's stream."""
    state = _ANSWERS.stream(_call(client, call))
    out = "".join(_ANSWERS.feed(state, piece.decode("latin-1")) for piece in pieces)
    if ends:
        out += _ANSWERS.finish(state)
    return out.encode("latin-1")


def error(client: str, status: int, text: str, instead: str = "instead") -> dict[str, Any]:
    """The error that a client gets for a provider's."""
    written: dict[str, Any] = json.loads(plain(_ERRORS.body(client, status, wire(text), instead, "id")))
    return written


def events(raw: bytes) -> list[Any]:
    """The data of a stream's events, and "[DONE]"."""
    found = []
    for event in raw.decode().split("\n\n"):
        data = [line[len("data: ") :] for line in event.splitlines() if line.startswith("data: ")]
        assert len(data) <= 1, event
        found += [json.loads(each) if each != "[DONE]" else each for each in data]
    return found


def _call(client: str, call: dict[str, Any]) -> Any:
    direction, dialect = CLIENTS[client]
    return table(LUA, {"client": dialect, "direction": direction, "now": 1_700_000_000, "request_id": "id", **call})
