"""Who there is and which limits apply to whom: an immutable picture of teams, keys and policies."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from operator import add
from typing import NamedTuple

from services.kernel.names import part_scope
from services.kernel.window import Window, WindowRule, WindowUnit
from services.quota.domain.admin_token import AdminToken
from services.quota.domain.allowance import Allowance, allowances_of
from services.quota.domain.burn_rate import UsualRate, allowed_per_minute, nothing_usual
from services.quota.domain.key import Attribution, RetiredSecret, VirtualKey
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
from services.quota.domain.scope import policies_for, policy_scope

# Pairs of a key and a model whose limits are remembered. Beyond it everything is forgotten and found again.
MAX_REMEMBERED = 50_000
NO_OVERRIDES: Mapping[Place, Override] = {}
# What was told of a window that rolls is not told again sooner, however short the window.
_QUIET_MS = 3_600_000
WindowAt = Callable[[WindowRule, int], Window]
"""The window of a rule at a moment, in milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A kind of use that policies tell apart, such as prod. Keys and policies name no others than those declared."""

    name: str


DEFAULT_ENVIRONMENTS = (Environment("dev"), Environment("prod"), Environment("staging"))
"""Where none is declared."""


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
    environments: tuple[Environment, ...] = DEFAULT_ENVIRONMENTS
    retired: tuple[RetiredSecret, ...] = ()
    """Secrets that rotations took out of use, the oldest first."""
    renamed: tuple[tuple[str, str], ...] = ()
    """Policies that lately got another name, each as its name before and now: their counters follow."""

    @property
    def environment_names(self) -> tuple[str, ...]:
        """Names of the environments that there are."""
        return tuple(each.name for each in self.environments)

    def keys_of(self, team: str) -> list[str]:
        """Names of the keys of a team; of all keys if it is empty."""
        return [key.name for key in self.keys if team in {"", key.attribution.team}]


def without_expired(directory: Directory, now_ms: int) -> Directory:
    """The same without the overrides whose time is over."""
    return replace(directory, overrides=tuple(each for each in directory.overrides if each.holds_at(now_ms)))


@lru_cache(maxsize=4)
def version_of(policies: tuple[QuotaPolicy, ...]) -> str:
    """Tells whether two processes believe in the same policies."""
    return hashlib.sha256(repr(policies).encode()).hexdigest()[:16]


class Call(NamedTuple):
    """What of a call decides which limits concern it, and what they allow."""

    attribution: Attribution
    model: str
    run: str = ""
    """What the client names the run that the call belongs to, empty when it names none."""
    usual_nano_usd: int = 0
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
    counts_until_ms: int = 0
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
    version: str
    """Tells whether two processes believe in the same policies."""
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
            version=version_of(directory.policies),
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
        if len(self._applied) >= MAX_REMEMBERED:
            self._applied.clear()
        self._applied[asked] = found
        return found

    def apply(self, attribution: Attribution, model: str, now_ms: int, run: str = "") -> AppliedLimits:
        """The same, found anew."""
        usual_nano_usd = self.usual(attribution.key_id) if self.watches_rates else 0
        return apply_limits(
            self.policies.candidates(attribution, model),
            Call(attribution, model, run, usual_nano_usd),
            now_ms,
            window_at=self._window_at,
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
            if facts_of(limit).limit_id == counter.limit_id:
                place = (policy.name, counter.limit_id, policy_scope(counter.scope))
                asked = with_bound_of(override_of(self.overrides_by_place, place, now_ms), limit)
                if limit.kind is LimitKind.BURN_RATE:
                    key = self.keys_by_name.get(_key_in(counter.scope))
                    asked = with_allowance(limit, self.usual(key.key_id) if key else 0)
                return _watch(policy, asked, counter)
        return None


def apply_limits(
    policies: Iterable[QuotaPolicy],
    call: Call,
    now_ms: int,
    *,
    window_at: WindowAt = WindowRule.at,
    overrides: Mapping[Place, Override] = NO_OVERRIDES,
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
            elif limit.kind is LimitKind.BURN_RATE:
                counted = part_scope(scope, Dimension.KEY, call.attribution.key)
                asked = with_allowance(limit, call.usual_nano_usd)
            window = window_at(facts.window, now_ms)
            applied = _applied(policy, asked, counted, window, override)
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


def override_of(overrides: Mapping[Place, Override], place: Place, now_ms: int) -> Override | None:
    """The override in a place at this moment."""
    override = overrides.get(place)
    return override if override is not None and override.holds_at(now_ms) else None


def with_bound_of(override: Override | None, limit: Limit) -> Limit:
    """A limit with the bound that an override sets."""
    return limit if override is None else replace(limit, bound=override.bound)


def with_allowance(limit: Limit, usual_nano_usd: int) -> Limit:
    """A limit on the burn rate with the bound that it has for a key which usually spends that much in a minute."""
    return replace(limit, bound=allowed_per_minute(usual_nano_usd, limit.bound, limit.factor_percent))


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
        estimates_unmeasured=policy.estimates_unmeasured,
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
