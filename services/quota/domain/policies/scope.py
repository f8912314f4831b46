"""Which policies apply to a call, and the scope under which each of them counts it."""

from __future__ import annotations

from collections.abc import Iterable

from services.kernel.scope import EVERYTHING, Dimension, scope_name
from services.kernel.scope import scope_of as scope_of_parts
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.policies.policy import Mode, QuotaPolicy


def policies_for(
    policies: Iterable[QuotaPolicy], attribution: Attribution, model: str
) -> list[tuple[QuotaPolicy, str]]:
    """The policies that apply to a call, each with the scope under which it counts the call.

    Default policies step back as soon as another policy binds the call: one that is enforced and bounds the total.
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
    """The scope under which a policy counts this call; None: no match. See `services.kernel.scope.scope_of`."""
    return scope_of_parts(policy.scope_parts, properties_of(attribution, model))


def properties_of(attribution: Attribution, model: str) -> dict[Dimension, str]:
    """The properties of a call that policies can match."""
    return {
        Dimension.TEAM: attribution.team,
        Dimension.PROJECT: attribution.project,
        Dimension.ENVIRONMENT: attribution.environment,
        Dimension.USER: attribution.user,
        Dimension.KEY: attribution.key,
        Dimension.MODEL: model,
    }


def policy_scope(scope: str) -> str:
    """The policy's part of a scope: the scope itself, without a run."""
    return EVERYTHING if scope.startswith("run=") else scope.partition(",run=")[0]


def fixed_scope(policy: QuotaPolicy) -> str:
    """The one scope of a policy without `each`."""
    return scope_name(policy.match.named)
