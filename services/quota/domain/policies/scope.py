"""Which policies concern a call, and the scope that each of them counts it under."""

from __future__ import annotations

from collections.abc import Iterable

from services.kernel.scope import EVERYTHING, Dimension, scope_name
from services.kernel.scope import scope_of as scope_of_parts
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import Mode, QuotaPolicy


def policies_for(
    policies: Iterable[QuotaPolicy], attribution: Attribution, model: str
) -> list[tuple[QuotaPolicy, str]]:
    """The policies that concern a call, each with the scope that it is counted under.

    Default policies step back as soon as another one binds the call: it is enforced, and bounds what calls can take.
    """
    has = properties_of(attribution, model)
    matching = [
        (policy, scope)
        for policy in policies
        if policy.mode is not Mode.DISABLED and (scope := scope_of_parts(policy.scope_parts, has)) is not None
    ]
    if any(policy.binds and not policy.default for policy, _ in matching):
        return [(policy, scope) for policy, scope in matching if not policy.default]
    return matching


def scope_of(policy: QuotaPolicy, attribution: Attribution, model: str) -> str | None:
    """What a policy counts this call under; None: it does not match. See `services.kernel.scope.scope_of`."""
    return scope_of_parts(policy.scope_parts, properties_of(attribution, model))


def properties_of(attribution: Attribution, model: str) -> dict[Dimension, str]:
    """What policies can name of a call."""
    return {
        Dimension.TEAM: attribution.team,
        Dimension.PROJECT: attribution.project,
        Dimension.ENVIRONMENT: attribution.environment,
        Dimension.USER: attribution.user,
        Dimension.KEY: attribution.key,
        Dimension.MODEL: model,
    }


def policy_scope(scope: str) -> str:
    """The scope of the policy, of a scope that may be that of a run within it."""
    return EVERYTHING if scope.startswith("run=") else scope.partition(",run=")[0]


def fixed_scope(policy: QuotaPolicy) -> str:
    """The one scope of a policy without `each`."""
    return scope_name(policy.match.named)
