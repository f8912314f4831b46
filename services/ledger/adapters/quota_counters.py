"""The quota service's counters over gRPC, as `ports.QuotaCounters`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

import grpc
from spendgate.quota.v1 import counter_service_pb2 as pb
from spendgate.quota.v1 import counter_service_pb2_grpc as pb_grpc
from spendgate.quota.v1 import quota_service_pb2 as quota_pb
from spendgate.type.v1 import dimension_pb2

from services.chassis.enums import enum_table
from services.chassis.well_known import timestamp
from services.kernel.limit_kind import LimitKind
from services.kernel.scope import Dimension, ScopeParts
from services.kernel.settlement import AdjustmentReason
from services.ledger.adapters.quota_client import asked, read_crossing
from services.ledger.domain.counting import Adjustment, CountedLimit, Counter, CounterList, LimitLevels, Span, Sum
from services.ledger.domain.settlement import Crossing
from services.ledger.ports import CounterState

_TIMEOUT_S = 10.0
# For all counters, which may be many.
_LONG_TIMEOUT_S = 60.0
# Counters are compared while they come.
_LISTING_TIMEOUT_S = 300.0
_PER_MESSAGE = 500
_KINDS = enum_table(quota_pb.LimitKind, LimitKind)
_REASONS = enum_table(quota_pb.Adjustment.Reason, AdjustmentReason)
_DIMENSIONS = enum_table(dimension_pb2.Dimension, Dimension)


class QuotaCountersClient:
    """Lists counters and moves them. Raises `Unavailable` when quota does not answer."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = pb_grpc.CounterServiceStub(channel)

    def state(self) -> CounterState:
        """Returns whether the counters can be trusted, and which limits are in force."""
        answer = asked(lambda: self._stub.GetCounterState(pb.GetCounterStateRequest(), timeout=_TIMEOUT_S))
        state = answer.counter_state
        return CounterState(state.ready, state.limits_version, tuple(state.held_reservations))

    def list_counters(self) -> CounterList:
        """Returns all counters of the current windows. If quota goes away meanwhile, its limits raise `Unavailable`."""
        stream = asked(lambda: self._stub.ListCounters(pb.ListCountersRequest(), timeout=_LISTING_TIMEOUT_S))
        return _read_list(_each(stream))

    def adjust(self, adjustments: Sequence[Adjustment], crossings_after: int) -> tuple[int, list[Crossing]]:
        """Moves counters that still have their listed value.

        Returns how many it moved, and crossings with a higher sequence number.
        """
        request = pb.AdjustCountersRequest(
            adjustments=[_write_adjustment(each) for each in adjustments], crossings_after=crossings_after
        )
        answer = asked(lambda: self._stub.AdjustCounters(request, timeout=_TIMEOUT_S))
        return answer.adjusted, [read_crossing(each) for each in answer.crossings]

    def restore(self, sums: Iterable[Sum], ended: Collection[str]) -> None:
        """Sets all counters after a loss. Quota then puts back what calls hold, except for the `ended`."""
        parts = _write_parts(sums, list(ended))
        asked(lambda: self._stub.RestoreCounters(parts, timeout=_LONG_TIMEOUT_S))


def _each(stream: Iterable[pb.ListCountersResponse]) -> Iterator[pb.ListCountersResponse]:
    answers = iter(stream)
    while (answer := asked(lambda: next(answers, None))) is not None:
        yield answer


def _read_list(answers: Iterator[pb.ListCountersResponse]) -> CounterList:
    preferred: list[ScopeParts] = []
    for answer in answers:
        preferred += [_read_parts(each.parts) for each in answer.preferred]
        if answer.HasField("limit"):
            # No preferred scope comes after a limit.
            return CounterList(tuple(preferred), _read_limits(chain([answer], answers)))
    return CounterList(tuple(preferred), iter(()))


def _read_limits(answers: Iterable[pb.ListCountersResponse]) -> Iterator[LimitLevels]:
    """Each limit once all its counters have come. It forgets them before it reads on."""
    levels: LimitLevels | None = None
    settled: dict[str, int] = {}
    for answer in answers:
        if answer.HasField("limit"):
            if levels is not None:
                yield levels
            settled = {}
            levels = LimitLevels(_read_limit(answer.limit), settled)
        settled.update((each.scope, each.settled) for each in answer.counters)
    if levels is not None:
        yield levels


def _read_limit(limit: pb.CountedLimit) -> CountedLimit:
    return CountedLimit(
        policy=limit.policy,
        limit_id=limit.limit_id,
        kind=_KINDS.members[limit.limit_kind],
        parts=_read_parts(limit.parts),
        default=limit.default,
        span=Span(limit.window_start_time.ToMilliseconds(), limit.window_end_time.ToMilliseconds(), limit.each_run),
        retain_until_ms=limit.retain_until_time.ToMilliseconds(),
    )


def _read_parts(parts: Iterable[pb.ScopePart]) -> ScopeParts:
    return tuple((_DIMENSIONS.members[part.dimension], part.value) for part in parts)


def _write_adjustment(adjustment: Adjustment) -> pb.CounterAdjustment:
    return pb.CounterAdjustment(
        counter=_write_name(adjustment.counter),
        before=adjustment.before,
        after=adjustment.after,
        reason=_REASONS.numbers[adjustment.reason],
    )


def _write_parts(sums: Iterable[Sum], ended: Sequence[str]) -> Iterator[pb.RestoreCountersRequest]:
    for at in range(0, len(ended), _PER_MESSAGE):
        yield pb.RestoreCountersRequest(ended_reservations=ended[at : at + _PER_MESSAGE])
    request = pb.RestoreCountersRequest()
    for counter, settled in sums:
        request.sums.add(counter=_write_name(counter), settled=settled)
        if len(request.sums) == _PER_MESSAGE:
            yield request
            request = pb.RestoreCountersRequest()
    yield request


def _write_name(counter: Counter) -> pb.CounterName:
    return pb.CounterName(
        policy=counter.policy,
        limit_id=counter.limit_id,
        scope=counter.scope,
        window_start_time=timestamp(counter.window_start_ms),
        retain_until_time=timestamp(counter.retain_until_ms),
    )
