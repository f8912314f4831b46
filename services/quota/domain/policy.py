"""Policies: how much calls that match may spend, and what happens over it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.kernel.errors import InvalidInput
from services.kernel.money import NANO_PER_USD
from services.kernel.names import check_model, check_name, check_user
from services.kernel.window import WindowUnit, load_timezone

# Counters of larger stores compare in doubles, which are exact up to 2^53 nano-USD: about $9.0 million.
MAX_SPEND_NANO_USD = 9_000_000 * NANO_PER_USD
MAX_COUNT = 2**53
MAX_BASIS_POINTS = 10_000
MAX_LIMITS = 16
MAX_THRESHOLDS = 16
UTC = "UTC"


class LimitKind(StrEnum):
    """What a limit counts."""

    SPEND = "spend"
    """Nano-USD."""
    TOKENS = "tokens"
    """Input and output together."""
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    REQUESTS = "requests"


class Mode(StrEnum):
    """What a policy does with a call over its limit."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    """Counts, refuses nothing."""
    DISABLED = "disabled"
    """Neither counts nor refuses."""


class Dimension(StrEnum):
    """A property of a call that policies can name, in the order in which scopes are written."""

    TEAM = "team"
    PROJECT = "project"
    ENVIRONMENT = "environment"
    USER = "user"
    KEY = "key"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Match:
    """Which calls a policy is about. An empty field matches any value, also none."""

    team: str = ""
    project: str = ""
    environment: str = ""
    user: str = ""
    key: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound of a policy."""

    kind: LimitKind
    bound: int
    """Inclusive. Nano-USD for spend, else tokens or requests. 0 blocks."""
    per: WindowUnit
    timezone: str = UTC
    """IANA name. Matters to days and months only."""

    @property
    def limit_id(self) -> str:
        """What the limit's counters are filed under, e.g. "spend/month/America-New_York".

        It leaves out the bound: to raise a limit does not lose what is counted.
        """
        zone = f"/{self.timezone.replace('/', '-')}" if self.per.is_day_or_longer else ""
        return f"{self.kind}/{self.per}{zone}"

    @property
    def is_rate(self) -> bool:
        """Whether clients should see it as a rate limit, which passes by itself, and not as a budget."""
        return not self.per.is_day_or_longer and self.kind is not LimitKind.SPEND


@dataclass(frozen=True, slots=True)
class Threshold:
    """At which part of a limit whom to tell."""

    basis_points: int
    """8000 is 80 %."""
    notify: tuple[str, ...] = ()
    """Names of alert channels."""


@dataclass(frozen=True, slots=True)
class QuotaPolicy:
    """Limits on the calls that match. Every policy that matches a call must admit it."""

    name: str
    match: Match
    limits: tuple[Limit, ...]
    each: Dimension | None = None
    """Counts each distinct value of this dimension separately. A call that has no value of it is not concerned."""
    thresholds: tuple[Threshold, ...] = ()
    mode: Mode = Mode.ENFORCE


def kind_of(limit_id: str) -> LimitKind:
    """The kind that a `Limit.limit_id` begins with."""
    return LimitKind(limit_id.partition("/")[0])


def check_policy(field: str, policy: QuotaPolicy) -> QuotaPolicy:
    """Returns `policy` if it can be enforced as it stands.

    Raises:
        InvalidInput: it cannot; `field` is the path of the policy, e.g. "policies[2]".
    """
    check_name(f"{field}.name", policy.name)
    _check_match(f"{field}.match", policy.match)
    if not 1 <= len(policy.limits) <= MAX_LIMITS:
        raise InvalidInput(f"{field}.limits", f"a policy has 1 to {MAX_LIMITS} limits, not {len(policy.limits)}")
    seen: set[str] = set()
    for at, limit in enumerate(policy.limits):
        _check_limit(f"{field}.limits[{at}]", limit)
        if limit.limit_id in seen:
            raise InvalidInput(f"{field}.limits[{at}]", f"a second limit of {limit.kind} per {limit.per}: keep one")
        seen.add(limit.limit_id)
    _check_thresholds(f"{field}.thresholds", policy.thresholds)
    return policy


def _check_match(field: str, match: Match) -> None:
    for dimension in Dimension:
        value = getattr(match, dimension)
        if not value:
            continue
        path = f"{field}.{dimension}"
        if dimension is Dimension.USER:
            check_user(path, value)
        elif dimension is Dimension.MODEL:
            check_model(path, value)
        else:
            check_name(path, value)


def _check_limit(field: str, limit: Limit) -> None:
    try:
        load_timezone(limit.timezone)
    except ValueError as error:
        raise InvalidInput(f"{field}.timezone", str(error)) from error
    if limit.kind is LimitKind.SPEND:
        if not 0 <= limit.bound <= MAX_SPEND_NANO_USD:
            raise InvalidInput(f"{field}.amount", "must be 0 to 9000000 dollars: split a larger budget by team")
    elif not 0 <= limit.bound <= MAX_COUNT:
        raise InvalidInput(f"{field}.count", f"must be 0 to {MAX_COUNT}")


def _check_thresholds(field: str, thresholds: tuple[Threshold, ...]) -> None:
    if len(thresholds) > MAX_THRESHOLDS:
        raise InvalidInput(field, f"at most {MAX_THRESHOLDS} thresholds")
    before = 0
    for at, threshold in enumerate(thresholds):
        path = f"{field}[{at}]"
        if not before < threshold.basis_points <= MAX_BASIS_POINTS:
            raise InvalidInput(f"{path}.basis_points", "thresholds rise, from above 0 to at most 100 %")
        before = threshold.basis_points
        for index, channel in enumerate(threshold.notify):
            check_name(f"{path}.notify[{index}]", channel)
