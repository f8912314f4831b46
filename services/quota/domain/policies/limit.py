"""Limits: one bound of a policy, and the facts that follow from it."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.kernel.limit_kind import LimitKind
from services.kernel.window import ROLLING_STEP_MS, Weekday, WindowRule, WindowUnit
from services.quota.domain.policies.burn_rate import MINUTE_MS
from services.quota.domain.policies.limit_id import SOFT_MARK

UTC = "UTC"


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound on one kind of use, within one window."""

    kind: LimitKind
    bound: int
    """Inclusive. In nano-USD for money, else in tokens, requests or calls. 0 blocks all calls."""
    per: WindowUnit
    """The unit of the window; LIFETIME for kinds without one."""
    timezone: str = UTC
    """An IANA name. It matters for days and longer calendar windows."""
    week_start: Weekday = Weekday.MONDAY
    anchor_day: int = 1
    """The day on which months begin."""
    rolling_ms: int = 0
    """The length of a rolling window."""
    soft: bool = False
    """Calls hold their typical use, not the most that they can take. So calls in flight can exceed the limit."""
    factor_percent: int = 0
    """For a burn rate: the allowed percentage of the typical rate. `bound` is then the floor of the typical rate."""

    window: WindowRule = field(init=False, compare=False, repr=False)
    """How the limit divides time into windows."""
    limit_id: str = field(init=False, compare=False, repr=False)
    """The id under which the limit's counters are stored, e.g. "spend/month/America-New_York".

    It leaves out the bound, so a raised limit keeps its counters.
    """
    is_rate: bool = field(init=False, compare=False, repr=False)
    """Whether clients should see it as a rate limit, which soon has room again, and not as a budget."""
    bounds: bool = field(init=False, compare=False, repr=False)
    """Whether this limit alone bounds the total that calls can take.

    A limit per run does not, because a client can begin as many runs as it likes. A limit on output does not, because
    calls without output take nothing of it. A limit without a window keeps no total.
    """
    steers: bool = field(init=False, compare=False, repr=False)
    """Whether the window is long enough for the limit to help choose the tier."""

    def __post_init__(self) -> None:
        """Computes once what every decision needs."""
        kind, window = self.kind, self._window()
        soft = SOFT_MARK if self.soft else ""
        computed = {
            "window": window,
            "limit_id": f"{kind}/{window.name}{soft}" if kind.has_window else str(kind),
            "is_rate": (kind.has_counter and not kind.has_window) or (window.is_hour_or_shorter and not kind.is_money),
            "bounds": kind.bounds and self.per is not WindowUnit.RUN,
            "steers": kind.has_window and window.is_day_or_longer,
        }
        for name, value in computed.items():
            object.__setattr__(self, name, value)

    def _window(self) -> WindowRule:
        if self.kind.follows_key:
            return WindowRule(WindowUnit.ROLLING, rolling_ms=MINUTE_MS)
        return WindowRule(self.per, self.timezone, self.week_start, self.anchor_day, self.rolling_ms)

    @property
    def title(self) -> str:
        """The limit's name for people, e.g. "spend per month"."""
        if not self.kind.has_window:
            return self.kind.replace("_", " ")
        if self.per is WindowUnit.ROLLING:
            return f"{self.kind} in {self.rolling_ms // ROLLING_STEP_MS} minutes"
        return f"{self.kind} in all" if self.per is WindowUnit.LIFETIME else f"{self.kind} per {self.per}"
