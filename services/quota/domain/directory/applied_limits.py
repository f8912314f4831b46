"""The limits that apply to one call, each with its counter in the current window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from operator import add
from typing import Any, NamedTuple, TypeVar

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension, part_scope
from services.kernel.window import Window, WindowRule, WindowUnit
from services.quota.domain.counters.allowance import Allowance, allowances_of
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.burn_rate import allowed_per_minute
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.override import Override, OverrideTarget
from services.quota.domain.policies.policy import (
    MAX_BASIS_POINTS,
    TOO_MANY_REQUESTS,
    Mode,
    QuotaPolicy,
    ThresholdAction,
)
from services.quota.domain.policies.scope import policies_for

NO_OVERRIDES: Mapping[OverrideTarget, Override] = {}


T = TypeVar("T")


class Shared:
    """Keeps one of equal values, so that keys to which the same limits apply share them. Any thread may use it."""

    def __init__(self) -> None:
        self._values: dict[Any, Any] = {}

    def __call__(self, value: T) -> T:
        """Returns the value that equals this one and was here first."""
        if len(self._values) >= _MOST_SHARED:
            self._values.clear()
        kept: T = self._values.setdefault(value, value)
        return kept


# Windows and policies come and go, and their limits with them.
_MOST_SHARED = 40_000


WindowAt = Callable[[WindowRule, int], Window]
"""Returns the window of a rule at a moment, given in milliseconds since 1970."""


class Call(NamedTuple):
    """The facts of a call that decide which limits apply to it, and what they allow."""

    attribution: Attribution
    model: str
    run: str = ""
    """The client's name for the run of the call; empty if it names none."""
    typical_nano_usd: int = 0
    """What its key typically spends in a minute."""


class AppliedLimit(NamedTuple):
    """A limit as it applies to one call, with its counter in the current window."""

    counter: CounterKey
    kind: LimitKind
    bound: int
    """The bound of admission. It lies below the limit if the policy has a threshold that denies."""
    window_end_ms: int
    enforced: bool
    """False: the policy is in shadow mode, so the limit counts but refuses nothing."""
    steers: bool
    """The limit is enforced and its window is a day or longer, so it helps choose the tier."""
    is_rate: bool
    retain_until_ms: int = 0
    """The moment from which nobody needs the counter any longer; not before its window ends."""
    trailing: tuple[CounterKey, ...] = ()
    """In a rolling window, the counters of its other parts."""
    window: WindowRule = WindowRule(WindowUnit.LIFETIME)
    degrades_at: int | None = None
    """The settled amount from which calls go to a cheaper tier; None: the policy has no such threshold."""
    soft: bool = False
    """Calls hold their typical use."""
    estimates_unmeasured: bool = False
    """See `QuotaPolicy`."""
    exhausted_status: int = TOO_MANY_REQUESTS
    """See `QuotaPolicy`."""
    overridden_until_ms: int = 0
    """When the override that sets the bound ends; 0: the bound is the policy's own."""


