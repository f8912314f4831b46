"""Streams the route plan to quota, which acknowledges each version that it has taken."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import grpc.aio
from spendgate.router.v1 import route_plan_service_pb2 as pb
from spendgate.router.v1 import route_plan_service_pb2_grpc

from services.chassis.enums import enum_table
from services.chassis.grpc_server import Registration
from services.chassis.well_known import duration
from services.kernel.dialect import OutputCapField, ThinkingForm
from services.kernel.endpoint import Operation
from services.kernel.envoy_contract import LeadReason
from services.router.domain.plan import PlannedFace, PlannedTarget, Tier
from services.router.transport.admin_messages import DIALECTS, write_chain
from services.router.transport.wakeup import reading
from services.router.usecases.publish import Publisher, VersionedPlan

SERVICE = "spendgate.router.v1.RoutePlanService"
LEAD_REASONS = enum_table(pb.LeadReason, LeadReason)
"""The reasons on the wire."""
_CAP_FIELDS = enum_table(pb.PlannedTarget.OutputCapField, OutputCapField)
_OPERATIONS = enum_table(pb.Operation, Operation)
_UNBOUNDED = pb.PlannedTarget.OutputCapField.OUTPUT_CAP_FIELD_UNSPECIFIED
_THINKING_FORMS = enum_table(pb.PlannedTarget.ThinkingForm, ThinkingForm)


class RoutePlanService(route_plan_service_pb2_grpc.RoutePlanServiceServicer):
    """Sends the route plan to every quota."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(route_plan_service_pb2_grpc.add_RoutePlanServiceServicer_to_server, self))

    async def WatchRoutePlan(
        self,
        request_iterator: AsyncIterator[pb.WatchRoutePlanRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[pb.WatchRoutePlanResponse]:
        """Sends the plan at once, if there is one, and whenever it changes."""
        watcher = self._publisher.connect_watcher()

        def receive(request: pb.WatchRoutePlanRequest) -> None:
            if request.version_taken:
                self._publisher.plan_taken(watcher, request.version_taken)

        sent: VersionedPlan | None = None
        try:
            async with reading(request_iterator, receive, self._publisher.subscribe) as wakeup:
                wakeup.wake()
                while await wakeup.wait():
                    plan = self._publisher.plan
                    if plan is not None and plan != sent:
                        sent = plan
                        yield pb.WatchRoutePlanResponse(plan=plan_message(plan))
        finally:
            self._publisher.disconnect_watcher(watcher)


def plan_message(versioned: VersionedPlan) -> pb.RoutePlan:
    """Converts the plan to a message."""
    models = [
        pb.ModelPlan(
            model=model.model,
            tiers=[_tier(tier) for tier in model.tiers],
            first_byte_timeout=duration(model.first_byte_timeout_ms),
            providers_without_credential=model.providers_without_credential,
            aliases=model.aliases,
            team_tiers=[
                pb.TeamTiers(team=one.team, tiers=[_tier(tier) for tier in one.tiers]) for one in model.of_teams
            ],
        )
        for model in versioned.plan.models
    ]
    targets = [_target(target) for target in versioned.plan.targets]
    return pb.RoutePlan(version=versioned.version, models=models, targets=targets)


def _tier(tier: Tier) -> pb.Tier:
    return pb.Tier(
        from_basis_points=tier.from_basis_points,
        chain=write_chain(tier.chain),
        reason=LEAD_REASONS.numbers[tier.reason] if tier.reason else pb.LEAD_REASON_UNSPECIFIED,
        probes=[
            pb.Probe(slot=write_chain([one.tried])[0], interval=duration(one.left.probe_every_ms))
            for one in tier.probes
            if one.tried.targets
        ],
    )


def _translation(face: PlannedFace) -> pb.PlannedTarget.Translation | None:
    if face.translated_to is None or face.forms is None:
        return None
    thinking = face.forms.thinking
    return pb.PlannedTarget.Translation(
        to=DIALECTS.numbers[face.translated_to],
        thinking=_THINKING_FORMS.numbers[thinking] if thinking else pb.PlannedTarget.THINKING_FORM_UNSPECIFIED,
        structured_by_tool=face.forms.is_structured_by_tool,
        no_sampling=not face.forms.takes_sampling,
    )


def _target(target: PlannedTarget) -> pb.PlannedTarget:
    return pb.PlannedTarget(
        name=target.name,
        upstream_model=target.upstream_model,
        catalogue_provider=target.catalogue_provider,
        max_output_tokens=target.max_output_tokens,
        context_window_tokens=target.context_window_tokens,
        faces=[
            pb.PlannedTarget.Face(
                dialect=DIALECTS.numbers[face.dialect],
                cluster=face.cluster,
                host=face.host,
                path=face.path,
                output_cap_field=_CAP_FIELDS.numbers[face.output_cap_field] if face.output_cap_field else _UNBOUNDED,
                usage_unasked=face.usage_unasked,
                lacks=sorted(face.lacks),
                operation=_OPERATIONS.numbers[face.operation],
                translation=_translation(face),
            )
            for face in target.faces
        ],
        stops_on_disconnect=target.stops_on_disconnect,
        lacks=sorted(target.lacks),
        output_known=target.is_output_known,
    )
