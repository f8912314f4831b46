"""One bound of a policy, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from services.kernel.limit_kind import LimitKind
from services.kernel.window import ROLLING_STEP_MS, Weekday, WindowRule, WindowUnit
from services.quota.domain.policies.burn_rate import MINUTE_MS
from services.quota.domain.policies.limit_id import SOFT_MARK

UTC = "UTC"


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound of a policy."""

    kind: LimitKind
    bound: int
    """Inclusive. Nano-USD for money, else tokens, requests or calls. 0 blocks."""
    per: WindowUnit
    """LIFETIME for kinds without a window."""
    timezone: str = UTC
    """IANA name. Matters to days and what is made of days."""
    week_start: Weekday = Weekday.MONDAY
    anchor_day: int = 1
    """On which day months begin."""
    rolling_ms: int = 0
    """Length of a rolling window."""
    soft: bool = False
    """Calls hold what they usually take, not the most that they can: it can be exceeded by what is in flight."""
    factor_percent: int = 0
    """Of a burn rate: how many hundredths of what is usual are allowed. `bound` is then the least that is usual."""

    @property
    def window(self) -> WindowRule:
        """How its time is divided."""
        if self.kind.follows_key:
            return WindowRule(WindowUnit.ROLLING, rolling_ms=MINUTE_MS)
        return WindowRule(self.per, self.timezone, self.week_start, self.anchor_day, self.rolling_ms)

    @property
    def limit_id(self) -> str:
        """What the limit's counters are filed under, e.g. "spend/month/America-New_York".

        It leaves out the bound: to raise a limit does not lose what is counted.
        """
        if not self.kind.has_window:
            return str(self.kind)
        return f"{self.kind}/{self.window.name}{SOFT_MARK if self.soft else ''}"

    @property
    def title(self) -> str:
        """For people, e.g. "spend per month"."""
        if not self.kind.has_window:
            return self.kind.replace("_", " ")
        if self.per is WindowUnit.ROLLING:
            return f"{self.kind} in {self.rolling_ms // ROLLING_STEP_MS} minutes"
        return f"{self.kind} in all" if self.per is WindowUnit.LIFETIME else f"{self.kind} per {self.per}"

    @property
    def is_rate(self) -> bool:
        """Whether clients should see it as a rate limit, which passes by itself, and not as a budget."""
        if self.kind.has_counter and not self.kind.has_window:
            return True
        return self.window.is_hour_or_shorter and not self.kind.is_money

    @property
    def bounds(self) -> bool:
        """Whether it bounds, by itself, what calls can take in all.

        One per run does not: a client begins as many runs as it likes. Nor does one on output: calls without any take
        nothing of it. What has no window adds nothing up.
        """
        return self.kind.bounds and self.per is not WindowUnit.RUN

    @property
    def steers(self) -> bool:
        """Whether it is long enough to have a say in which tier serves."""
        return self.kind.has_window and self.window.is_day_or_longer


class LimitFacts(NamedTuple):
    """What follows from a limit, worked out once: deciding asks for it with every call."""

    limit_id: str
    window: WindowRule
    is_rate: bool
    steers: bool
    bounds: bool


@lru_cache(maxsize=65_536)
def facts_of(limit: Limit) -> LimitFacts:
    """What follows from a limit."""
    return LimitFacts(limit.limit_id, limit.window, limit.is_rate, limit.steers, limit.bounds)
