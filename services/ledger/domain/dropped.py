"""Counts the headers that were dropped between clients and providers, as calls report them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from services.ledger.domain.call import SpooledCall

# Source of the format: `services.kernel.envoy_contract.AttemptKey.DROPPED`.
_ITEM = re.compile(r"(?P<provider>[^<>,]{1,128})(?P<side>[<>])(?P<name>[a-z0-9-]{1,64})")


class Direction(StrEnum):
    """The direction in which a header was travelling."""

    REQUEST = "request"
    """From a client to a provider."""
    ANSWER = "answer"
    """From a provider to a client."""


class DroppedHeader(NamedTuple):
    """A header that was dropped at one provider."""

    provider: str
    direction: Direction
    name: str
    """In lower case."""


_DIRECTIONS = {">": Direction.REQUEST, "<": Direction.ANSWER}


def count_dropped(calls: Iterable[SpooledCall]) -> Counter[DroppedHeader]:
    """Counts how many of `calls` lost each header. Skips unreadable items: the counts are for people, not for books."""
    counts: Counter[DroppedHeader] = Counter()
    for call in calls:
        if call.dropped:
            matches = filter(None, map(_ITEM.fullmatch, call.dropped.split(",")))
            counts.update({DroppedHeader(one["provider"], _DIRECTIONS[one["side"]], one["name"]) for one in matches})
    return counts
