"""Books entries: one transaction for entries, attempts, rollups, unreadable lines and the checkpoint.

The statements of every batch are text with their values in order. SQLAlchemy would compile `insert().values([...])` and
each upsert again for each batch, and SQLite is slower with named parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.kernel.usage import Usage
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_dropped_headers import write_dropped
from services.ledger.adapters.sql_meters import write_meters
from services.ledger.adapters.sql_tables import (
    attempts,
    checkpoints,
    entries,
    releases,
    rollups,
    unanswered_attempts,
    unreadable_lines,
)
from services.ledger.domain.call import Caller, SpooledAttempt, SpooledCall
from services.ledger.domain.charge import Charge
from services.ledger.domain.entry import Entry
from services.ledger.domain.rollup import RollupKey, roll_up
from services.ledger.domain.spooled import Booking, SpoolFile

# Parameters per statement; SQLite allows 32 766.
_MOST_IDS = 1_000

_NAMED_OTHERWISE = {
    "id": "call.reservation",
    "model_served": "charge.target",
    "outcome": "charge.outcome.value",
    "usage_source": "charge.source.value",
    "answer_text_bytes": "call.reading.seen.text_bytes",
}
"""Columns and the attributes of an entry that they keep, where the names differ."""
_PARTS = {"": Entry, "call.": SpooledCall, "call.caller.": Caller, "charge.": Charge, "charge.usage.": Usage}
"""The types that are searched for an attribute with the name of a column."""
_WRITTEN_LATER = frozenset({"sequence", "settled_ms", "retry_of"})
_PREFIXES = ("prefix_1k", "prefix_4k", "prefix_16k", "prefix_64k")
_SUMS = ("calls", "input_tokens", "cached_input_tokens", "output_tokens", "cost_nano_usd", "unpriced_calls", "retries")
# How long after a call an SDK may still repeat it.
_RETRIED_WITHIN_MS = 600_000


def _insert_into(table: sa.Table, columns: Iterable[str], otherwise: str = "") -> str:
    """Returns an insert of these columns, in this order. A wrong name fails at start-up and not in a batch."""
    names = [f'"{table.c[column].name}"' for column in columns]
    values = ", ".join("?" for _ in names)
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) {otherwise}"  # noqa: S608  (our own names)


def _attribute_of(column: str) -> str:
    """Returns the attribute of an entry that a column keeps.

    Raises:
        LookupError: it keeps none. Raised at start-up and not in a batch.
    """
    if column in _NAMED_OTHERWISE:
        return _NAMED_OTHERWISE[column]
    for path, part in _PARTS.items():
        if hasattr(part, column):
            return f"{path}{column}"
    raise LookupError(f"no part of an entry has the name of column {column}")


_KNOWN = "SELECT id FROM entries WHERE id IN (SELECT value FROM json_each(?))"
_MOST = ("most_cost_nano_usd", "most_input_tokens", "most_output_tokens")
_KNOWN_EXACTLY = (None, None, None)
_MADE = ("meters", "chain", *_PREFIXES, *_MOST)
"""Columns that `_entry_row` computes."""
_KEPT = [each.name for each in entries.c if each.name not in _WRITTEN_LATER and each.name not in _MADE]
_values_of = attrgetter(*map(_attribute_of, _KEPT))
_INSERT_ENTRY = _insert_into(entries, [*_KEPT, *_MADE])
_OF_ATTEMPT = [name for name in SpooledAttempt._fields if name in attempts.c]
_attempt_row = attrgetter(*_OF_ATTEMPT)
_INSERT_ATTEMPT = _insert_into(attempts, _OF_ATTEMPT, "ON CONFLICT DO NOTHING")
_ADD_ROLLUP = _insert_into(
    rollups,
    [*RollupKey._fields, *_SUMS],
    "ON CONFLICT DO UPDATE SET " + ", ".join(f"{name} = {name} + excluded.{name}" for name in _SUMS),
)
# Finds the key's latest call with the same body that gave the SDK a reason to retry, or the call that this one repeats.
_FOLD = """
UPDATE entries SET retry_of = found.id FROM (
    SELECT CASE retry_of WHEN '' THEN id ELSE retry_of END AS id FROM entries
    WHERE body_print = :body_print AND time_ms BETWEEN :time_ms - :within_ms AND :time_ms
        AND status NOT BETWEEN 200 AND 399
        AND key_id = :key_id AND id != :id AND CAST(sdk_retry AS INTEGER) < :retry_count
    ORDER BY time_ms DESC, sequence DESC LIMIT 1
) AS found WHERE entries.id = :id RETURNING id
"""
_MOVE_CHECKPOINT = _insert_into(
    checkpoints,
    ["epoch", "inode", "name", "offset"],
    'ON CONFLICT DO UPDATE SET name = excluded.name, "offset" = excluded."offset"',
)
_INSERT_UNANSWERED = sqlite.insert(unanswered_attempts).on_conflict_do_nothing()
_INSERT_UNREADABLE = sqlite.insert(unreadable_lines).on_conflict_do_nothing()
_INSERT_RELEASE = sqlite.insert(releases).on_conflict_do_nothing()
_ATTEMPTS_OF = sa.select(attempts).where(attempts.c.request_id.in_(sa.bindparam("ids", expanding=True)))


class SqlEntries:
    """Entries, attempts, rollups and checkpoints, as `ports.EntryStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def checkpoints(self) -> dict[tuple[str, int], int]:
        """Returns the offset after the last booked line of each file."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(checkpoints.c.epoch, checkpoints.c.inode, checkpoints.c.offset))
            return {(epoch, inode): offset for epoch, inode, offset in rows}

    def attempts_of(self, request_ids: Sequence[str]) -> dict[str, list[SpooledAttempt]]:
        """Returns recorded attempts by request id."""
        with self._database.read() as connection:
            return attempts_by_request(connection, request_ids)

    def book(self, booking: Booking) -> list[Entry]:
        """Writes a booking in one transaction. Returns the entries that are new."""
        with self._database.write() as connection:
            fresh = _only_new(connection, booking.entries)
            _run(connection, _INSERT_ENTRY, map(_entry_row, fresh))
            _run(connection, _INSERT_UNANSWERED, _unanswered_rows(fresh))
            _run(connection, _INSERT_ATTEMPT, map(_attempt_row, booking.attempts))
            _run(connection, _ADD_ROLLUP, _rollup_rows(fresh, _fold_retries(connection, fresh)))
            _run(connection, _INSERT_RELEASE, ({"request_id": each} for each in booking.released))
            write_dropped(connection, booking)
            if booking.file is not None:
                _run(connection, _INSERT_UNREADABLE, _unreadable_rows(booking, booking.file))
                _run(connection, _MOVE_CHECKPOINT, [_checkpoint_row(booking, booking.file)])
        return fresh

    def forget(self, file: SpoolFile) -> None:
        """Drops the checkpoint of a file that is about to be deleted."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(checkpoints).where(checkpoints.c.epoch == file.epoch, checkpoints.c.inode == file.inode)
            )


def attempts_by_request(connection: sa.Connection, request_ids: Sequence[str]) -> dict[str, list[SpooledAttempt]]:
    """Returns the recorded attempts of these requests."""
    found: dict[str, list[SpooledAttempt]] = {}
    for at in range(0, len(request_ids), _MOST_IDS):
        for row in connection.execute(_ATTEMPTS_OF, {"ids": request_ids[at : at + _MOST_IDS]}).mappings():
            found.setdefault(row["request_id"], []).append(SpooledAttempt(**row))
    return found


def _run(connection: sa.Connection, statement: sa.Executable | str, rows: Iterable[Any]) -> None:
    listed = list(rows)
    if not listed:
        return
    if isinstance(statement, str):
        connection.exec_driver_sql(statement, listed)
    else:
        connection.execute(statement, listed)


def _only_new(connection: sa.Connection, booked: Sequence[Entry]) -> list[Entry]:
    """Returns the entries that are not in the table, each once."""
    by_id: dict[str, Entry] = {}
    for entry in booked:
        by_id.setdefault(entry.id, entry)
    for (known,) in connection.exec_driver_sql(_KNOWN, (orjson.dumps(list(by_id)).decode(),)):
        del by_id[known]
    return list(by_id.values())


def _entry_row(entry: Entry) -> tuple[Any, ...]:
    most = entry.charge.most or _KNOWN_EXACTLY
    meters, chain = write_meters(entry.charge.usage), ",".join(entry.call.chain)
    return (*_values_of(entry), meters, chain, *entry.call.prefixes, *most)


def _unanswered_rows(fresh: Iterable[Entry]) -> Iterable[dict[str, Any]]:
    for entry in fresh:
        for part in entry.charge.unanswered:
            yield {
                "entry_id": entry.id,
                "attempt": part.attempt,
                "target": part.target,
                "input_tokens": part.usage.input_tokens,
                "output_tokens": part.usage.output_tokens,
                "cost_nano_usd": part.cost_nano_usd,
            }


def _fold_retries(connection: sa.Connection, fresh: Iterable[Entry]) -> set[str]:
    """Marks entries that repeat an earlier one, in the order they were sent. Returns their ids."""
    repeated = [entry for entry in fresh if entry.call.retry_count and entry.call.body_print]
    folded: set[str] = set()
    for entry in sorted(repeated, key=lambda entry: entry.call.time_ms):
        call = entry.call
        values = {
            "id": entry.id,
            "key_id": call.caller.key_id,
            "body_print": call.body_print,
            "time_ms": call.time_ms,
            "retry_count": call.retry_count,
            "within_ms": _RETRIED_WITHIN_MS,
        }
        folded.update(connection.execute(sa.text(_FOLD), values).scalars())
    return folded


def _rollup_rows(fresh: Iterable[Entry], retries: set[str]) -> Iterable[tuple[Any, ...]]:
    for key, sums in roll_up(fresh, retries).items():
        yield (*key, *(getattr(sums, name) for name in _SUMS))


def _unreadable_rows(booking: Booking, file: SpoolFile) -> Iterable[dict[str, Any]]:
    for line in booking.unreadable:
        yield {
            "epoch": file.epoch,
            "inode": file.inode,
            "offset": line.offset,
            "name": file.name,
            "size_bytes": line.size_bytes,
            "reason": line.reason,
            "seen_ms": booking.now_ms,
        }


def _checkpoint_row(booking: Booking, file: SpoolFile) -> tuple[Any, ...]:
    return (file.epoch, file.inode, file.name, booking.checkpoint)
