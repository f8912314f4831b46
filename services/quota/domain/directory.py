"""Who there is and which limits apply to whom: an immutable picture of teams, keys and policies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from services.kernel.names import EVERYTHING, part_scope, scope_name
from services.kernel.window import Window, WindowRule, WindowUnit
from services.quota.domain.admin_token import AdminToken
from services.quota.domain.allowance import Allowance, allowances_of
from services.quota.domain.burn_rate import UsualRate, allowed_per_minute, nothing_usual
from services.quota.domain.key import Attribution, VirtualKey
from services.quota.domain.override import Override, Place
from services.quota.domain.policy import (
    MAX_BASIS_POINTS,
    TOO_MANY_REQUESTS,
    Dimension,
    Limit,
    LimitKind,
    Mode,
    QuotaPolicy,
    ThresholdAction,
    facts_of,
)
from services.quota.domain.policy_index import PolicyIndex
from services.quota.domain.reservation import CounterKey, Level, Watch

# Pairs of a key and a model whose limits are remembered. Beyond it everything is forgotten and found again.
_MAX_REMEMBERED = 50_000
NO_OVERRIDES: Mapping[Place, Override] = {}
# What was told of a window that rolls is not told again sooner, however short the window.
_QUIET_MS = 3_600_000
WindowAt = Callable[[WindowRule, int], Window]
"""The window of a rule at a moment, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Team:
    """A team, its projects and members."""

    name: str
    projects: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything that an administrator set, as it is stored."""

    organization: str = ""
    teams: tuple[Team, ...] = ()
    policies: tuple[QuotaPolicy, ...] = ()
    keys: tuple[VirtualKey, ...] = ()
    overrides: tuple[Override, ...] = ()
    tokens: tuple[AdminToken, ...] = ()


def without_expired(directory: Directory, now_ms: int) -> Directory:
    """The same without the overrides whose time is over."""
    return replace(directory, overrides=tuple(each for each in directory.overrides if each.holds_at(now_ms)))


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
    counts_until_ms: int = 0
    """When what it counts now stops to matter: not before its window ends."""
    trailing: tuple[CounterKey, ...] = ()
    """Counters that add to its own, in a window that rolls."""
    window: WindowRule = WindowRule(WindowUnit.LIFETIME)
    degrades_at: int | None = None
    """From how much settled on calls go to a cheaper tier; None: its policy leaves that to the model."""
    soft: bool = False
    """Calls hold what they usually take."""
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
    allowances: tuple[Allowance, ...] = ()
    """Of the enforced policies among them. Empty when there are none, or one of them allows nothing."""

    def fold(self, levels: Sequence[Level]) -> Sequence[Level]:
        """The level of each limit, from the levels of `counters`."""
        count = len(self.limits)
        if len(levels) == count:
            return levels
        folded, following = list(levels[:count]), iter(levels[count:])
        for at, limit in enumerate(self.limits):
            for settled, reserved in islice(following, len(limit.trailing)):
                folded[at] = Level(folded[at].settled + settled, folded[at].reserved + reserved)
        return folded


@dataclass(frozen=True, slots=True)
class DirectorySnapshot:
    """A `Directory`, indexed for the hot path."""

    directory: Directory
    keys_by_digest: Mapping[bytes, VirtualKey]
    keys_by_name: Mapping[str, VirtualKey]
    policies_by_name: Mapping[str, QuotaPolicy]
    overrides_by_place: Mapping[Place, Override]
    tokens_by_digest: Mapping[bytes, AdminToken]
    counts_runs: bool
    """Some limit counts each run of its own."""
    watches_rates: bool
    """Some limit compares what a key spends with what it usually does."""
    usual: UsualRate
    policies: PolicyIndex
    _windows: dict[WindowRule, Window] = field(default_factory=dict, compare=False, repr=False)
    """The last one of each rule."""
    _applied: dict[tuple[str, str, str], AppliedLimits] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, directory: Directory, usual: UsualRate = nothing_usual) -> DirectorySnapshot:
        """Indexes a directory."""
        by_digest: dict[bytes, VirtualKey] = {}
        for key in directory.keys:
            for digest in (key.old_digest, key.digest):
                if digest is not None:
                    by_digest[digest] = key
        return cls(
            directory=directory,
            keys_by_digest=by_digest,
            keys_by_name={key.name: key for key in directory.keys},
            policies_by_name={policy.name: policy for policy in directory.policies},
            overrides_by_place={override.place: override for override in directory.overrides},
            tokens_by_digest={token.digest: token for token in directory.tokens},
            counts_runs=any(limit.per is WindowUnit.RUN for policy in directory.policies for limit in policy.limits),
            watches_rates=any(
                limit.kind is LimitKind.BURN_RATE for policy in directory.policies for limit in policy.limits
            ),
            usual=usual,
            policies=PolicyIndex(directory.policies),
        )

    def limits_for(self, attribution: Attribution, model: str, now_ms: int, run: str = "") -> AppliedLimits:
        """The limits that concern a call, with their counters in the windows of this moment.

        `run`: what the client names the run that the call belongs to, empty when it names none.
        """
        asked = (attribution.key_id, model, run if self.counts_runs else "")
        remembered = self._applied.get(asked)
        if remembered is not None and remembered.from_ms <= now_ms < remembered.until_ms:
            return remembered
        found = self.apply(attribution, model, now_ms, run)
        if len(self._applied) >= _MAX_REMEMBERED:
            self._applied.clear()
        self._applied[asked] = found
        return found

    def apply(self, attribution: Attribution, model: str, now_ms: int, run: str = "") -> AppliedLimits:
        """The same, found anew."""
        return apply_limits(
            self.policies.candidates(attribution, model),
            attribution,
            model,
            now_ms,
            run=run,
            window_at=self._window_at,
            usual_nano_usd=self.usual(attribution.key_id) if self.watches_rates else 0,
            overrides=self.overrides_by_place,
        )

    def _window_at(self, rule: WindowRule, now_ms: int) -> Window:
        window = self._windows.get(rule)
        if window is None or not window.start_ms <= now_ms < window.end_ms:
            window = self._windows[rule] = rule.at(now_ms)
        return window

    def watch(self, counter: CounterKey, now_ms: int) -> Watch | None:
        """What to look for while this counter settles. None: its policy or limit is gone, or has nothing to tell."""
        policy = self.policies_by_name.get(counter.policy)
        if policy is None or policy.mode is Mode.DISABLED:
            return None
        if policy.mode is Mode.SHADOW and not policy.thresholds:
            return None
        for limit in policy.limits:
            if limit.limit_id == counter.limit_id:
                place = (policy.name, limit.limit_id, policy_scope(counter.scope))
                asked = with_bound_of(override_of(self.overrides_by_place, place, now_ms), limit)
                if limit.kind is LimitKind.BURN_RATE:
                    key = self.keys_by_name.get(_key_in(counter.scope))
                    asked = with_allowance(limit, self.usual(key.key_id) if key else 0)
                return _watch(policy, asked, counter)
        return None


def apply_limits(
    policies: Iterable[QuotaPolicy],
    attribution: Attribution,
    model: str,
    now_ms: int,
    *,
    run: str = "",
    usual_nano_usd: int = 0,
    window_at: WindowAt = WindowRule.at,
    overrides: Mapping[Place, Override] = NO_OVERRIDES,
) -> AppliedLimits:
    """Finds the limits of all policies that match a call. Those per run do not concern a call that names none.

    `usual_nano_usd`: what the key of the call usually spends in a minute.
    """
    found: list[AppliedLimit] = []
    needs_price = False
    from_ms, until_ms = 0, 2**63
    matching = policies_for(policies, attribution, model)
    for policy, scope in matching:
        for limit in policy.limits:
            # One for a limit per run is for every run.
            override = override_of(overrides, (policy.name, limit.limit_id, scope), now_ms)
            counted, asked = scope, with_bound_of(override, limit)
            if limit.per is WindowUnit.RUN:
                if not run:
                    continue
                counted = part_scope(scope, WindowUnit.RUN, run)
            elif limit.kind is LimitKind.BURN_RATE:
                counted = part_scope(scope, Dimension.KEY, attribution.key)
                asked = with_allowance(limit, usual_nano_usd)
            window = window_at(facts_of(asked).window, now_ms)
            applied = _applied(policy, asked, counted, window, override)
            found.append(applied)
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
        allowances=allowances_of(
            Allowance(policy.name, policy.allowance_nano_usd) for policy, _ in matching if policy.name in enforced
        ),
    )


def override_of(overrides: Mapping[Place, Override], place: Place, now_ms: int) -> Override | None:
    """The override in a place at this moment."""
    override = overrides.get(place)
    return override if override is not None and override.holds_at(now_ms) else None


def policies_for(
    policies: Iterable[QuotaPolicy], attribution: Attribution, model: str
) -> list[tuple[QuotaPolicy, str]]:
    """The policies that concern a call, each with the scope that it is counted under.

    Default policies step back as soon as another one that is enforced concerns the call.
    """
    matching = [
        (policy, scope)
        for policy in policies
        if policy.mode is not Mode.DISABLED and (scope := scope_of(policy, attribution, model)) is not None
    ]
    if any(policy.mode is Mode.ENFORCE and not policy.default for policy, _ in matching):
        return [(policy, scope) for policy, scope in matching if not policy.default]
    return matching


def scope_of(policy: QuotaPolicy, attribution: Attribution, model: str) -> str | None:
    """What a policy counts this call under, e.g. "environment=dev,user=ada@example.com"; None: it does not match.

    A policy with `each` does not concern a call without a value of that dimension: there is nothing to count it under.
    """
    named = policy.match.named
    for dimension, wanted in named:
        if wanted != (model if dimension is Dimension.MODEL else getattr(attribution, dimension)):
            return None
    if policy.each is not None:
        has: str = model if policy.each is Dimension.MODEL else getattr(attribution, policy.each)
        if not has:
            return None
        named = tuple(sorted((*(pair for pair in named if pair[0] is not policy.each), (policy.each, has)), key=_order))
    return scope_name(named)


def with_bound_of(override: Override | None, limit: Limit) -> Limit:
    """A limit with the bound that an override sets."""
    return limit if override is None else replace(limit, bound=override.bound)


def with_allowance(limit: Limit, usual_nano_usd: int) -> Limit:
    """A limit on the burn rate with the bound that it has for a key which usually spends that much in a minute."""
    return replace(limit, bound=allowed_per_minute(usual_nano_usd, limit.bound, limit.factor_percent))


def policy_scope(scope: str) -> str:
    """The scope of the policy, of a scope that may be that of a run within it."""
    return EVERYTHING if scope.startswith("run=") else scope.partition(",run=")[0]


def fixed_scope(policy: QuotaPolicy) -> str:
    """The one scope of a policy without `each`."""
    return scope_name(policy.match.named)


_ORDER = {dimension: place for place, dimension in enumerate(Dimension)}


def _order(pair: tuple[Dimension, str]) -> int:
    return _ORDER[pair[0]]


def _applied(policy: QuotaPolicy, limit: Limit, scope: str, window: Window, override: Override | None) -> AppliedLimit:
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
        counts_until_ms=window.counts_until_ms,
        trailing=_trailing(limit, counter),
        window=facts.window,
        overridden_until_ms=0 if override is None else override.expire_at_ms,
        soft=limit.soft,
        degrades_at=None if degrades_from is None or not enforced else part_of(limit.bound, degrades_from),
        exhausted_status=policy.exhausted_status,
    )


def part_of(bound: int, basis_points: int) -> int:
    """That part of a limit, rounded down."""
    return bound * basis_points // MAX_BASIS_POINTS


def _watch(policy: QuotaPolicy, limit: Limit, counter: CounterKey) -> Watch:
    trailing = _trailing(limit, counter)
    start_ms = counter.window_start_ms
    told_since_ms = min(start_ms - _QUIET_MS, trailing[-1].window_start_ms) if trailing else start_ms
    enforced = policy.mode is Mode.ENFORCE
    return Watch(limit.bound, policy.thresholds, limit.title, trailing, told_since_ms, enforced)


def _key_in(scope: str) -> str:
    prefix = f"{Dimension.KEY}="
    return next((part.removeprefix(prefix) for part in scope.split(",") if part.startswith(prefix)), "")


def _trailing(limit: Limit, counter: CounterKey) -> tuple[CounterKey, ...]:
    """The counters that count beside this one, in a window that rolls."""
    starts_ms = facts_of(limit).window.trailing_starts_ms(counter.window_start_ms)
    return tuple(counter._replace(window_start_ms=start_ms) for start_ms in starts_ms)
