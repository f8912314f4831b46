"""`spendgate.quota.v1.QuotaService` over the use cases. The chassis turns errors into status codes."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import grpc
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.quota.v1 import quota_service_pb2_grpc
from spendgate.type.v1 import configuration_pb2

from services.chassis.authorship import actor_of, authorship_of
from services.chassis.grpc_server import Registration
from services.chassis.paging import bad_token, check_page_size, page_of, read_token, write_token
from services.kernel.clock import Clock
from services.kernel.errors import InvalidInput
from services.quota.domain.directory.bounded import Bounds
from services.quota.domain.identity.access import check_team
from services.quota.domain.identity.key import SecretKind
from services.quota.transport import admin_messages as messages
from services.quota.transport.counter_service import write_adjusted
from services.quota.transport.policy_messages import write_policy, write_policy_status
from services.quota.usecases.administer import Administer
from services.quota.usecases.budgets import Budget, EffectiveLimits, ListBudgets
from services.quota.usecases.explain import Explain
from services.quota.usecases.live import Live
from services.quota.usecases.policies import ListPolicies
from services.quota.usecases.reconcile import Reconcile
from services.quota.usecases.status import ReadStatus

SERVICE = "spendgate.quota.v1.QuotaService"
_ASSUMED_TOKENS = 1_000
_MOST_UNPRICED = 1_000
# SQLite stores integers of 64 bits.
_MOST_DIGITS = 18


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
    ) -> configuration_pb2.ApplyConfigurationResponse:
        """Replaces teams, policies and declared keys by those sent."""
        configuration = messages.read_configuration(request)
        by = authorship_of(context, request.reason)
        return messages.write_applied(self._administer.apply(configuration, validate_only=request.validate_only, by=by))

    def ListTeams(self, request: pb.ListTeamsRequest, context: grpc.ServicerContext) -> pb.ListTeamsResponse:
        """Lists the teams by name."""
        actor = actor_of(context)
        known = (team for team in self._live.snapshot.directory.directory.teams if actor.may_touch(team.name))
        teams = sorted(known, key=lambda team: team.name)
        page, token = page_of(teams, lambda team: team.name, page_size=request.page_size, page_token=request.page_token)
        written = [pb.Team(name=team.name, projects=team.projects, members=team.members) for team in page]
        return pb.ListTeamsResponse(teams=written, next_page_token=token)

    def ListQuotaPolicies(
        self, request: pb.ListQuotaPoliciesRequest, context: grpc.ServicerContext
    ) -> pb.ListQuotaPoliciesResponse:
        """Lists the policies by name."""
        actor = actor_of(context)
        page, token = page_of(
            [policy for policy in self._queries.list_policies() if actor.may_touch(policy.match.team)],
            lambda policy: policy.name,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pb.ListQuotaPoliciesResponse(
            quota_policies=[write_policy(policy) for policy in page],
            statuses=[write_policy_status(each) for each in self._queries.list_policies.described(page)],
            next_page_token=token,
        )

    def CreateVirtualKey(
        self, request: pb.CreateVirtualKeyRequest, context: grpc.ServicerContext
    ) -> pb.VirtualKeySecret:
        """Creates a key. Only this answer contains its secret."""
        try:
            kind = SecretKind(request.kind or SecretKind.LIVE)
        except ValueError as error:
            raise InvalidInput("kind", f"{request.kind[:80]!r} is none of {', '.join(SecretKind)}") from error
        by = authorship_of(context, request.reason)
        minted = self._administer.create_key(messages.read_key_spec(request.key), kind, by=by)
        return pb.VirtualKeySecret(key=messages.write_key(minted.key, self._clock.now_ms()), secret=minted.secret)

    def ListVirtualKeys(
        self, request: pb.ListVirtualKeysRequest, context: grpc.ServicerContext
    ) -> pb.ListVirtualKeysResponse:
        """Lists the keys by name, without their secrets."""
        actor = actor_of(context)
        snapshot = self._live.snapshot
        directory = snapshot.directory.directory
        bounds = Bounds(directory, snapshot.routes.plan.models)
        keys = sorted(
            (key for key in directory.keys if actor.may_touch(key.attribution.team)), key=lambda key: key.name
        )
        page, token = page_of(keys, lambda key: key.name, page_size=request.page_size, page_token=request.page_token)
        now_ms = self._clock.now_ms()
        return pb.ListVirtualKeysResponse(
            virtual_keys=[messages.write_key(key, now_ms, unbounded=bounds.is_unbounded(key)) for key in page],
            next_page_token=token,
        )

    def RotateVirtualKey(
        self, request: pb.RotateVirtualKeyRequest, context: grpc.ServicerContext
    ) -> pb.VirtualKeySecret:
        """Gives a key a new secret."""
        by = authorship_of(context, request.reason)
        minted = self._administer.rotate_key(request.name, grace_ms=request.grace_seconds * 1000, by=by)
        return pb.VirtualKeySecret(key=messages.write_key(minted.key, self._clock.now_ms()), secret=minted.secret)

    def SetVirtualKeyDisabled(
        self, request: pb.SetVirtualKeyDisabledRequest, context: grpc.ServicerContext
    ) -> pb.VirtualKey:
        """Disables a key, or enables it again."""
        by = authorship_of(context, request.reason)
        key = self._administer.set_key_disabled(request.name, disabled=request.disabled, by=by)
        return messages.write_key(key, self._clock.now_ms())

    def ListBudgets(self, request: pb.ListBudgetsRequest, context: grpc.ServicerContext) -> pb.ListBudgetsResponse:
        """Lists the counters of the current windows."""
        budgets = sorted(self._queries.list_budgets(request.policy, team=actor_of(context).team), key=_budget_order)
        page, token = page_of(budgets, _budget_order, page_size=request.page_size, page_token=request.page_token)
        return pb.ListBudgetsResponse(budgets=[messages.write_budget(budget) for budget in page], next_page_token=token)

    def ListAdjustments(
        self, request: pb.ListAdjustmentsRequest, context: grpc.ServicerContext
    ) -> pb.ListAdjustmentsResponse:
        """Lists the adjustments of counters to what the ledger says."""
        size = check_page_size(request.page_size)
        found = self._reconcile.adjustments(_read_sequence(request.page_token), size + 1)
        return pb.ListAdjustmentsResponse(
            adjustments=[write_adjusted(each) for each in found[:size]],
            next_page_token=write_token(str(found[size - 1].sequence)) if len(found) > size else "",
        )

    def Explain(self, request: pb.ExplainRequest, context: grpc.ServicerContext) -> pb.ExplainResponse:
        """Explains what would happen to a call, and why."""
        for field in ("input_tokens", "max_output_tokens"):
            if getattr(request, field) < 0:
                raise InvalidInput(field, "must not be negative")
        self._check_key(request.key, context)
        explanation = self._queries.explain(
            request.key,
            request.model,
            input_tokens=request.input_tokens or _ASSUMED_TOKENS,
            max_output_tokens=request.max_output_tokens or _ASSUMED_TOKENS,
            team=actor_of(context).team,
        )
        return messages.write_explanation(explanation)

    def GetEffectiveLimits(
        self, request: pb.GetEffectiveLimitsRequest, context: grpc.ServicerContext
    ) -> pb.GetEffectiveLimitsResponse:
        """Lists the limits that apply to a key, tightest first."""
        self._check_key(request.key, context)
        limits = self._queries.effective_limits(request.key, request.model, team=actor_of(context).team)
        return pb.GetEffectiveLimitsResponse(limits=[messages.write_budget(budget) for budget in limits])

    def GetQuotaStatus(self, request: pb.GetQuotaStatusRequest, context: grpc.ServicerContext) -> pb.QuotaStatus:
        """Shows what this process has in force."""
        status = self._queries.status()
        return pb.QuotaStatus(
            plan_version=status.plan_version,
            price_version=status.price_version,
            virtual_keys=status.keys,
            policies=status.policies,
            open_reservations=status.open_reservations,
            settlement_lag_p95_ms=status.settlement_lag_p95_ms,
            unpriced_targets=status.unpriced_targets[:_MOST_UNPRICED],
        )

    def _check_key(self, name: str, context: grpc.ServicerContext) -> None:
        key = self._live.snapshot.directory.keys_by_name.get(name)
        if key is not None:
            check_team(actor_of(context), key.attribution.team, f"virtual key {name}")


def _read_sequence(page_token: str) -> int | None:
    """The sequence number below which the page begins; None for the first page."""
    if not page_token:
        return None
    text = read_token(page_token)
    if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise bad_token()
    return int(text)


def _budget_order(budget: Budget) -> str:
    # A budget does not show the unit and zone of its window. Its ends and its bound tell limits of one kind apart.
    window = f"{budget.resets_at_ms:015d}\0{budget.window_start_ms:015d}\0{budget.limit:020d}"
    return f"{budget.policy}\0{budget.limit_kind}\0{budget.scope}\0{window}"
