"""Finds open reservations in the counters' file by id, by request and by run of Envoy."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator

import orjson

from services.kernel.names import first_reservation_id
from services.quota.adapters.reservation_record import read_reservation, write_record
from services.quota.domain.counters.reservation import Reservation

_COLUMNS = "id, request_id, epoch, record"
INSERT = f"INSERT INTO reservations ({_COLUMNS}) VALUES (?, ?, ?, ?)"  # noqa: S608  (constants)
"""Takes a `reservation_row`. It is a bare statement because each call runs it as its own transaction."""
_REWRITE = "UPDATE reservations SET record = ? WHERE id = ?"
_ALL = f"SELECT {_COLUMNS} FROM reservations"  # noqa: S608  (constants)
_NAMED = f"{_ALL} WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608  (constants)
_AFTER = "SELECT id FROM reservations WHERE id > ? ORDER BY id LIMIT ?"
_COUNT = "SELECT count(*) FROM reservations"
_OF_REQUESTS = "SELECT id FROM reservations WHERE request_id IN (SELECT value FROM json_each(?))"
_OVERDUE = f"{_ALL} WHERE id < ? OR epoch IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?"  # noqa: S608  (constants)
_Row = tuple[str, str, str, str]


def reservation_row(reservation: Reservation) -> _Row:
    """The row that `INSERT` writes."""
    return reservation.id, reservation.request_id, reservation.epoch, write_record(reservation).decode()


def read_reservations(connection: sqlite3.Connection, names: Collection[str]) -> dict[str, Reservation]:
    """The open reservations among these, by id."""
    rows = connection.execute(_NAMED, (json.dumps(list(names)),)).fetchall()
    return {row[0]: _read(row) for row in rows}


def rewrite_reservations(connection: sqlite3.Connection, reservations: Iterable[Reservation]) -> None:
    """Writes the current holds of open reservations."""
    connection.executemany(_REWRITE, [(write_record(each).decode(), each.id) for each in reservations])


def all_reservations(connection: sqlite3.Connection) -> Iterator[Reservation]:
    """All open reservations, one by one."""
    return map(_read, connection.execute(_ALL))


def reservations_overdue(
    connection: sqlite3.Connection, ended_epochs: Collection[str], created_before_ms: int, limit: int
) -> list[Reservation]:
    """At most `limit` reservations of these epochs, or made before this moment, oldest first."""
    asked = (first_reservation_id(max(0, created_before_ms)), json.dumps(list(ended_epochs)), limit)
    return [_read(row) for row in connection.execute(_OVERDUE, asked)]


def reservations_after(connection: sqlite3.Connection, name: str, limit: int) -> list[str]:
    """The ids of at most `limit` reservations after this id, oldest first."""
    return [found for (found,) in connection.execute(_AFTER, (name, limit))]


def reservations_of(connection: sqlite3.Connection, request_ids: Collection[str]) -> list[str]:
    """The ids of the reservations of these Envoy requests."""
    return [found for (found,) in connection.execute(_OF_REQUESTS, (json.dumps(list(request_ids)),))]


def count_reservations(connection: sqlite3.Connection) -> int:
    """The number of open reservations."""
    (count,) = connection.execute(_COUNT).fetchone()
    return int(count)


def _read(row: _Row) -> Reservation:
    name, request_id, epoch, record = row
    return read_reservation(name, request_id, epoch, orjson.loads(record))
