"""Reads the levels of the limits of calls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.quota.domain.counters.counter import Level, add_levels
from services.quota.domain.directory.applied_limits import AppliedLimit, AppliedLimits
from services.quota.ports.counters import Counters


class LimitLevel(NamedTuple):
    """A limit that applies to a call, and its level."""

    limit: AppliedLimit
    level: Level
    """For a rolling window, the sum of its parts."""


def read_limit_levels(counters: Counters, applied: Iterable[AppliedLimits]) -> list[LimitLevel]:
    """Reads the levels of all limits of these calls in one go, each limit once.

    Raises:
        Unavailable: the counters cannot be read.
    """
    limits = {limit.counter: limit for each in applied for limit in each.limits}
    parts = {counter: (counter, *limit.trailing) for counter, limit in limits.items()}
    asked = list(dict.fromkeys(part for each in parts.values() for part in each))
    levels = dict(zip(asked, counters.levels(asked), strict=True))
    return [LimitLevel(limit, add_levels(levels[part] for part in parts[counter])) for counter, limit in limits.items()]
