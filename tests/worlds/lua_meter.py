"""The meter without Envoy: bytes in, bytes and figures out."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple, cast

from services.chassis.line_text import read_line_text
from tests.worlds.lua_scripts import load_module, new_runtime, plain, table

_RUNTIME = new_runtime()
ANSWER = load_module("meter/answer", _RUNTIME)


class Metered(NamedTuple):
    """The meter's result for an answer."""

    passed: str
    """What the client was sent, one character for each byte."""
    told: dict[str, Any]
    """All that was published, the latest value of each."""
    first: tuple[str, ...] = ()
    """The names that were published before the first bytes were passed on."""


def start(name: str, *, stream: bool = True, strip: bool = False, choices: int = 0, dialect: str = "") -> Any:
    """The state of an answer. With `choices`, its client asked for so many, and is told if the stream breaks.

    `name` is that of the meter's table, and of the client's dialect unless that is given.
    """
    client = table(_RUNTIME, {"dialect": dialect or name, "provider": "lab", "choices": choices}) if choices else None
    return ANSWER.new(name, stream, strip, client)


def meter(
    name: str, pieces: Iterable[str], *, stream: bool, strip: bool = False, choices: int = 0, dialect: str = ""
) -> Metered:
    """Lets an answer through that arrives in these pieces, one character for each byte. For the rest see `start`."""
    state = start(name, stream=stream, strip=strip, choices=choices, dialect=dialect)
    told: dict[str, Any] = {}
    first: tuple[str, ...] | None = None
    passed: list[str] = []
    for piece in [*(each for each in pieces if each), None]:
        passed.append(ANSWER.finish(state) if piece is None else ANSWER.take(state, piece))
        changed = ANSWER.news(state)
        told |= {} if changed is None else plain(changed)
        assert changed is None or line_of(state) == {name: _as_read(value) for name, value in told.items()}
        first = tuple(told) if first is None else first
    return Metered("".join(passed), told, first or ())


def line_of(state: Any) -> dict[str, Any]:
    """What the line of the call would say, if the answer ended now."""
    line = read_line_text(ANSWER.line(state).encode("latin-1").decode())
    return cast("dict[str, Any]", line)


def _as_read(value: object) -> object:
    """A value as it is in the line. Providers may send bytes that no text has."""
    if not isinstance(value, str):
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeDecodeError:
        return re.sub("[\x80-\xff]", "?", value)


def cut(text: str, places: Iterable[int]) -> list[str]:
    """`text` cut at these places, taken modulo its length."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]
