"""Rules for overrides: the counter that one is for, the bounds that it can set, and the cap of a team admin.

A team admin may override the limits of its team's policies up to the team's cap. The cap is the tightest limit of the
same kind, over at least as long a window, that counts all calls of the team together. It holds whatever the admin
grants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from services.kernel.errors import InvalidInput
from services.kernel.limit_kind import LimitKind
from services.kernel.names import check_model, check_name, check_user
from services.kernel.scope import NOBODY, Dimension
from services.kernel.window import FOREVER_MS, WindowUnit
from services.quota.domain.policies.limit import Limit
from services.quota.domain.policies.limit_id import MAX_COUNT, MAX_SPEND_NANO_USD
from services.quota.domain.policies.override import Override
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.domain.policies.scope import fixed_scope

MAX_OVERRIDES = 1_000
MAX_LIFE_MS = 31 * 86_400_000
_DAY_MS = 86_400_000
# The longest possible window of each unit. A run can last for any time.
_LONGEST_MS = {
    WindowUnit.MINUTE: 60_000,
    WindowUnit.HOUR: 3_600_000,
    WindowUnit.DAY: _DAY_MS,
    WindowUnit.WEEK: 7 * _DAY_MS,
    WindowUnit.MONTH: 31 * _DAY_MS,
    WindowUnit.QUARTER: 92 * _DAY_MS,
    WindowUnit.YEAR: 366 * _DAY_MS,
    WindowUnit.LIFETIME: FOREVER_MS,
    WindowUnit.RUN: FOREVER_MS,
}
_CHECKS = {Dimension.USER: check_user, Dimension.MODEL: check_model}


def find_limit(policy: QuotaPolicy, text: str) -> Limit:
    """Finds the limit by its id, its id without the time zone, or an empty text if the policy has only one.

    Raises:
        InvalidInput: the text matches no limit, or several.
    """
    found = [limit for limit in policy.limits if limit.limit_id == text]
    found = found or [limit for limit in policy.limits if not text or limit.limit_id.startswith(f"{text}/")]
    if len(found) != 1:
        known = ", ".join(limit.limit_id for limit in policy.limits)
        problem = f"{text[:80]!r} does not name exactly one limit" if text else "say which limit you mean"
        raise InvalidInput("override.limit_id", f"{problem}: policy {policy.name} has {known}")
    if found[0].kind.follows_key:
        raise InvalidInput(
            "override.limit_id", "a burn rate follows each key's typical spend and has no override: change the policy"
        )
    return found[0]


def find_scope(policy: QuotaPolicy, text: str) -> str:
    """Finds the scope that `text` names. The text may be empty for a policy without `each`.

    Raises:
        InvalidInput: the policy has no counter with that scope.
    """
    if policy.each is None:
        scope = fixed_scope(policy)
        if text not in {"", scope}:
            raise InvalidInput("override.scope", f"policy {policy.name} has one counter, {scope}: leave it empty")
        return scope
    value = getattr(policy.match, policy.each) or value_in(text, policy.each)
    if not value or text != _scope_with(policy, policy.each, value):
        wanted = _scope_with(policy, policy.each, policy.each.upper())
        raise InvalidInput("override.scope", f"policy {policy.name} counts each {policy.each}: write {wanted}")
    if value != NOBODY:
        _CHECKS.get(policy.each, check_name)("override.scope", value)
    return text


def value_in(scope: str, dimension: Dimension) -> str:
    """The value of a dimension in a scope; empty if the scope does not contain it."""
    values = dict(part.partition("=")[::2] for part in scope.split(","))
    return values.get(dimension, "")


def check_bound(kind: LimitKind, bound: int) -> None:
    """Checks that a limit of this kind can have this bound.

    Raises:
        InvalidInput: the bound is out of range.
    """
    if kind.is_money:
        if not 0 <= bound <= MAX_SPEND_NANO_USD:
            raise InvalidInput("override.amount", "must be 0 to 9000000 dollars")
    elif not 0 <= bound <= MAX_COUNT:
        raise InvalidInput("override.count", f"must be 0 to {MAX_COUNT}")


def team_cap(policies: Iterable[QuotaPolicy], team: str, policy: QuotaPolicy, limit: Limit) -> int | None:
    """The highest bound to which an admin of `team` may override this limit. None: the admin may not.

    The policy must name the team and be narrower than the team. The cap is the tightest enforced limit of the same
    kind, over an equal or longer window, among the policies that count all calls of the team together. Default
    policies do not count here because they step back for others.
    """
    if policy.match.team != team or _counts_whole_team(policy, team):
        return None
    bounds = [
        other.bound
        for parent in policies
        if parent.mode is Mode.ENFORCE and not parent.default and _counts_whole_team(parent, team)
        for other in parent.limits
        if other.kind is limit.kind and other.per is not WindowUnit.RUN and length_ms(other) >= length_ms(limit)
    ]
    return min(bounds, default=None)


def length_ms(limit: Limit) -> int:
    """The longest time for which a call can count against a limit, to compare limits by."""
    return limit.rolling_ms if limit.per is WindowUnit.ROLLING else _LONGEST_MS[limit.per]


def kept_overrides(overrides: Iterable[Override], policies: Iterable[QuotaPolicy]) -> tuple[Override, ...]:
    """Keeps the overrides whose counters still exist under these policies."""
    known = {policy.name: policy for policy in policies}
    return tuple(each for each in overrides if _has_counter(each, known.get(each.policy)))


def under_new_names(overrides: Iterable[Override], names: Mapping[str, str]) -> tuple[Override, ...]:
    """Moves the overrides of renamed policies to the new names. `names` maps old names to new ones."""
    return tuple(replace(each, policy=names.get(each.policy, each.policy)) for each in overrides)


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
    """Whether the policy counts exactly the calls of the team, in one counter."""
    if policy.each in {None, Dimension.TEAM} and policy.match == Match(team=team):
        return True
    return policy.each is Dimension.TEAM and policy.match == Match()
