"""Settles calls in the counters' file, within one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.quota.adapters.counter_levels import CounterLevels
from services.quota.adapters.sqlite_adoption import SqliteAdoption
from services.quota.adapters.sqlite_crossings import note_crossings
from services.quota.adapters.sqlite_doubts import doubts_named, put_doubts
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.crossing import FindThresholdRule
from services.quota.domain.counters.doubt import Doubt, doubt_of, without_doubt
from services.quota.domain.counters.reservation import Hold, Reservation
from services.quota.domain.counters.settlement import Move, Settlement, add_moves
from services.quota.ports.counters import Settled

_SETTLE = (
    "INSERT INTO counters (policy, limit_id, scope, window_start_ms, window_end_ms, settled)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET settled = settled + excluded.settled,"
    " window_end_ms = max(window_end_ms, excluded.window_end_ms)"
)


class Rules(NamedTuple):
    """What to look for in counters that move."""

    find_rule: FindThresholdRule
    now_ms: int


class Slice(NamedTuple):
    """What the settlements of a transaction did."""

    done: Settled
    moves: dict[CounterKey, Move]
    """How they move the counters in which they count."""
    beside: dict[CounterKey, Move]
    """How they move other counters, in which calls hold room or leave doubt while policies change."""


def settle_slice(
    connection: sqlite3.Connection,
    ended: dict[str, Reservation],
    settlements: Sequence[Settlement],
    adoption: SqliteAdoption,
    now_ms: int,
) -> Slice:
    """Settles the calls of reservations that have just ended: writes what they took and the doubt that they leave."""
    settled: list[Reservation] = []
    already_ended: list[str] = []
    moves: dict[CounterKey, Move] = {}
    beside: dict[CounterKey, Move] = {}
    doubts: list[Doubt] = []
    unmeasured = [each.reservation for each in settlements if each.most is not None]
    doubted = {doubt.reservation.id for doubt in doubts_named(connection, unmeasured)} if unmeasured else set[str]()
    for settlement in settlements:
        # If a reservation occurs twice, the first settlement counts.
        reservation = ended.pop(settlement.reservation, None)
        if reservation is None:
            already_ended.append(settlement.reservation)
            continue
        settled.append(reservation)
        counting = adoption.counting(reservation)
        counted = without_doubt(settlement) if reservation.id in doubted else settlement
        add_moves(moves, counting, counted)
        for hold in _beyond(reservation, counting):
            _move_of(beside, hold).reserved -= hold.held
        if doubt := doubt_of(counting, counted, now_ms):
            doubts.append(adoption.left(doubt))
            for hold in _beyond(doubts[-1].reservation, doubt.reservation):
                _move_of(beside, hold).doubt += hold.held
    put_doubts(connection, doubts)
    connection.executemany(_SETTLE, [(*counter, move.window_end_ms, move.settled) for counter, move in moves.items()])
    return Slice(Settled(tuple(settled), tuple(already_ended)), moves, beside)


def report(
    connection: sqlite3.Connection, moves: Mapping[CounterKey, Move], levels: CounterLevels, rules: Rules
) -> None:
    """Writes newly passed thresholds. `levels`: those before the moves."""
    for counter, move in moves.items():
        if rule := rules.find_rule(counter):
            counters = (counter, *rule.trailing)
            settled = sum(level.settled for level in levels.of(counters))
            settled += sum(moves[each].settled for each in counters if each in moves)
            note_crossings(connection, counter, (settled, move), rule, rules.now_ms)


def _beyond(reservation: Reservation, other: Reservation) -> list[Hold]:
    """The holds of a reservation in counters in which the other one has none."""
    if reservation is other:
        return []
    counters = {hold.counter for hold in other.holds}
    return [hold for hold in reservation.holds if hold.counter not in counters]


def _move_of(moves: dict[CounterKey, Move], hold: Hold) -> Move:
    return moves.setdefault(hold.counter, Move(hold.window_end_ms))
