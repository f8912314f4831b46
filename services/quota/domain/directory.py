"""Who there is and which limits apply to whom: an immutable picture of teams, keys and policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from services.kernel.window import window_at
from services.quota.domain.admin_token import AdminToken
from services.quota.domain.key import Attribution, VirtualKey
from services.quota.domain.override import Override, Place
from services.quota.domain.policy import Dimension, Limit, LimitKind, Mode, QuotaPolicy
from services.quota.domain.reservation import CounterKey, Watch

# Pairs of a key and a model whose limits are remembered. Beyond it everything is forgotten and found again.
_MAX_REMEMBERED = 50_000
EVERYTHING = "organization"
"""Scope of a policy that matches every call and counts them together."""


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
    window_end_ms: int
    enforced: bool
    """False: shadow, counts but refuses nothing."""
    steers: bool
    """Its window is a day or longer and it is enforced, so that it has a say in which tier serves."""
    is_rate: bool
    overridden_until_ms: int = 0
    """When the override ends that sets the bound; 0: the bound is the policy's own."""


@dataclass(frozen=True, slots=True)
class AppliedLimits:
    """All limits that concern the calls of one key for one model, until a window or an override ends."""

    limits: tuple[AppliedLimit, ...]
    counters: tuple[CounterKey, ...]
    """Of the limits, in the same order."""
    from_ms: int
    until_ms: int
    needs_price: bool
    """An enforced spend limit is among them."""
    holds_tokens: bool
    """A limit other than on requests is among them, so that the output must be bounded."""


@dataclass(frozen=True, slots=True)
class DirectorySnapshot:
    """A `Directory`, indexed for the hot path."""

    directory: Directory
    keys_by_digest: Mapping[bytes, VirtualKey]
    keys_by_name: Mapping[str, VirtualKey]
    policies_by_name: Mapping[str, QuotaPolicy]
    overrides_by_place: Mapping[Place, Override]
    tokens_by_digest: Mapping[bytes, AdminToken]
    _applied: dict[tuple[str, str], AppliedLimits] = field(default_factory=dict, compare=False, repr=False)

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
            overrides_by_place={override.place: override for override in directory.overrides},
            tokens_by_digest={token.digest: token for token in directory.tokens},
        )

    def limits_for(self, attribution: Attribution, model: str, now_ms: int) -> AppliedLimits:
        """The limits that concern a call, with their counters in the windows of this moment."""
        remembered = self._applied.get((attribution.key_id, model))
        if remembered is not None and remembered.from_ms <= now_ms < remembered.until_ms:
            return remembered
        own = apply_limits(self.directory.policies, attribution, model, now_ms)
        found = with_overrides(own, self.overrides_by_place, now_ms)
        if len(self._applied) >= _MAX_REMEMBERED:
            self._applied.clear()
        self._applied[attribution.key_id, model] = found
        return found

    def watch(self, counter: CounterKey, now_ms: int) -> Watch | None:
        """What to look for while this counter settles. None: its policy or limit is gone, or tells nobody."""
        policy = self.policies_by_name.get(counter.policy)
        if policy is None or not policy.thresholds or policy.mode is Mode.DISABLED:
            return None
        for limit in policy.limits:
            if limit.limit_id == counter.limit_id:
                override = override_of(self.overrides_by_place, counter, now_ms)
                bound = limit.bound if override is None else override.bound
                return Watch(bound, policy.thresholds, f"{limit.kind} per {limit.per}")
        return None


def apply_limits(policies: Iterable[QuotaPolicy], attribution: Attribution, model: str, now_ms: int) -> AppliedLimits:
    """Finds the limits of all policies that match a call."""
    found: list[AppliedLimit] = []
    from_ms, until_ms = 0, 2**63
    for policy in policies:
        scope = scope_of(policy, attribution, model)
        if scope is None or policy.mode is Mode.DISABLED:
            continue
        for limit in policy.limits:
            window = window_at(limit.per, limit.timezone, now_ms)
            counter = CounterKey(policy.name, limit.limit_id, scope, window.start_ms)
            found.append(_applied(policy, limit, counter, window.end_ms))
            from_ms, until_ms = max(from_ms, window.start_ms), min(until_ms, window.end_ms)
    return AppliedLimits(
        limits=tuple(found),
        counters=tuple(limit.counter for limit in found),
        from_ms=from_ms,
        until_ms=until_ms,
        needs_price=any(limit.kind is LimitKind.SPEND and limit.enforced for limit in found),
        holds_tokens=any(limit.kind is not LimitKind.REQUESTS for limit in found),
    )


def with_overrides(limits: AppliedLimits, overrides: Mapping[Place, Override], now_ms: int) -> AppliedLimits:
    """The same limits with the bounds that overrides set at this moment, until the first of these ends."""
    found = [override_of(overrides, counter, now_ms) for counter in limits.counters]
    return replace(
        limits,
        limits=tuple(
            limit
            if override is None
            else limit._replace(bound=override.bound, overridden_until_ms=override.expire_at_ms)
            for limit, override in zip(limits.limits, found, strict=True)
        ),
        until_ms=min([limits.until_ms, *(override.expire_at_ms for override in found if override is not None)]),
    )


def override_of(overrides: Mapping[Place, Override], counter: CounterKey, now_ms: int) -> Override | None:
    """The override that sets the bound of a counter at this moment."""
    override = overrides.get((counter.policy, counter.limit_id, counter.scope))
    return override if override is not None and override.holds_at(now_ms) else None


def scope_of(policy: QuotaPolicy, attribution: Attribution, model: str) -> str | None:
    """What a policy counts this call under, e.g. "environment=dev,user=ada@example.com"; None: it does not match.

    A policy with `each` does not concern a call without a value of that dimension: there is nothing to count it under.
    """
    parts: list[str] = []
    for dimension in Dimension:
        wanted: str = getattr(policy.match, dimension)
        has = model if dimension is Dimension.MODEL else getattr(attribution, dimension)
        if wanted and wanted != has:
            return None
        if dimension is policy.each and not has:
            return None
        if wanted or dimension is policy.each:
            parts.append(f"{dimension}={has}")
    return ",".join(parts) or EVERYTHING


def fixed_scope(policy: QuotaPolicy) -> str:
    """The one scope of a policy without `each`."""
    wanted = ((dimension, getattr(policy.match, dimension)) for dimension in Dimension)
    return ",".join(f"{dimension}={value}" for dimension, value in wanted if value) or EVERYTHING


def _applied(policy: QuotaPolicy, limit: Limit, counter: CounterKey, window_end_ms: int) -> AppliedLimit:
    enforced = policy.mode is Mode.ENFORCE
    return AppliedLimit(
        counter=counter,
        kind=limit.kind,
        bound=limit.bound,
        window_end_ms=window_end_ms,
        enforced=enforced,
        steers=enforced and limit.per.is_day_or_longer,
        is_rate=limit.is_rate,
    )
