"""`spendgate.quota.v1.OverrideService`: replaces bounds of limits for a while."""

from __future__ import annotations

from functools import partial

import grpc
from spendgate.quota.v1 import override_service_pb2 as pb
from spendgate.quota.v1 import override_service_pb2_grpc as pb_grpc

from services.chassis.authorship import actor_of, mutation_by
from services.chassis.grpc_server import Registration
from services.chassis.named import find_named, page_of_named
from services.chassis.well_known import read_timestamp, timestamp, usd
from services.kernel.errors import InvalidInput
from services.quota.domain.policies.limit_id import kind_of
from services.quota.domain.policies.override import Override
from services.quota.transport.policy_messages import read_money
from services.quota.usecases.overrides import Grant, Overrides

SERVICE = "spendgate.quota.v1.OverrideService"


class OverrideService(pb_grpc.OverrideServiceServicer):
    """Grants, lists and revokes overrides."""

    def __init__(self, overrides: Overrides) -> None:
        self._overrides = overrides

    @property
    def registration(self) -> Registration:
        """Registers the service with a server."""
        return Registration(SERVICE, partial(pb_grpc.add_OverrideServiceServicer_to_server, self))

    def GrantOverride(
        self, request: pb.GrantOverrideRequest, context: grpc.ServicerContext
    ) -> pb.GrantOverrideResponse:
        """Replaces a limit's own bound until the override expires."""
        asked = request.override
        if not asked.HasField("expire_time"):
            raise InvalidInput("override.expire_time", "say when it expires, at most 31 days ahead")
        grant = Grant(
            policy=asked.policy,
            limit=asked.limit_id,
            scope=asked.scope,
            amount_nano_usd=read_money("override.amount", asked.amount) if asked.HasField("amount") else None,
            count=asked.count,
            expire_at_ms=read_timestamp("override.expire_time", asked.expire_time),
        )
        made = self._overrides.grant(grant, by=mutation_by(context, request, asked.reason))
        return pb.GrantOverrideResponse(override=_write_override(made))

    def GetOverride(self, request: pb.GetOverrideRequest, context: grpc.ServicerContext) -> pb.GetOverrideResponse:
        """Shows one override in force."""
        visible = self._overrides.list(actor_of(context).team)
        return pb.GetOverrideResponse(override=_write_override(find_named("override in force", request.name, visible)))

    def ListOverrides(
        self, request: pb.ListOverridesRequest, context: grpc.ServicerContext
    ) -> pb.ListOverridesResponse:
        """Lists the overrides in force by name."""
        page, following = page_of_named(self._overrides.list(actor_of(context).team), request)
        return pb.ListOverridesResponse(overrides=[_write_override(each) for each in page], next_page_token=following)

    def RevokeOverride(
        self, request: pb.RevokeOverrideRequest, context: grpc.ServicerContext
    ) -> pb.RevokeOverrideResponse:
        """Ends an override before it expires."""
        gone = self._overrides.revoke(request.name, by=mutation_by(context, request, request.reason))
        return pb.RevokeOverrideResponse(override=_write_override(gone))


def _write_override(override: Override) -> pb.Override:
    message = pb.Override(
        name=override.name,
        policy=override.policy,
        limit_id=override.limit_id,
        scope=override.scope,
        expire_time=timestamp(override.expire_at_ms),
        reason=override.reason,
        create_time=timestamp(override.create_at_ms),
        actor=override.actor,
    )
    if kind_of(override.limit_id).is_money:
        message.amount.CopyFrom(usd(override.bound))
    else:
        message.count = override.bound
    return message
