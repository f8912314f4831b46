"""`spendgate.quota.v1.CounterService`: lets the ledger reconcile counters with its entries."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import grpc
from spendgate.quota.v1 import counter_service_pb2 as pb
from spendgate.quota.v1 import counter_service_pb2_grpc
from spendgate.quota.v1 import quota_service_pb2 as quota_pb
from spendgate.type.v1 import dimension_pb2

from services.chassis.enums import enum_table
from services.chassis.grpc_server import Registration
from services.chassis.well_known import read_timestamp, timestamp
from services.kernel.errors import InvalidInput
from services.kernel.scope import Dimension, ScopeParts
from services.kernel.settlement import AdjustmentReason
from services.quota.domain.counters.adjustment import Adjusted, Adjustment
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.policies.counting import CountedLimit
from services.quota.domain.policies.limit_id import kind_of
from services.quota.ports.counters import Sum
from services.quota.transport.policy_messages import write_kind
from services.quota.transport.reservation_service import write_crossing
from services.quota.usecases.reconcile import LimitLevels, Reconcile
from services.quota.usecases.settle import MAX_BATCH

SERVICE = "spendgate.quota.v1.CounterService"
_PER_MESSAGE = 500
_REASONS = enum_table(quota_pb.Adjustment.Reason, AdjustmentReason)
_DIMENSIONS = enum_table(dimension_pb2.Dimension, Dimension)


class CounterService(counter_service_pb2_grpc.CounterServiceServicer):
    """Lists, adjusts and restores counters."""

    def __init__(self, reconcile: Reconcile) -> None:
        self._reconcile = reconcile

    @property
    def registration(self) -> Registration:
        """Registers the service with a server."""
        return Registration(SERVICE, partial(counter_service_pb2_grpc.add_CounterServiceServicer_to_server, self))

    def GetCounterState(
        self, request: pb.GetCounterStateRequest, context: grpc.ServicerContext
    ) -> pb.GetCounterStateResponse:
        """Whether the counters are reliable, and which limits are in force."""
        state = self._reconcile.state()
        return pb.GetCounterStateResponse(
            counter_state=pb.CounterState(
                ready=state.ready, limits_version=state.limits_version, held_reservations=state.lost
            )
        )

    def ListCounters(
        self, request: pb.ListCountersRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ListCountersResponse]:
        """Lists the limits that keep counters, each with its counters."""
        listing = self._reconcile.list_counters()
        for at in range(0, len(listing.preferred), _PER_MESSAGE):
            some = listing.preferred[at : at + _PER_MESSAGE]
            yield pb.ListCountersResponse(preferred=[pb.ScopeParts(parts=_write_parts(parts)) for parts in some])
        for levels in listing.limits:
            yield from _write_limit(levels)

    def AdjustCounters(
        self, request: pb.AdjustCountersRequest, context: grpc.ServicerContext
    ) -> pb.AdjustCountersResponse:
        """Sets settled amounts to what the ledger says."""
        adjustments = [_read_adjustment(f"adjustments[{at}]", each) for at, each in enumerate(request.adjustments)]
        result = self._reconcile.adjust(adjustments, request.crossings_after)
        return pb.AdjustCountersResponse(
            adjusted=result.adjusted, crossings=[write_crossing(crossing) for crossing in result.crossings]
        )

    def RestoreCounters(
        self, request_iterator: Iterator[pb.RestoreCountersRequest], context: grpc.ServicerContext
    ) -> pb.RestoreCountersResponse:
        """Sets the settled amounts of all counters after a loss."""
        self._reconcile.restore(_read_part(request) for request in request_iterator)
        return pb.RestoreCountersResponse()


def write_adjusted(adjusted: Adjusted) -> quota_pb.Adjustment:
    """Writes an adjustment that the store has made."""
    (policy, limit_id, scope, window_start_ms), _, before, after, reason = adjusted.adjustment
    return quota_pb.Adjustment(
        sequence=adjusted.sequence,
        policy=policy,
        limit_kind=write_kind(kind_of(limit_id)),
        limit_id=limit_id,
        scope=scope,
        window_start_time=timestamp(window_start_ms),
        settled_before=before,
        settled_after=after,
        reason=_REASONS.numbers[reason],
        adjust_time=timestamp(adjusted.at_ms),
    )


def _write_limit(levels: LimitLevels) -> Iterator[pb.ListCountersResponse]:
    counters = [pb.SettledScope(scope=scope, settled=settled) for scope, settled in levels.settled.items()]
    yield pb.ListCountersResponse(limit=_write_counted(levels.limit), counters=counters[:_PER_MESSAGE])
    for at in range(_PER_MESSAGE, len(counters), _PER_MESSAGE):
        yield pb.ListCountersResponse(counters=counters[at : at + _PER_MESSAGE])


def _write_counted(limit: CountedLimit) -> pb.CountedLimit:
    return pb.CountedLimit(
        policy=limit.policy,
        limit_id=limit.limit_id,
        limit_kind=write_kind(limit.kind),
        parts=_write_parts(limit.parts),
        each_run=limit.each_run,
        default=limit.default,
        window_start_time=timestamp(limit.window.start_ms),
        window_end_time=timestamp(limit.window.end_ms),
        retain_until_time=timestamp(limit.window.retain_until_ms),
    )


def _write_parts(parts: ScopeParts) -> list[pb.ScopePart]:
    return [pb.ScopePart(dimension=_DIMENSIONS.numbers[dimension], value=value) for dimension, value in parts]


def _read_adjustment(field: str, message: pb.CounterAdjustment) -> Adjustment:
    reason = _REASONS.read(f"{field}.reason", message.reason, "reason")
    counter, window_end_ms = _read_name(f"{field}.counter", message.counter)
    return Adjustment(counter, window_end_ms, message.before, message.after, reason)


def _read_part(request: pb.RestoreCountersRequest) -> tuple[list[Sum], list[str]]:
    for field in ("sums", "ended_reservations"):
        if len(getattr(request, field)) > MAX_BATCH:
            raise InvalidInput(field, f"at most {MAX_BATCH} at a time")
    return list(_read_sums(request)), list(request.ended_reservations)


def _read_sums(request: pb.RestoreCountersRequest) -> Iterator[Sum]:
    for at, message in enumerate(request.sums):
        counter, window_end_ms = _read_name(f"sums[{at}].counter", message.counter)
        yield Sum(counter, window_end_ms, message.settled)


def _read_name(field: str, name: pb.CounterName) -> tuple[CounterKey, int]:
    """Reads a counter, and the moment from which nobody needs it."""
    try:
        kind_of(name.limit_id)
    except ValueError as error:
        raise InvalidInput(f"{field}.limit_id", f"{name.limit_id[:80]!r} begins with no kind of limit") from error
    window_start_ms = read_timestamp(f"{field}.window_start_time", name.window_start_time)
    key = CounterKey(name.policy, name.limit_id, name.scope, window_start_ms)
    return key, read_timestamp(f"{field}.retain_until_time", name.retain_until_time)
