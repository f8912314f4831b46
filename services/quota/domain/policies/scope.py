"""Which policies concern a call, and the scope that each of them counts it under."""

from __future__ import annotations

from collections.abc import Iterable

from services.kernel.names import EVERYTHING, NOBODY, scope_name
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import Dimension, Mode, QuotaPolicy


def policies_for(
    policies: Iterable[QuotaPolicy], attribution: Attribution, model: str
) -> list[tuple[QuotaPolicy, str]]:
    """The policies that concern a call, each with the scope that it is counted under.

    Default policies step back as soon as another one binds the call: it is enforced, and bounds what calls can take.
    """
    matching = [
        (policy, scope)
        for policy in policies
        if policy.mode is not Mode.DISABLED and (scope := scope_of(policy, attribution, model)) is not None
    ]
    if any(policy.binds and not policy.default for policy, _ in matching):
        return [(policy, scope) for policy, scope in matching if not policy.default]
    return matching


def scope_of(policy: QuotaPolicy, attribution: Attribution, model: str) -> str | None:
    """What a policy counts this call under, e.g. "environment=dev,user=ada@example.com"; None: it does not match.

    With `each`, all calls without a value of that dimension count together, as if `-` were their value: no call gets
    past a policy by lacking what it counts.
    """
    named = policy.match.named
    for dimension, wanted in named:
        if wanted != (model if dimension is Dimension.MODEL else getattr(attribution, dimension)):
            return None
    if policy.each is not None:
        has: str = model if policy.each is Dimension.MODEL else getattr(attribution, policy.each) or NOBODY
        named = tuple(sorted((*(pair for pair in named if pair[0] is not policy.each), (policy.each, has)), key=_order))
    return scope_name(named)


def policy_scope(scope: str) -> str:
    """The scope of the policy, of a scope that may be that of a run within it."""
    return EVERYTHING if scope.startswith("run=") else scope.partition(",run=")[0]


def fixed_scope(policy: QuotaPolicy) -> str:
    """The one scope of a policy without `each`."""
    return scope_name(policy.match.named)


_ORDER = {dimension: place for place, dimension in enumerate(Dimension)}


def _order(pair: tuple[Dimension, str]) -> int:
    return _ORDER[pair[0]]
