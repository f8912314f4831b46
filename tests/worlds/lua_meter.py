"""The meter without Envoy: bytes in, bytes and figures out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from tests.worlds.lua_scripts import load_module, plain

ANSWER = load_module("meter/answer")


class Metered(NamedTuple):
    """The meter's result for an answer."""

    passed: str
    """What the client was sent, one character for each byte."""
    told: dict[str, Any]
    """All that was published, the latest value of each."""
    first: tuple[str, ...] = ()
    """The names that were published before the first bytes were passed on."""


def meter(dialect: str, pieces: Iterable[str], *, stream: bool, strip: bool = False) -> Metered:
    """Lets an answer through that arrives in these pieces, one character for each byte."""
    state = ANSWER.new(dialect, stream, strip)
    told: dict[str, Any] = {}
    first: tuple[str, ...] | None = None
    passed: list[str] = []
    for piece in [*(each for each in pieces if each), None]:
        passed.append(ANSWER.finish(state) if piece is None else ANSWER.take(state, piece))
        changed = ANSWER.news(state)
        told |= {} if changed is None else plain(changed)
        first = tuple(told) if first is None else first
    return Metered("".join(passed), told, first or ())


def cut(text: str, places: Iterable[int]) -> list[str]:
    """`text` cut at these places, taken modulo its length."""
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]
