"""`spendgate.quota.v1.ReservationService` lets the ledger end reservations. The chassis maps errors to status codes."""

from __future__ import annotations

from functools import partial

import grpc
from spendgate.quota.v1 import reservation_service_pb2 as pb
from spendgate.quota.v1 import reservation_service_pb2_grpc as pb_grpc
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_table
from services.chassis.grpc_server import Registration
from services.chassis.paging import check_page_size
from services.chassis.well_known import read_timestamp, timestamp
from services.kernel.dialect import Dialect
from services.kernel.settlement import CrossingKind, Most
from services.quota.domain.counters.crossing import Crossing
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import Settlement
from services.quota.transport.admin_messages import write_attribution
from services.quota.usecases.settle import ListOpen, ListOverdue, Release, Settle

_KINDS = enum_table(pb.CrossingKind, CrossingKind)
_DIALECTS = enum_table(dialect_pb2.Dialect, Dialect)
SERVICE = "spendgate.quota.v1.ReservationService"


class ReservationService(pb_grpc.ReservationServiceServicer):
    """Settles, releases and lists reservations."""

    def __init__(self, *, settle: Settle, release: Release, list_overdue: ListOverdue, list_open: ListOpen) -> None:
        self._settle = settle
        self._release = release
        self._list_overdue = list_overdue
        self._list_open = list_open

    @property
    def registration(self) -> Registration:
        """Registers the service with a server."""
        return Registration(SERVICE, partial(pb_grpc.add_ReservationServiceServicer_to_server, self))

    def SettleReservations(
        self, request: pb.SettleReservationsRequest, context: grpc.ServicerContext
    ) -> pb.SettleReservationsResponse:
        """Settles reservations with what their calls took."""
        result = self._settle(
            [_read_settlement(f"settlements[{at}]", each) for at, each in enumerate(request.settlements)],
            request.crossings_after,
        )
        return pb.SettleReservationsResponse(
            settled=result.settled,
            already_ended=result.already_ended,
            crossings=[write_crossing(crossing) for crossing in result.crossings],
        )

    def ReleaseReservations(
        self, request: pb.ReleaseReservationsRequest, context: grpc.ServicerContext
    ) -> pb.ReleaseReservationsResponse:
        """Releases reservations: ends them without a charge."""
        released = self._release(reservations=request.reservations, request_ids=request.request_ids)
        return pb.ReleaseReservationsResponse(released=released)

    def ListOverdueReservations(
        self, request: pb.ListOverdueReservationsRequest, context: grpc.ServicerContext
    ) -> pb.ListOverdueReservationsResponse:
        """Lists reservations for which no record can come any longer."""
        booked_through_ms = read_timestamp("booked_through_time", request.booked_through_time)
        overdue = self._list_overdue(request.ended_epochs, booked_through_ms, check_page_size(request.page_size))
        return pb.ListOverdueReservationsResponse(reservations=[_write_overdue(each) for each in overdue])

    def ListOpenReservations(
        self, request: pb.ListOpenReservationsRequest, context: grpc.ServicerContext
    ) -> pb.ListOpenReservationsResponse:
        """Lists all reservations that have not ended."""
        found = self._list_open(request.after, check_page_size(request.page_size))
        return pb.ListOpenReservationsResponse(reservations=found)


def _read_settlement(field: str, message: pb.Settlement) -> Settlement:
    return Settlement(
        reservation=message.reservation,
        cost_nano_usd=message.cost_nano_usd,
        input_tokens=message.input_tokens,
        output_tokens=message.output_tokens,
        end_at_ms=read_timestamp(f"{field}.end_time", message.end_time),
        reported=message.reported,
        answer_text_bytes=max(0, message.answer_text_bytes),
        most=_read_most(message.most) if message.HasField("most") else None,
    )


def _read_most(message: pb.Most) -> Most:
    return Most(message.cost_nano_usd, message.input_tokens, message.output_tokens)


def write_crossing(crossing: Crossing) -> pb.Crossing:
    """Writes a crossing."""
    return pb.Crossing(
        sequence=crossing.sequence,
        policy=crossing.counter.policy,
        limit=crossing.limit,
        scope=crossing.counter.scope,
        window_start_time=timestamp(crossing.counter.window_start_ms),
        basis_points=crossing.basis_points,
        notify=crossing.notify,
        cross_time=timestamp(crossing.crossed_at_ms),
        settled=crossing.settled,
        bound=crossing.bound,
        kind=_KINDS.numbers[crossing.kind],
        excess=crossing.excess,
        reservation=crossing.reservation,
    )


def _write_overdue(reservation: Reservation) -> pb.OverdueReservation:
    return pb.OverdueReservation(
        reservation=reservation.id,
        request_id=reservation.request_id,
        attribution=write_attribution(reservation.attribution),
        model_requested=reservation.model,
        chain=reservation.chain,
        expected_input_tokens=reservation.expected_input_tokens,
        expected_output_tokens=reservation.expected_output_tokens,
        create_time=timestamp(reservation.created_at_ms),
        dialect=_DIALECTS.numbers[reservation.dialect],
        epoch=reservation.epoch,
        run=reservation.run,
    )
