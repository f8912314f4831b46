"""`spendgate.quota.v1.QuotaService` over the use cases. The chassis turns errors into status codes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import grpc
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.quota.v1 import quota_service_pb2_grpc

from services.chassis.authorship import actor_of, mutation_by
from services.chassis.grpc_server import Registration
from services.chassis.named import find_named, name_of, page_of_named
from services.chassis.paging import check_page_size, read_parts, read_position, write_parts, write_position
from services.chassis.well_known import read_duration
from services.kernel.change import Actor
from services.kernel.clock import Clock
from services.kernel.dialect import CAPABILITIES
from services.kernel.errors import InvalidInput
from services.kernel.names import no_such
from services.quota.domain.admission.request_facts import RequestFacts
from services.quota.domain.directory.bounded import Bounds
from services.quota.domain.identity.access import check_team
from services.quota.domain.identity.key import VirtualKey
from services.quota.domain.identity.team import Team
from services.quota.domain.policies.policy import QuotaPolicy
from services.quota.transport import admin_messages as messages
from services.quota.transport.counter_service import write_adjusted
from services.quota.transport.policy_messages import write_policy
from services.quota.usecases.administer import MAX_GRACE_MS, Administer
from services.quota.usecases.budget_places import START, Position
from services.quota.usecases.budgets import Budget, EffectiveLimits, ListBudgets
from services.quota.usecases.explain import Explain
from services.quota.usecases.live import Live, Snapshot
from services.quota.usecases.policies import ListPolicies
from services.quota.usecases.reconcile import Reconcile
from services.quota.usecases.status import ReadStatus

SERVICE = "spendgate.quota.v1.QuotaService"
_ASSUMED_TOKENS = 1_000


class Queries(NamedTuple):
    """The use cases that answer administrators' questions."""

    list_policies: ListPolicies
    list_budgets: ListBudgets
    effective_limits: EffectiveLimits
    explain: Explain
    status: ReadStatus


