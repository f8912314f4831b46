"""Reads messages of a simulation into values of the domain, and writes them from such values."""

from __future__ import annotations

from typing import NamedTuple

from spendgate.quota.v1 import simulation_service_pb2 as pb
from spendgate.type.v1 import dialect_pb2

from services.chassis.enums import enum_table
from services.chassis.well_known import nano_usd_of, read_duration, read_timestamp, timestamp, usd
from services.kernel.dialect import Dialect
from services.kernel.endpoint import Operation
from services.kernel.errors import InvalidInput
from services.kernel.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, CACHED_INPUT, REASONING, Usage
from services.quota.domain.identity.attribution import Attribution
from services.quota.domain.replay.replay import PastCall
from services.quota.domain.replay.report import CallerTally, LimitTally, RefusalTally, ReplayReport
from services.quota.transport.policy_messages import write_kind

_DIALECTS = enum_table(dialect_pb2.Dialect, Dialect)
_OPERATIONS = {operation.value: operation for operation in Operation}


class Outcome(NamedTuple):
    """How a replay ended, as its process reports it."""

    report: bytes
    """A serialised `SimulatePoliciesResponse`, if there is no problem."""
    problem: str = ""
    field: str = ""
    """The field of the request that has the problem, if one has."""


def read_past_call(field: str, message: pb.PastCall) -> PastCall:
    """Reads a past call. `field` is its path within the request.

    Raises:
        InvalidInput: a number is impossible.
    """
    began_at_ms, cost = read_timestamp(f"{field}.start_time", message.start_time), message.cost
    if min(began_at_ms, cost.units, cost.nanos) < 0:
        raise InvalidInput(field, "its start time and cost must not be negative")
    latency_ms = read_duration(f"{field}.latency", message.latency)
    for_an_hour = message.cache_write_1h_input_tokens
    meters = dict(message.meters) or {
        CACHED_INPUT: message.cached_input_tokens,
        CACHE_WRITE_5M: message.cache_write_input_tokens - for_an_hour,
        CACHE_WRITE_1H: for_an_hour,
        REASONING: message.reasoning_tokens,
    }
    try:
        usage = Usage(message.input_tokens, message.output_tokens, meters, message.service_tier)
    except ValueError as error:
        raise InvalidInput(field, str(error)) from error
    who = message.attribution
    return PastCall(
        id=message.id,
        began_at_ms=began_at_ms,
        end_at_ms=began_at_ms + latency_ms,
        attribution=Attribution(who.key_id, who.key, who.team, who.project, who.environment, who.user),
        model=message.model_requested,
        served=message.model_served,
        dialect=_DIALECTS.read(f"{field}.dialect", message.dialect, "dialect") if message.dialect else None,
        operation=_OPERATIONS.get(message.operation),
        run=message.run,
        usage=usage,
        cost_nano_usd=nano_usd_of(cost) if message.HasField("cost") else None,
        has_unknown_members=bool(message.unknown_members),
    )


def write_report(report: ReplayReport) -> pb.SimulatePoliciesResponse:
    """Writes the report of a replay."""
    callers = sorted(report.callers.values(), key=lambda each: (-each.saved_nano_usd, each.team, each.key))
    return pb.SimulatePoliciesResponse(
        calls=report.calls,
        allowed=report.allowed,
        degraded=report.degraded,
        denied=report.denied,
        unpriced=report.unpriced,
        real_cost=usd(report.real_nano_usd),
        simulated_cost=usd(report.simulated_nano_usd),
        limits=[_write_limit(tally) for tally in report.limits.values()],
        callers=[_write_caller(tally) for tally in callers],
        unknown_members=[_write_refusals(tally) for tally in report.unknown_members.values()],
    )


def _write_limit(tally: LimitTally) -> pb.LimitOutcome:
    denied_ms, degraded_ms = tally.first_denied_at_ms, tally.first_degraded_at_ms
    return pb.LimitOutcome(
        policy=tally.policy,
        limit_kind=write_kind(tally.kind),
        window=tally.window,
        denied=tally.denied,
        degraded=tally.degraded,
        first_denied_time=None if denied_ms is None else timestamp(denied_ms),
        first_degraded_time=None if degraded_ms is None else timestamp(degraded_ms),
        saved=usd(tally.saved_nano_usd),
        peak_used_basis_points=tally.peak_basis_points,
    )


def _write_refusals(tally: RefusalTally) -> pb.UnknownMembersOutcome:
    first_ms = tally.first_denied_at_ms
    return pb.UnknownMembersOutcome(
        policy=tally.policy,
        denied=tally.denied,
        first_denied_time=None if first_ms is None else timestamp(first_ms),
        saved=usd(tally.saved_nano_usd),
    )


def _write_caller(tally: CallerTally) -> pb.CallerOutcome:
    return pb.CallerOutcome(
        team=tally.team,
        key=tally.key,
        denied=tally.denied,
        degraded=tally.degraded,
        first_time=timestamp(tally.first_at_ms),
        saved=usd(tally.saved_nano_usd),
    )
