"""Who there is and which limits apply to whom: an immutable picture of teams, keys and policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from services.kernel.names import run_scope, scope_name
from services.kernel.window import Window, WindowRule, WindowUnit
from services.quota.domain.key import Attribution, VirtualKey
from services.quota.domain.policy import (
    MAX_BASIS_POINTS,
    Dimension,
    Limit,
    LimitKind,
    Mode,
    QuotaPolicy,
    ThresholdAction,
)
from services.quota.domain.reservation import CounterKey, Level, Watch

# Pairs of a key and a model whose limits are remembered. Beyond it everything is forgotten and found again.
_MAX_REMEMBERED = 50_000


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


@dataclass(frozen=True, slots=True)
class AppliedLimits:
    """All limits that concern the calls of one key for one model, until the first of their windows ends."""

    limits: tuple[AppliedLimit, ...]
    counters: tuple[CounterKey, ...]
    """Of the limits, in the same order, and then those that trail in windows that roll."""
    from_ms: int
    until_ms: int
    needs_price: bool
    """An enforced limit on money is among them."""
    holds_tokens: bool
    """A limit of which a larger call takes more is among them, so that the output must be bounded."""

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
    counts_runs: bool
    """Some limit counts each run of its own."""
    _applied: dict[tuple[str, str, str], AppliedLimits] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, directory: Directory) -> DirectorySnapshot:
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
            counts_runs=any(limit.per is WindowUnit.RUN for policy in directory.policies for limit in policy.limits),
        )

    def limits_for(self, attribution: Attribution, model: str, now_ms: int, run: str = "") -> AppliedLimits:
        """The limits that concern a call, with their counters in the windows of this moment.

        `run`: what the client names the run that the call belongs to, empty when it names none.
        """
        asked = (attribution.key_id, model, run if self.counts_runs else "")
        remembered = self._applied.get(asked)
        if remembered is not None and remembered.from_ms <= now_ms < remembered.until_ms:
            return remembered
        found = apply_limits(self.directory.policies, attribution, model, now_ms, run)
        if len(self._applied) >= _MAX_REMEMBERED:
            self._applied.clear()
        self._applied[asked] = found
        return found

    def watch(self, counter: CounterKey) -> Watch | None:
        """What to look for while this counter settles. None: its policy or limit is gone, or tells nobody."""
        policy = self.policies_by_name.get(counter.policy)
        if policy is None or not policy.thresholds or policy.mode is Mode.DISABLED:
            return None
        for limit in policy.limits:
            if limit.limit_id == counter.limit_id:
                return Watch(limit.bound, policy.thresholds, limit.title, _trailing(limit, counter))
        return None


def apply_limits(
    policies: Iterable[QuotaPolicy], attribution: Attribution, model: str, now_ms: int, run: str = ""
) -> AppliedLimits:
    """Finds the limits of all policies that match a call. Those per run do not concern a call that names none."""
    found: list[AppliedLimit] = []
    from_ms, until_ms = 0, 2**63
    for policy, scope in policies_for(policies, attribution, model):
        for limit in policy.limits:
            counted = scope
            if limit.per is WindowUnit.RUN:
                if not run:
                    continue
                counted = run_scope(scope, run)
            window = limit.window.at(now_ms)
            found.append(_applied(policy, limit, counted, window))
            from_ms, until_ms = max(from_ms, window.start_ms), min(until_ms, window.end_ms)
    return AppliedLimits(
        limits=tuple(found),
        counters=(*(limit.counter for limit in found), *(key for limit in found for key in limit.trailing)),
        from_ms=from_ms,
        until_ms=until_ms,
        needs_price=any(limit.kind.is_money and limit.enforced for limit in found),
        holds_tokens=any(limit.kind.is_of_size for limit in found),
    )


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
    parts: list[tuple[str, str]] = []
    for dimension in Dimension:
        wanted: str = getattr(policy.match, dimension)
        has = model if dimension is Dimension.MODEL else getattr(attribution, dimension)
        if wanted and wanted != has:
            return None
        if dimension is policy.each and not has:
            return None
        if wanted or dimension is policy.each:
            parts.append((dimension, has))
    return scope_name(parts)


def fixed_scope(policy: QuotaPolicy) -> str:
    """The one scope of a policy without `each`."""
    wanted = ((dimension, getattr(policy.match, dimension)) for dimension in Dimension)
    return scope_name((dimension, value) for dimension, value in wanted if value)


def _applied(policy: QuotaPolicy, limit: Limit, scope: str, window: Window) -> AppliedLimit:
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
        counts_until_ms=window.counts_until_ms,
        trailing=_trailing(limit, counter),
        window=limit.window,
        degrades_at=None if degrades_from is None or not enforced else part_of(limit.bound, degrades_from),
    )


def part_of(bound: int, basis_points: int) -> int:
    """That part of a limit, rounded down."""
    return bound * basis_points // MAX_BASIS_POINTS


def _trailing(limit: Limit, counter: CounterKey) -> tuple[CounterKey, ...]:
    """The counters that count beside this one, in a window that rolls."""
    starts_ms = limit.window.trailing_starts_ms(counter.window_start_ms)
    return tuple(counter._replace(window_start_ms=start_ms) for start_ms in starts_ms)