class QuotaService(quota_service_pb2_grpc.QuotaServiceServicer):
    """Manages teams, keys and policies, and shows their budgets."""

    def __init__(
        self,
        *,
        live: Live,
        administer: Administer,
        queries: Queries,
        reconcile: Reconcile,
        clock: Clock,
    ) -> None:
        self._live = live
        self._administer = administer
        self._queries = queries
        self._reconcile = reconcile
        self._clock = clock

    @property
    def registration(self) -> Registration:
        """Registers the service with a server."""
        return Registration(SERVICE, partial(quota_service_pb2_grpc.add_QuotaServiceServicer_to_server, self))

    def ApplyConfiguration(
        self, request: pb.ApplyConfigurationRequest, context: grpc.ServicerContext
    ) -> pb.ApplyConfigurationResponse:
        """Replaces teams, policies and declared keys by those sent."""
        configuration = messages.read_configuration(request)
        by = mutation_by(context, request, request.reason)
        return messages.write_applied(self._administer.apply(configuration, validate_only=request.validate_only, by=by))

    def GetTeam(self, request: pb.GetTeamRequest, context: grpc.ServicerContext) -> pb.GetTeamResponse:
        """Shows one team."""
        team = find_named("team", request.name, self._teams(actor_of(context)))
        return pb.GetTeamResponse(team=messages.write_team(team))

    def ListTeams(self, request: pb.ListTeamsRequest, context: grpc.ServicerContext) -> pb.ListTeamsResponse:
        """Lists the teams by name."""
        page, token = page_of_named(self._teams(actor_of(context)), request)
        return pb.ListTeamsResponse(teams=[messages.write_team(team) for team in page], next_page_token=token)

    def GetQuotaPolicy(
        self, request: pb.GetQuotaPolicyRequest, context: grpc.ServicerContext
    ) -> pb.GetQuotaPolicyResponse:
        """Shows one policy with its state."""
        policy = find_named("policy", request.name, self._policies(actor_of(context)))
        return pb.GetQuotaPolicyResponse(quota_policy=self._write_policies([policy])[0])

    def ListQuotaPolicies(
        self, request: pb.ListQuotaPoliciesRequest, context: grpc.ServicerContext
    ) -> pb.ListQuotaPoliciesResponse:
        """Lists the policies by name, each with its state."""
        page, token = page_of_named(self._policies(actor_of(context)), request)
        return pb.ListQuotaPoliciesResponse(quota_policies=self._write_policies(page), next_page_token=token)

    def CreateVirtualKey(
        self, request: pb.CreateVirtualKeyRequest, context: grpc.ServicerContext
    ) -> pb.CreateVirtualKeyResponse:
        """Creates a key. Only this answer contains its secret."""
        kind = messages.SECRET_KINDS.read("secret_kind", request.secret_kind, "kind of secret")
        by = mutation_by(context, request, request.reason)
        minted = self._administer.create_key(messages.read_key_spec("virtual_key", request.virtual_key), kind, by=by)
        return pb.CreateVirtualKeyResponse(virtual_key=self._write_key(minted.key), secret=minted.secret)

    def GetVirtualKey(
        self, request: pb.GetVirtualKeyRequest, context: grpc.ServicerContext
    ) -> pb.GetVirtualKeyResponse:
        """Shows one key, without its secret."""
        snapshot = self._live.snapshot
        key = find_named("virtual key", request.name, _keys(snapshot, actor_of(context)))
        return pb.GetVirtualKeyResponse(virtual_key=self._write_keys(snapshot, [key])[0])

    def ListVirtualKeys(
        self, request: pb.ListVirtualKeysRequest, context: grpc.ServicerContext
    ) -> pb.ListVirtualKeysResponse:
        """Lists the keys by name, without their secrets."""
        snapshot = self._live.snapshot
        page, token = page_of_named(_keys(snapshot, actor_of(context)), request)
        return pb.ListVirtualKeysResponse(virtual_keys=self._write_keys(snapshot, page), next_page_token=token)

    def RotateVirtualKey(
        self, request: pb.RotateVirtualKeyRequest, context: grpc.ServicerContext
    ) -> pb.RotateVirtualKeyResponse:
        """Gives a key a new secret."""
        grace_ms = read_duration("grace_period", request.grace_period, most_s=MAX_GRACE_MS // 1_000)
        by = mutation_by(context, request, request.reason)
        minted = self._administer.rotate_key(request.name, grace_ms=grace_ms, by=by)
        return pb.RotateVirtualKeyResponse(virtual_key=self._write_key(minted.key), secret=minted.secret)

    def DisableVirtualKey(
        self, request: pb.DisableVirtualKeyRequest, context: grpc.ServicerContext
    ) -> pb.DisableVirtualKeyResponse:
        """Disables a key until somebody enables it."""
        by = mutation_by(context, request, request.reason)
        key = self._administer.set_key_disabled(request.name, disabled=True, by=by)
        return pb.DisableVirtualKeyResponse(virtual_key=self._write_key(key))

    def EnableVirtualKey(
        self, request: pb.EnableVirtualKeyRequest, context: grpc.ServicerContext
    ) -> pb.EnableVirtualKeyResponse:
        """Lets a disabled key work again."""
        by = mutation_by(context, request, request.reason)
        key = self._administer.set_key_disabled(request.name, disabled=False, by=by)
        return pb.EnableVirtualKeyResponse(virtual_key=self._write_key(key))

    def ListBudgets(self, request: pb.ListBudgetsRequest, context: grpc.ServicerContext) -> pb.ListBudgetsResponse:
        """Lists the counters of the current windows."""
        size = check_page_size(request.page_size)
        found = self._queries.list_budgets(
            request.policy, team=actor_of(context).team, after=_budget_after(request.page_token), limit=size + 1
        )
        return pb.ListBudgetsResponse(
            budgets=[messages.write_budget(budget) for budget in found[:size]],
            next_page_token=_budget_token(found[size - 1]) if len(found) > size else "",
        )

    def ListAdjustments(
        self, request: pb.ListAdjustmentsRequest, context: grpc.ServicerContext
    ) -> pb.ListAdjustmentsResponse:
        """Lists the adjustments of counters to what the ledger says."""
        size = check_page_size(request.page_size)
        before = read_position(request.page_token, count=1)
        found = self._reconcile.adjustments(before[0] if before else None, size + 1)
        return pb.ListAdjustmentsResponse(
            adjustments=[write_adjusted(each) for each in found[:size]],
            next_page_token=write_position([found[size - 1].sequence] if len(found) > size else ()),
        )

    def Explain(self, request: pb.ExplainRequest, context: grpc.ServicerContext) -> pb.ExplainResponse:
        """Explains what would happen to a call, and why."""
        for field in ("input_tokens", "max_output_tokens"):
            if getattr(request, field) < 0:
                raise InvalidInput(field, "must not be negative")
        self._check_key(request.key, context)
        for feature in request.features:
            if feature not in CAPABILITIES:
                raise InvalidInput("features", no_such("feature", feature, CAPABILITIES))
        facts = RequestFacts(
            body_bytes=request.input_tokens or _ASSUMED_TOKENS,
            max_output_tokens=request.max_output_tokens or _ASSUMED_TOKENS,
            features=frozenset(request.features),
        )
        explanation = self._queries.explain(request.key, request.model, facts=facts, team=actor_of(context).team)
        return messages.write_explanation(explanation)

    def GetEffectiveLimits(
        self, request: pb.GetEffectiveLimitsRequest, context: grpc.ServicerContext
    ) -> pb.GetEffectiveLimitsResponse:
        """Lists the limits that apply to a key, tightest first."""
        self._check_key(request.key, context)
        limits = self._queries.effective_limits(request.key, request.model, team=actor_of(context).team)
        return pb.GetEffectiveLimitsResponse(limits=[messages.write_budget(budget) for budget in limits])

    def GetQuotaStatus(
        self, request: pb.GetQuotaStatusRequest, context: grpc.ServicerContext
    ) -> pb.GetQuotaStatusResponse:
        """Shows what this process has in force."""
        return pb.GetQuotaStatusResponse(quota_status=messages.write_status(self._queries.status()))

    def _teams(self, actor: Actor) -> list[Team]:
        """The teams that the actor may see, by name."""
        known = (team for team in self._live.snapshot.directory.directory.teams if actor.may_touch(team.name))
        return sorted(known, key=name_of)

    def _policies(self, actor: Actor) -> list[QuotaPolicy]:
        """The policies that the actor may see, by name."""
        return [policy for policy in self._queries.list_policies() if actor.may_touch(policy.match.team)]

    def _write_policies(self, policies: Sequence[QuotaPolicy]) -> list[pb.QuotaPolicy]:
        return [write_policy(listed) for listed in self._queries.list_policies.described(policies)]

    def _write_keys(self, snapshot: Snapshot, keys: Sequence[VirtualKey]) -> list[pb.VirtualKey]:
        bounds = Bounds(snapshot.directory.directory, snapshot.routes.plan.models)
        now_ms = self._clock.now_ms()
        return [messages.write_key(key, now_ms, unbounded=bounds.is_unbounded(key)) for key in keys]

    def _write_key(self, key: VirtualKey) -> pb.VirtualKey:
        """Writes a key as a change left it."""
        return messages.write_key(key, self._clock.now_ms())

    def _check_key(self, name: str, context: grpc.ServicerContext) -> None:
        key = self._live.snapshot.directory.keys_by_name.get(name)
        if key is not None:
            check_team(actor_of(context), key.attribution.team, f"virtual key {name}")


def _keys(snapshot: Snapshot, actor: Actor) -> list[VirtualKey]:
    """The keys that the actor may see, by name."""
    keys = snapshot.directory.directory.keys
    return sorted((key for key in keys if actor.may_touch(key.attribution.team)), key=name_of)


def _budget_token(budget: Budget) -> str:
    return write_parts(budget.policy, budget.limit_id, budget.scope)


def _budget_after(page_token: str) -> Position:
    return Position(*read_parts(page_token, count=len(START))) if page_token else START
