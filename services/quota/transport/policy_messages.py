"""Policies and their limits as messages of the admin API.

Reading only gives values their types. The code that uses a value checks whether it makes sense.
"""

from __future__ import annotations

from dataclasses import asdict

from google.type import money_pb2
from google.type.dayofweek_pb2 import DayOfWeek
from spendgate.quota.v1 import quota_service_pb2 as pb
from spendgate.type.v1 import dimension_pb2

from services.chassis.enums import enum_table
from services.chassis.well_known import duration, nano_usd_of, read_duration, timestamp, usd
from services.kernel.errors import InvalidInput
from services.kernel.limit_kind import LimitKind
from services.kernel.money import NANO_PER_USD
from services.kernel.scope import Dimension
from services.kernel.window import MAX_ROLLING_MS, Weekday, WindowUnit
from services.quota.domain.policies.limit import UTC, Limit
from services.quota.domain.policies.lint import PolicyState
from services.quota.domain.policies.policy import (
    TOO_MANY_REQUESTS,
    Match,
    Mode,
    QuotaPolicy,
    Threshold,
    ThresholdAction,
)
from services.quota.usecases.policies import ListedPolicy

_MOST_ROLLING_S = MAX_ROLLING_MS // 1_000
_KINDS = enum_table(pb.LimitKind, LimitKind)
_UNITS = enum_table(pb.WindowUnit, WindowUnit)
_DIMENSIONS = enum_table(dimension_pb2.Dimension, Dimension)
_MODES = enum_table(pb.QuotaPolicy.Mode, Mode, unspecified=Mode.ENFORCE)
_THRESHOLD_ACTIONS = enum_table(pb.Threshold.Action, ThresholdAction, unspecified=ThresholdAction.NOTIFY)
_POLICY_STATES = enum_table(pb.PolicyStatus.State, PolicyState)


def read_policy(field: str, message: pb.QuotaPolicy) -> QuotaPolicy:
    """Reads a policy. `field` is its path within the request.

    Raises:
        InvalidInput: an enum has an unknown value.
    """
    match = message.match
    each = _DIMENSIONS.members.get(message.each)
    if message.each and each is None:
        raise InvalidInput(f"{field}.each", f"{message.each} is none of {', '.join(Dimension)}")
    return QuotaPolicy(
        name=message.name,
        match=Match(match.team, match.project, match.environment, match.user, match.key, match.model),
        limits=tuple(_read_limit(f"{field}.limits[{at}]", limit) for at, limit in enumerate(message.limits)),
        each=each,
        thresholds=tuple(
            _read_threshold(f"{field}.thresholds[{at}]", each) for at, each in enumerate(message.thresholds)
        ),
        mode=_MODES.read(f"{field}.mode", message.mode, "mode"),
        default=message.default,
        exhausted_status=message.exhausted_status or TOO_MANY_REQUESTS,
        allows_unpriced=message.allows_unpriced,
        allowance_nano_usd=read_money(f"{field}.store_failure_allowance", message.store_failure_allowance),
        estimates_unmeasured=message.estimates_unmeasured,
        refuses_unknown_members=message.refuses_unknown_members,
    )


def write_policy(listed: ListedPolicy) -> pb.QuotaPolicy:
    """Writes a policy in force, with its state."""
    policy = listed.policy
    return pb.QuotaPolicy(
        name=policy.name,
        match=pb.Match(**asdict(policy.match)),
        each=_DIMENSIONS.numbers[policy.each] if policy.each else dimension_pb2.DIMENSION_UNSPECIFIED,
        limits=[_write_limit(limit) for limit in policy.limits],
        thresholds=[
            pb.Threshold(
                basis_points=each.basis_points, notify=each.notify, action=_THRESHOLD_ACTIONS.numbers[each.action]
            )
            for each in policy.thresholds
        ],
        mode=_MODES.numbers[policy.mode],
        default=policy.default,
        exhausted_status=policy.exhausted_status,
        allows_unpriced=policy.allows_unpriced,
        store_failure_allowance=usd(policy.allowance_nano_usd) if policy.allowance_nano_usd else None,
        estimates_unmeasured=policy.estimates_unmeasured,
        refuses_unknown_members=policy.refuses_unknown_members,
        status=pb.PolicyStatus(
            state=_POLICY_STATES.numbers[listed.state],
            matched_calls=listed.matched,
            last_matched_time=None if listed.last_matched_ms is None else timestamp(listed.last_matched_ms),
        ),
    )


