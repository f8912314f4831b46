"""The doubts of calls in the file that all quota processes share: the only copy for SQLite, a second one for Redis.

Redis can lose its data, and the ledger cannot restore doubts: it knows neither what calls held nor what an
administrator cleared. So the file gets a doubt before Redis, and loses it after Redis.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator

import orjson

from services.quota.adapters.reservation_record import read_reservation, write_record
from services.quota.adapters.sqlite_file import SqliteFile
from services.quota.domain.counters.doubt import Doubt

_COLUMNS = "id, since_ms, request_id, epoch, record"
_PUT = (
    "INSERT INTO doubts (id, since_ms, ends_first_ms, request_id, epoch, record) VALUES (?, ?, ?, ?, ?, ?)"
    " ON CONFLICT DO UPDATE SET since_ms = excluded.since_ms, ends_first_ms = excluded.ends_first_ms,"
    " record = excluded.record"
)
_DROP = "DELETE FROM doubts WHERE id = ?"
_NAMED = f"SELECT {_COLUMNS} FROM doubts WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608  (constants)
_AFTER = f"SELECT {_COLUMNS} FROM doubts WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608  (constants)
_ALL = f"SELECT {_COLUMNS} FROM doubts"  # noqa: S608  (constants)
_ENDING = "SELECT id FROM doubts WHERE ends_first_ms <= ? ORDER BY ends_first_ms LIMIT ?"
_Row = tuple[str, int, str, str, str]


def put_doubts(connection: sqlite3.Connection, doubts: Iterable[Doubt]) -> None:
    """Writes doubts, and replaces earlier ones of the same calls."""
    connection.executemany(_PUT, map(_row, doubts))


def drop_doubts(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Drops the doubts of these calls."""
    connection.executemany(_DROP, [(name,) for name in names])


def doubts_named(connection: sqlite3.Connection, names: Collection[str]) -> list[Doubt]:
    """The doubts of these calls."""
    return [_read(row) for row in connection.execute(_NAMED, (json.dumps(list(names)),))]


def doubts_after(connection: sqlite3.Connection, name: str, limit: int) -> list[Doubt]:
    """The doubts of at most `limit` calls after this id, oldest first."""
    return [_read(row) for row in connection.execute(_AFTER, (name, limit))]


def all_doubts(connection: sqlite3.Connection) -> Iterator[Doubt]:
    """All doubts, one by one."""
    return map(_read, connection.execute(_ALL))


def doubts_ending(connection: sqlite3.Connection, before_ms: int, limit: int) -> list[str]:
    """The ids of at most `limit` calls with some doubt in a window that ends by this moment."""
    return [name for (name,) in connection.execute(_ENDING, (before_ms, limit))]


class SqliteDoubts:
    """The second copy of the doubts in another store. Every method is atomic and safe to call from any thread.

    Raises:
        services.kernel.errors.Unavailable: the file cannot be read or written now; nothing was changed.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def put(self, doubts: Collection[Doubt]) -> None:
        """Writes doubts, and replaces earlier ones of the same calls."""
        if doubts:
            with self._file.writing() as connection:
                put_doubts(connection, doubts)

    def drop(self, names: Collection[str]) -> None:
        """Drops the doubts of these calls."""
        if names:
            with self._file.writing() as connection:
                drop_doubts(connection, names)

    def after(self, name: str, limit: int) -> list[Doubt]:
        """The doubts of at most `limit` calls after this id, oldest first."""
        with self._file.reading() as connection:
            return doubts_after(connection, name, limit)

    def ending(self, before_ms: int, limit: int) -> list[str]:
        """The ids of at most `limit` calls with some doubt in a window that ends by this moment."""
        with self._file.reading() as connection:
            return doubts_ending(connection, before_ms, limit)


def _row(doubt: Doubt) -> tuple[str | int, ...]:
    call = doubt.reservation
    record = write_record(call).decode()
    return call.id, doubt.since_ms, doubt.ends_first_ms, call.request_id, call.epoch, record


def _read(row: _Row) -> Doubt:
    name, since_ms, request_id, epoch, record = row
    return Doubt(read_reservation(name, request_id, epoch, orjson.loads(record)), since_ms)
