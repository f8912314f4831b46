"""Allowances: what calls may cost while the counter store fails, for each policy and each day (UTC).

The quota processes take equal shares, because none can ask the others. A call takes the most that it can cost from the
allowance of every policy that applies to it, and gives nothing back. So a day's calls cost at most the allowance.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from services.kernel.limit_kind import LimitKind
from services.kernel.window import Window, WindowRule, WindowUnit
from services.quota.domain.counters.counter import CounterKey, Level

_LIMIT_ID = f"{LimitKind.SPEND}/allowance"
_DAY = WindowRule(WindowUnit.DAY)


class Allowance(NamedTuple):
    """What one policy allows in a day."""

    policy: str
    nano_usd: int

    def counter(self, day: Window) -> CounterKey:
        """The counter of what all quota processes together have taken of it."""
        return CounterKey(self.policy, _LIMIT_ID, "", day.start_ms)

    def share(self, quotas: int) -> int:
        """What each quota process may take if there are this many, in nano-USD."""
        return self.nano_usd // quotas


class Taken(NamedTuple):
    """What calls took of an allowance on one day, in nano-USD."""

    here: int
    """Taken by calls that this quota process admitted."""
    in_all: int
    """Taken by calls that any quota process admitted, including this one."""


def day_at(now_ms: int) -> Window:
    """The allowance day at this moment."""
    return _DAY.at(now_ms)


def allowances_of(stated: Iterable[Allowance]) -> tuple[Allowance, ...]:
    """The allowances that a call needs, out of those of its policies; none if one policy allows nothing."""
    found = tuple(stated)
    return found if all(allowance.nano_usd for allowance in found) else ()


def level_of(taken: Taken, share: int, quotas: int) -> Level:
    """How much of its share of an allowance this quota process has used.

    Its own calls count. If fewer processes ran earlier in the day, the others may have taken more than such shares; the
    excess counts too. So the total stays within `quotas` shares.
    """
    return Level(max(taken.here, taken.in_all - share * (quotas - 1)), 0)
