"""Reads messages of the admin API into values of the domain, and writes them from such values.

Reading only gives values their types. The code that uses a value checks whether it makes sense.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.type.v1 import attribution_pb2

from services.chassis.changes import write_changes
from services.chassis.enums import enum_table
from services.chassis.well_known import duration, read_timestamp, timestamp
from services.quota.domain.directory.configuration import Configuration, KeySpec
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.identity.key import KeyState, SecretKind, VirtualKey
from services.quota.domain.identity.team import Environment, Team
from services.quota.transport.policy_messages import read_policy, write_bound, write_kind, write_mode
from services.quota.usecases.administer import Applied
from services.quota.usecases.budgets import Budget
from services.quota.usecases.explain import Explanation
from services.quota.usecases.status import Status

_MAX_PROBLEM_CHARS = 256
_MOST_UNPRICED = 1_000
SECRET_KINDS = enum_table(pb.SecretKind, SecretKind, unspecified=SecretKind.LIVE)


def read_configuration(message: pb.ApplyConfigurationRequest) -> Configuration:
    """Reads the configuration to apply.

    Raises:
        InvalidInput: an enum, a span or a moment has an impossible value.
    """
    return Configuration(
        organization=message.organization,
        teams=tuple(Team(team.name, tuple(team.projects), tuple(team.members)) for team in message.teams),
        policies=tuple(read_policy(f"policies[{at}]", policy) for at, policy in enumerate(message.policies)),
        keys=tuple(
            replace(
                read_key_spec(f"keys[{at}].virtual_key", declared.virtual_key),
                secret=declared.secret,
                secret_problem=declared.secret_problem[:_MAX_PROBLEM_CHARS],
            )
            for at, declared in enumerate(message.keys)
        ),
        environments=tuple(Environment(name) for name in message.environments),
        models=tuple(message.models),
    )


def read_key_spec(field: str, key: pb.VirtualKey) -> KeySpec:
    """Reads the properties of a requested key. It ignores fields that the server decides.

    Raises:
        InvalidInput: the expiry is not a valid time.
    """
    who = key.attribution
    return KeySpec(
        name=key.name,
        team=who.team,
        project=who.project,
        environment=who.environment,
        user=who.user,
        models=tuple(key.models),
        expire_at_ms=read_timestamp(f"{field}.expire_time", key.expire_time) if key.HasField("expire_time") else None,
        unlimited=key.unlimited,
    )


def write_team(team: Team) -> pb.Team:
    """Writes a team."""
    return pb.Team(name=team.name, projects=team.projects, members=team.members)


def write_key(key: VirtualKey, now_ms: int, *, unbounded: bool = False) -> pb.VirtualKey:
    """Writes a key with its current state, without its secret. `unbounded`: no policy binds its calls."""
    return pb.VirtualKey(
        name=key.name,
        key_id=key.key_id,
        hint=key.hint,
        attribution=write_attribution(key.attribution),
        models=key.models,
        state=_state(key, now_ms, unbounded=unbounded),
        expire_time=None if key.expire_at_ms is None else timestamp(key.expire_at_ms),
        create_time=timestamp(key.create_at_ms),
        unlimited=key.unlimited,
    )


def write_attribution(attribution: Attribution) -> attribution_pb2.Attribution:
    """Writes the attribution of calls."""
    return attribution_pb2.Attribution(**asdict(attribution))


def write_applied(applied: Applied) -> pb.ApplyConfigurationResponse:
    """Writes what a configuration changed."""
    return pb.ApplyConfigurationResponse(changes=write_changes(applied.changes), warnings=applied.warnings)


def write_budget(budget: Budget) -> pb.Budget:
    """Writes one budget."""
    return pb.Budget(
        policy=budget.policy,
        limit_kind=write_kind(budget.limit_kind),
        scope=budget.scope,
        window_start_time=timestamp(budget.window_start_ms),
        reset_time=timestamp(budget.resets_at_ms),
        limit=budget.limit,
        settled=budget.settled,
        reserved=budget.reserved,
        doubt=budget.doubt,
        mode=write_mode(budget.mode),
        limit_id=budget.limit_id,
        override=budget.override.name if budget.override else "",
        override_expire_time=timestamp(budget.override.expire_at_ms) if budget.override else None,
    )


def write_status(status: Status) -> pb.QuotaStatus:
    """Writes the state of this process."""
    return pb.QuotaStatus(
        plan_version=status.plan_version,
        price_version=status.price_version,
        virtual_keys=status.keys,
        policies=status.policies,
        open_reservations=status.open_reservations,
        settlement_lag_p95=duration(status.settlement_lag_p95_ms),
        unpriced_targets=status.unpriced_targets[:_MOST_UNPRICED],
    )


def write_explanation(explanation: Explanation) -> pb.ExplainResponse:
    """Writes an explanation."""
    decision = pb.ExplainResponse.DECISION_ALLOW
    if explanation.deny is not None:
        decision = pb.ExplainResponse.DECISION_DENY
    elif explanation.downgraded:
        decision = pb.ExplainResponse.DECISION_DOWNGRADE
    limits = [
        pb.ExplainResponse.AppliedLimit(
            policy=limit.policy,
            limit_kind=write_kind(limit.kind),
            used_basis_points=limit.used_basis_points,
            binding=limit.binding,
            limit=limit.bound,
            override_expire_time=timestamp(limit.overridden_until_ms) if limit.overridden_until_ms else None,
            bound=write_bound(soft=limit.soft),
            doubt=limit.doubt,
        )
        for limit in explanation.limits
    ]
    others = [pb.ExplainResponse.OtherPolicy(policy=name, reason=reason) for name, reason in explanation.others]
    return pb.ExplainResponse(
        decision=decision,
        reason=explanation.reason,
        target=explanation.target,
        limits=limits,
        others=others,
        on_store_failure=explanation.on_store_failure,
        on_unknown_members=explanation.on_unknown_members,
        on_unmeasured=explanation.on_unmeasured,
    )


def _state(key: VirtualKey, now_ms: int, *, unbounded: bool) -> pb.VirtualKey.State.ValueType:
    state = key.state_at(now_ms)
    if state is KeyState.DISABLED:
        return pb.VirtualKey.STATE_DISABLED
    if state is KeyState.EXPIRED:
        return pb.VirtualKey.STATE_EXPIRED
    if key.digest is None:
        return pb.VirtualKey.STATE_WITHOUT_SECRET
    return pb.VirtualKey.STATE_UNBOUNDED if unbounded else pb.VirtualKey.STATE_ACTIVE
