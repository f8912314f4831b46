"""Keys that each have one limit of their own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from tests.worlds.gateway import SETTLE_TIMEOUT_S, Gateway


def limited_keys(limits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A part of a configuration: for each limit a key of its name, which has it by the day."""
    return {
        "policies": [
            {"name": name, "match": {"environment": name}, "each": "key", "limits": [{**limit, "per": "day"}]}
            for name, limit in limits.items()
        ],
        "environments": [*limits],
        "keys": [{"name": name, "environment": name} for name in limits],
    }


def calls_of(gateway: Gateway, key: str) -> list[dict[str, Any]]:
    """The booked calls of a key, newest first."""
    return [call for call in gateway.calls() if call["key"] == key]


def newest_call(gateway: Gateway, key: str, *, after: int = 0) -> dict[str, Any]:
    """The latest call of a key, once more than `after` are booked.

    A free call reserves nothing, so its booking cannot be waited for as that of others: count those before it.
    """
    gateway.settle()
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while len(calls := calls_of(gateway, key)) <= after:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return calls[0]
