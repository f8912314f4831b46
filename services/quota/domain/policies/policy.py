"""Policies: how much matching calls may spend, and what happens beyond that."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from services.kernel.scope import Dimension, ScopeParts
from services.quota.domain.policies.limit import Limit

MAX_BASIS_POINTS = 10_000
TOO_MANY_REQUESTS = 429
PAYMENT_REQUIRED = 402


class Mode(StrEnum):
    """What a policy does to a call over its limit."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    """Counts, but refuses nothing."""
    DISABLED = "disabled"
    """Neither counts nor refuses."""


@dataclass(frozen=True, slots=True)
class Match:
    """The calls that a policy applies to. An empty field matches any value, and calls without a value."""

    team: str = ""
    project: str = ""
    environment: str = ""
    user: str = ""
    key: str = ""
    model: str = ""

    @property
    def named(self) -> tuple[tuple[Dimension, str], ...]:
        """The values that are not empty, in the order in which a scope lists them."""
        values = ((dimension, getattr(self, dimension)) for dimension in Dimension)
        return tuple((dimension, value) for dimension, value in values if value)


class ThresholdAction(StrEnum):
    """What a threshold does once it is reached, besides the alert."""

    NOTIFY = "notify"
    """Nothing."""
    DEGRADE = "degrade"
    """Calls go to the next cheaper tier of their model, even if that tier starts at a higher part of the budget."""
    DENY = "deny"
    """The policy refuses calls, as if the limit ended here."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A part of a limit at which to alert somebody or to act."""

    basis_points: int
    """The part of the limit; 8000 is 80 %."""
    notify: tuple[str, ...] = ()
    """The names of alert channels."""
    action: ThresholdAction = ThresholdAction.NOTIFY


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """Limits on the calls that match. Every policy that matches a call must admit it."""

    name: str
    match: Match
    limits: tuple[Limit, ...]
    each: Dimension | None = None
    """The policy counts each distinct value of this dimension separately, and all calls without a value together."""
    thresholds: tuple[Threshold, ...] = ()
    mode: Mode = Mode.ENFORCE
    default: bool = False
    """The policy applies only to calls that no other policy binds."""
    exhausted_status: int = TOO_MANY_REQUESTS
    """The HTTP status of a refusal that lasts until the window ends. Some clients retry every 429; none retries a
    402."""
    allows_unpriced: bool = False
    """The policy admits calls without a known price. They add nothing to limits on spend."""
    allowance_nano_usd: int = 0
    """What calls may cost in a day while the counter store fails. 0: the policy refuses them."""
    estimates_unmeasured: bool = False
    """The limits keep no doubt: an unmeasured call counts only as its estimate."""
    refuses_unknown_members: bool = False
    """The policy, if enforced, refuses calls with members that the gateway does not know. False: such calls hold the
    most that they can cost."""

    scope_parts: ScopeParts = field(init=False, compare=False, repr=False)
    """The parts of which its scopes consist."""

    def __post_init__(self) -> None:
        """Computes once what every decision needs."""
        values = ((dimension, getattr(self.match, dimension)) for dimension in Dimension)
        parts = tuple((dimension, value) for dimension, value in values if value or dimension is self.each)
        object.__setattr__(self, "scope_parts", parts)

    @property
    def binds(self) -> bool:
        """Whether the policy bounds the total that its calls can take."""
        return self.mode is Mode.ENFORCE and any(limit.bounds for limit in self.limits)

    def reached_at(self, action: ThresholdAction) -> int | None:
        """The basis points of the first threshold with this action; None if there is none."""
        return next((each.basis_points for each in self.thresholds if each.action is action), None)
