"""What calls may cost while the counters cannot be read or written: an allowance of each policy, anew each day (UTC).

Quotas take from equal shares, since none can ask the others. A call takes the most that it can cost, from the allowance
of every policy that concerns it, and nothing of it is ever given back: so a day's calls cost the allowance at most.
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
        """Names what is taken of it, by all quotas together."""
        return CounterKey(self.policy, _LIMIT_ID, "", day.start_ms)

    def share(self, quotas: int) -> int:
        """What each of so many quotas may take, nano-USD."""
        return self.nano_usd // quotas


class Taken(NamedTuple):
    """What calls took of an allowance on one day, nano-USD."""

    here: int
    """Let through by this quota."""
    in_all: int
    """By all quotas, this one included."""


def day_at(now_ms: int) -> Window:
    """The day for which allowances count at this moment."""
    return _DAY.at(now_ms)


def allowances_of(stated: Iterable[Allowance]) -> tuple[Allowance, ...]:
    """The allowances that a call needs, of those that its policies state; none when one of them allows nothing."""
    found = tuple(stated)
    return found if all(allowance.nano_usd for allowance in found) else ()


def level_of(taken: Taken, share: int, quotas: int) -> Level:
    """How much of its share of an allowance a quota has used.

    That is what it took itself. Where others took more than such shares, because there were fewer quotas earlier in the
    day, what they took above counts too: all that is taken stays within `quotas` shares.
    """
    return Level(max(taken.here, taken.in_all - share * (quotas - 1)), 0)
