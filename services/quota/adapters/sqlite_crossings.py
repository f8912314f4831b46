"""The crossings of counters, in the file that all quota processes share."""

from __future__ import annotations

import json
import sqlite3

from services.kernel.settlement import CrossingKind
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.crossing import CounterUpdate, Crossing, Reported, ThresholdRule, newly_passed
from services.quota.domain.counters.settlement import Move

_REPORTED = (
    "SELECT coalesce(max(basis_points), 0), group_concat(DISTINCT kind) FROM crossings"
    " WHERE policy = ? AND limit_id = ? AND scope = ? AND window_start_ms <= ? AND window_start_ms >= ?"
)
# A file that was restored from a copy does not know the numbers that were given since. The ledger may have seen them,
# and asks only for higher ones. So numbers are never below the time, here and in Redis.
_REPORT = (
    "INSERT INTO crossings (sequence, policy, limit_id, scope, window_start_ms, basis_points, limit_text, notify,"
    " crossed_at_ms, settled, bound, kind, excess, reservation)"
    " SELECT max(?, 1 + coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'crossings'), 0)),"
    " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
)
_NUMBERS_IN_A_MS = 1_000
_AFTER = (
    "SELECT sequence, policy, limit_id, scope, window_start_ms, limit_text, basis_points, notify, crossed_at_ms,"
    " settled, bound, kind, excess, reservation FROM crossings WHERE sequence > ? ORDER BY sequence LIMIT ?"
)
_RENAME = "UPDATE OR IGNORE crossings SET policy = ? WHERE policy = ?"


def note_crossings(
    connection: sqlite3.Connection, counter: CounterKey, moved: tuple[int, Move], rule: ThresholdRule, now_ms: int
) -> None:
    """Writes the crossings of a counter.

    `moved`: its settled amount now, including its trailing counters, and the move that led to it.
    """
    settled, move = moved
    if not (move.excess or move.unpriced or move.unknown or newly_passed(settled, rule, 0)):
        return
    highest, kinds = connection.execute(_REPORTED, (*counter, rule.reported_since_ms)).fetchone()
    reported = Reported(highest, frozenset(map(CrossingKind, kinds.split(",") if kinds else ())))
    crossings = CounterUpdate(counter, settled, move, reported).crossings(rule, now_ms)
    connection.executemany(_REPORT, map(_row, crossings))


def rename_crossings(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Moves the crossings of a policy to its new name."""
    connection.execute(_RENAME, (new, old))


def crossings_after(connection: sqlite3.Connection, sequence: int, limit: int) -> list[Crossing]:
    """At most `limit` crossings with a higher sequence number, ascending."""
    return [
        Crossing(
            sequence=row[0],
            counter=CounterKey(*row[1:5]),
            limit=row[5],
            basis_points=row[6],
            notify=tuple(json.loads(row[7])),
            crossed_at_ms=row[8],
            settled=row[9],
            bound=row[10],
            kind=CrossingKind(row[11]),
            excess=row[12],
            reservation=row[13],
        )
        for row in connection.execute(_AFTER, (sequence, limit))
    ]


def _row(crossing: Crossing) -> tuple[str | int, ...]:
    return (
        crossing.crossed_at_ms * _NUMBERS_IN_A_MS,
        *crossing.counter,
        crossing.basis_points,
        crossing.limit,
        json.dumps(crossing.notify),
        crossing.crossed_at_ms,
        crossing.settled,
        crossing.bound,
        crossing.kind,
        crossing.excess,
        crossing.reservation,
    )
