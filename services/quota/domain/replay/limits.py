"""Finds the limits of replayed calls fast enough: half an hour of calls passes in a second.

A real call can use the limits that quota found for the previous call. In a replay the short windows end between one
call and the next, so this module caches each limit separately, for as long as its own window lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from services.kernel.window import WindowUnit
from services.quota.domain.directory.applied_limits import AppliedLimits, Call, apply_limits
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.burn_rate import TypicalRate
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.domain.policies.scope import policies_for

_MOST_REMEMBERED = 50_000
Key = TypeVar("Key")
Found = TypeVar("Found")
_Single = tuple[QuotaPolicy, str]
"""A policy with a single limit, and the scope under which it counts a call."""


class ReplayLimits:
    """The limits of these policies, with the same results as `directory.apply_limits`."""

    def __init__(self, policies: Sequence[QuotaPolicy], typical: TypicalRate) -> None:
        self._policies = policies
        self._typical = typical
        self._applied: dict[tuple[Attribution, str], list[_Single]] = {}
        self._single: dict[tuple[str, str, str, str], AppliedLimits] = {}
        self._whole: dict[tuple[Attribution, str, str], AppliedLimits] = {}

    def find(self, attribution: Attribution, model: str, run: str, now_ms: int) -> AppliedLimits:
        """The limits that apply to a call, with their counters in the windows of this moment."""
        asked = (attribution, model, run)
        whole = self._whole.get(asked)
        if whole is None or not whole.from_ms <= now_ms < whole.until_ms:
            applied = self._find_applied(attribution, model)
            whole = _together([self._find_single(single, attribution, model, run, now_ms) for single in applied])
            _remember(self._whole, asked, whole)
        return whole

    def _find_applied(self, attribution: Attribution, model: str) -> list[_Single]:
        found = self._applied.get((attribution, model))
        if found is None:
            # We decide here which default policies step back, because here we see all policies.
            found = [
                (replace(policy, limits=(limit,), default=False), scope)
                for policy, scope in policies_for(self._policies, attribution, model)
                for limit in policy.limits
            ]
            _remember(self._applied, (attribution, model), found)
        return found

    def _find_single(
        self, single: _Single, attribution: Attribution, model: str, run: str, now_ms: int
    ) -> AppliedLimits:
        policy, scope = single
        (limit,) = policy.limits
        part = run if limit.per is WindowUnit.RUN else attribution.key if limit.kind.follows_key else ""
        asked = (policy.name, limit.limit_id, scope, part)
        found = self._single.get(asked)
        if found is None or not found.from_ms <= now_ms < found.until_ms:
            typical = self._typical(attribution.key_id) if limit.kind.follows_key else 0
            found = apply_limits((policy,), Call(attribution, model, run, typical), now_ms)
            _remember(self._single, asked, found)
        return found


def _together(singles: Sequence[AppliedLimits]) -> AppliedLimits:
    """Combines single limits into what `apply_limits` returns for all. A limit per run is empty without a run."""
    found = [single for single in singles if single.limits]
    return AppliedLimits(
        limits=tuple(single.limits[0] for single in found),
        counters=(
            *(single.counters[0] for single in found),
            *(key for single in found for key in single.counters[1:]),
        ),
        from_ms=max((single.from_ms for single in found), default=0),
        until_ms=min((single.until_ms for single in found), default=2**63),
        needs_price=any(single.needs_price for single in found),
        policies=tuple(dict.fromkeys(name for single in singles for name in single.policies)),
        holds_tokens=any(single.holds_tokens for single in found),
        has_soft=any(single.has_soft for single in found),
        bounded=any(single.bounded for single in found),
        refuses_unknown_members=next(filter(None, (single.refuses_unknown_members for single in singles)), None),
    )


def _remember(known: dict[Key, Found], asked: Key, found: Found) -> None:
    """Caches a value. A full cache is cleared first."""
    if len(known) >= _MOST_REMEMBERED:
        known.clear()
    known[asked] = found
