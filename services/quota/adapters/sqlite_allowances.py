"""What calls took of allowances, and their reservations, in the file that all quota processes share.

One transaction writes both before a call passes. So a killed process cannot grant the same amount again, and the
process that first reaches the counters again knows the holds of all calls.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Collection, Sequence
from dataclasses import replace

import orjson

from services.kernel.errors import Unavailable
from services.kernel.money import format_usd
from services.quota.adapters.reservation_record import read_reservation, write_record
from services.quota.adapters.slices import RECORDS_AT_ONCE
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.counters.allowance import Taken
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Reservation
from services.quota.ports.counters import ChooseWithin, HoldAgain, T

# As many as the journals keep. Without a bound, free calls could go on forever, because they take nothing.
MOST_KEPT = 100_000
# While we put this many back, nobody else can write: for some tens of milliseconds.
_AT_ONCE = RECORDS_AT_ONCE
# Quota processes take from their own shares. They only compete after a change of their number.
_TRIES = 8
_KEPT_MS = 7 * 86_400_000

_TAKEN = (
    "SELECT coalesce(sum(taken_nano_usd) FILTER (WHERE quota = ?), 0), coalesce(sum(taken_nano_usd), 0)"
    " FROM allowances WHERE policy = ? AND day_start_ms = ?"
)
_TAKE = (
    "INSERT INTO allowances (policy, day_start_ms, quota, taken_nano_usd) VALUES (?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET taken_nano_usd = taken_nano_usd + excluded.taken_nano_usd"
)
_FORGET = "DELETE FROM allowances WHERE day_start_ms < ?"
_KEEP = "INSERT INTO kept_reservations (id, request_id, epoch, record, taken_nano_usd) VALUES (?, ?, ?, ?, ?)"
_EXTENT = "SELECT (SELECT max(place) FROM kept_reservations) - (SELECT min(place) FROM kept_reservations) + 1"
_OLDEST = "SELECT id, request_id, epoch, record, taken_nano_usd FROM kept_reservations ORDER BY place LIMIT ?"
_NAMED = (
    "SELECT id, request_id, epoch, record, taken_nano_usd FROM kept_reservations"
    " WHERE id IN (SELECT value FROM json_each(?)) LIMIT ?"
)
_DROP = "DELETE FROM kept_reservations WHERE id = ?"

_log = logging.getLogger("spendgate.quota")
_Row = tuple[str, str, str, str, int]


class SqliteAllowances:
    """`ports.Allowances` for one quota process, and `ports.PutBack` for all of them."""

    def __init__(self, file: SqliteFile, quota: int) -> None:
        """`quota`: the number of this quota process."""
        self._file = file
        self._quota = quota
        self._deciding = threading.Lock()

    def take(self, allowances: Sequence[CounterKey], choose: ChooseWithin[T]) -> T:
        """Lets `choose` decide, takes its holds from these allowances, and keeps its other holds.

        Raises:
            Unavailable: the file cannot be written, or too many calls are kept already; nothing was taken.
        """
        with self._deciding:
            for _ in range(_TRIES):
                with self._file.reading() as connection:
                    seen = self._taken(connection, allowances)
                reservation, answer = choose(seen)
                if reservation is None:
                    return answer
                with self._file.writing() as connection:
                    if self._taken(connection, allowances) == seen:
                        self._write(connection, allowances, reservation)
                        return answer
        raise Unavailable("too many quota processes ask for the same allowance at once")

    def put_back(self, hold: HoldAgain, names: Collection[str] | None = None) -> int:
        """Hands kept reservations to `hold`, the oldest or the named ones, and forgets them. Returns their number.

        No other process hands them over meanwhile, so no reservation is held again after its end.
        """
        count = nano_usd = 0
        try:
            while self._has(names):
                with self._file.writing() as connection:
                    rows = _rows(connection, names)
                    hold([_read(row) for row in rows])
                    connection.executemany(_DROP, [(name,) for name, *_ in rows])
                count, nano_usd = count + len(rows), nano_usd + sum(row[-1] for row in rows)
        finally:
            if count:
                _log.warning(
                    "calls admitted without the counters hold room in them again: %d, at most $%s",
                    count,
                    format_usd(nano_usd),
                )
        return count

    def _has(self, names: Collection[str] | None) -> bool:
        with self._file.reading() as connection:
            return bool(_rows(connection, names))

    def _taken(self, connection: sqlite3.Connection, allowances: Sequence[CounterKey]) -> list[Taken]:
        return [
            Taken(*connection.execute(_TAKEN, (self._quota, each.policy, each.window_start_ms)).fetchone())
            for each in allowances
        ]

    def _write(
        self, connection: sqlite3.Connection, allowances: Sequence[CounterKey], reservation: Reservation
    ) -> None:
        (extent,) = connection.execute(_EXTENT).fetchone()
        if extent is None:
            connection.execute(_FORGET, (min(each.window_start_ms for each in allowances) - _KEPT_MS,))
            _log.warning("the counter store fails: calls pass within the allowances of their policies")
        elif extent >= MOST_KEPT:
            raise Unavailable("too many calls have passed without the counters")
        taken = [hold for hold in reservation.holds if hold.counter in allowances]
        connection.executemany(
            _TAKE, [(hold.counter.policy, hold.counter.window_start_ms, self._quota, hold.held) for hold in taken]
        )
        kept = replace(reservation, holds=tuple(hold for hold in reservation.holds if hold not in taken))
        most = max(hold.held for hold in taken)
        record = write_record(kept).decode()
        connection.execute(_KEEP, (kept.id, kept.request_id, kept.epoch, record, most))


def _rows(connection: sqlite3.Connection, names: Collection[str] | None) -> list[_Row]:
    if names is None:
        return connection.execute(_OLDEST, (_AT_ONCE,)).fetchall()
    return connection.execute(_NAMED, (json.dumps(list(names)), _AT_ONCE)).fetchall()


def _read(row: _Row) -> Reservation:
    name, request_id, epoch, record, _ = row
    return read_reservation(name, request_id, epoch, orjson.loads(record))
