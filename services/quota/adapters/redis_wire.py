"""Writes arguments for the scripts in `redis_scripts`, and reads Redis's answers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, TypeVar

import orjson

from services.kernel.errors import InvalidInput
from services.kernel.settlement import AdjustmentReason, CrossingKind
from services.quota.adapters.redis_keys import (
    beginning_with,
    by_doubt,
    by_epoch,
    by_request,
    counter_of,
    name_of,
    reported_of,
    reports_between,
)
from services.quota.adapters.reservation_record import read_reservation, write_record
from services.quota.adapters.slices import RECORDS_AT_ONCE, in_chunks
from services.quota.domain.counters.adjustment import MAX_KEPT, Adjusted, Adjustment
from services.quota.domain.counters.counter import CounterKey, Level
from services.quota.domain.counters.crossing import Crossing, FindThresholdRule, ThresholdRule, least_reaching
from services.quota.domain.counters.doubt import Doubt, doubt_of
from services.quota.domain.counters.reservation import Hold, Reservation, holds_unknown
from services.quota.domain.counters.settlement import Settlement, excess_of, lacks_price
from services.quota.domain.policies.limit_id import MAX_COUNT, kind_of

Argument = str | bytes | int
ANY_GENERATION = "*"
MOST_AT_ONCE = RECORDS_AT_ONCE
"""The most records in one command: Redis executes nothing else meanwhile."""

E = TypeVar("E")


class Kept(StrEnum):
    """The amounts that records keep in counters, named as the fields of `RedisKeys.counters` that they move."""

    RESERVED = "r"
    DOUBT = "d"


class Rewrite(NamedTuple):
    """The change of one record."""

    reservation: str
    """The id of the reservation."""
    place: str
    """The record's index member."""
    before: str
    """The record that we read; empty: there was none."""
    after: str | bytes
    """The new record; empty: delete it."""
    steps: Sequence[tuple[CounterKey, int, int]]
    """The counters that the change moves, each with the moment from which nobody needs it, and the amount."""


class Ending(NamedTuple):
    """The end of one reservation."""

    reservation: Reservation
    read: str
    """The stored value that we read."""
    taken: tuple[int, ...]
    """What the call took, for the counter of each hold."""
    unpriced: tuple[bool, ...]
    """Whether that amount is unknown, in the same order."""
    doubt: Doubt | None = None
    """The doubt that the call leaves."""

    @classmethod
    def settled(
        cls, filed: tuple[Reservation, str], settlement: Settlement, now_ms: int, counting: Collection[CounterKey]
    ) -> Ending:
        """Settles with what the call took, in those of its counters that are in `counting`."""
        reservation, read = filed
        kinds = [(kind_of(hold.counter.limit_id), hold.held) for hold in reservation.holds]
        return cls(
            reservation,
            read,
            tuple(
                settlement.actual(kind, held) if hold.counter in counting else 0
                for hold, (kind, held) in zip(reservation.holds, kinds, strict=True)
            ),
            tuple(lacks_price(hold.counter, settlement) for hold in reservation.holds),
            doubt_of(reservation, settlement, now_ms),
        )

    @classmethod
    def released(cls, reservation: Reservation, read: str) -> Ending:
        """Releases without a charge."""
        return cls(reservation, read, (0,) * len(reservation.holds), (False,) * len(reservation.holds))


def reserve_arguments(reservation: Reservation, holds: Sequence[Hold], generation: str) -> list[Argument]:
    """The arguments of `reserve.lua`.

    Raises:
        InvalidInput: an amount is out of range.
    """
    value, policies = write_value(reservation), reservation.policies
    arguments: list[Argument] = [reservation.id, value, *_places(reservation), generation]
    arguments += (policies, reservation.request_id)
    for counter, window_end_ms, held, ceiling, trailing in holds:
        beside = () if ceiling is None else trailing
        bound = "" if ceiling is None else _checked(ceiling)
        arguments += (name_of(counter), window_end_ms, _checked(held), bound, len(beside), *map(name_of, beside))
    return arguments


def forget_arguments(names: Sequence[str], ended_before_ms: int) -> list[Argument]:
    """The arguments of `forget.lua`."""
    arguments: list[Argument] = [ended_before_ms]
    for name in names:
        arguments += (name, *beginning_with(reported_of(counter_of(name))))
    return arguments


def end_arguments(
    endings: Sequence[Ending],
    adjustments: Sequence[Adjustment],
    find_rule: FindThresholdRule,
    now_ms: int,
    generation: str,
) -> list[Argument]:
    """The arguments of `end.lua`.

    Raises:
        InvalidInput: an amount is out of range.
    """
    names: dict[CounterKey, str] = {}
    arguments: list[Argument] = [now_ms, generation, MAX_KEPT, len(endings)]
    for reservation, read, all_taken, all_unpriced, doubt in endings:
        kept = {hold.counter: hold.held for hold in doubt.reservation.holds} if doubt else {}
        left = write_doubt(doubt) if doubt else ""
        arguments += (
            reservation.id,
            read,
            *_places(reservation),
            by_doubt(reservation.id),
            left,
            len(reservation.holds),
        )
        amounts = zip(reservation.holds, all_taken, all_unpriced, strict=True)
        for (counter, window_end_ms, held, _, _), taken, unpriced in amounts:
            name = names.get(counter) or names.setdefault(counter, name_of(counter))
            excess = excess_of(counter, held, taken)
            arguments += (name, window_end_ms, -held, _checked(taken), kept.get(counter, 0), excess, int(unpriced))
            # A released call reports nothing.
            arguments.append(int(holds_unknown(counter, reservation)))
    arguments.append(len(adjustments))
    for adjustment in adjustments:
        counter, window_end_ms, before, after, reason = adjustment
        name = names.get(counter) or names.setdefault(counter, name_of(counter))
        record = orjson.dumps((name, window_end_ms, before, after, reason))
        arguments += (name, window_end_ms, before, after, record)
    watched = [list(_ruled(counter, name, find_rule)) for counter, name in names.items()]
    rules = [each for each in watched if each]
    arguments.append(len(rules))
    return arguments + [argument for each in rules for argument in each]


