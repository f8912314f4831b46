"""The ledger's list of switches over gRPC, as `usecases.budget_switches.SwitchReceiver`."""

from __future__ import annotations

import grpc
from spendgate.ledger.v1 import switch_service_pb2 as pb
from spendgate.ledger.v1 import switch_service_pb2_grpc as pb_grpc
from spendgate.type.v1 import lead_reason_pb2

from services.chassis.well_known import timestamp
from services.kernel.errors import Unavailable
from services.quota.usecases.budget_switches import BudgetSwitch

_TIMEOUT_S = 10.0


class SwitchClient:
    """Reports switches. Raises `Unavailable` when the ledger does not answer."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = pb_grpc.SwitchServiceStub(channel)

    def report(self, switches: list[BudgetSwitch]) -> None:
        """Hands over at most 100 switches. A repetition changes nothing."""
        try:
            self._stub.ReportSwitches(
                pb.ReportSwitchesRequest(switches=[_message(each) for each in switches]), timeout=_TIMEOUT_S
            )
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
            raise Unavailable(f"the ledger does not take switches: {code}") from error


def _message(switch: BudgetSwitch) -> pb.LeadSwitch:
    directions = pb.LeadSwitch.Direction
    return pb.LeadSwitch(
        id=switch.id,
        model=switch.model,
        from_basis_points=switch.from_basis_points,
        direction=directions.DIRECTION_RETURNED if switch.is_return else directions.DIRECTION_LEFT,
        reason=lead_reason_pb2.LEAD_REASON_BUDGET,
        previous_targets=switch.previous,
        targets=switch.targets,
        evidence=switch.evidence,
        switch_time=timestamp(switch.time_ms),
    )
