"""What may be granted: which counter an override is for, which bound it can set, and up to where a team admin may go.

A team admin may override the limits of its team's policies up to the cap of the team: the tightest limit of the same
kind, over as long a window, that counts all calls of the team together. Whatever it grants, that cap still holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from services.kernel.errors import InvalidInput
from services.kernel.names import check_model, check_name, check_user
from services.kernel.window import WindowUnit
from services.quota.domain.directory import fixed_scope
from services.quota.domain.override import Override
from services.quota.domain.policy import (
    MAX_COUNT,
    MAX_SPEND_NANO_USD,
    Dimension,
    Limit,
    LimitKind,
    Match,
    Mode,
    QuotaPolicy,
)

MAX_OVERRIDES = 1_000
MAX_LIFE_MS = 31 * 86_400_000
# A unit that is not here has no length to compare: where it is asked for there is no cap, and only the platform grants.
BY_LENGTH = (WindowUnit.MINUTE, WindowUnit.HOUR, WindowUnit.DAY, WindowUnit.MONTH)
_CHECKS = {Dimension.USER: check_user, Dimension.MODEL: check_model}


def find_limit(policy: QuotaPolicy, text: str) -> Limit:
    """The limit that `text` names: its id, its id without the time zone, or nothing if there is only one.

    Raises:
        InvalidInput: none or several are meant.
    """
    found = [limit for limit in policy.limits if limit.limit_id == text]
    found = found or [limit for limit in policy.limits if not text or limit.limit_id.startswith(f"{text}/")]
    if len(found) != 1:
        known = ", ".join(limit.limit_id for limit in policy.limits)
        raise InvalidInput(
            "override.limit", f"{text[:80]!r} names no single limit of policy {policy.name}: write one of {known}"
        )
    return found[0]


def find_scope(policy: QuotaPolicy, text: str) -> str:
    """The scope that `text` names, which may be empty for a policy without `each`.

    Raises:
        InvalidInput: the policy has no such counter.
    """
    if policy.each is None:
        scope = fixed_scope(policy)
        if text not in {"", scope}:
            raise InvalidInput("override.scope", f"policy {policy.name} has one counter, {scope}: leave it empty")
        return scope
    values = dict(part.partition("=")[::2] for part in text.split(","))
    value = getattr(policy.match, policy.each) or values.get(policy.each, "")
    if not value or text != _scope_with(policy, policy.each, value):
        wanted = _scope_with(policy, policy.each, policy.each.upper())
        raise InvalidInput("override.scope", f"policy {policy.name} counts each {policy.each}: write {wanted}")
    _CHECKS.get(policy.each, check_name)("override.scope", value)
    return text


def check_bound(kind: LimitKind, bound: int) -> None:
    """Passes a bound that a limit of this kind can have.

    Raises:
        InvalidInput: it cannot.
    """
    if kind is LimitKind.SPEND:
        if not 0 <= bound <= MAX_SPEND_NANO_USD:
            raise InvalidInput("override.amount", "must be 0 to 9000000 dollars")
    elif not 0 <= bound <= MAX_COUNT:
        raise InvalidInput("override.count", f"must be 0 to {MAX_COUNT}")


def team_cap(policies: Iterable[QuotaPolicy], team: str, policy: QuotaPolicy, limit: Limit) -> int | None:
    """Up to which bound an admin of `team` may override this limit of this policy. None: not at all.

    The policy must name the team and be narrower than it; the cap is the tightest enforced limit of the same kind, over
    an equal or longer window, of the policies that count all calls of the team together.
    """
    if policy.match.team != team or _counts_whole_team(policy, team):
        return None
    bounds = [
        other.bound
        for parent in policies
        if parent.mode is Mode.ENFORCE and _counts_whole_team(parent, team)
        for other in parent.limits
        if other.kind is limit.kind and _lasts_as_long(other.per, limit.per)
    ]
    return min(bounds, default=None)


def kept_overrides(overrides: Iterable[Override], policies: Iterable[QuotaPolicy]) -> tuple[Override, ...]:
    """Those whose counters these policies have."""
    known = {policy.name: policy for policy in policies}
    return tuple(each for each in overrides if _has_counter(each, known.get(each.policy)))


def _has_counter(override: Override, policy: QuotaPolicy | None) -> bool:
    if policy is None or all(limit.limit_id != override.limit_id for limit in policy.limits):
        return False
    try:
        return find_scope(policy, override.scope) == override.scope
    except InvalidInput:
        return False


def _scope_with(policy: QuotaPolicy, each: Dimension, value: str) -> str:
    return fixed_scope(replace(policy, match=replace(policy.match, **{each: value})))


def _counts_whole_team(policy: QuotaPolicy, team: str) -> bool:
    """Whether all calls of the team, and no others, share one counter of the policy."""
    if policy.each in {None, Dimension.TEAM} and policy.match == Match(team=team):
        return True
    return policy.each is Dimension.TEAM and policy.match == Match()


def _lasts_as_long(unit: WindowUnit, as_long_as: WindowUnit) -> bool:
    if unit not in BY_LENGTH or as_long_as not in BY_LENGTH:
        return False
    return BY_LENGTH.index(unit) >= BY_LENGTH.index(as_long_as)
