"""The quota service over gRPC, as `ports.Quota` and `ports.OpenReservations`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import grpc
from spendgate.quota.v1 import recipient_service_pb2 as recipient_pb
from spendgate.quota.v1 import recipient_service_pb2_grpc as recipient_pb_grpc
from spendgate.quota.v1 import reservation_service_pb2 as pb
from spendgate.quota.v1 import reservation_service_pb2_grpc as pb_grpc
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_table
from services.chassis.well_known import timestamp
from services.kernel.dialect import Dialect
from services.kernel.errors import Unavailable
from services.kernel.settlement import CrossingKind
from services.kernel.usage import Usage
from services.ledger.domain.call import Caller
from services.ledger.domain.entry import OverdueReservation
from services.ledger.domain.settlement import Crossing, Settlement

_TIMEOUT_S = 10.0
_UNKNOWN_COST = -1
_KINDS = enum_table(pb.CrossingKind, CrossingKind)
_DIALECTS = enum_table(dialect_pb2.Dialect, Dialect)

T = TypeVar("T")


class QuotaClient:
    """Settles, releases, and lists open and overdue reservations. Raises `Unavailable` when quota does not answer."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = pb_grpc.ReservationServiceStub(channel)

    def settle(self, settlements: Sequence[Settlement], crossings_after: int) -> tuple[set[str], list[Crossing]]:
        """Ends reservations. Returns the ids that are ended now, and crossings with a higher sequence number."""
        request = pb.SettleReservationsRequest(
            settlements=[_settlement(each) for each in settlements], crossings_after=crossings_after
        )
        response = asked(lambda: self._stub.SettleReservations(request, timeout=_TIMEOUT_S))
        return {*response.settled, *response.already_ended}, [read_crossing(each) for each in response.crossings]

    def release(self, request_ids: Sequence[str]) -> None:
        """Ends reservations of requests that never left the gateway."""
        request = pb.ReleaseReservationsRequest(request_ids=request_ids)
        asked(lambda: self._stub.ReleaseReservations(request, timeout=_TIMEOUT_S))

    def open_after(self, reservation: str, limit: int) -> list[str]:
        """Returns the ids of at most `limit` open reservations after this id, oldest first."""
        request = pb.ListOpenReservationsRequest(after=reservation, page_size=limit)
        response = asked(lambda: self._stub.ListOpenReservations(request, timeout=_TIMEOUT_S))
        return list(response.reservations)

    def release_reservations(self, reservations: Sequence[str]) -> int:
        """Ends reservations without a charge. Returns how many were open."""
        request = pb.ReleaseReservationsRequest(reservations=reservations)
        response = asked(lambda: self._stub.ReleaseReservations(request, timeout=_TIMEOUT_S))
        return int(response.released)

    def overdue(
        self, ended_epochs: Sequence[str], booked_through_ms: int | None, limit: int
    ) -> list[OverdueReservation]:
        """Lists reservations that can no longer get a record."""
        request = pb.ListOverdueReservationsRequest(
            ended_epochs=ended_epochs,
            booked_through_time=None if booked_through_ms is None else timestamp(booked_through_ms),
            page_size=limit,
        )
        response = asked(lambda: self._stub.ListOverdueReservations(request, timeout=_TIMEOUT_S))
        return [_overdue(each) for each in response.reservations]


class RecipientsClient:
    """Who is to be told, as `ports.Recipients`. Raises `Unavailable` when quota does not answer."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = recipient_pb_grpc.RecipientServiceStub(channel)

    def recipients_of(self, model: str) -> tuple[str, ...]:
        """Returns the names of the alert channels for switches of a model."""
        request = recipient_pb.ListRecipientsRequest(model=model)
        return tuple(asked(lambda: self._stub.ListRecipients(request, timeout=_TIMEOUT_S)).channels)


def asked(call: Callable[[], T]) -> T:
    """Returns quota's answer to a call.

    Raises:
        Unavailable: there is none.
    """
    try:
        return call()
    except grpc.RpcError as error:
        code = error.code().name if isinstance(error, grpc.Call) else "UNKNOWN"
        raise Unavailable(f"quota does not answer: {code}") from error


def _settlement(settlement: Settlement) -> pb.Settlement:
    return pb.Settlement(
        reservation=settlement.reservation,
        cost_nano_usd=_UNKNOWN_COST if settlement.cost_nano_usd is None else settlement.cost_nano_usd,
        input_tokens=settlement.input_tokens,
        output_tokens=settlement.output_tokens,
        end_time=timestamp(settlement.end_ms),
        reported=settlement.reported,
        answer_text_bytes=settlement.answer_text_bytes,
        most=None if settlement.most is None else pb.Most(**settlement.most._asdict()),
    )


def read_crossing(crossing: pb.Crossing) -> Crossing:
    """Reads a crossing."""
    return Crossing(
        sequence=crossing.sequence,
        policy=crossing.policy,
        limit=crossing.limit,
        scope=crossing.scope,
        window_start_ms=crossing.window_start_time.ToMilliseconds(),
        basis_points=crossing.basis_points,
        notify=tuple(crossing.notify),
        crossed_ms=crossing.cross_time.ToMilliseconds(),
        settled=crossing.settled,
        bound=crossing.bound,
        kind=_KINDS.members.get(crossing.kind, CrossingKind.THRESHOLD),
        excess=crossing.excess,
        call=crossing.reservation,
    )


def _overdue(reservation: pb.OverdueReservation) -> OverdueReservation:
    caller = reservation.attribution
    return OverdueReservation(
        reservation=reservation.reservation,
        request_id=reservation.request_id,
        caller=Caller(caller.key_id, caller.key, caller.team, caller.project, caller.environment, caller.user),
        model_requested=reservation.model_requested,
        chain=tuple(reservation.chain),
        expected=Usage(
            input_tokens=reservation.expected_input_tokens, output_tokens=reservation.expected_output_tokens
        ),
        created_ms=reservation.create_time.ToMilliseconds(),
        dialect=_DIALECTS.members.get(reservation.dialect, ""),
        epoch=reservation.epoch,
        run=reservation.run,
    )
