"""Lint for policies: which calls a policy applies to, and which of its settings can never take effect."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from itertools import combinations

from services.kernel.scope import Dimension
from services.kernel.window import WindowUnit
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.policies.limit_id import holds_most
from services.quota.domain.policies.policy import Match, Mode, QuotaPolicy
from services.quota.domain.policies.scope import properties_of, scope_of

_Fixed = frozenset[tuple[Dimension, str]]


class PolicyState(StrEnum):
    """Whether a policy can take effect as it stands."""

    ACTIVE = "active"
    UNREACHABLE = "unreachable"
    """No existing key and model can match it."""
    SHADOW = "shadow"
    DISABLED = "disabled"


def state_of(policy: QuotaPolicy, keys: Iterable[VirtualKey], models: Collection[str]) -> PolicyState:
    """The state of a policy, given the keys and the models that clients can ask for."""
    if policy.mode is Mode.DISABLED:
        return PolicyState.DISABLED
    has_model = not policy.match.model or policy.match.model in models
    if not (has_model and any(applies_to(policy, key) for key in keys)):
        return PolicyState.UNREACHABLE
    return PolicyState.SHADOW if policy.mode is Mode.SHADOW else PolicyState.ACTIVE


def applies_to(policy: QuotaPolicy, key: VirtualKey) -> bool:
    """Whether a policy matches some call of this key."""
    models = key.models or (policy.match.model or "any",)
    return any(scope_of(policy, key.attribution, model) is not None for model in models)


def why_not(policy: QuotaPolicy, attribution: Attribution, model: str) -> str:
    """Why a policy does not match a call, as a clause; empty if it does."""
    properties = properties_of(attribution, model)
    for dimension, wanted in policy.match.named:
        has = properties[dimension]
        if wanted != has:
            return (
                f"it is for {dimension} {wanted}, and the call has {f'{dimension} {has}' if has else f'no {dimension}'}"
            )
    return "it is disabled" if policy.mode is Mode.DISABLED else ""


def unreachable_limits(policies: Iterable[QuotaPolicy]) -> Iterator[str]:
    """Warns of limits that another limit always reaches first. Each warning says what to do."""
    enforced = [policy for policy in policies if policy.mode is Mode.ENFORCE and not policy.default]
    # The lowest bound of each limit, among the policies that count the same calls together.
    lowest: dict[tuple[_Fixed, str], tuple[int, str]] = {}
    for policy in enforced:
        if policy.each is None:
            for limit in policy.limits:
                place = _fixed(policy.match), limit.limit_id
                lowest[place] = min(lowest.get(place, (limit.bound, policy.name)), (limit.bound, policy.name))
    for policy in enforced:
        fixed = _fixed(policy.match)
        wider = [frozenset(some) for size in range(len(fixed)) for some in combinations(sorted(fixed), size)]
        # A counter for each value is narrower than one counter for all of these calls.
        wider += [fixed] if policy.each is not None else []
        for limit in policy.limits:
            found = [lowest[place, limit.limit_id] for place in wider if (place, limit.limit_id) in lowest]
            if found and min(found)[0] <= limit.bound:
                yield (
                    f"Policy {policy.name} can never reach its limit of {limit.title}: policy {min(found)[1]} counts "
                    "the same calls and more, and its limit is not higher. Lower this one or raise the other."
                )


def allowances_in_vain(policies: Iterable[QuotaPolicy], *, counters_shared: bool) -> Iterator[str]:
    """Warns of allowances that can never let a call through. Each warning says what to do.

    `counters_shared`: the counters are in a store of their own, apart from quota.
    """
    enforced = [policy for policy in policies if policy.mode is Mode.ENFORCE]
    denying = [policy for policy in enforced if not policy.allowance_nano_usd and not policy.default]
    for policy in enforced:
        if not policy.allowance_nano_usd:
            continue
        if not counters_shared:
            yield (
                f"Policy {policy.name} states an allowance for a failure of the counter store, which has no effect "
                "here: quota keeps the counters in its own file and cannot record calls without it. An allowance needs "
                "SPENDGATE_COUNTERS=redis://..."
            )
        elif (other := next((each for each in denying if _is_always_beside(each, policy)), None)) is not None:
            yield (
                f"Policy {policy.name} states an allowance for a failure of the counter store, which no call can use: "
                f"policy {other.name} applies to the same calls and denies them then. Give both an allowance, or none."
            )


def refusals_in_vain(policies: Iterable[QuotaPolicy]) -> Iterator[str]:
    """Warns of policies that refuse unknown members, but in a mode that refuses nothing."""
    for policy in policies:
        if policy.refuses_unknown_members and policy.mode is not Mode.ENFORCE:
            yield (
                f"Policy {policy.name} says `unknown_members: refuse`, which has no effect in mode {policy.mode}: "
                "calls with such members pass. Enforce the policy, or remove the setting."
            )


def estimates_in_vain(policies: Iterable[QuotaPolicy]) -> Iterator[str]:
    """Warns of policies that say how to count unmeasured calls, but have no limit to which that applies."""
    for policy in policies:
        if policy.estimates_unmeasured and not any(holds_most(limit.limit_id) for limit in policy.limits):
            yield (
                f"Policy {policy.name} says `unmeasured: estimate`, which has no effect: only hard limits on spend and "
                "tokens keep doubt, and it has none. Remove the setting."
            )


def _is_always_beside(other: QuotaPolicy, policy: QuotaPolicy) -> bool:
    """Whether the other policy applies to every call that this policy applies to."""
    runs_only = all(limit.per is WindowUnit.RUN for limit in other.limits)
    return _fixed(other.match) <= _fixed(policy.match) and not runs_only


def _fixed(match: Match) -> _Fixed:
    return frozenset((dimension, getattr(match, dimension)) for dimension in Dimension if getattr(match, dimension))
