"""The ledger service over gRPC, as `ports.SwitchReceiver`."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from spendgate.ledger.v1 import switch_service_pb2 as pb
from spendgate.ledger.v1 import switch_service_pb2_grpc as pb_grpc
from spendgate.type.v1 import lead_reason_pb2

from services.chassis.enums import enum_table
from services.chassis.well_known import timestamp
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import Unavailable
from services.router.domain.model import ChainSlot
from services.router.domain.switch import Direction, NamedSwitch

_TIMEOUT_S = 10.0
_REASONS = enum_table(lead_reason_pb2.LeadReason, LeadReason)
_DIRECTIONS = enum_table(pb.LeadSwitch.Direction, Direction)


class LedgerClient:
    """Reports switches. Raises `Unavailable` when the ledger does not answer."""

    def __init__(self, channel: grpc.Channel, router: str) -> None:
        """`router` names this one among those that report to the ledger, in the same way over restarts."""
        self._router = router
        self._stub = pb_grpc.SwitchServiceStub(channel)

    def report(self, switches: Sequence[NamedSwitch]) -> None:
        """Hands over at most 100 switches. A repetition changes nothing."""
        request = pb.ReportSwitchesRequest(switches=[_message(each) for each in switches], router=self._router)
        try:
            self._stub.ReportSwitches(request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
            raise Unavailable(f"the ledger does not take switches: {code}") from error


def _message(named: NamedSwitch) -> pb.LeadSwitch:
    switch = named.switch
    return pb.LeadSwitch(
        id=named.id,
        model=switch.model,
        from_basis_points=switch.from_basis_points,
        direction=_DIRECTIONS.numbers[switch.direction],
        reason=_REASONS.numbers[switch.reason],
        previous_targets=_names(switch.came_from),
        targets=_names(switch.goes_to),
        evidence=switch.evidence,
        switch_time=timestamp(switch.time_ms),
    )


def _names(slot: ChainSlot) -> list[str]:
    return [one.target for one in slot.targets]
