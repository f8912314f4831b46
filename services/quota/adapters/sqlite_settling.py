"""Settles calls in the counters' file, within one transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from services.quota.adapters.sqlite_crossings import note_crossings
from services.quota.adapters.sqlite_doubts import doubts_named, put_doubts
from services.quota.adapters.sqlite_open_reservations import OpenReservations
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.crossing import FindThresholdRule
from services.quota.domain.counters.doubt import Doubt, doubt_of, without_doubt
from services.quota.domain.counters.reservation import Reservation
from services.quota.domain.counters.settlement import Move, Settlement, add_moves
from services.quota.ports.counters import Settled

_SETTLE = (
    "INSERT INTO counters (policy, limit_id, scope, window_start_ms, window_end_ms, settled)"
    " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET settled = settled + excluded.settled,"
    " window_end_ms = max(window_end_ms, excluded.window_end_ms) RETURNING settled"
)


class Slice(NamedTuple):
    """What the settlements of a transaction did."""

    done: Settled
    moves: dict[CounterKey, Move]
    """How they move counters."""
    doubts: list[Doubt]
    """What they left in doubt."""


def settle_slice(
    connection: sqlite3.Connection,
    open_reservations: OpenReservations,
    settlements: Sequence[Settlement],
    find_rule: FindThresholdRule,
    now_ms: int,
) -> Slice:
    """Ends the reservations of these calls, and writes settled amounts, doubts and newly passed thresholds."""
    settled: list[Reservation] = []
    already_ended: list[str] = []
    moves: dict[CounterKey, Move] = {}
    doubts: list[Doubt] = []
    ended = open_reservations.end(connection, [settlement.reservation for settlement in settlements])
    for settlement in settlements:
        # If a reservation occurs twice, the first settlement counts.
        reservation = ended.pop(settlement.reservation, None)
        if reservation is None:
            already_ended.append(settlement.reservation)
            continue
        settled.append(reservation)
        left_before = settlement.most is not None and doubts_named(connection, [reservation.id])
        counted = without_doubt(settlement) if left_before else settlement
        add_moves(moves, reservation, counted)
        if doubt := doubt_of(reservation, counted, now_ms):
            doubts.append(doubt)
    put_doubts(connection, doubts)
    for counter, move in moves.items():
        (total,) = connection.execute(_SETTLE, (*counter, move.window_end_ms, move.settled)).fetchone()
        if rule := find_rule(counter):
            note_crossings(connection, counter, (total, move), rule, now_ms)
    return Slice(Settled(tuple(settled), tuple(already_ended)), moves, doubts)
