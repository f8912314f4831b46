"""`spendgate.quota.v1.DoubtService` over the use case. The chassis turns errors into status codes."""

from __future__ import annotations

from functools import partial
from itertools import islice

import grpc
from spendgate.quota.v1 import doubt_service_pb2 as pb
from spendgate.quota.v1 import doubt_service_pb2_grpc

from services.chassis.authorship import actor_of, mutation_by
from services.chassis.grpc_server import Registration
from services.chassis.paging import check_page_size, read_token, write_token
from services.chassis.well_known import read_timestamp, timestamp
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.doubt import Doubt, Selection
from services.quota.domain.counters.reservation import Hold
from services.quota.domain.policies.limit_id import kind_of
from services.quota.transport.policy_messages import write_kind
from services.quota.usecases.doubts import Doubts

SERVICE = "spendgate.quota.v1.DoubtService"
_MAX_AMOUNTS = 1_000


class DoubtService(doubt_service_pb2_grpc.DoubtServiceServicer):
    """Lists and clears doubt."""

    def __init__(self, doubts: Doubts) -> None:
        self._doubts = doubts

    @property
    def registration(self) -> Registration:
        """Registers the service with a server."""
        return Registration(SERVICE, partial(doubt_service_pb2_grpc.add_DoubtServiceServicer_to_server, self))

    def GetDoubt(self, request: pb.GetDoubtRequest, context: grpc.ServicerContext) -> pb.GetDoubtResponse:
        """Shows the doubt of one call."""
        doubt = self._doubts.get(request.reservation, team=actor_of(context).team)
        return pb.GetDoubtResponse(doubt=_write_doubt(doubt))

    def ListDoubts(self, request: pb.ListDoubtsRequest, context: grpc.ServicerContext) -> pb.ListDoubtsResponse:
        """Lists the doubt of calls, oldest first."""
        selection = Selection(policy=request.policy, scope=request.scope, team=actor_of(context).team)
        after = read_token(request.page_token) if request.page_token else ""
        page, following = self._doubts.list(selection, after, check_page_size(request.page_size))
        return pb.ListDoubtsResponse(
            doubts=[_write_doubt(doubt) for doubt in page], next_page_token=write_token(following) if following else ""
        )

    def ClearDoubts(self, request: pb.ClearDoubtsRequest, context: grpc.ServicerContext) -> pb.ClearDoubtsResponse:
        """Clears the selected doubt and gives its room back."""
        selection = Selection(
            reservations=frozenset(request.reservations),
            policy=request.policy,
            scope=request.scope,
            before_ms=read_timestamp("before_time", request.before_time) if request.HasField("before_time") else None,
        )
        cleared = self._doubts.clear(selection, by=mutation_by(context, request, request.reason))
        amounts = islice(sorted(cleared.amounts.items()), _MAX_AMOUNTS)
        return pb.ClearDoubtsResponse(calls=cleared.calls, amounts=[_write_cleared(*each) for each in amounts])


def _write_doubt(doubt: Doubt) -> pb.Doubt:
    call = doubt.reservation
    return pb.Doubt(
        reservation=call.id,
        key=call.attribution.key,
        team=call.attribution.team,
        model=call.model,
        since_time=timestamp(doubt.since_ms),
        amounts=[_write_amount(hold) for hold in call.holds],
    )


def _write_amount(hold: Hold) -> pb.DoubtfulAmount:
    counter = hold.counter
    return pb.DoubtfulAmount(
        policy=counter.policy,
        limit_id=counter.limit_id,
        limit_kind=write_kind(kind_of(counter.limit_id)),
        scope=counter.scope,
        window_start_time=timestamp(counter.window_start_ms),
        end_time=timestamp(hold.window_end_ms),
        amount=hold.held,
    )


def _write_cleared(counter: CounterKey, amount: int) -> pb.ClearedAmount:
    return pb.ClearedAmount(
        policy=counter.policy,
        limit_id=counter.limit_id,
        limit_kind=write_kind(kind_of(counter.limit_id)),
        scope=counter.scope,
        amount=amount,
    )