def write_kind(kind: LimitKind) -> pb.LimitKind.ValueType:
    """Writes a limit kind."""
    return _KINDS.numbers[kind]


def write_mode(mode: Mode) -> pb.QuotaPolicy.Mode.ValueType:
    """Writes the mode of a policy."""
    return _MODES.numbers[mode]


def write_bound(*, soft: bool) -> pb.Limit.Bound.ValueType:
    """Writes how firm a limit is."""
    return pb.Limit.BOUND_SOFT if soft else pb.Limit.BOUND_HARD


def read_money(field: str, money: money_pb2.Money) -> int:
    """Nano-USD."""
    if money.currency_code not in {"", "USD"}:
        raise InvalidInput(field, f"{money.currency_code[:8]!r} is not supported: amounts are in USD")
    if money.units < 0 or not 0 <= money.nanos < NANO_PER_USD:
        raise InvalidInput(field, "must not be negative")
    return nano_usd_of(money)


def _read_threshold(field: str, message: pb.Threshold) -> Threshold:
    action = _THRESHOLD_ACTIONS.read(f"{field}.action", message.action, "action")
    return Threshold(message.basis_points, tuple(message.notify), action)


def _read_limit(field: str, message: pb.Limit) -> Limit:
    kind = _KINDS.members.get(message.kind)
    if kind is None:
        raise InvalidInput(f"{field}.kind", "say what the limit counts")
    per = _UNITS.members.get(message.per)
    if not kind.has_window and not message.per:
        per = WindowUnit.LIFETIME
    if per is None:
        raise InvalidInput(f"{field}.per", f"say how long it counts: {', '.join(WindowUnit)}")
    # Both count from 1 (Monday) to 7 (Sunday).
    if not 0 <= message.week_start <= Weekday.SUNDAY:
        raise InvalidInput(f"{field}.week_start", f"{message.week_start} is not a day of the week")
    if kind.is_money:
        bound = read_money(f"{field}.amount", message.amount)
    elif message.HasField("amount"):
        raise InvalidInput(f"{field}.amount", f"a limit of {kind} has a count, not an amount of money")
    else:
        bound = message.count
    return Limit(
        kind=kind,
        bound=bound,
        per=per,
        timezone=message.time_zone or UTC,
        week_start=Weekday(message.week_start or Weekday.MONDAY),
        anchor_day=message.anchor_day or 1,
        rolling_ms=read_duration(f"{field}.rolling_period", message.rolling_period, most_s=_MOST_ROLLING_S),
        soft=_read_soft(field, message),
        factor_percent=message.factor_percent,
    )


def _read_soft(field: str, message: pb.Limit) -> bool:
    if message.bound not in pb.Limit.Bound.values():
        raise InvalidInput(f"{field}.bound", f"{message.bound} is not a known bound")
    return message.bound == pb.Limit.BOUND_SOFT


def _write_limit(limit: Limit) -> pb.Limit:
    message = pb.Limit(
        kind=_KINDS.numbers[limit.kind],
        per=_UNITS.numbers[limit.per],
        time_zone=limit.timezone,
        week_start=None if limit.week_start is Weekday.MONDAY else DayOfWeek.ValueType(limit.week_start),
        anchor_day=0 if limit.anchor_day == 1 else limit.anchor_day,
        rolling_period=duration(limit.rolling_ms) if limit.rolling_ms else None,
        factor_percent=limit.factor_percent,
        bound=write_bound(soft=limit.soft),
    )
    if limit.kind.is_money:
        message.amount.CopyFrom(usd(limit.bound))
    else:
        message.count = limit.bound
    return message
