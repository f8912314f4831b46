"""Converts results of use cases to protobuf messages, and requests to their arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields

from spendgate.ledger.v1 import ledger_service_pb2 as pb
from spendgate.type.v1 import attribution_pb2, dialect_pb2, lead_reason_pb2

from services.chassis.enums import enum_names, enum_numbers, enum_table, enum_texts
from services.chassis.well_known import duration, read_timestamp, timestamp, usd
from services.kernel.change import Actor
from services.kernel.dialect import Dialect
from services.kernel.envoy_contract import LeadReason
from services.kernel.errors import InvalidInput
from services.kernel.names import check_name, split_target
from services.kernel.price import Price
from services.kernel.settlement import CrossingKind
from services.kernel.usage import UsageSource
from services.ledger.domain.call import Caller
from services.ledger.domain.configuration import Channel, Configuration
from services.ledger.domain.dropped import Direction, DroppedHeader
from services.ledger.domain.entry import BookedAttempt, BookedCall
from services.ledger.domain.lead_switch import SwitchAlert
from services.ledger.domain.outcome import Outcome
from services.ledger.domain.rollup import HOUR_MS
from services.ledger.domain.selection import (
    SUM_DIMENSIONS,
    CallQuery,
    Dimension,
    UsageQuery,
    UsageSums,
    check_group_by,
    confine,
    parse_filter,
)
from services.ledger.domain.settlement import Alert
from services.ledger.transport.price_messages import read_override
from services.ledger.transport.switch_service import switch_message

_ALERT_KINDS = {CrossingKind(name): number for number, name in enum_names(pb.AlertKind).items() if name != "switch"}
_DIRECTIONS = enum_table(pb.DroppedHeader.Direction, Direction)
_SOURCES = enum_table(pb.UsageSource, UsageSource)
_DIMENSIONS = {number: Dimension(name) for number, name in enum_names(pb.UsageDimension).items()}
# The numbers by the texts of the books. A text of a later release has none.
_OUTCOMES = enum_texts(pb.Call.Outcome, Outcome)
_DIALECTS = enum_texts(dialect_pb2.Dialect, Dialect)
_DECISIONS = enum_numbers(pb.Call.Decision)
_FAILURES = enum_numbers(pb.Attempt.Failure)
_DOWNGRADES = enum_texts(lead_reason_pb2.LeadReason, LeadReason)
_WRITTEN_OTHERWISE = ("tags", "attempts", "usage_source", "outcome", "decision", "downgraded", "dialect")
_AS_BOOKED = [
    field.name
    for field in fields(BookedCall)
    if field.name in pb.Call.DESCRIPTOR.fields_by_name and field.name not in _WRITTEN_OTHERWISE
]
"""Fields that a message copies from the call."""
_CALLER = [field.name for field in fields(Caller)]
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def call_message(call: BookedCall) -> pb.Call:
    """Returns a booked call."""
    caller, usage = call.caller, call.usage
    return pb.Call(
        **{name: getattr(call, name) for name in _AS_BOOKED},
        start_time=timestamp(call.time_ms),
        outcome=_OUTCOMES.get(call.outcome, pb.Call.OUTCOME_UNSPECIFIED),
        decision=_DECISIONS.get(call.decision, pb.Call.DECISION_UNSPECIFIED),
        downgraded=_DOWNGRADES.get(call.downgraded, lead_reason_pb2.LEAD_REASON_UNSPECIFIED),
        dialect=_DIALECTS.get(call.dialect, dialect_pb2.DIALECT_UNSPECIFIED),
        usage_source=_SOURCES.numbers[call.usage_source],
        attribution=attribution_pb2.Attribution(**{name: getattr(caller, name) for name in _CALLER}),
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_input_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        cache_write_1h_input_tokens=usage.cache_write_1h_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        meters=dict(usage.meters),
        service_tier=usage.service_tier,
        cost=None if call.cost_nano_usd is None else usd(call.cost_nano_usd),
        attempts=[_attempt_message(attempt) for attempt in call.attempts],
        latency=duration(call.duration_ms),
        first_byte_latency=duration(call.first_byte_ms) if call.first_byte_ms else None,
        tags=dict(_tags(call.tags)),
    )


def call_query(request: pb.ListCallsRequest, actor: Actor) -> CallQuery:
    """Reads which calls to list, limited to those that the actor may see.

    Raises:
        InvalidInput: a filter is unknown, or a time is impossible, or they are in the wrong order.
        PermissionDenied: another team than the actor's is asked for.
    """
    start_ms = read_timestamp("start_time", request.start_time) if request.HasField("start_time") else None
    end_ms = read_timestamp("end_time", request.end_time) if request.HasField("end_time") else None
    if start_ms is not None and end_ms is not None and end_ms < start_ms:
        raise InvalidInput("end_time", "it lies before start_time")
    return CallQuery(confine(parse_filter(request.filter), actor), start_ms, end_ms, request.oldest_first)


def usage_row(sums: UsageSums) -> pb.UsageRow:
    """Returns the sums of one group."""
    return pb.UsageRow(
        values=sums.values,
        calls=sums.calls,
        input_tokens=sums.input_tokens,
        cached_input_tokens=sums.cached_input_tokens,
        output_tokens=sums.output_tokens,
        cost=usd(sums.cost_nano_usd),
        unpriced_calls=sums.unpriced_calls,
        retries=sums.retries,
        logical_calls=sums.calls - sums.retries,
    )


def usage_query(request: pb.QueryUsageRequest) -> UsageQuery:
    """Reads which sums to return.

    Raises:
        InvalidInput: a dimension or filter is unknown, or a time is impossible, or they are in the wrong order.
    """
    start_ms = read_timestamp("start_time", request.start_time) if request.HasField("start_time") else None
    end_ms = read_timestamp("end_time", request.end_time) if request.HasField("end_time") else None
    if start_ms is not None:
        start_ms -= start_ms % HOUR_MS
        if end_ms is not None and end_ms < start_ms:
            raise InvalidInput("end_time", "it lies before start_time")
    dimensions = tuple(_dimension(f"group_by[{at}]", number) for at, number in enumerate(request.group_by))
    return UsageQuery(check_group_by(dimensions), parse_filter(request.filter, SUM_DIMENSIONS), start_ms, end_ms)


def _dimension(field: str, number: pb.UsageDimension.ValueType) -> Dimension:
    dimension = _DIMENSIONS.get(number)
    if dimension is None:
        raise InvalidInput(field, f"{number} is no dimension: write one of {', '.join(_DIMENSIONS.values())}")
    return dimension


def alert_message(alert: Alert | SwitchAlert) -> pb.Alert:
    """Returns an alert."""
    deliver_time = None if alert.delivered_ms is None else timestamp(alert.delivered_ms)
    if isinstance(alert, SwitchAlert):
        return pb.Alert(
            kind=pb.ALERT_KIND_SWITCH,
            cross_time=timestamp(alert.switch.time_ms),
            recipients=alert.notify,
            deliver_time=deliver_time,
            lead_switch=switch_message(alert.switch),
        )
    crossing = alert.crossing
    return pb.Alert(
        policy=crossing.policy,
        limit=crossing.limit,
        scope=crossing.scope,
        basis_points=crossing.basis_points,
        window_start_time=timestamp(crossing.window_start_ms),
        cross_time=timestamp(crossing.crossed_ms),
        recipients=crossing.notify,
        deliver_time=deliver_time,
        kind=_ALERT_KINDS[crossing.kind],
        excess=crossing.excess,
        call=crossing.call,
        trace_id=alert.trace_id,
        run=alert.run,
        target=alert.target,
        key=alert.key,
        team=alert.team,
        unknown_members=alert.unknown_members,
    )


def configuration(request: pb.ApplyConfigurationRequest) -> Configuration:
    """Reads the configuration in a request.

    Raises:
        InvalidInput: a name, a price or a channel is wrong, or comes twice.
    """
    prices: dict[str, Price] = {}
    for at, override in enumerate(request.prices):
        field = f"prices[{at}]"
        split_target(f"{field}.target", override.target)
        if override.target in prices:
            raise InvalidInput(f"{field}.target", f"{override.target} comes twice")
        prices[override.target] = read_override(f"{field}.price", override.price)
    channels: dict[str, Channel] = {}
    for at, each in enumerate(request.channels):
        field = f"channels[{at}]"
        if check_name(f"{field}.name", each.name) in channels:
            raise InvalidInput(f"{field}.name", f"{each.name} comes twice")
        channels[each.name] = _channel(field, each)
    return Configuration(prices, channels)


def _channel(field: str, channel: pb.AlertChannel) -> Channel:
    if bool(channel.url) == bool(channel.webhook):
        raise InvalidInput(field, "give either url or webhook")
    # A URL may hold a secret, so an error never repeats it.
    if channel.url and not _URL.fullmatch(channel.url):
        raise InvalidInput(f"{field}.url", "it is not a URL: write scheme://...")
    if channel.webhook and not re.fullmatch(r"https?://\S+", channel.webhook):
        raise InvalidInput(f"{field}.webhook", "it is not an address: write https://host/path")
    if channel.secret_env and not _VARIABLE.fullmatch(channel.secret_env):
        raise InvalidInput(f"{field}.secret_env", "it is not the name of an environment variable")
    return Channel(channel.name, channel.url, channel.webhook, channel.secret_env)


def _attempt_message(attempt: BookedAttempt) -> pb.Attempt:
    return pb.Attempt(
        target=attempt.target,
        status=attempt.status,
        latency=duration(attempt.latency_ms),
        cost=None if attempt.cost_nano_usd is None else usd(attempt.cost_nano_usd),
        failure=_FAILURES.get(attempt.failure, pb.Attempt.FAILURE_UNSPECIFIED),
    )


def _tags(text: str) -> Iterable[tuple[str, str]]:
    for pair in text.split(",") if text else ():
        name, _, value = pair.partition("=")
        yield name, value


def dropped_header(header: DroppedHeader, calls: int) -> pb.DroppedHeader:
    """Returns a dropped header and its count."""
    return pb.DroppedHeader(
        provider=header.provider, direction=_DIRECTIONS.numbers[header.direction], name=header.name, calls=calls
    )
