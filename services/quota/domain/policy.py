"""Policies: how much calls that match may spend, and what happens over it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from services.kernel.errors import InvalidInput
from services.kernel.money import NANO_PER_USD
from services.kernel.names import check_model, check_name, check_user
from services.kernel.window import (
    MAX_ROLLING_MS,
    ROLLING_STEP_MS,
    Weekday,
    WindowRule,
    WindowUnit,
    load_timezone,
)
from services.quota.domain.burn_rate import MINUTE_MS

# Counters of larger stores compare in doubles, which are exact up to 2^53 nano-USD: about $9.0 million.
MAX_SPEND_NANO_USD = 9_000_000 * NANO_PER_USD
MAX_COUNT = 2**53
MAX_BASIS_POINTS = 10_000
MAX_LIMITS = 16
MAX_THRESHOLDS = 16
SOFT_MARK = "/soft"
_MAX_ANCHOR_DAY = 31
MIN_FACTOR_PERCENT = 200
MAX_FACTOR_PERCENT = 100_000
UTC = "UTC"
TOO_MANY_REQUESTS = 429
PAYMENT_REQUIRED = 402


class LimitKind(StrEnum):
    """What a limit counts."""

    SPEND = "spend"
    """Nano-USD."""
    TOKENS = "tokens"
    """Input and output together."""
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    REQUESTS = "requests"
    CONCURRENCY = "concurrency"
    """Calls that have not ended."""
    REQUEST_COST = "request_cost"
    """Nano-USD that one call can take at most. Nothing adds up."""
    BURN_RATE = "burn_rate"
    """Nano-USD that a key spends in a minute, against what it usually does. Calls in flight hold nothing of it."""

    @property
    def is_money(self) -> bool:
        """Whether amounts of it are nano-USD."""
        return self in _OF_MONEY

    @property
    def needs_price(self) -> bool:
        """Whether a call without a price cannot be judged."""
        return self in _PRICED

    @property
    def has_window(self) -> bool:
        """Whether it adds up over a period of time that a policy chooses."""
        return self not in _WITHOUT_WINDOW

    @property
    def is_of_size(self) -> bool:
        """Whether a larger call holds more of it, so that the size of a call must have a bound."""
        return self not in _OF_ONE_SIZE


# Asked several times in each decision, where a set that is built anew costs more than the question.
_PRICED = frozenset({LimitKind.SPEND, LimitKind.REQUEST_COST})
_OF_MONEY = _PRICED | {LimitKind.BURN_RATE}
_WITHOUT_WINDOW = frozenset({LimitKind.CONCURRENCY, LimitKind.REQUEST_COST, LimitKind.BURN_RATE})
_OF_ONE_SIZE = frozenset({LimitKind.REQUESTS, LimitKind.CONCURRENCY, LimitKind.BURN_RATE})
# Every call takes something of these, and it adds up. A model that is free takes no money, and costs none.
_OF_EVERY_CALL = frozenset({LimitKind.SPEND, LimitKind.TOKENS, LimitKind.INPUT_TOKENS, LimitKind.REQUESTS})


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

    @property
    def named(self) -> tuple[tuple[Dimension, str], ...]:
        """The values that it names, in the order in which scopes are written."""
        return _named(self)


@lru_cache(maxsize=65_536)
def _named(match: Match) -> tuple[tuple[Dimension, str], ...]:
    values = ((dimension, getattr(match, dimension)) for dimension in Dimension)
    return tuple((dimension, value) for dimension, value in values if value)


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
        if self.kind is LimitKind.BURN_RATE:
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
        if self.kind in {LimitKind.CONCURRENCY, LimitKind.BURN_RATE}:
            return True
        return self.window.is_hour_or_shorter and not self.kind.is_money

    @property
    def bounds(self) -> bool:
        """Whether it bounds, by itself, what calls can take in all.

        One per run does not: a client begins as many runs as it likes. Nor does one on output: calls without any take
        nothing of it. What has no window adds nothing up.
        """
        return self.kind in _OF_EVERY_CALL and self.per is not WindowUnit.RUN

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

    @property
    def binds(self) -> bool:
        """Whether what the calls that it matches can take in all is bounded by it."""
        return self.mode is Mode.ENFORCE and any(facts_of(limit).bounds for limit in self.limits)

    def reached_at(self, action: ThresholdAction) -> int | None:
        """Basis points of the first threshold with this action; None when there is none."""
        return next((each.basis_points for each in self.thresholds if each.action is action), None)


def is_soft(limit_id: str) -> bool:
    """Whether a `Limit.limit_id` is that of a soft limit."""
    return limit_id.endswith(SOFT_MARK)


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
            raise InvalidInput(f"{field}.limits[{at}]", f"a second limit of {limit.title}: keep one")
        seen.add(limit.limit_id)
    _check_thresholds(f"{field}.thresholds", policy.thresholds)
    if policy.exhausted_status not in {TOO_MANY_REQUESTS, PAYMENT_REQUIRED}:
        raise InvalidInput(f"{field}.exhausted_status", "must be 429 or 402")
    if not 0 <= policy.allowance_nano_usd <= MAX_SPEND_NANO_USD:
        raise InvalidInput(f"{field}.store_failure_allowance", "must be 0 to 9000000 dollars")
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
    _check_window(field, limit)
    if limit.soft and not (limit.kind.is_of_size and limit.kind.has_window):
        raise InvalidInput(f"{field}.bound", f"a limit of {limit.kind} is exact: leave `bound: soft` out")
    if limit.kind.is_money:
        if not 0 <= limit.bound <= MAX_SPEND_NANO_USD:
            raise InvalidInput(f"{field}.amount", "must be 0 to 9000000 dollars: split a larger budget by team")
    elif not 0 <= limit.bound <= MAX_COUNT:
        raise InvalidInput(f"{field}.count", f"must be 0 to {MAX_COUNT}")


def _check_window(field: str, limit: Limit) -> None:
    if not limit.kind.has_window and limit.per is not WindowUnit.LIFETIME:
        raise InvalidInput(f"{field}.per", f"a limit of {limit.kind} has no window: leave it out")
    if (limit.kind is LimitKind.BURN_RATE) != (limit.factor_percent > 0):
        raise InvalidInput(f"{field}.factor_percent", "a burn rate is a multiple of what is usual; no other is")
    if limit.kind is LimitKind.BURN_RATE and limit.bound == 0:
        raise InvalidInput(f"{field}.amount", "must be above 0: the least that is taken for usual in a minute")
    if limit.factor_percent and not MIN_FACTOR_PERCENT <= limit.factor_percent <= MAX_FACTOR_PERCENT:
        raise InvalidInput(f"{field}.factor_percent", "must be 2 to 1000 times what is usual")
    if not 1 <= limit.anchor_day <= _MAX_ANCHOR_DAY:
        raise InvalidInput(f"{field}.anchor_day", "must be a day of the month, 1 to 31")
    if limit.anchor_day != 1 and limit.per is not WindowUnit.MONTH:
        raise InvalidInput(f"{field}.anchor_day", "goes with a window of a month")
    if limit.week_start is not Weekday.MONDAY and limit.per is not WindowUnit.WEEK:
        raise InvalidInput(f"{field}.week_start", "goes with a window of a week")
    if (limit.per is WindowUnit.ROLLING) != (limit.rolling_ms > 0):
        raise InvalidInput(f"{field}.rolling", "a rolling window has a length, and no other has")
    if limit.rolling_ms % ROLLING_STEP_MS or limit.rolling_ms > MAX_ROLLING_MS:
        raise InvalidInput(f"{field}.rolling", "must be whole minutes, at most 366 days")


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
