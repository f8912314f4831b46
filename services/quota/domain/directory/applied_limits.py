"""The limits that apply to one call, each with its counter in the present window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from operator import add
from typing import NamedTuple

from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension, part_scope
from services.kernel.window import Window, WindowRule, WindowUnit
from services.quota.domain.counters.allowance import Allowance, allowances_of
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.burn_rate import allowed_per_minute
from services.quota.domain.policies.limit import Limit, facts_of
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


WindowAt = Callable[[WindowRule, int], Window]
"""The window of a rule at a moment, in milliseconds since 1970."""


class Call(NamedTuple):
    """What of a call decides which limits concern it, and what they allow."""

    attribution: Attribution
    model: str
    run: str = ""
    """What the client names the run that the call belongs to, empty when it names none."""
    typical_nano_usd: int = 0
    """What its key usually spends in a minute."""


class AppliedLimit(NamedTuple):
    """A limit as it concerns one call: its counter in the present window."""

    counter: CounterKey
    kind: LimitKind
    bound: int
    """Up to which calls are admitted: a threshold that denies moves it below the limit."""
    window_end_ms: int
    enforced: bool
    """False: shadow, counts but refuses nothing."""
    steers: bool
    """Its window is a day or longer and it is enforced, so that it has a say in which tier serves."""
    is_rate: bool
    retain_until_ms: int = 0
    """When what it counts now stops to matter: not before its window ends."""
    trailing: tuple[CounterKey, ...] = ()
    """Counters that add to its own, in a window that rolls."""
    window: WindowRule = WindowRule(WindowUnit.LIFETIME)
    degrades_at: int | None = None
    """From how much settled on calls go to a cheaper tier; None: its policy leaves that to the model."""
    soft: bool = False
    """Calls hold what they usually take."""
    estimates_unmeasured: bool = False
    """See `QuotaPolicy`."""
    exhausted_status: int = TOO_MANY_REQUESTS
    """See `QuotaPolicy`."""
    overridden_until_ms: int = 0
    """When the override ends that sets the bound; 0: the bound is the policy's own."""


@dataclass(frozen=True, slots=True)
class AppliedLimits:
    """All limits that concern the calls of one key for one model, until a window or an override ends."""

    limits: tuple[AppliedLimit, ...]
    counters: tuple[CounterKey, ...]
    """Of the limits, in the same order, and then those that trail in windows that roll."""
    from_ms: int
    until_ms: int
    needs_price: bool
    """An enforced limit on money is among them, of a policy that does not allow what is unpriced."""
    policies: tuple[str, ...]
    """Names of those that the limits are of."""
    holds_tokens: bool
    """A hard limit of which a larger call takes more is among them, so that the output must be bounded."""
    has_soft: bool = False
    bounded: bool = False
    """Some enforced limit among them bounds what such calls can take in all."""
    allowances: tuple[Allowance, ...] = ()
    """Of the enforced policies among them. Empty when there are none, or one of them allows nothing."""
    refuses_unknown_members: tuple[str, str] | None = None
    """Name and scope of an enforced policy that refuses calls with members that nobody knows; None: none does."""

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
) -> AppliedLimits:
    """Finds the limits of all policies that match a call. Those per run do not concern a call that names none."""
    found: list[AppliedLimit] = []
    needs_price = bounded = False
    from_ms, until_ms = 0, 2**63
    matching = policies_for(policies, call.attribution, call.model)
    for policy, scope in matching:
        for limit in policy.limits:
            facts = facts_of(limit)
            # One for a limit per run is for every run.
            override = override_of(overrides, (policy.name, facts.limit_id, scope), now_ms)
            counted, asked = scope, with_bound_of(override, limit)
            if limit.per is WindowUnit.RUN:
                if not call.run:
                    continue
                counted = part_scope(scope, WindowUnit.RUN, call.run)
            elif limit.kind.follows_key:
                counted = part_scope(scope, Dimension.KEY, call.attribution.key)
                asked = with_allowance(limit, call.typical_nano_usd)
            window = window_at(facts.window, now_ms)
            applied = _applied_limit(policy, asked, counted, window, override)
            found.append(applied)
            bounded |= applied.enforced and facts.bounds
            needs_price |= applied.enforced and applied.kind.needs_price and not policy.allows_unpriced
            from_ms, until_ms = max(from_ms, window.start_ms), min(until_ms, window.end_ms)
            if override is not None:
                until_ms = min(until_ms, override.expire_at_ms)
    enforced = {limit.counter.policy for limit in found if limit.enforced}
    return AppliedLimits(
        limits=tuple(found),
        counters=(*(limit.counter for limit in found), *(key for limit in found for key in limit.trailing)),
        from_ms=from_ms,
        until_ms=until_ms,
        needs_price=needs_price,
        policies=tuple(policy.name for policy, _ in matching),
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


def override_of(overrides: Mapping[OverrideTarget, Override], place: OverrideTarget, now_ms: int) -> Override | None:
    """The override in a place at this moment."""
    override = overrides.get(place)
    return override if override is not None and override.holds_at(now_ms) else None


def with_bound_of(override: Override | None, limit: Limit) -> Limit:
    """A limit with the bound that an override sets."""
    return limit if override is None else replace(limit, bound=override.bound)


def with_allowance(limit: Limit, typical_nano_usd: int) -> Limit:
    """A limit on the burn rate with the bound that it has for a key which usually spends that much in a minute."""
    return replace(limit, bound=allowed_per_minute(typical_nano_usd, limit.bound, limit.factor_percent))


def _applied_limit(
    policy: QuotaPolicy, limit: Limit, scope: str, window: Window, override: Override | None
) -> AppliedLimit:
    enforced = policy.mode is Mode.ENFORCE
    facts = facts_of(limit)
    counter = CounterKey(policy.name, facts.limit_id, scope, window.start_ms)
    denies_from, degrades_from = policy.reached_at(ThresholdAction.DENY), policy.reached_at(ThresholdAction.DEGRADE)
    return AppliedLimit(
        counter=counter,
        kind=limit.kind,
        bound=limit.bound if denies_from is None else part_of(limit.bound, denies_from),
        window_end_ms=window.end_ms,
        enforced=enforced,
        steers=enforced and facts.steers,
        is_rate=facts.is_rate,
        retain_until_ms=window.retain_until_ms,
        trailing=trailing_counters(limit, counter),
        window=facts.window,
        overridden_until_ms=0 if override is None else override.expire_at_ms,
        soft=limit.soft,
        estimates_unmeasured=policy.estimates_unmeasured,
        degrades_at=None if degrades_from is None or not enforced else part_of(limit.bound, degrades_from),
        exhausted_status=policy.exhausted_status,
    )


def part_of(bound: int, basis_points: int) -> int:
    """That part of a limit, rounded down."""
    return bound * basis_points // MAX_BASIS_POINTS


def trailing_counters(limit: Limit, counter: CounterKey) -> tuple[CounterKey, ...]:
    """The counters that count beside this one, in a window that rolls."""
    starts_ms = facts_of(limit).window.trailing_starts_ms(counter.window_start_ms)
    return tuple(counter._replace(window_start_ms=start_ms) for start_ms in starts_ms)
