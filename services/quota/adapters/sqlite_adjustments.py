"""The last adjustments of counters, in the file that all quota processes share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from services.kernel.settlement import AdjustmentReason
from services.quota.domain.counters.adjustment import MAX_KEPT, Adjusted, Adjustment
from services.quota.domain.counters.counter import CounterKey

_KEEP = (
    "INSERT INTO adjustments (policy, limit_id, scope, window_start_ms, window_end_ms, settled_before, settled_after,"
    " reason, adjusted_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DROP_OLD = "DELETE FROM adjustments WHERE sequence <= (SELECT max(sequence) FROM adjustments) - ?"
_BEFORE = (
    "SELECT sequence, policy, limit_id, scope, window_start_ms, window_end_ms, settled_before, settled_after, reason,"
    " adjusted_at_ms FROM adjustments WHERE sequence < ? ORDER BY sequence DESC LIMIT ?"
)
_NEWEST = 2**63 - 1


def keep_adjustments(connection: sqlite3.Connection, adjustments: Iterable[Adjustment], now_ms: int) -> None:
    """Writes adjustments, and drops all but the last `MAX_KEPT`."""
    connection.executemany(_KEEP, [(*counter, *amounts, now_ms) for counter, *amounts in adjustments])
    connection.execute(_DROP_OLD, (MAX_KEPT,))


def adjustments_before(connection: sqlite3.Connection, sequence: int | None, limit: int) -> list[Adjusted]:
    """At most `limit` adjustments with lower sequence numbers, newest first. None: from the newest on."""
    rows = connection.execute(_BEFORE, (_NEWEST if sequence is None else sequence, limit))
    return [
        Adjusted(row[0], Adjustment(CounterKey(*row[1:5]), row[5], row[6], row[7], AdjustmentReason(row[8])), row[9])
        for row in rows
    ]
