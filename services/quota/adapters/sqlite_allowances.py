"""What was taken of allowances, and the reservations of the calls that took it, in the file that all quotas share.

Both are written in one transaction before a call is let through, so a quota that is killed grants nothing anew, and
whoever finds the counters again first knows what the calls of all quotas hold.
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
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.counters.allowance import Taken
from services.quota.domain.counters.counter import CounterKey
from services.quota.domain.counters.reservation import Reservation
from services.quota.ports.counters import ChooseWithin, HoldAgain, T

# As many as quotas remember of their own calls. A free call takes nothing, and would have no end.
MOST_KEPT = 100_000
# While these are put back nobody else can write, for a tenth of a second at most.
_AT_ONCE = 100
# Quotas take from shares of their own. Only where their number was changed do they wait for each other.
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
    """`ports.Allowances` of one quota, and `ports.PutBack` for all of them."""

    def __init__(self, file: SqliteFile, quota: int) -> None:
        """`quota`: which of the quotas this is."""
        self._file = file
        self._quota = quota
        self._deciding = threading.Lock()

    def take(self, allowances: Sequence[CounterKey], choose: ChooseWithin[T]) -> T:
        """Lets `choose` decide, takes what its reservation holds of these allowances, and keeps all else that it holds.

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
        raise Unavailable("too many quotas at once ask for the same allowance")

    def put_back(self, hold: HoldAgain, names: Collection[str] | None = None) -> int:
        """Hands what is kept to `hold`, oldest first or what is named, and forgets it. Returns how many that were.

        Nobody else hands them over meanwhile, so none is held again after it has ended.
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
                    "calls that were let through without the counters hold room in them again: %d, at most $%s",
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
            _log.warning("the counters are away: calls are let through within the allowances of their policies")
        elif extent >= MOST_KEPT:
            raise Unavailable("too many calls were let through without the counters")
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
