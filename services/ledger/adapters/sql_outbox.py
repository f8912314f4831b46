"""Settlements and releases that quota does not know yet, its crossings, and runs of Envoy that are over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.kernel.settlement import Most
from services.kernel.usage import UsageSource
from services.ledger.adapters.sql_database import Database
from services.ledger.adapters.sql_tables import alerts, entries, epochs, releases
from services.ledger.domain.rollup import HOUR_MS
from services.ledger.domain.settlement import Crossing, Settlement

# Text, because every batch needs these statements: they cost SQLAlchemy more than SQLite.
_UNSETTLED = (
    "SELECT id, cost_nano_usd, input_tokens, output_tokens, time_ms + duration_ms, usage_source, answer_text_bytes,"
    " most_cost_nano_usd, most_input_tokens, most_output_tokens FROM entries"
    " WHERE settled_ms IS NULL ORDER BY sequence LIMIT ?"
)
# Runs before `_SETTLE`, on the same entries.
_ADD_SETTLED = f"""
    INSERT INTO settled_sums
    SELECT admitted_ms - admitted_ms % {HOUR_MS}, run, team, project, environment, "user", "key", model_requested,
        count(*), sum(input_tokens), sum(output_tokens), sum(coalesce(cost_nano_usd, 0)), sum(cost_nano_usd IS NULL)
    FROM entries WHERE settled_ms IS NULL AND id IN (SELECT value FROM json_each(?))
    GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
    ON CONFLICT DO UPDATE SET
        calls = calls + excluded.calls,
        input_tokens = input_tokens + excluded.input_tokens,
        output_tokens = output_tokens + excluded.output_tokens,
        cost_nano_usd = cost_nano_usd + excluded.cost_nano_usd,
        unpriced_calls = unpriced_calls + excluded.unpriced_calls
"""  # noqa: S608  (our own constant)
_SETTLE = "UPDATE entries SET settled_ms = ? WHERE settled_ms IS NULL AND id IN (SELECT value FROM json_each(?))"
_SETTLED_OF = "SELECT id FROM entries WHERE settled_ms IS NOT NULL AND id IN (SELECT value FROM json_each(?))"
_UNSETTLED_BUT = "SELECT id FROM entries WHERE settled_ms IS NULL AND id NOT IN (SELECT value FROM json_each(?))"
_LAST_CROSSING = "SELECT max(sequence) FROM alerts"
_PENDING_RELEASES = "SELECT request_id FROM releases LIMIT ?"
_INSERT_ALERT = sqlite.insert(alerts).on_conflict_do_nothing()
_RELEASED = sa.delete(releases).where(releases.c.request_id == sa.bindparam("of"))
_END_EPOCH = sqlite.insert(epochs).on_conflict_do_nothing()


class SqlOutbox:
    """Settlements, releases and crossings, as `ports.Outbox`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def unsettled(self, limit: int) -> list[Settlement]:
        """Returns entries that quota does not know, oldest first."""
        with self._database.read() as connection:
            return [_settlement(row) for row in connection.exec_driver_sql(_UNSETTLED, (limit,))]

    def mark_settled(self, reservations: Sequence[str], crossings: Sequence[Crossing], now_ms: int) -> None:
        """Settles entries and stores new crossings, in one transaction."""
        with self._database.write() as connection:
            if reservations:
                ids = _as_json(reservations)
                connection.exec_driver_sql(_ADD_SETTLED, (ids,))
                connection.exec_driver_sql(_SETTLE, (now_ms, ids))
            if crossings:
                connection.execute(_INSERT_ALERT, [asdict(crossing) for crossing in crossings])

    def settled_of(self, reservations: Collection[str]) -> set[str]:
        """Returns the reservations among these whose entries are settled."""
        with self._database.read() as connection:
            return set(connection.exec_driver_sql(_SETTLED_OF, (_as_json(reservations),)).scalars())

    def unsettled_but(self, reservations: Collection[str]) -> list[str]:
        """Returns the entries that quota does not know, except these."""
        with self._database.read() as connection:
            return list(connection.exec_driver_sql(_UNSETTLED_BUT, (_as_json(reservations),)).scalars())

    def last_crossing(self) -> int:
        """Returns the sequence number of the newest crossing, 0 for none."""
        with self._database.read() as connection:
            return connection.exec_driver_sql(_LAST_CROSSING).scalar() or 0

    def pending_releases(self, limit: int) -> list[str]:
        """Returns request ids to release."""
        with self._database.read() as connection:
            return list(connection.exec_driver_sql(_PENDING_RELEASES, (limit,)).scalars())

    def mark_released(self, request_ids: Sequence[str]) -> None:
        """Drops request ids that are released."""
        with self._database.write() as connection:
            connection.execute(_RELEASED, [{"of": each} for each in request_ids])

    def count_unsettled(self) -> int:
        """Counts the entries that quota does not know."""
        with self._database.read() as connection:
            query = sa.select(sa.func.count()).select_from(entries).where(entries.c.settled_ms.is_(None))
            return connection.scalar(query) or 0


class SqlEpochs:
    """Runs of Envoy that are over, as `ports.Epochs`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ended(self) -> set[str]:
        """Returns all epochs known to be over and booked."""
        with self._database.read() as connection:
            return set(connection.scalars(sa.select(epochs.c.epoch)))

    def uncleared(self) -> list[str]:
        """Returns the ended epochs that quota may still hold reservations of."""
        with self._database.read() as connection:
            query = sa.select(epochs.c.epoch).where(epochs.c.cleared_ms.is_(None)).order_by(epochs.c.epoch)
            return list(connection.scalars(query))

    def end(self, epoch: str, now_ms: int) -> None:
        """Records that an epoch is over and booked."""
        with self._database.write() as connection:
            connection.execute(_END_EPOCH, {"epoch": epoch, "ended_ms": now_ms})

    def clear(self, cleared: Sequence[str], ended_before_ms: int, now_ms: int) -> None:
        """Records that quota holds nothing for these epochs, if they ended before a moment."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(epochs)
                .where(epochs.c.epoch.in_(cleared), epochs.c.ended_ms < ended_before_ms)
                .values(cleared_ms=now_ms)
            )


def _settlement(row: sa.Row[Any]) -> Settlement:
    reservation, cost_nano_usd, input_tokens, output_tokens, end_ms, source, answer_text_bytes, *most = row
    return Settlement(
        reservation,
        cost_nano_usd,
        input_tokens,
        output_tokens,
        end_ms,
        source == UsageSource.PROVIDER,
        answer_text_bytes,
        None if most[0] is None else Most(*most),
    )


def _as_json(ids: Collection[str]) -> str:
    return orjson.dumps(list(ids)).decode()