def rewrite_arguments(kept: Kept, changes: Iterable[Rewrite], generation: str) -> list[Argument]:
    """The arguments of `rewrite.lua`. `generation`: that of the counters, or `ANY_GENERATION`."""
    arguments: list[Argument] = [generation, kept]
    for name, place, before, after, steps in changes:
        arguments += (name, place, before, after, len(steps))
        for counter, window_end_ms, amount in steps:
            arguments += (name_of(counter), window_end_ms, amount)
    return arguments


def write_doubt(doubt: Doubt) -> bytes:
    """Writes the stored value of a doubt."""
    call = doubt.reservation
    return orjson.dumps([doubt.since_ms, call.request_id, call.epoch, orjson.Fragment(write_record(call))])


def read_doubt(name: str, value: str) -> Doubt:
    """Reads what `write_doubt` wrote."""
    since_ms, request_id, epoch, record = orjson.loads(value)
    return Doubt(read_reservation(name, request_id, epoch, record), since_ms)


def held_in(before: Reservation, now: Reservation) -> list[tuple[CounterKey, int, int]]:
    """How the new holds of a call move counters: each counter with its end and the amount."""
    amounts: dict[CounterKey, int] = {}
    ends_ms: dict[CounterKey, int] = {}
    for sign, holds in ((-1, before.holds), (1, now.holds)):
        for counter, window_end_ms, held, _, _ in holds:
            amounts[counter] = amounts.get(counter, 0) + sign * held
            ends_ms[counter] = window_end_ms
    return [(counter, ends_ms[counter], amount) for counter, amount in amounts.items() if amount]


def write_value(reservation: Reservation) -> bytes:
    """Writes the stored value of an open reservation."""
    return orjson.dumps([reservation.request_id, reservation.epoch, orjson.Fragment(write_record(reservation))])


def read_value(name: str, value: str) -> Reservation:
    """Reads the reservation stored under an id."""
    request_id, epoch, record = orjson.loads(value)
    return read_reservation(name, request_id, epoch, record)


def levels_of(values: Sequence[str | None]) -> list[Level]:
    """The levels from the settled, reserved and doubt of each counter, in turn."""
    numbers = [int(value or 0) for value in values]
    return list(map(Level, numbers[::3], numbers[1::3], numbers[2::3]))


def crossing_of(text: str) -> Crossing:
    """Reads a crossing that `end.lua` wrote."""
    sequence, settled, crossed_at_ms, excess, reservation, payload = text.split("\n", 5)
    counter, limit, basis_points, notify, bound, kind = orjson.loads(payload)
    return Crossing(
        sequence=int(sequence),
        counter=counter_of(counter),
        limit=limit,
        basis_points=basis_points,
        notify=tuple(notify),
        crossed_at_ms=int(crossed_at_ms),
        settled=int(settled),
        bound=bound,
        kind=CrossingKind(kind),
        excess=int(excess),
        reservation=reservation,
    )


def adjusted_of(text: str) -> Adjusted:
    """Reads an adjustment that `end.lua` wrote."""
    sequence, at_ms, record = text.split("\n", 2)
    name, window_end_ms, before, after, reason = orjson.loads(record)
    return Adjusted(
        int(sequence), Adjustment(counter_of(name), window_end_ms, before, after, AdjustmentReason(reason)), int(at_ms)
    )


def chunks(items: Sequence[E]) -> Iterator[Sequence[E]]:
    """Splits items into parts for one command each."""
    return in_chunks(items, MOST_AT_ONCE)


def _places(reservation: Reservation) -> tuple[str, str]:
    return by_request(reservation.request_id, reservation.id), by_epoch(reservation.epoch, reservation.id)


def _ruled(counter: CounterKey, name: str, find_rule: FindThresholdRule) -> Iterator[Argument]:
    threshold_rule = find_rule(counter)
    if threshold_rule is None:
        return
    thresholds = threshold_rule.thresholds if threshold_rule.bound else ()
    yield from (name, len(threshold_rule.trailing))
    yield from map(name_of, threshold_rule.trailing)
    yield from (reported_of(counter), *reports_between(threshold_rule.reported_since_ms, counter), len(thresholds))
    for threshold in thresholds:
        basis_points = threshold.basis_points
        payload = _payload(name, threshold_rule, CrossingKind.THRESHOLD, basis_points, threshold.notify)
        yield from (basis_points, least_reaching(threshold_rule.bound, basis_points), payload)
    for kind in (CrossingKind.OVERRUN, CrossingKind.UNPRICED, CrossingKind.UNKNOWN_MEMBERS):
        yield _payload(name, threshold_rule, kind, 0, threshold_rule.everybody) if threshold_rule.enforced else ""


def _payload(
    name: str, threshold_rule: ThresholdRule, kind: CrossingKind, basis_points: int, notify: tuple[str, ...]
) -> bytes:
    return orjson.dumps((name, threshold_rule.limit, basis_points, notify, threshold_rule.bound, kind))


def _checked(amount: int) -> int:
    """Checks an amount. Scripts compare numbers as doubles, which are exact up to 2^53."""
    if not 0 <= amount <= MAX_COUNT:
        raise InvalidInput("", f"{amount} cannot be counted exactly: at most {MAX_COUNT}")
    return amount