@dataclass(frozen=True, slots=True)
class AppliedLimits:
    """All limits that apply to the calls of one key for one model, until a window or an override ends."""

    limits: tuple[AppliedLimit, ...]
    counters: tuple[CounterKey, ...]
    """The counters of the limits, in the same order, and then the trailing counters of rolling windows."""
    from_ms: int
    until_ms: int
    needs_price: bool
    """There is an enforced limit on money whose policy does not admit unpriced calls."""
    policies: tuple[str, ...]
    """The names of the policies that have these limits."""
    holds_tokens: bool
    """There is a hard limit that counts the size of calls, so the output must have a bound."""
    has_soft: bool = False
    bounded: bool = False
    """An enforced limit bounds the total that such calls can take."""
    allowances: tuple[Allowance, ...] = ()
    """The allowances of the enforced policies. Empty if there are no such policies, or one allows nothing."""
    refuses_unknown_members: tuple[str, str] | None = None
    """The name and scope of an enforced policy that refuses calls with unknown members; None: none does."""
    rolls: bool = field(init=False)
    """Some window rolls, so that there are more counters than limits."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rolls", len(self.counters) > len(self.limits))

    def fold(self, levels: Sequence[Level]) -> Sequence[Level]:
        """The level of each limit, from the levels of `counters`."""
        count = len(self.limits)
        if len(levels) == count:
            return levels
        folded, following = list(levels[:count]), iter(levels[count:])
        for at, limit in enumerate(self.limits):
            for level in islice(following, len(limit.trailing)):
                folded[at] = Level(*map(add, folded[at], level))
        return folded


def apply_limits(
    policies: Iterable[QuotaPolicy],
    call: Call,
    now_ms: int,
    *,
    window_at: WindowAt = WindowRule.at,
    overrides: Mapping[OverrideTarget, Override] = NO_OVERRIDES,
    shared: Shared | None = None,
) -> AppliedLimits:
    """Finds the limits of all policies that match a call. Limits per run do not apply to a call without a run.

    `shared`: what earlier calls found; None: nothing that they could share.
    """
    shared = shared or Shared()
    found: list[AppliedLimit] = []
    needs_price = bounded = False
    from_ms, until_ms = 0, 2**63
    matching = policies_for(policies, call.attribution, call.model)
    for policy, scope in matching:
        for limit in policy.limits:
            # An override of a limit per run applies to every run.
            override = override_of(overrides, (policy.name, limit.limit_id, scope), now_ms)
            counted, asked = scope, with_bound_of(override, limit)
            if limit.per is WindowUnit.RUN:
                if not call.run:
                    continue
                counted = part_scope(scope, WindowUnit.RUN, call.run)
            elif limit.kind.follows_key:
                counted = part_scope(scope, Dimension.KEY, call.attribution.key)
                asked = with_allowance(limit, call.typical_nano_usd)
            window = window_at(limit.window, now_ms)
            applied = shared(applied_limit(policy, asked, counted, window, override))
            found.append(applied)
            bounded |= applied.enforced and limit.bounds
            needs_price |= applied.enforced and applied.kind.needs_price and not policy.allows_unpriced
            from_ms, until_ms = max(from_ms, window.start_ms), min(until_ms, window.end_ms)
            if override is not None:
                until_ms = min(until_ms, override.expire_at_ms)
    enforced = {limit.counter.policy for limit in found if limit.enforced}
    applied_limits = AppliedLimits(
        limits=tuple(found),
        counters=(*(limit.counter for limit in found), *(key for limit in found for key in limit.trailing)),
        from_ms=from_ms,
        until_ms=until_ms,
        needs_price=needs_price,
        policies=shared(tuple(policy.name for policy, _ in matching)),
        holds_tokens=any(limit.kind.is_of_size and not limit.soft for limit in found),
        has_soft=any(limit.soft for limit in found),
        bounded=bounded,
        allowances=allowances_of(
            Allowance(policy.name, policy.allowance_nano_usd) for policy, _ in matching if policy.name in enforced
        ),
        refuses_unknown_members=next(
            (
                (policy.name, scope)
                for policy, scope in matching
                if policy.refuses_unknown_members and policy.mode is Mode.ENFORCE
            ),
            None,
        ),
    )
    return shared(applied_limits)


def override_of(overrides: Mapping[OverrideTarget, Override], place: OverrideTarget, now_ms: int) -> Override | None:
    """The override of a target that is in force at this moment."""
    override = overrides.get(place)
    return override if override is not None and override.holds_at(now_ms) else None


def with_bound_of(override: Override | None, limit: Limit) -> Limit:
    """The limit, with the bound that the override sets."""
    return limit if override is None else replace(limit, bound=override.bound)


def with_allowance(limit: Limit, typical_nano_usd: int) -> Limit:
    """A burn rate limit with the bound for a key that typically spends this much in a minute."""
    return replace(limit, bound=allowed_per_minute(typical_nano_usd, limit.bound, limit.factor_percent))


def applied_limit(
    policy: QuotaPolicy, limit: Limit, scope: str, window: Window, override: Override | None
) -> AppliedLimit:
    """A limit of a policy in a window, as it applies to the calls that its counter counts."""
    enforced = policy.mode is Mode.ENFORCE
    counter = CounterKey(policy.name, limit.limit_id, scope, window.start_ms)
    denies_from, degrades_from = policy.reached_at(ThresholdAction.DENY), policy.reached_at(ThresholdAction.DEGRADE)
    return AppliedLimit(
        counter=counter,
        kind=limit.kind,
        bound=limit.bound if denies_from is None else part_of(limit.bound, denies_from),
        window_end_ms=window.end_ms,
        enforced=enforced,
        steers=enforced and limit.steers,
        is_rate=limit.is_rate,
        retain_until_ms=window.retain_until_ms,
        trailing=trailing_counters(limit, counter),
        window=limit.window,
        overridden_until_ms=0 if override is None else override.expire_at_ms,
        soft=limit.soft,
        estimates_unmeasured=policy.estimates_unmeasured,
        degrades_at=None if degrades_from is None or not enforced else part_of(limit.bound, degrades_from),
        exhausted_status=policy.exhausted_status,
    )


def part_of(bound: int, basis_points: int) -> int:
    """A part of a bound, rounded down."""
    return bound * basis_points // MAX_BASIS_POINTS


def trailing_counters(limit: Limit, counter: CounterKey) -> tuple[CounterKey, ...]:
    """In a rolling window, the counters of its other parts."""
    starts_ms = limit.window.trailing_starts_ms(counter.window_start_ms)
    return tuple(counter._replace(window_start_ms=start_ms) for start_ms in starts_ms)
