"""Policies: how much calls that match may spend, and what happens over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from services.kernel.scope import Dimension, ScopeParts
from services.quota.domain.policies.limit import Limit, facts_of

MAX_BASIS_POINTS = 10_000


TOO_MANY_REQUESTS = 429


PAYMENT_REQUIRED = 402


class Mode(StrEnum):
    """What a policy does with a call over its limit."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    """Counts, refuses nothing."""
    DISABLED = "disabled"
    """Neither counts nor refuses."""


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls a policy is about. An empty field matches any value, also none."""

    team: str = ""
    project: str = ""
    environment: str = ""
    user: str = ""
    key: str = ""
    model: str = ""

    @property
    def named(self) -> tuple[tuple[Dimension, str], ...]:
        """The values that it names, in the order in which scopes are written."""
        values = ((dimension, getattr(self, dimension)) for dimension in Dimension)
        return tuple((dimension, value) for dimension, value in values if value)


class ThresholdAction(StrEnum):
    """What happens when a threshold is reached, besides that it is told."""

    NOTIFY = "notify"
    """Nothing."""
    DEGRADE = "degrade"
    """Calls go to the next cheaper tier of their model, whatever part of the budget that tier waits for."""
    DENY = "deny"
    """Calls are refused, as if the limit ended here."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """At which part of a limit whom to tell, and what to do."""

    basis_points: int
    """8000 is 80 %."""
    notify: tuple[str, ...] = ()
    """Names of alert channels."""
    action: ThresholdAction = ThresholdAction.NOTIFY


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """Limits on the calls that match. Every policy that matches a call must admit it."""

    name: str
    match: Match
    limits: tuple[Limit, ...]
    each: Dimension | None = None
    """Counts each distinct value of this dimension separately, and all calls without one together."""
    thresholds: tuple[Threshold, ...] = ()
    mode: Mode = Mode.ENFORCE
    default: bool = False
    """Concerns only calls that no other policy binds."""
    exhausted_status: int = TOO_MANY_REQUESTS
    """HTTP status of a refusal that lasts until the window ends. Some clients retry every 429, and none a 402."""
    allows_unpriced: bool = False
    """Lets calls through whose cost nobody can know; they count for nothing in limits on spend."""
    allowance_nano_usd: int = 0
    """What calls may cost in a day while the counters cannot be read or written. 0: they are refused."""
    estimates_unmeasured: bool = False
    """Its limits keep no doubt: what nobody measured counts as its estimate alone."""
    refuses_unknown_members: bool = False
    """Refuses, where it is enforced, calls with members that nobody here knows. False: they hold what they can cost."""

    scope_parts: ScopeParts = field(init=False, compare=False, repr=False)
    """What its scopes are made of."""

    def __post_init__(self) -> None:
        """Works out once what each decision asks for."""
        values = ((dimension, getattr(self.match, dimension)) for dimension in Dimension)
        parts = tuple((dimension, value) for dimension, value in values if value or dimension is self.each)
        object.__setattr__(self, "scope_parts", parts)

    @property
    def binds(self) -> bool:
        """Whether what the calls that it matches can take in all is bounded by it."""
        return self.mode is Mode.ENFORCE and any(facts_of(limit).bounds for limit in self.limits)

    def reached_at(self, action: ThresholdAction) -> int | None:
        """Basis points of the first threshold with this action; None when there is none."""
        return next((each.basis_points for each in self.thresholds if each.action is action), None)
