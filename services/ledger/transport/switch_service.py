"""`spendgate.ledger.v1.SwitchService`: takes word of switches from the router."""

from __future__ import annotations

from functools import partial

import grpc
from spendgate.ledger.v1 import switch_service_pb2 as pb
from spendgate.ledger.v1 import switch_service_pb2_grpc as pb_grpc
from spendgate.type.v1 import lead_reason_pb2

from services.chassis.enums import enum_table
from services.chassis.grpc_server import Registration
from services.chassis.well_known import read_timestamp, timestamp
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import InvalidInput
from services.ledger.domain.lead_switch import Direction, LeadSwitch
from services.ledger.usecases.record_switches import RecordSwitches

SERVICE = "spendgate.ledger.v1.SwitchService"
_REASONS = enum_table(lead_reason_pb2.LeadReason, LeadReason)
_DIRECTIONS = enum_table(pb.LeadSwitch.Direction, Direction)


class SwitchService(pb_grpc.SwitchServiceServicer):
    """Parses reports of the router."""

    def __init__(self, record: RecordSwitches) -> None:
        self._record = record

    @property
    def registration(self) -> Registration:
        """Adds the service to a server."""
        return Registration(SERVICE, partial(pb_grpc.add_SwitchServiceServicer_to_server, self))

    def ReportSwitches(
        self, request: pb.ReportSwitchesRequest, context: grpc.ServicerContext
    ) -> pb.ReportSwitchesResponse:
        """Records switches, each id once."""
        self._record([_read(f"switches[{at}]", each, request.router) for at, each in enumerate(request.switches)])
        return pb.ReportSwitchesResponse()


def _read(field: str, switch: pb.LeadSwitch, router: str) -> LeadSwitch:
    if not switch.id:
        raise InvalidInput(f"{field}.id", "a switch needs an id, so that a repeated report is one")
    return LeadSwitch(
        id=switch.id,
        time_ms=read_timestamp(f"{field}.switch_time", switch.switch_time),
        model=switch.model,
        from_basis_points=switch.from_basis_points,
        direction=_DIRECTIONS.read(f"{field}.direction", switch.direction, "direction"),
        reason=_REASONS.read(f"{field}.reason", switch.reason, "reason"),
        previous_targets=tuple(switch.previous_targets),
        targets=tuple(switch.targets),
        evidence=switch.evidence,
        router=router,
    )


def switch_message(switch: LeadSwitch) -> pb.LeadSwitch:
    """Returns a recorded switch."""
    return pb.LeadSwitch(
        id=switch.id,
        model=switch.model,
        from_basis_points=switch.from_basis_points,
        direction=_DIRECTIONS.numbers[switch.direction],
        reason=_REASONS.numbers[switch.reason],
        previous_targets=switch.previous_targets,
        targets=switch.targets,
        evidence=switch.evidence,
        switch_time=timestamp(switch.time_ms),
    )
